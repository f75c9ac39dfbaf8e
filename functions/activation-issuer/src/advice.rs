//! What to do about a call that AWS refused, in words.

use hub::{AccountId, AwsError, Region};

use crate::config::Config;

/// What to do about a failed call for an agency, where that is known.
pub(crate) fn advice(config: &Config, agency: &AccountId, error: &AwsError) -> Option<String> {
    let Config { writer_role_name, node_role, parameter_name, .. } = config;
    let is_about_key = error.message.to_ascii_lowercase().contains("kms") || error.code.contains("KMS");
    match error.operation {
        "sts:AssumeRole" if error.is_access_denied() => Some(format!(
            "account {agency} has no role {writer_role_name} that trusts this function: deploy cfn/agency.yaml there, with \
             this account's ManagerFunctionArn"
        )),
        "ssm:GetParameter" | "ssm:PutParameter" if is_about_key || error.code == "InvalidKeyId" => Some(format!(
            "the key of the parameter {parameter_name} in account {agency} does not let the role {writer_role_name} use \
             it: let the key's policy allow it kms:Decrypt and kms:Encrypt, or delete the parameter, and the next run \
             creates it with the default key"
        )),
        "ssm:PutParameter" if error.code == "HierarchyTypeMismatchException" => Some(format!(
            "the parameter {parameter_name} in account {agency} is not a SecureString, and Parameter Store cannot \
             convert it: delete it, and the next run creates it again"
        )),
        "ssm:GetParameter" | "ssm:GetParameterHistory" | "ssm:PutParameter" if error.is_access_denied() => {
            Some(format!(
                "the role {writer_role_name} in account {agency} may not use the parameter {parameter_name}: deploy \
                 cfn/agency.yaml there again, and look for a service control policy that denies it"
            ))
        }
        "ssm:CreateActivation" if error.code == "ValidationException" || error.code == "InvalidParameters" => {
            Some(format!(
                "the central account needs a role {node_role} that trusts ssm.amazonaws.com in this Region: deploy \
                 cfn/managed-node-role.yaml"
            ))
        }
        "ssm:CreateActivation" if error.is_access_denied() => Some(format!(
            "this function's role needs ssm:CreateActivation, and ssm:AddTagsToResource and iam:PassRole on {node_role}: \
             deploy template.yaml again"
        )),
        _ => None,
    }
}

/// The same error, with the Region that it came from.
pub(crate) fn in_region(region: &Region, mut error: AwsError) -> AwsError {
    error.message = format!("in {region}: {}", error.message);
    error
}
