//! The adapters over real clients whose answers are made up.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use activation_issuer::Config;
use activation_issuer::activation::{ActivationId, NewActivation, Parameter, StoredActivation};
use activation_issuer::aws::{AgencyParameters, CentralAccount};
use activation_issuer::plan::census::Tier;
use activation_issuer::ports::{Agencies as _, Hub as _, Store as _};
use aws_sdk_lambda::operation::list_aliases::ListAliasesOutput;
use aws_sdk_lambda::types::AliasConfiguration;
use aws_sdk_ssm::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_ssm::config::retry::RetryConfig;
use aws_sdk_ssm::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_ssm::operation::create_activation::CreateActivationOutput;
use aws_sdk_ssm::operation::delete_activation::DeleteActivationOutput;
use aws_sdk_ssm::operation::describe_activations::DescribeActivationsOutput;
use aws_sdk_ssm::operation::describe_instance_information::DescribeInstanceInformationOutput;
use aws_sdk_ssm::operation::get_parameter::GetParameterOutput;
use aws_sdk_ssm::operation::get_parameter_history::GetParameterHistoryOutput;
use aws_sdk_ssm::operation::get_service_setting::GetServiceSettingOutput;
use aws_sdk_ssm::operation::put_parameter::PutParameterOutput;
use aws_sdk_ssm::types::{
    Activation as SdkActivation, DescribeActivationsFilterKeys, InstanceInformation, Parameter as SdkParameter,
    ParameterHistory, ParameterTier, ParameterType, ServiceSetting, Tag,
};
use aws_sdk_sts::operation::assume_role::AssumeRoleOutput;
use aws_smithy_mocks::{MockResponseInterceptor, Rule, RuleMode, create_mock_http_client, mock};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::DateTime;
use hub::{AccountId, Region, Timestamp};

const ID: &str = "0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11";
const ID_2: &str = "1b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11";
const CODE: &str = "SECRET+/CODE/of+20ch";
const PARTITION: &str = "aws-us-gov";
const ENDS: i64 = 1_795_312_800;

fn config() -> Config {
    let variables = [
        ("MANAGER_FUNCTION_NAME", "ssm-tag-manager"),
        ("WRITER_ROLE_NAME", "TagHubActivationWriter"),
        ("NODE_ROLE", "tag-hub-managed-node"),
        ("PARAMETER_NAME", "/tag-hub/activation"),
        ("AWS_REGION", "us-gov-west-1"),
    ];
    let lookup = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Config::from_lookup(lookup).unwrap()
}

/// Host, access key, Region and service of each request.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Intercept for Seen {
    fn name(&self) -> &'static str {
        "Seen"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request();
        let host = request.uri().split('/').nth(2).unwrap_or_default();
        let authorization = request.headers().get("authorization").unwrap_or_default();
        // Credential=KEY/DATE/REGION/SERVICE/aws4_request
        let parts: Vec<_> = authorization.split('/').collect();
        let key = parts[0].rsplit('=').next().unwrap_or_default();
        self.0.lock().unwrap().push(format!("{host} {key} {} {}", parts[2], parts[3]));
        Ok(())
    }
}

fn in_order(rules: &[&Rule]) -> MockResponseInterceptor {
    let mocks = MockResponseInterceptor::new().rule_mode(RuleMode::Sequential);
    rules.iter().fold(mocks, |mocks, rule| mocks.with_rule(rule))
}

/// A client of a service: its builder has the same methods in each.
macro_rules! client {
    ($sdk:ident, $rules:expr, $seen:expr) => {
        $sdk::Client::from_conf(
            $sdk::config::Builder::new()
                .behavior_version_latest()
                .region($sdk::config::Region::new("us-gov-west-1"))
                .credentials_provider(Credentials::new("CENTRAL", "secret", None, None, "test"))
                .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
                .http_client(create_mock_http_client())
                .interceptor(in_order($rules))
                .interceptor($seen)
                .build(),
        )
    };
}

fn central(lambda: &[&Rule], ssm: &[&Rule]) -> CentralAccount {
    let lambda = client!(aws_sdk_lambda, lambda, Seen::default());
    CentralAccount::new(&config(), lambda, client!(aws_sdk_ssm, ssm, Seen::default()))
}

fn parameters(sts: &[&Rule], ssm: &[&Rule], seen: Seen) -> AgencyParameters {
    let sts = client!(aws_sdk_sts, sts, Seen::default());
    AgencyParameters::new(&config(), sts, client!(aws_sdk_ssm, ssm, seen))
}

fn agency() -> AccountId {
    "222222222222".parse().unwrap()
}

fn region(name: &str) -> Region {
    name.parse().unwrap()
}

fn error_response(status: u16, body: &str) -> HttpResponse {
    HttpResponse::new(StatusCode::try_from(status).unwrap(), body.to_owned().into())
}

fn ssm_error(code: &str, message: &str) -> HttpResponse {
    error_response(400, &format!(r#"{{"__type": "{code}", "message": "{message}"}}"#))
}

fn stored() -> StoredActivation {
    StoredActivation {
        activation_id: ID.parse().unwrap(),
        activation_code: CODE.to_owned().try_into().unwrap(),
        region: region("us-gov-west-1"),
        expiration_date: Timestamp::from_unix_seconds(ENDS),
        account: agency(),
        hub_account: "111111111111".parse().ok(),
    }
}

fn new_activation() -> NewActivation {
    NewActivation {
        agency: agency(),
        node_role: "tag-hub-managed-node".to_owned(),
        registration_limit: 1000,
        expiration_date: Timestamp::from_unix_seconds(ENDS),
    }
}

#[tokio::test]
async fn the_grants_are_the_agencies_aliases_on_all_pages() {
    let page = |names: &'static [&'static str], next: Option<&'static str>| {
        move || {
            let aliases = names.iter().map(|name| AliasConfiguration::builder().name(*name).build()).collect();
            ListAliasesOutput::builder().set_aliases(Some(aliases)).set_next_marker(next.map(str::to_owned)).build()
        }
    };
    let first = mock!(aws_sdk_lambda::Client::list_aliases)
        .match_requests(|request| request.function_name() == Some("ssm-tag-manager") && request.marker().is_none())
        .then_output(page(&["agency-333333333333", "live", "agency-2"], Some("page-2")));
    let second = mock!(aws_sdk_lambda::Client::list_aliases)
        .match_requests(|request| request.marker() == Some("page-2"))
        .then_output(page(&["agency-222222222222", "xagency-444444444444"], None));
    let granted = central(&[&first, &second], &[]).granted().await.unwrap();
    let granted: Vec<&str> = granted.iter().map(AccountId::as_str).collect();
    assert_eq!(granted, ["222222222222", "333333333333"]);
}

fn listed(id: &str) -> aws_sdk_ssm::types::builders::ActivationBuilder {
    SdkActivation::builder()
        .activation_id(id)
        .description("Tag Hub: agency 222222222222")
        .tags(Tag::builder().key("tag-hub:agency").value("222222222222").build().unwrap())
        .iam_role("tag-hub-managed-node")
        .registration_limit(1000)
        .registrations_count(3)
        .expiration_date(DateTime::from_secs(ENDS))
        .created_date(DateTime::from_secs(ENDS - 60))
}

#[tokio::test]
async fn all_pages_of_activations_are_read() {
    let page = |activation: SdkActivation, token: &'static str| {
        move || DescribeActivationsOutput::builder().activation_list(activation.clone()).next_token(token).build()
    };
    let first = mock!(aws_sdk_ssm::Client::describe_activations)
        .match_requests(|request| {
            request.max_results() == Some(50) && request.filters().is_empty() && request.next_token().is_none()
        })
        .then_output(page(listed(ID).build(), "page-2"));
    let by_hand = listed(ID_2).description("by hand").expired(true).build();
    let second = mock!(aws_sdk_ssm::Client::describe_activations)
        .match_requests(|request| request.next_token() == Some("page-2"))
        .then_output(page(by_hand, ""));
    let activations = central(&[], &[&first, &second]).activations(None).await.unwrap();
    let [ours, theirs] = activations.as_slice() else { panic!("{activations:?}") };
    assert_eq!((ours.id.as_str(), ours.agency.as_ref()), (ID, Some(&agency())));
    assert_eq!((ours.registrations_left(), ours.is_expired), (997, false));
    assert_eq!((ours.expiration_date.unix_seconds(), ours.created_date.unwrap().unix_seconds()), (ENDS, ENDS - 60));
    assert_eq!((theirs.id.as_str(), &theirs.agency, theirs.is_expired), (ID_2, &None, true));
}

#[tokio::test]
async fn one_activation_is_asked_for_by_a_filter_and_nothing_else_gets_through() {
    let rule = mock!(aws_sdk_ssm::Client::describe_activations)
        .match_requests(|request| {
            let [filter] = request.filters() else { return false };
            filter.filter_key() == Some(&DescribeActivationsFilterKeys::ActivationIds) && filter.filter_values() == [ID]
        })
        .then_output(|| {
            let both = vec![listed(ID).build(), listed(ID_2).build()];
            DescribeActivationsOutput::builder().set_activation_list(Some(both)).build()
        });
    let id: ActivationId = ID.parse().unwrap();
    let found = central(&[], &[&rule]).activations(Some(&id)).await.unwrap();
    assert_eq!(found.iter().map(|activation| activation.id.as_str()).collect::<Vec<_>>(), [ID]);
}

#[tokio::test]
async fn an_activation_is_made_with_tag_description_and_limits() {
    let rule = mock!(aws_sdk_ssm::Client::create_activation)
        .match_requests(|request| {
            let [tag] = request.tags() else { return false };
            (tag.key(), tag.value()) == ("tag-hub:agency", "222222222222")
                && request.description() == Some("Tag Hub: agency 222222222222")
                && request.default_instance_name() == Some("agency-222222222222")
                && request.iam_role() == Some("tag-hub-managed-node")
                && request.registration_limit() == Some(1000)
                && request.expiration_date() == Some(&DateTime::from_secs(ENDS))
        })
        .then_output(|| CreateActivationOutput::builder().activation_id(ID).activation_code(CODE).build());
    let (id, code) = central(&[], &[&rule]).create(&new_activation()).await.unwrap();
    assert_eq!((id.as_str(), code.expose()), (ID, CODE));
    assert_eq!(format!("{code:?}"), "ActivationCode(hidden)");
}

#[tokio::test]
async fn a_throttled_call_is_repeated_and_half_an_answer_is_none() {
    let throttled = || ssm_error("ThrottlingException", "Rate exceeded");
    let rule = mock!(aws_sdk_ssm::Client::create_activation)
        .sequence()
        .http_response(throttled)
        .times(2)
        .output(|| CreateActivationOutput::builder().activation_code(CODE).build())
        .build();
    let error = central(&[], &[&rule]).create(&new_activation()).await.unwrap_err();
    assert_eq!(error.to_string(), "ssm:CreateActivation failed: UnexpectedAnswer: the answer has no activation");
    assert_eq!(rule.num_calls(), 3);
}

#[tokio::test]
async fn what_is_gone_already_counts_as_deleted() {
    let id: ActivationId = ID.parse().unwrap();
    let good = mock!(aws_sdk_ssm::Client::delete_activation)
        .match_requests(|request| request.activation_id() == Some(ID))
        .then_output(|| DeleteActivationOutput::builder().build());
    assert_eq!(central(&[], &[&good]).delete(&id).await, Ok(()));
    for (code, is_good) in [("InvalidActivation", true), ("InvalidActivationId", true), ("TooManyUpdates", false)] {
        let rule =
            mock!(aws_sdk_ssm::Client::delete_activation).then_http_response(move || ssm_error(code, "in words"));
        assert_eq!(central(&[], &[&rule]).delete(&id).await.is_ok(), is_good, "{code}");
    }
}

fn assume_role() -> Rule {
    mock!(aws_sdk_sts::Client::assume_role)
        .match_requests(|request| {
            request.role_arn() == Some("arn:aws-us-gov:iam::222222222222:role/TagHubActivationWriter")
                && request.external_id() == Some("222222222222")
                && request.role_session_name() == Some("tag-hub-activation-issuer")
                && request.duration_seconds() == Some(900)
        })
        .then_output(|| {
            let taken = aws_sdk_sts::types::Credentials::builder()
                .access_key_id("AGENCY")
                .secret_access_key("HIDE-KEY")
                .session_token("HIDE-TOKEN")
                .expiration(DateTime::from_secs(ENDS));
            AssumeRoleOutput::builder().credentials(taken.build().unwrap()).build()
        })
}

#[tokio::test]
async fn every_region_is_reached_with_the_agencys_credentials() {
    let missing = || {
        mock!(aws_sdk_ssm::Client::get_parameter)
            .match_requests(|request| {
                request.name() == Some("/tag-hub/activation") && request.with_decryption() == Some(true)
            })
            .then_http_response(|| ssm_error("ParameterNotFound", "none"))
    };
    let seen = Seen::default();
    let parameters = parameters(&[&assume_role()], &[&missing(), &missing()], seen.clone());
    let agencies = parameters.in_partition(PARTITION.to_owned());
    let store = agencies.open(&agency()).await.unwrap();
    for name in ["us-gov-west-1", "us-gov-east-1"] {
        assert_eq!(store.read(&region(name)).await, Ok(Parameter::Missing));
    }
    assert_eq!(
        *seen.0.lock().unwrap(),
        [
            "ssm.us-gov-west-1.amazonaws.com AGENCY us-gov-west-1 ssm",
            "ssm.us-gov-east-1.amazonaws.com AGENCY us-gov-east-1 ssm"
        ]
    );
    // Whatever holds credentials or a code hides them.
    assert!(!format!("{store:?}").contains("HIDE"));
}

#[tokio::test]
async fn a_role_that_trusts_nobody_is_told() {
    let denied = "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
        <Message>not authorized to perform: sts:AssumeRole</Message></Error><RequestId>req-1</RequestId></ErrorResponse>";
    let rule = mock!(aws_sdk_sts::Client::assume_role).then_http_response(move || error_response(403, denied));
    let parameters = parameters(&[&rule], &[], Seen::default());
    let error = parameters.in_partition(PARTITION.to_owned()).open(&agency()).await.unwrap_err();
    assert!(error.is_access_denied() && error.message.contains("sts:AssumeRole"), "{error}");
}

/// What a parameter with this value and type is taken for.
async fn read(value: String, kind: ParameterType) -> Parameter {
    let rule = mock!(aws_sdk_ssm::Client::get_parameter).then_output(move || {
        let parameter = SdkParameter::builder()
            .name("/tag-hub/activation")
            .value(value.clone())
            .r#type(kind.clone())
            .last_modified_date(DateTime::from_secs(ENDS - 60));
        GetParameterOutput::builder().parameter(parameter.build()).build()
    });
    let parameters = parameters(&[&assume_role()], &[&rule], Seen::default());
    let store = parameters.in_partition(PARTITION.to_owned()).open(&agency()).await.unwrap();
    store.read(&region("us-gov-west-1")).await.unwrap()
}

#[tokio::test]
async fn a_parameter_is_read_with_the_time_of_its_last_change() {
    let expected = Parameter::Holds { stored: stored(), modified: Some(Timestamp::from_unix_seconds(ENDS - 60)) };
    assert_eq!(read(stored().to_value(), ParameterType::SecureString).await, expected);
    assert_eq!(read("{}".to_owned(), ParameterType::SecureString).await, Parameter::Malformed);
    // In plain sight is no place for a code.
    assert_eq!(read(stored().to_value(), ParameterType::String).await, Parameter::Malformed);
}

#[tokio::test]
async fn a_parameter_is_written_in_secret_and_over_what_is_there() {
    // Nobody chose a key, or there is no parameter yet.
    for history in [history(&["alias/aws/ssm"], ""), no_history()] {
        let rule = mock!(aws_sdk_ssm::Client::put_parameter)
            .match_requests(|request| {
                request.name() == Some("/tag-hub/activation")
                    && request.value() == Some(stored().to_value().as_str())
                    && request.r#type() == Some(&ParameterType::SecureString)
                    && request.tier() == Some(&ParameterTier::Standard)
                    && request.overwrite() == Some(true)
                    && request.tags().is_empty()
                    && request.key_id().is_none()
            })
            .then_output(|| PutParameterOutput::builder().build());
        let parameters = parameters(&[&assume_role()], &[&history, &rule], Seen::default());
        let store = parameters.in_partition(PARTITION.to_owned()).open(&agency()).await.unwrap();
        assert_eq!(store.write(&region("us-gov-west-1"), &stored()).await, Ok(()));
    }
}

fn history(keys: &'static [&'static str], next: &'static str) -> Rule {
    let from = if next.is_empty() { 100 } else { 1 };
    mock!(aws_sdk_ssm::Client::get_parameter_history)
        .match_requests(|request| {
            request.name() == Some("/tag-hub/activation") && request.with_decryption() != Some(true)
        })
        .then_output(move || {
            let versions = keys.iter().enumerate().map(|(index, key)| {
                let version = from + i64::try_from(index).unwrap();
                ParameterHistory::builder().version(version).key_id(*key).build()
            });
            GetParameterHistoryOutput::builder().set_parameters(Some(versions.collect())).next_token(next).build()
        })
}

fn no_history() -> Rule {
    mock!(aws_sdk_ssm::Client::get_parameter_history).then_http_response(|| ssm_error("ParameterNotFound", "none"))
}

#[tokio::test]
async fn the_agencys_own_key_is_kept() {
    const KEY: &str = "arn:aws-us-gov:kms:us-gov-west-1:222222222222:key/0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11";
    let written = mock!(aws_sdk_ssm::Client::put_parameter)
        .match_requests(|request| request.key_id() == Some(KEY))
        .then_output(|| PutParameterOutput::builder().build());
    let (first, second) = (history(&["alias/aws/ssm", "alias/aws/ssm"], "page-2"), history(&["alias/other", KEY], ""));
    let rules = [&first, &second, &written];
    let open = parameters(&[&assume_role()], &rules, Seen::default());
    let store = open.in_partition(PARTITION.to_owned()).open(&agency()).await.unwrap();
    assert_eq!(store.write(&region("us-gov-west-1"), &stored()).await, Ok(()));
    // A key that cannot be read is not replaced by the default one.
    let denied = mock!(aws_sdk_ssm::Client::get_parameter_history)
        .then_http_response(|| ssm_error("AccessDeniedException", "not authorized"));
    let open = parameters(&[&assume_role()], &[&denied], Seen::default());
    let store = open.in_partition(PARTITION.to_owned()).open(&agency()).await.unwrap();
    let error = store.write(&region("us-gov-west-1"), &stored()).await.unwrap_err();
    assert_eq!((error.operation, error.code.as_str()), ("ssm:GetParameterHistory", "AccessDeniedException"));
}

#[tokio::test]
async fn nodes_are_counted_on_all_pages_and_by_the_name_of_their_activation() {
    let node = |name: &str, registered: i64| {
        let node = InstanceInformation::builder().instance_id("mi-0123456789abcdef0").name(name);
        node.registration_date(DateTime::from_secs(registered)).build()
    };
    let first = mock!(aws_sdk_ssm::Client::describe_instance_information)
        .match_requests(|request| {
            let [filter] = request.filters() else { return false };
            (filter.key(), filter.values()) == ("ResourceType", &["ManagedInstance".to_owned()])
                && request.max_results() == Some(50)
                && request.next_token().is_none()
        })
        .then_output(move || {
            let page = DescribeInstanceInformationOutput::builder().next_token("page-2");
            page.instance_information_list(node("agency-222222222222", 99))
                .instance_information_list(node("", 100))
                .build()
        });
    let second = mock!(aws_sdk_ssm::Client::describe_instance_information)
        .match_requests(|request| request.next_token() == Some("page-2"))
        .then_output(move || {
            let page = DescribeInstanceInformationOutput::builder();
            page.instance_information_list(node("agency-222222222222", 101)).build()
        });
    let counts = central(&[], &[&first, &second]).nodes(Timestamp::from_unix_seconds(100)).await.unwrap();
    assert_eq!((counts.total, counts.new, counts.by_agency), (3, 2, [(agency(), 2)].into()));
}

#[tokio::test]
async fn the_tier_is_a_setting_of_the_service() {
    let says = |value: &'static str| {
        mock!(aws_sdk_ssm::Client::get_service_setting)
            .match_requests(|request| request.setting_id() == Some("/ssm/managed-instance/activation-tier"))
            .then_output(move || {
                let setting = ServiceSetting::builder().setting_value(value).build();
                GetServiceSettingOutput::builder().service_setting(setting).build()
            })
    };
    for (value, expected) in [("standard", Ok(Tier::Standard)), ("advanced", Ok(Tier::Advanced)), ("gold", Err(()))] {
        let found = central(&[], &[&says(value)]).tier().await;
        assert_eq!(found.map_err(|error| assert!(error.message.contains("gold"), "{error}")), expected);
    }
}

#[tokio::test]
async fn an_error_that_quotes_the_value_hides_the_code() {
    let rule = mock!(aws_sdk_ssm::Client::put_parameter).then_http_response(|| {
        let quoted = stored().to_value().replace('"', "'");
        ssm_error("ValidationException", &format!("Value {quoted} at 'value' failed to satisfy constraint"))
    });
    let parameters = parameters(&[&assume_role()], &[&no_history(), &rule], Seen::default());
    let store = parameters.in_partition(PARTITION.to_owned()).open(&agency()).await.unwrap();
    let error = store.write(&region("us-gov-west-1"), &stored()).await.unwrap_err();
    assert!(error.message.contains("'ActivationCode':'(hidden)'"), "{error}");
    assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
}
