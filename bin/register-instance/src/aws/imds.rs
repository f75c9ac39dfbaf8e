//! The instance metadata service, version 2 alone.

use aws_config::imds::Client;
use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use hub::AwsError;
use serde::Deserialize;

use super::Identity;
use crate::retry::{IMDS_UNAVAILABLE, METADATA_DISABLED, NO_CREDENTIALS, ROLE_NOT_ASSUMED};

const DOCUMENT: &str = "/latest/dynamic/instance-identity/document";
const OWN_TAG: &str = "/latest/meta-data/tags/instance/managedinstanceid";

const ROLES: &str = "/latest/meta-data/iam/security-credentials/";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    account_id: hub::AccountId,
    region: hub::Region,
    instance_id: hub::Ec2InstanceId,
}

/// Reads the identity document.
pub(super) async fn identity(client: &Client) -> Result<Identity, AwsError> {
    let document = client.get(DOCUMENT).await.map_err(|error| problem(&error))?;
    parse(document.as_ref())
}

/// None where the service does not show tags, and where there is no such tag: it answers 404 to both.
pub(super) async fn own_tag(client: &Client) -> Option<String> {
    client.get(OWN_TAG).await.ok().map(|value| value.as_ref().trim().to_owned())
}

/// The name of the role whose credentials the service has. The SDK's own provider panics at a name that no path can have.
pub(super) async fn role(client: &Client) -> Result<String, AwsError> {
    match client.get(ROLES).await {
        Ok(answer) => role_in(answer.as_ref()).ok_or_else(|| none("what it answers is not the name of a role")),
        Err(ImdsError::ErrorResponse(context)) if context.response().status().as_u16() < 500 => {
            Err(none(&format!("it answers with status {}", context.response().status().as_u16())))
        }
        Err(error) => Err(late(&problem(&error).message)),
    }
}

/// The environment of this run says that the service may not be asked.
pub(super) fn disabled() -> AwsError {
    let message = "AWS_EC2_METADATA_DISABLED is set in the environment of this run".to_owned();
    failed(METADATA_DISABLED, message, false)
}

/// The error of a provider that gave no credentials.
pub(super) fn no_credentials(error: &CredentialsError) -> AwsError {
    match error {
        // How the SDK says that EC2 may not assume the role.
        CredentialsError::InvalidConfiguration(_) if said(error).contains("AssumeRoleUnauthorizedAccess") => failed(
            ROLE_NOT_ASSUMED,
            "EC2 cannot assume the role of the instance profile (AssumeRoleUnauthorizedAccess)".to_owned(),
            false,
        ),
        CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => {
            none(&error.to_string())
        }
        _ => late(&error.to_string()),
    }
}

/// An error along with its causes.
fn said(error: &CredentialsError) -> String {
    std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// There are none.
fn none(why: &str) -> AwsError {
    let message = format!("the metadata service has no credentials of an instance profile ({why})");
    failed(NO_CREDENTIALS, message, false)
}

/// There may be some yet: this instance has a metadata service, as it has told who it is.
fn late(why: &str) -> AwsError {
    failed("Timeout", format!("the metadata service gave no credentials of the instance profile ({why})"), true)
}

fn role_in(answer: &str) -> Option<String> {
    let name = answer.lines().next()?.trim();
    let is_name = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte));
    is_name.then(|| name.to_owned())
}

fn parse(document: &str) -> Result<Identity, AwsError> {
    let Document { account_id, region, instance_id } = serde_json::from_str(document)
        .map_err(|error| failed("BadDocument", format!("the identity document cannot be read: {error}"), false))?;
    Ok(Identity { account: account_id, region, instance: instance_id })
}

/// In words of our own: what the service answers may hold a token.
fn problem(error: &ImdsError) -> AwsError {
    match error {
        ImdsError::ErrorResponse(context) => {
            let status = context.response().status().as_u16();
            failed("ImdsRefused", format!("the instance metadata service answers with status {status}"), status >= 500)
        }
        ImdsError::FailedToLoadToken(context) if context.is_dispatch_failure() => {
            failed(IMDS_UNAVAILABLE, "nothing answers at the address of the instance metadata service".to_owned(), true)
        }
        ImdsError::FailedToLoadToken(_) => {
            failed(IMDS_UNAVAILABLE, "the instance metadata service gives no token".to_owned(), true)
        }
        _ => failed(IMDS_UNAVAILABLE, "the instance metadata service does not answer".to_owned(), true),
    }
}

fn failed(code: &str, message: String, retryable: bool) -> AwsError {
    AwsError { operation: "imds:GetIdentity", code: code.to_owned(), message, request_id: None, retryable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_account_region_and_instance() {
        let identity = parse(
            r#"{"accountId":"222222222222","region":"us-west-2","instanceId":"i-0123456789abcdef0","imageId":"ami-1"}"#,
        )
        .unwrap();
        assert_eq!(identity.account.as_str(), "222222222222");
        assert_eq!((identity.region.as_str(), identity.instance.as_str()), ("us-west-2", "i-0123456789abcdef0"));
    }

    #[test]
    fn the_name_of_a_role() {
        assert_eq!(role_in("TagHub+Instance@a\n").as_deref(), Some("TagHub+Instance@a"));
        for answer in ["", "\n", "<html>", "../x", "a b", &"x".repeat(65)] {
            assert_eq!(role_in(answer), None, "{answer}");
        }
    }

    #[test]
    fn a_bad_document_says_what_is_wrong() {
        let error = parse(r#"{"accountId":"2","region":"us-west-2","instanceId":"i-0123456789abcdef0"}"#).unwrap_err();
        assert!(error.message.contains("expected an account id of 12 digits"), "{error}");
        assert!(!error.retryable);
    }
}
