//! What to deploy for an agency, and what to do for it to leave: comments and commands of a shell.

use hub::{AccountId, Region};
use serde::Serialize;

use super::time::counted;

/// A step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// In which account.
    pub account: String,
    /// What it is for.
    pub title: String,
    /// Commands; none for something to know.
    pub commands: Vec<String>,
}

impl Step {
    fn new(account: &AccountId, title: impl Into<String>, commands: Vec<String>) -> Self {
        Self { account: account.to_string(), title: title.into(), commands }
    }
}

/// Where the hub is and what it is called.
#[derive(Debug)]
pub struct Place<'a> {
    /// Such as `aws`.
    pub partition: &'a str,
    /// The central account.
    pub account: &'a AccountId,
    /// Where the hub runs.
    pub region: &'a Region,
    /// What all of its names begin with.
    pub name_prefix: &'a str,
    /// Whether its roles have the Region in their names.
    pub has_region_in_role_names: bool,
    /// The function that tags nodes.
    pub manager: &'a str,
}

/// What makes an account an agency.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// The hub.
    pub hub: &'a Place<'a>,
    /// The account.
    pub account: &'a AccountId,
    /// What it is to be called.
    pub name: Option<&'a str>,
    /// The version of the manager that most agencies have.
    pub manager_version: Option<String>,
}

/// What an agency leaves behind, and does not.
#[derive(Debug)]
pub struct Leave<'a> {
    /// The hub.
    pub hub: &'a Place<'a>,
    /// The account.
    pub account: &'a AccountId,
    /// How many nodes it has.
    pub nodes: usize,
    /// How many of them are online.
    pub online: usize,
}

impl Arrival<'_> {
    /// The steps, in their order.
    pub fn steps(&self) -> Vec<Step> {
        let Self { hub, account, .. } = self;
        let (central, prefix) = (hub.account, hub.name_prefix);
        let mut grant = vec![format!("AgencyAccountId={account}")];
        grant.extend(self.name.map(|name| format!("AgencyName={name}")));
        grant.extend(self.manager_version.as_ref().map(|version| format!("ManagerVersion={version}")));
        let grant = |silent: &str| {
            let all = grant.iter().cloned().chain([format!("SilentAfterMinutes={silent}")]).collect();
            deploy(hub, &format!("{prefix}tag-hub-agency-{account}"), "cfn/agency-grant.yaml", all)
        };
        let manager = format!("arn:{}:lambda:{}:{central}:function:{}", hub.partition, hub.region, hub.manager);
        let mut collector =
            vec!["CodeBucket=BUCKET".to_owned(), "CodeKey=KEY".to_owned(), format!("ManagerFunctionArn={manager}")];
        collector.extend(hub.has_region_in_role_names.then(|| "RegionInRoleNames=Yes".to_owned()));
        vec![
            Step::new(central, "the grant; it may be one of cfn/agency-grants.yaml instead", vec![grant("0")]),
            Step::new(
                account,
                "the collector; BUCKET and KEY are where dist/tags-collector.zip lies",
                vec![deploy(hub, &format!("{prefix}tag-hub"), "cfn/agency.yaml", collector)],
            ),
            Step::new(
                account,
                "the role of the instances that register themselves",
                vec![deploy(
                    hub,
                    &format!("{prefix}tag-hub-instance-profile"),
                    "cfn/instance-profile.yaml",
                    Vec::new(),
                )],
            ),
            Step::new(central, "the proof", vec![format!("taghub{} agency test {account}", hub_flag(hub))]),
            Step::new(central, "the alarm of silence, once the proof is there", vec![grant("60")]),
        ]
    }

    /// For people and for shells.
    pub fn text(&self) -> String {
        text(&self.steps(), self.hub.region)
    }
}

impl Leave<'_> {
    /// The steps, in their order.
    pub fn steps(&self) -> Vec<Step> {
        let Self { hub, account, nodes, online } = self;
        let (central, prefix, region) = (hub.account, hub.name_prefix, hub.region);
        let delete = |stack: &str| {
            let both = ["delete-stack", "wait stack-delete-complete"];
            both.map(|verb| format!("aws cloudformation {verb} --region {region} --stack-name {stack}")).to_vec()
        };
        vec![
            Step::new(
                account,
                "the collector, and in each further Region the stack of cfn/agency-region.yaml; a stack set takes the \
                 account out instead",
                delete(&format!("{prefix}tag-hub")),
            ),
            Step::new(
                account,
                "the activation, in each Region that has one",
                vec![format!("aws ssm delete-parameter --region {region} --name /tag-hub/{prefix}activation")],
            ),
            Step::new(
                central,
                "the grant; if it is in cfn/agency-grants.yaml, take the account out of the list instead",
                delete(&format!("{prefix}tag-hub-agency-{account}")),
            ),
            Step::new(
                central,
                "the activations that are still valid: each id that this prints goes to aws ssm delete-activation",
                vec![format!(
                    "aws ssm describe-activations --region {region} --output text --query \
                     \"ActivationList[?Tags[?Key=='tag-hub:agency' && Value=='{account}']].ActivationId\""
                )],
            ),
            Step::new(
                central,
                "its last figures, in each Region that its collector read",
                vec![format!(
                    "aws ssm delete-parameters --region {region} --names /tag-hub/{prefix}coverage/{account}/{region}"
                )],
            ),
            Step::new(
                central,
                format!(
                    "{} ({online} online) stay connected, with the tags that they have. To let one go, which cannot be \
                     undone: aws ssm deregister-managed-instance --instance-id mi-…",
                    counted(*nodes, "node")
                ),
                Vec::new(),
            ),
            Step::new(
                account,
                "the role of the instances, once none of them uses it",
                delete(&format!("{prefix}tag-hub-instance-profile")),
            ),
        ]
    }

    /// For people and for shells.
    pub fn text(&self) -> String {
        text(&self.steps(), self.hub.region)
    }
}

fn deploy(hub: &Place<'_>, stack: &str, template: &str, mut parameters: Vec<String>) -> String {
    if !hub.name_prefix.is_empty() {
        parameters.push(format!("NamePrefix={}", hub.name_prefix));
    }
    let capabilities = if template == "cfn/agency-grant.yaml" { "" } else { " --capabilities CAPABILITY_NAMED_IAM" };
    let mut command = format!(
        "aws cloudformation deploy --region {} --stack-name {stack} \\\n  --template-file {template}{capabilities}",
        hub.region
    );
    if !parameters.is_empty() {
        let parameters: Vec<String> = parameters.iter().map(|parameter| quoted(parameter)).collect();
        command.push_str(&format!(" \\\n  --parameter-overrides {}", parameters.join(" ")));
    }
    command
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "=:/._,-".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn hub_flag(hub: &Place<'_>) -> String {
    if hub.name_prefix.is_empty() { String::new() } else { format!(" --hub {}", hub.name_prefix) }
}

fn text(steps: &[Step], region: &Region) -> String {
    let step = |(number, step): (usize, &Step)| {
        let commands: String = step.commands.iter().flat_map(|command| [command.as_str(), "\n"]).collect();
        format!("# {number}. {}, {region}: {}\n{commands}", step.account, step.title)
    };
    (1..).zip(steps).map(step).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_place(prefix: &str, show: impl FnOnce(&Place<'_>, &AccountId) -> String) -> String {
        with_names(prefix, false, show)
    }

    fn with_names(
        prefix: &str,
        has_region_in_role_names: bool,
        show: impl FnOnce(&Place<'_>, &AccountId) -> String,
    ) -> String {
        let (central, account) = ("111111111111".parse().unwrap(), "444444444444".parse().unwrap());
        let (region, manager) = ("us-east-1".parse().unwrap(), format!("{prefix}ssm-tag-manager"));
        let place = Place {
            partition: "aws",
            account: &central,
            region: &region,
            name_prefix: prefix,
            has_region_in_role_names,
            manager: &manager,
        };
        show(&place, &account)
    }

    #[test]
    fn an_agency_comes_in_five_steps() {
        let arrival = |prefix: &str, name: Option<&str>, version: &str| {
            with_place(prefix, |hub, account| {
                Arrival { hub, account, name, manager_version: Some(version.to_owned()) }.text()
            })
        };
        insta::assert_snapshot!(arrival("test-", Some("St. John's"), "7"), @r#"
        # 1. 111111111111, us-east-1: the grant; it may be one of cfn/agency-grants.yaml instead
        aws cloudformation deploy --region us-east-1 --stack-name test-tag-hub-agency-444444444444 \
          --template-file cfn/agency-grant.yaml \
          --parameter-overrides AgencyAccountId=444444444444 'AgencyName=St. John'\''s' ManagerVersion=7 SilentAfterMinutes=0 NamePrefix=test-

        # 2. 444444444444, us-east-1: the collector; BUCKET and KEY are where dist/tags-collector.zip lies
        aws cloudformation deploy --region us-east-1 --stack-name test-tag-hub \
          --template-file cfn/agency.yaml --capabilities CAPABILITY_NAMED_IAM \
          --parameter-overrides CodeBucket=BUCKET CodeKey=KEY ManagerFunctionArn=arn:aws:lambda:us-east-1:111111111111:function:test-ssm-tag-manager NamePrefix=test-

        # 3. 444444444444, us-east-1: the role of the instances that register themselves
        aws cloudformation deploy --region us-east-1 --stack-name test-tag-hub-instance-profile \
          --template-file cfn/instance-profile.yaml --capabilities CAPABILITY_NAMED_IAM \
          --parameter-overrides NamePrefix=test-

        # 4. 111111111111, us-east-1: the proof
        taghub --hub test- agency test 444444444444

        # 5. 111111111111, us-east-1: the alarm of silence, once the proof is there
        aws cloudformation deploy --region us-east-1 --stack-name test-tag-hub-agency-444444444444 \
          --template-file cfn/agency-grant.yaml \
          --parameter-overrides AgencyAccountId=444444444444 'AgencyName=St. John'\''s' ManagerVersion=7 SilentAfterMinutes=60 NamePrefix=test-
        "#);
        let text = arrival("", None, "$LATEST");
        assert!(text.contains(" 'ManagerVersion=$LATEST' SilentAfterMinutes=0\n"), "{text}");
    }

    #[test]
    fn an_agency_of_a_second_hub_gets_roles_of_its_region() {
        let text =
            with_names("", true, |hub, account| Arrival { hub, account, name: None, manager_version: None }.text());
        let lines: Vec<&str> = text.lines().filter(|line| line.contains("RegionInRoleNames=Yes")).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(lines[0].contains("ManagerFunctionArn="), "the collector's, which alone takes it: {text}");
    }

    #[test]
    fn an_agency_leaves_with_its_nodes_connected() {
        let text = with_place("", |hub, account| Leave { hub, account, nodes: 3, online: 2 }.text());
        insta::assert_snapshot!(text, @r#"
        # 1. 444444444444, us-east-1: the collector, and in each further Region the stack of cfn/agency-region.yaml; a stack set takes the account out instead
        aws cloudformation delete-stack --region us-east-1 --stack-name tag-hub
        aws cloudformation wait stack-delete-complete --region us-east-1 --stack-name tag-hub

        # 2. 444444444444, us-east-1: the activation, in each Region that has one
        aws ssm delete-parameter --region us-east-1 --name /tag-hub/activation

        # 3. 111111111111, us-east-1: the grant; if it is in cfn/agency-grants.yaml, take the account out of the list instead
        aws cloudformation delete-stack --region us-east-1 --stack-name tag-hub-agency-444444444444
        aws cloudformation wait stack-delete-complete --region us-east-1 --stack-name tag-hub-agency-444444444444

        # 4. 111111111111, us-east-1: the activations that are still valid: each id that this prints goes to aws ssm delete-activation
        aws ssm describe-activations --region us-east-1 --output text --query "ActivationList[?Tags[?Key=='tag-hub:agency' && Value=='444444444444']].ActivationId"

        # 5. 111111111111, us-east-1: its last figures, in each Region that its collector read
        aws ssm delete-parameters --region us-east-1 --names /tag-hub/coverage/444444444444/us-east-1

        # 6. 111111111111, us-east-1: 3 nodes (2 online) stay connected, with the tags that they have. To let one go, which cannot be undone: aws ssm deregister-managed-instance --instance-id mi-…

        # 7. 444444444444, us-east-1: the role of the instances, once none of them uses it
        aws cloudformation delete-stack --region us-east-1 --stack-name tag-hub-instance-profile
        aws cloudformation wait stack-delete-complete --region us-east-1 --stack-name tag-hub-instance-profile
        "#);
    }
}
