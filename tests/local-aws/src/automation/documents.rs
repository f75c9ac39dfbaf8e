//! The runbooks that can be started.

use std::collections::{BTreeMap, BTreeSet};

use crate::aws_error::AwsError;

/// A few of AWS's own runbooks with their parameters. `AutomationAssumeRole` is one of each.
const OWNED_BY_AWS: [(&str, &[&str]); 12] = [
    ("AWS-CreateImage", &["InstanceId", "NoReboot"]),
    ("AWS-CreateSnapshot", &["VolumeId", "Description"]),
    ("AWS-DeleteImage", &["ImageId"]),
    ("AWS-DeleteSnapshot", &["SnapshotId"]),
    ("AWS-PatchInstanceWithRollback", &["InstanceId", "ReportS3Bucket", "LambdaAssumeRole"]),
    ("AWS-RebootRdsInstance", &["InstanceId"]),
    ("AWS-ResizeInstance", &["InstanceId", "InstanceType", "SleepWait"]),
    ("AWS-RestartEC2Instance", &["InstanceId"]),
    ("AWS-StartEC2Instance", &["InstanceId"]),
    ("AWS-StartRdsInstance", &["InstanceId"]),
    ("AWS-StopEC2Instance", &["InstanceId"]),
    ("AWS-TerminateEC2Instance", &["InstanceId"]),
];

const ASSUME_ROLE: &str = "AutomationAssumeRole";

/// What the service checks a start against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runbook {
    /// `None` takes any parameter.
    pub(super) parameters: Option<BTreeSet<String>>,
    pub(super) versions: u64,
    /// What it does, where a stack said so.
    pub(super) content: Option<serde_json::Value>,
}

impl Runbook {
    fn new(parameters: &[&str]) -> Self {
        let named = parameters.iter().map(|name| (*name).to_owned());
        let parameters = (!parameters.is_empty()).then(|| named.chain([ASSUME_ROLE.to_owned()]).collect());
        Self { parameters, versions: 1, content: None }
    }

    /// Its parameters as `DescribeDocument` shows them, and its content as `GetDocument` does. Those of AWS's own
    /// runbooks that name a resource have no default.
    pub(super) fn content(&self, name: &str) -> serde_json::Value {
        const REQUIRED: [&str; 5] = ["ImageId", "InstanceId", "InstanceType", "SnapshotId", "VolumeId"];
        if let Some(content) = &self.content {
            return content.clone();
        }
        let own = [ASSUME_ROLE.to_owned()].into();
        let parameters = self.parameters.as_ref().unwrap_or(&own).iter().map(|parameter| {
            let mut declared = serde_json::json!({"type": "String"});
            if !REQUIRED.contains(&parameter.as_str()) {
                declared["default"] = serde_json::json!("");
            }
            (parameter.clone(), declared)
        });
        let parameters: serde_json::Map<String, serde_json::Value> = parameters.collect();
        let step = serde_json::json!({"name": "run", "action": "aws:executeAwsApi"});
        let steps = if short_name(name).contains("Restart") { vec![step.clone(), step] } else { vec![step] };
        serde_json::json!({"schemaVersion": "0.3", "parameters": parameters, "mainSteps": steps})
    }

    /// From the content of a document: `parameters` of a schema 0.3 runbook.
    pub(super) fn from_content(content: &serde_json::Value) -> Self {
        let parameters = content["parameters"].as_object();
        Self {
            parameters: Some(parameters.map(|all| all.keys().cloned().collect()).unwrap_or_default()),
            versions: 1,
            content: Some(content.clone()),
        }
    }

    pub(super) fn takes(&self, parameter: &str) -> bool {
        self.parameters.as_ref().is_none_or(|all| all.contains(parameter))
    }
}

/// The runbooks of AWS and those that a test registered.
#[derive(Debug, Default)]
pub(super) struct Runbooks {
    registered: BTreeMap<String, Runbook>,
}

impl Runbooks {
    pub(super) fn register(&mut self, name: &str, parameters: &[&str]) {
        self.registered.insert(short_name(name).to_owned(), Runbook::new(parameters));
    }

    /// By name or ARN.
    pub(super) fn find(&self, name: &str) -> Option<Runbook> {
        let name = short_name(name);
        let owned = || OWNED_BY_AWS.iter().find(|(known, _)| *known == name);
        self.registered.get(name).cloned().or_else(|| owned().map(|(_, parameters)| Runbook::new(parameters)))
    }
}

/// The version that a start names, resolved.
///
/// # Errors
/// `AutomationDefinitionVersionNotFoundException`.
pub(super) fn version(runbook: &Runbook, asked: Option<&str>) -> Result<String, AwsError> {
    let latest = runbook.versions.to_string();
    match asked {
        None | Some("$DEFAULT" | "$LATEST") => Ok(latest),
        Some(number) if number.parse::<u64>().is_ok_and(|number| (1..=runbook.versions).contains(&number)) => {
            Ok(number.to_owned())
        }
        Some(number) => Err(AwsError::new(
            400,
            "AutomationDefinitionVersionNotFoundException",
            format!("Document version {number} does not exist"),
        )),
    }
}

/// The name in an ARN of a document, or the name itself.
pub(super) fn short_name(name: &str) -> &str {
    name.rsplit_once(":document/").map_or(name, |(_, name)| name)
}

/// The ARNs by which policies can name a runbook: as a document, and as an automation definition, the
/// older form. AWS's own have no account.
pub(super) fn arns(account: &str, region: &str, name: &str, version: &str) -> [String; 2] {
    let short = short_name(name);
    let owner = if short.starts_with("AWS") { "" } else { account };
    let document = if name.starts_with("arn:") {
        name.to_owned()
    } else {
        format!("arn:aws:ssm:{region}:{owner}:document/{short}")
    };
    let definition = document.replacen(":document/", ":automation-definition/", 1);
    [document, format!("{definition}:{version}")]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_name_or_arn_and_only_the_known_ones() {
        let mut runbooks = Runbooks::default();
        runbooks.register("arn:aws:ssm:us-east-1:111111111111:document/Patch", &[]);
        assert!(runbooks.find("Patch").is_some_and(|runbook| runbook.takes("Anything")));
        assert!(runbooks.find("arn:aws:ssm:eu-west-1:111111111111:document/Patch").is_some());
        let restart = runbooks.find("AWS-RestartEC2Instance").unwrap();
        assert!(restart.takes("InstanceId") && restart.takes(ASSUME_ROLE) && !restart.takes("InstanceIds"));
        assert_eq!(runbooks.find("AWS-RunPatchBaseline"), None, "a Command document");
    }

    #[test]
    fn versions() {
        let runbook = Runbook::new(&[]);
        assert_eq!(version(&runbook, None), Ok("1".to_owned()));
        assert_eq!(version(&runbook, Some("$LATEST")), Ok("1".to_owned()));
        let error = version(&runbook, Some("2")).unwrap_err();
        assert_eq!(error.code, "AutomationDefinitionVersionNotFoundException");
    }

    #[test]
    fn arns_for_policies() {
        let [document, definition] = arns("111111111111", "us-east-1", "AWS-StopEC2Instance", "$DEFAULT");
        assert_eq!(document, "arn:aws:ssm:us-east-1::document/AWS-StopEC2Instance");
        assert_eq!(definition, "arn:aws:ssm:us-east-1::automation-definition/AWS-StopEC2Instance:$DEFAULT");
        let [document, _] = arns("111111111111", "us-east-1", "Patch", "1");
        assert_eq!(document, "arn:aws:ssm:us-east-1:111111111111:document/Patch");
    }
}
