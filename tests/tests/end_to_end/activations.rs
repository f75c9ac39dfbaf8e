//! Every agency holds one live activation, whatever becomes of it, and nobody else learns its code.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use local_aws::{Activation, Fault, Invocation, Moment, Snapshot, stacks};
use serde_json::{Value, json};
use tests::{ACTIVATION_PARAMETER, AGENCY_A, AGENCY_B, CENTRAL, HOME_REGION, SECOND_REGION, World};

use crate::tags;

const AGENCY_C: &str = "444444444444";
const ORGANIZATION: &str = "o-0123456789";
const WRITER: &str = "TagHubActivationWriter";
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const WITHIN: Duration = Duration::from_mins(1);

/// Nothing was made, written or deleted.
const NOTHING: [u64; 3] = [0, 0, 0];

/// A deployed hub, and all that its issuer has said.
struct Hub {
    world: World,
    regions: Vec<&'static str>,
    heard: RefCell<String>,
}

impl Hub {
    async fn deployed(regions: &[&'static str], parameters: &[(&str, &str)]) -> Self {
        let list = regions.join(",");
        // Limits have a test of their own.
        let wide = [("RenewalsPerDay", "100"), ("AgencyNodeLimit", "100000"), ("NodeLimit", "100000")];
        let wide = wide.into_iter().filter(|(name, _)| !parameters.iter().any(|(given, _)| given == name));
        let parameters: Vec<_> =
            [("ActivationRegions", list.as_str())].into_iter().chain(wide).chain(parameters.to_vec()).collect();
        let world = World::deployed_with(&parameters, &[]).await.unwrap();
        // The standard tier is a limit too.
        let tier = json!({"SettingId": "/ssm/managed-instance/activation-tier", "SettingValue": "advanced"});
        world.central().json("ssm", "UpdateServiceSetting", &tier).await.unwrap();
        Self { world, regions: regions.to_vec(), heard: RefCell::default() }
    }

    async fn issue(&self, event: Value) -> Invocation {
        let answer = self.world.issue(&event).await.unwrap();
        self.heard.borrow_mut().extend([answer.payload.to_string(), answer.log.clone()]);
        answer
    }

    /// The answer of a run in which nothing fails.
    async fn well(&self, event: Value) -> Value {
        let answer = self.issue(event).await;
        assert_eq!(answer.function_error, None, "{}", answer.payload);
        answer.payload
    }

    /// The words and the answer of a run in which something does.
    async fn partly(&self, event: Value) -> (String, Value) {
        let answer = self.issue(event).await;
        assert_eq!(answer.payload["errorType"], "PartialIssue", "{}", answer.payload);
        let message = answer.payload["errorMessage"].as_str().unwrap();
        let (words, answer) = message.split_once("; answer: ").unwrap();
        (words.to_owned(), serde_json::from_str(answer).unwrap())
    }

    /// The activations with an agency's tag, the oldest first.
    fn activations(&self, agency: &str) -> Vec<Activation> {
        let mut all = self.world.aws.activations().list(CENTRAL, HOME_REGION);
        all.retain(|activation| activation.tags == tags(&[("tag-hub:agency", agency)]));
        all
    }

    /// The activation that all of an agency's parameters hold, after a look at everything about it.
    async fn held(&self, agency: &str) -> Activation {
        let mut held = BTreeSet::new();
        for region in &self.regions {
            let parameter = self.world.activation_parameter(agency, region).await.unwrap().unwrap();
            assert_eq!(parameter["Type"], "SecureString");
            held.insert(parameter["Value"].as_str().unwrap().to_owned());
        }
        assert_eq!(held.len(), 1, "{agency} holds the same in every Region");
        let stored: Value = serde_json::from_str(held.first().unwrap()).unwrap();
        assert_eq!((&stored["Region"], &stored["Account"]), (&json!(HOME_REGION), &json!(agency)));
        assert_eq!(stored["HubAccount"], CENTRAL);
        let mut own = self.activations(agency).into_iter();
        let activation = own.find(|activation| stored["ActivationId"] == *activation.activation_id).unwrap();
        assert_eq!(stored["ActivationCode"], *activation.activation_code);
        assert_eq!(activation.description.as_deref(), Some(format!("Tag Hub: agency {agency}").as_str()));
        assert_eq!(activation.default_instance_name.as_deref(), Some(format!("agency-{agency}").as_str()));
        assert_eq!(activation.iam_role, "tag-hub-managed-node");
        assert!(activation.registrations_count < activation.registration_limit);
        activation
    }

    /// Lets an hour pass over everything that these agencies have.
    fn an_hour_later(&self, agencies: &[&str]) {
        for agency in agencies {
            for region in &self.regions {
                self.world.aws.age_parameter(agency, region, ACTIVATION_PARAMETER, HOUR).unwrap();
            }
        }
        for activation in self.world.aws.activations().list(CENTRAL, HOME_REGION) {
            assert!(self.world.aws.activations().age(CENTRAL, HOME_REGION, &activation.activation_id, HOUR));
        }
    }

    async fn delete_parameters(&self, agency: &str) {
        for region in &self.regions {
            self.world.delete_activation_parameter(agency, region).await.unwrap();
        }
    }

    fn calls(&self) -> Snapshot {
        self.world.aws.calls().snapshot()
    }

    /// How many activations were made, parameters written and activations deleted since then.
    fn writes_since(&self, before: &Snapshot) -> [u64; 3] {
        let calls = self.calls().since(before);
        ["ssm:CreateActivation", "ssm:PutParameter", "ssm:DeleteActivation"]
            .map(|operation| calls.of(operation).total())
    }

    /// Looks for every code that was ever told in all that the issuer has said.
    async fn assert_no_code_is_told(&self) {
        let mut told = self.heard.borrow().clone();
        told.push_str(&self.world.log(CENTRAL, "activation-issuer").await.unwrap());
        assert!(told.contains("activations checked") && told.contains("ActivationsLive"), "these are its logs: {told}");
        let live = self.activations(AGENCY_A);
        assert!(live.iter().any(|activation| told.contains(&activation.activation_id)), "ids are told: {told}");
        let codes = self.world.aws.activations().codes();
        assert!(codes.len() > 2);
        assert!(!codes.iter().any(|code| told.contains(code)), "a code is told: {told}");
    }
}

/// Agency, outcome and reason of an answer.
fn outcomes(answer: &Value) -> Vec<(&str, &str, &str)> {
    let agencies = answer["agencies"].as_array().unwrap().iter();
    agencies
        .map(|agency| {
            let text = |name: &str| agency[name].as_str().unwrap_or_default();
            (text("agency"), text("outcome"), text("reason"))
        })
        .collect()
}

fn everybody<'a>(outcome: &'a str, reason: &'a str) -> Vec<(&'a str, &'a str, &'a str)> {
    vec![(AGENCY_A, outcome, reason), (AGENCY_B, outcome, reason)]
}

#[tokio::test]
async fn an_activation_is_made_once_renewed_in_time_and_deleted_when_nobody_needs_it() {
    let hub = Hub::deployed(&[HOME_REGION, SECOND_REGION], &[("RegistrationLimit", "5"), ("RenewBelow", "2")]).await;
    let by_hand = json!({"IamRole": "tag-hub-managed-node", "Tags": [{"Key": "tag-hub:agency", "Value": AGENCY_A}]});
    let by_hand = hub.world.central().json("ssm", "CreateActivation", &by_hand).await.unwrap();

    let before = hub.calls();
    assert_eq!(outcomes(&hub.well(json!({"dryRun": true})).await), everybody("would-renew", "missing"));
    assert_eq!(hub.writes_since(&before), NOTHING);
    let answer = hub.well(json!({})).await;
    assert_eq!(outcomes(&answer), everybody("renewed", "missing"));
    assert_eq!(
        answer["counts"],
        json!({"agencies": 2, "live": 2, "created": 2, "deleted": 0, "failed": 0, "deferred": 0})
    );
    assert_eq!(hub.writes_since(&before), [2, 4, 0]);
    let (first, others) = (hub.held(AGENCY_A).await, hub.held(AGENCY_B).await);
    let life = first.expiration.duration_since(first.created).unwrap();
    assert!((29 * DAY..30 * DAY).contains(&life), "{life:?}");
    assert_eq!(first.registration_limit, 5);

    let before = hub.calls();
    assert_eq!(outcomes(&hub.well(json!({})).await), everybody("live", ""));
    assert_eq!(hub.writes_since(&before), NOTHING);
    let calls = hub.calls().since(&before);
    let reads = ["lambda:ListAliases", "ssm:DescribeActivations", "sts:AssumeRole", "ssm:GetParameter"];
    assert_eq!(reads.map(|operation| calls.of(operation).total()), [1, 1, 2, 4]);
    let answer = hub.issue(json!({"agency": "999999999999"})).await.payload;
    assert_eq!(answer["errorType"], "UnknownAgency", "{answer}");
    assert!(answer["errorMessage"].as_str().unwrap().contains("cfn/agency-grant.yaml"), "{answer}");

    damage_and_repair(&hub, &others).await;
    age_and_renew(&hub).await;

    // What was replaced still registers for an hour; then it goes, and nothing else does. What registered nodes stays
    // for a day, because it counts against the agency's ceiling.
    let (mine, all) = (hub.held(AGENCY_A).await, hub.activations(AGENCY_A));
    let used = all.iter().filter(|activation| activation.registrations_count > 0).count();
    let all = all.len() - used;
    assert_eq!(hub.well(json!({})).await["counts"]["deleted"], 0);
    hub.an_hour_later(&[AGENCY_A, AGENCY_B]);
    let before = hub.calls();
    let dry = hub.well(json!({"dryRun": true})).await;
    assert_eq!(dry["agencies"][0]["wouldDelete"].as_array().unwrap().len(), all - 2, "{dry}");
    assert_eq!(hub.writes_since(&before), NOTHING);
    let answer = hub.well(json!({})).await;
    assert_eq!(outcomes(&answer), everybody("live", ""));
    assert_eq!(hub.writes_since(&before), [0, 0, u64::try_from(all - 2).unwrap()]);
    let left = hub.activations(AGENCY_A).into_iter().filter(|activation| activation.registrations_count == 0);
    let left: Vec<_> = left.map(|activation| activation.activation_id).collect();
    assert_eq!(left, [by_hand["ActivationId"].as_str().unwrap(), &mine.activation_id]);
    assert_eq!(hub.held(AGENCY_B).await.activation_id, others.activation_id);

    // Whose grant is gone loses its activation, and the other one keeps its own.
    stacks::delete(&hub.world.central(), &format!("tag-hub-agency-{AGENCY_B}")).await.unwrap();
    let answer = hub.well(json!({})).await;
    assert_eq!(outcomes(&answer), [(AGENCY_A, "live", ""), (AGENCY_B, "revoked", "not-granted")]);
    assert_eq!(answer["agencies"][1]["deleted"], json!([others.activation_id]));
    assert!(hub.activations(AGENCY_B).is_empty());
    hub.held(AGENCY_A).await;
    hub.assert_no_code_is_told().await;
}

/// What an agency does to its parameters is mended: from another Region where one is good, else with a new activation.
async fn damage_and_repair(hub: &Hub, others: &Activation) {
    let theirs = hub.world.activation_parameter(AGENCY_B, HOME_REGION).await.unwrap().unwrap();
    let theirs = theirs["Value"].as_str().unwrap();
    let damages = [(None, "missing"), (Some("nonsense"), "malformed"), (Some(theirs), "foreign")];
    for (value, reason) in damages {
        for (regions, writes) in [(&[SECOND_REGION][..], [0, 1, 0]), (&hub.regions, [1, 2, 0])] {
            let held = hub.held(AGENCY_A).await;
            for region in regions {
                match value {
                    None => hub.world.delete_activation_parameter(AGENCY_A, region).await.unwrap(),
                    Some(value) => hub.world.set_activation_parameter(AGENCY_A, region, value).await.unwrap(),
                }
            }
            let before = hub.calls();
            let answer = hub.well(json!({"agency": AGENCY_A})).await;
            assert_eq!(outcomes(&answer), [(AGENCY_A, "renewed", reason)], "{regions:?}");
            assert_eq!(hub.writes_since(&before), writes, "{reason} in {regions:?}");
            let is_new = hub.held(AGENCY_A).await.activation_id != held.activation_id;
            assert_eq!(is_new, writes[0] == 1, "{reason} in {regions:?}");
        }
    }
    assert_eq!(hub.held(AGENCY_B).await.activation_id, others.activation_id);
}

/// An activation is renewed before it ends and before it is used up, and where somebody deleted it.
async fn age_and_renew(hub: &Hub) {
    type Change = fn(&World, &str) -> bool;
    let changes: [(&str, Change); 5] = [
        ("expiring", |world, id| world.aws.activations().expire(CENTRAL, HOME_REGION, id, 6 * DAY)),
        ("", |world, id| world.aws.activations().set_registrations(CENTRAL, HOME_REGION, id, 3)),
        ("used-up", |world, id| world.aws.activations().set_registrations(CENTRAL, HOME_REGION, id, 4)),
        ("expired", |world, id| world.aws.activations().expire(CENTRAL, HOME_REGION, id, Duration::ZERO)),
        ("used-up", |world, id| world.aws.activations().set_registrations(CENTRAL, HOME_REGION, id, 5)),
    ];
    for (reason, change) in changes {
        let held = hub.held(AGENCY_A).await;
        assert!(change(&hub.world, &held.activation_id));
        let before = hub.calls();
        let answer = hub.well(json!({"agency": AGENCY_A})).await;
        let (outcome, writes) = if reason.is_empty() { ("live", NOTHING) } else { ("renewed", [1, 2, 0]) };
        assert_eq!(outcomes(&answer), [(AGENCY_A, outcome, reason)]);
        assert_eq!(hub.writes_since(&before), writes, "{reason}");
        assert_eq!(hub.held(AGENCY_A).await.activation_id == held.activation_id, reason.is_empty());
    }
    let held = json!({"ActivationId": hub.held(AGENCY_A).await.activation_id});
    hub.world.central().json("ssm", "DeleteActivation", &held).await.unwrap();
    let answer = hub.well(json!({"agency": AGENCY_A})).await;
    assert_eq!(outcomes(&answer), [(AGENCY_A, "renewed", "deleted")]);
    hub.held(AGENCY_A).await;
}

#[tokio::test]
async fn an_agency_keeps_its_key_and_the_account_its_limit() {
    let hub =
        Hub::deployed(&[HOME_REGION], &[("RegistrationLimit", "100"), ("RenewBelow", "100"), ("NodeLimit", "150")])
            .await;
    let agency = hub.world.aws.client(AGENCY_A, HOME_REGION);
    let own = json!({"Name": ACTIVATION_PARAMETER, "Value": "to come", "Type": "SecureString", "KeyId": "alias/own"});
    agency.json("ssm", "PutParameter", &own).await.unwrap();
    hub.world.register_node(AGENCY_A, None);
    let answer = hub.well(json!({"agency": AGENCY_A})).await;
    assert_eq!(outcomes(&answer), [(AGENCY_A, "renewed", "malformed")]);
    let census = json!({
        "nodes": 1, "tier": "advanced", "limit": 150, "percent": 0, "newIn30Days": 1, "daysToLimit": 4470,
        "byAgency": {}, "others": 1
    });
    assert_eq!(answer["census"], census);
    assert_eq!(hub.held(AGENCY_A).await.registration_limit, 100);
    let history = json!({"Name": ACTIVATION_PARAMETER});
    let history = agency.json("ssm", "GetParameterHistory", &history).await.unwrap();
    let keys: Vec<_> = history["Parameters"].as_array().unwrap().iter().map(|version| &version["KeyId"]).collect();
    assert_eq!(keys, ["alias/own", "alias/own"]);

    // What is left of the account's limit, and then nothing.
    let answer = hub.well(json!({"agency": AGENCY_B})).await;
    assert_eq!(outcomes(&answer), [(AGENCY_B, "renewed", "missing")]);
    assert_eq!(hub.held(AGENCY_B).await.registration_limit, 49);
    hub.delete_parameters(AGENCY_B).await;
    let (words, answer) = hub.partly(json!({})).await;
    assert_eq!(outcomes(&answer), [(AGENCY_A, "live", ""), (AGENCY_B, "failed", "missing")]);
    assert_eq!(answer["agencies"][1]["errorCode"], "NodeLimit");
    assert!(words.contains("1 hybrid nodes and 149 open registrations, and NODE_LIMIT is 150"), "{words}");
    // The log has the count too, for a run that nobody waits for.
    let log = hub.world.log(CENTRAL, "activation-issuer").await.unwrap();
    assert!(log.contains("nodes counted") && log.contains("NodeLimitPercent"), "{log}");
}

#[tokio::test]
async fn trouble_in_one_agency_stops_no_other_and_leaves_nothing_behind() {
    let hub = Hub::deployed(&[HOME_REGION], &[]).await;
    // Granted, but cfn/agency.yaml is not there yet.
    hub.world.grant(AGENCY_C).await.unwrap();
    let (words, answer) = hub.partly(json!({})).await;
    assert!(words.contains(AGENCY_C) && words.contains("deploy cfn/agency.yaml"), "{words}");
    let served = [(AGENCY_A, "renewed", "missing"), (AGENCY_B, "renewed", "missing"), (AGENCY_C, "failed", "")];
    assert_eq!(outcomes(&answer), served);
    assert_eq!(answer["agencies"][2]["errorCode"], "AccessDenied");
    assert!(hub.activations(AGENCY_C).is_empty());
    // With an organization that the central account is not in, and then is.
    let parameters = [("ScheduleExpression", "rate(1 day)"), ("OrganizationId", ORGANIZATION)];
    hub.world.deploy_agency(AGENCY_C, &parameters).await.unwrap();
    let (_, answer) = hub.partly(json!({"agency": AGENCY_C})).await;
    assert_eq!(answer["agencies"][0]["errorCode"], "AccessDenied");
    hub.world.aws.set_organization(ORGANIZATION).unwrap();
    let answer = hub.well(json!({})).await;
    assert_eq!(outcomes(&answer), [(AGENCY_A, "live", ""), (AGENCY_B, "live", ""), (AGENCY_C, "renewed", "missing")]);

    // Nobody but the issuer takes the writer role, not even with the external id.
    let writer = format!("arn:aws:iam::{AGENCY_A}:role/{WRITER}");
    let refused = hub.world.central().assume_role_with(&writer, "test", AGENCY_A).await.unwrap_err();
    assert_eq!(refused.code, "AccessDenied", "{refused}");

    unreadable(&hub).await;
    unwritable(&hub).await;
    cut_off(&hub).await;
    two_at_once(&hub).await;
    hub.assert_no_code_is_told().await;
}

/// What cannot be read is left alone.
async fn unreadable(hub: &Hub) {
    let held = hub.held(AGENCY_A).await;
    let agency = hub.world.aws.client(AGENCY_A, HOME_REGION);
    let policy = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Deny", "Action": "ssm:GetParameter", "Resource": "*"}]});
    let (role, name) = (("RoleName", WRITER), ("PolicyName", "test"));
    agency.query("iam", "PutRolePolicy", &[role, name, ("PolicyDocument", &policy.to_string())]).await.unwrap();
    let before = hub.calls();
    let (words, answer) = hub.partly(json!({})).await;
    assert_eq!(outcomes(&answer)[..2], [(AGENCY_A, "failed", ""), (AGENCY_B, "live", "")]);
    assert_eq!(answer["agencies"][0]["errorCode"], "AccessDeniedException");
    assert!(words.contains("may not use the parameter /tag-hub/activation"), "{words}");
    assert_eq!(hub.writes_since(&before), NOTHING);
    agency.query("iam", "DeleteRolePolicy", &[role, name]).await.unwrap();

    let message = "User: TagHubActivationWriter is not authorized to perform: kms:Decrypt on resource: a key";
    let closed = Fault::error("ssm:GetParameter", 400, "AccessDeniedException", message).account(AGENCY_A);
    let closed = hub.world.aws.faults().add(closed);
    let before = hub.calls();
    let (words, _) = hub.partly(json!({})).await;
    assert!(words.contains("let the key's policy allow it kms:Decrypt"), "{words}");
    assert_eq!(hub.writes_since(&before), NOTHING);
    hub.world.aws.faults().remove(closed);
    assert_eq!(hub.held(AGENCY_A).await.activation_id, held.activation_id);
}

/// An activation that cannot be stored is deleted again, at once.
async fn unwritable(hub: &Hub) {
    for (code, advice) in [
        ("AccessDeniedException", "deploy cfn/agency.yaml there again"),
        ("HierarchyTypeMismatchException", "is not a SecureString"),
    ] {
        let all = hub.activations(AGENCY_A).len();
        hub.delete_parameters(AGENCY_A).await;
        let refusal = Fault::error("ssm:PutParameter", 400, code, "no").account(AGENCY_A);
        let refusal = hub.world.aws.faults().add(refusal);
        let before = hub.calls();
        let (words, answer) = hub.partly(json!({})).await;
        assert_eq!(outcomes(&answer)[..2], [(AGENCY_A, "failed", "missing"), (AGENCY_B, "live", "")]);
        assert!(words.contains(advice) && words.contains("was deleted"), "{words}");
        assert_eq!(hub.writes_since(&before), [1, 1, 1]);
        assert_eq!(hub.activations(AGENCY_A).len(), all, "nothing is left behind");
        hub.world.aws.faults().remove(refusal);
        assert_eq!(outcomes(&hub.well(json!({})).await)[0], (AGENCY_A, "renewed", "missing"));
        hub.held(AGENCY_A).await;
    }
}

/// Killed between making an activation and storing it, and right after storing it.
async fn cut_off(hub: &Hub) {
    for (operation, next) in [("ssm:CreateActivation", ("renewed", "missing")), ("ssm:PutParameter", ("live", ""))] {
        hub.delete_parameters(AGENCY_A).await;
        let kill = Fault::kill(operation, "activation-issuer", Moment::AfterTheCall).times(1);
        let kill = hub.world.aws.faults().add(kill);
        let answer = hub.issue(json!({"agency": AGENCY_A})).await;
        assert!(answer.function_error.is_some(), "{}", answer.payload);
        assert_eq!(hub.world.aws.faults().fired(kill), 1);
        hub.world.aws.faults().clear();
        let answer = hub.well(json!({"agency": AGENCY_A})).await;
        assert_eq!(outcomes(&answer), [(AGENCY_A, next.0, next.1)], "after {operation}");
        hub.held(AGENCY_A).await;
    }
    hub.an_hour_later(&[AGENCY_A, AGENCY_B, AGENCY_C]);
    hub.well(json!({})).await;
    assert_eq!(hub.activations(AGENCY_A).len(), 1, "an hour later only that one is left which the parameter holds");
}

/// Two runs make an activation each; the runs after them settle it.
async fn two_at_once(hub: &Hub) {
    let agencies = [AGENCY_A, AGENCY_B, AGENCY_C];
    for agency in agencies {
        hub.delete_parameters(agency).await;
    }
    let before = hub.calls();
    let slow = hub.world.aws.faults().add(Fault::latency("ssm:CreateActivation", Duration::from_secs(4)));
    let second = async {
        let begun = |world: &World| world.aws.faults().fired(slow) > 0;
        hub.world.eventually("the first run makes an activation", WITHIN, begun).await.unwrap();
        hub.well(json!({})).await
    };
    let (first, second) = tokio::join!(hub.well(json!({})), second);
    hub.world.aws.faults().clear();
    let created = hub.writes_since(&before)[0];
    assert!(created > 3, "both made some: {first} {second}");
    let answer = hub.well(json!({})).await;
    assert_eq!(answer["counts"]["live"], 3, "{answer}");
    hub.an_hour_later(&agencies);
    let answer = hub.well(json!({})).await;
    assert_eq!(agencies.map(|agency| hub.activations(agency).len()), [1, 1, 1], "{answer}");
    for agency in agencies {
        hub.held(agency).await;
    }
}
