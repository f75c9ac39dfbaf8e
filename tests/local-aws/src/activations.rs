//! Hybrid activations: `CreateActivation`, `DescribeActivations`, `DeleteActivation`, and what the agent's
//! `RegisterManagedInstance` makes of them.
//!
//! Shapes: `CreateActivationRequest`, `Activation`, `DescribeActivationsFilter`. What the service models
//! say has been checked before. The agent's operation is in no published model; its shape here is that of
//! the agent's own SDK.
//!
//! # Where AWS is silent
//! - A refused expiration date is a `ValidationException`.
//! - A second deletion of the same activation is `InvalidActivation`, an id of none `InvalidActivationId`.
//! - A public key that belongs to a registered node is `InstanceAlreadyRegistered`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::aws_error::AwsError;
use crate::clock;
use crate::nodes::{NewNode, Nodes, Tags};
use crate::ssm_tags::{requested, tag_list};
use crate::xml::items;

const DEFAULT_LIFETIME: Duration = Duration::from_hours(24);
const MAX_LIFETIME: Duration = Duration::from_hours(24 * 30);
const DEFAULT_PAGE: u64 = 50;

/// One activation. Shape: `Activation`, with the code, which AWS shows once only.
#[derive(Debug, Clone)]
pub struct Activation {
    pub activation_id: String,
    pub activation_code: String,
    pub description: Option<String>,
    pub default_instance_name: Option<String>,
    pub iam_role: String,
    pub registration_limit: u64,
    pub registrations_count: u64,
    pub created: SystemTime,
    pub expiration: SystemTime,
    /// Put on each node at its registration.
    pub tags: BTreeMap<String, String>,
}

type Home = (String, String);

/// The activations of every account and Region.
#[derive(Debug, Default)]
pub struct Activations {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their creation.
    homes: HashMap<Home, Vec<Activation>>,
    deleted: HashSet<String>,
    /// Every code that was ever told.
    codes: Vec<String>,
    /// The node of each public key.
    keys: HashMap<String, (Home, String)>,
}

impl Activations {
    /// The activations of an account in a Region, the oldest first.
    pub fn list(&self, account: &str, region: &str) -> Vec<Activation> {
        self.lock().homes.get(&home(account, region)).cloned().unwrap_or_default()
    }

    /// Lets an activation expire `after` from now; whether there is such an activation.
    pub fn expire(&self, account: &str, region: &str, id: &str, after: Duration) -> bool {
        self.change(account, region, id, |activation| activation.expiration = clock::now() + after)
    }

    /// Says how many nodes have been registered with an activation; whether there is such an activation.
    pub fn set_registrations(&self, account: &str, region: &str, id: &str, count: u64) -> bool {
        self.change(account, region, id, |activation| activation.registrations_count = count)
    }

    /// Makes an activation older than it is; whether there is such an activation. It ends no sooner for that.
    pub fn age(&self, account: &str, region: &str, id: &str, by: Duration) -> bool {
        self.change(account, region, id, |activation| activation.created -= by)
    }

    /// Every code that was ever told, those of deleted activations too, so that a test can look where they show.
    pub fn codes(&self) -> Vec<String> {
        self.lock().codes.clone()
    }

    /// The account and the Region of an activation.
    pub(crate) fn owner(&self, id: &str) -> Option<(String, String)> {
        let state = self.lock();
        let holds =
            |activations: &&Vec<Activation>| activations.iter().any(|activation| activation.activation_id == id);
        state.homes.iter().find(|(_, activations)| holds(activations)).map(|(home, _)| home.clone())
    }

    /// `CreateActivation` for a request that the model accepts, with a role that can be assumed.
    ///
    /// # Errors
    /// `ValidationException` for an expiration date that is past, or more than 30 days ahead.
    pub(crate) fn create(&self, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
        let created = clock::now();
        let expiration = expiration(body, created)?;
        let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let activation = Activation {
            activation_id: uuid::Uuid::new_v4().to_string(),
            activation_code: fresh_code(uuid::Uuid::new_v4()),
            description: text("Description"),
            default_instance_name: text("DefaultInstanceName"),
            iam_role: text("IamRole").unwrap_or_default(),
            registration_limit: body["RegistrationLimit"].as_u64().unwrap_or(1),
            registrations_count: 0,
            created,
            expiration,
            tags: requested(body).into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        };
        let answer = json!({"ActivationId": activation.activation_id, "ActivationCode": activation.activation_code});
        let mut state = self.lock();
        state.codes.push(activation.activation_code.clone());
        state.homes.entry(home(account, region)).or_default().push(activation);
        Ok(answer)
    }

    /// `DescribeActivations`, in the order of creation.
    ///
    /// # Errors
    /// `InvalidFilter` for a filter without a key or values, `InvalidNextToken`.
    pub(crate) fn describe(&self, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
        let mut filters = Vec::new();
        for filter in items(&body["Filters"]) {
            let values: Vec<&str> = items(&filter["FilterValues"]).iter().filter_map(Value::as_str).collect();
            let key = filter["FilterKey"].as_str().filter(|_| !values.is_empty());
            let Some(key) = key else {
                return Err(AwsError::new(400, "InvalidFilter", "A filter needs a FilterKey and FilterValues."));
            };
            filters.push((key, values));
        }
        let takes = |activation: &Activation| {
            filters.iter().all(|(key, values)| {
                let shown = match *key {
                    "ActivationIds" => Some(activation.activation_id.as_str()),
                    "DefaultInstanceName" => activation.default_instance_name.as_deref(),
                    _ => Some(activation.iam_role.as_str()),
                };
                shown.is_some_and(|shown| values.contains(&shown))
            })
        };
        let start = match body["NextToken"].as_str().filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => token.parse::<usize>().map_err(|_| invalid_token())?,
        };
        let limit = usize::try_from(body["MaxResults"].as_u64().unwrap_or(DEFAULT_PAGE)).unwrap_or(usize::MAX);
        let now = clock::now();
        let all = self.list(account, region);
        let mut shown = all.iter().enumerate().skip(start).filter(|(_, activation)| takes(activation));
        let page: Vec<Value> = shown.by_ref().take(limit).map(|(_, activation)| view(activation, now)).collect();
        let mut answer = json!({"ActivationList": page});
        if let Some((next, _)) = shown.next() {
            answer["NextToken"] = json!(next.to_string());
        }
        Ok(answer)
    }

    /// `DeleteActivation`. Nodes that were registered with it stay.
    ///
    /// # Errors
    /// `InvalidActivationId` and `InvalidActivation`.
    pub(crate) fn delete(&self, account: &str, region: &str, body: &Value) -> Result<Value, AwsError> {
        let id = body["ActivationId"].as_str().unwrap_or_default();
        let mut state = self.lock();
        let activations = state.homes.entry(home(account, region)).or_default();
        let before = activations.len();
        activations.retain(|activation| activation.activation_id != id);
        if activations.len() < before {
            state.deleted.insert(id.to_owned());
            return Ok(json!({}));
        }
        if state.deleted.contains(id) {
            return Err(AwsError::new(400, "InvalidActivation", "The activation might have been deleted."));
        }
        Err(AwsError::new(400, "InvalidActivationId", "The activation ID isn't valid."))
    }

    /// `RegisterManagedInstance`, as the agent calls it in a Region: the node that now exists.
    ///
    /// # Errors
    /// `InvalidActivation`, `ActivationExpired`, `RegistrationLimitExceeded`, `InstanceAlreadyRegistered`.
    pub(crate) fn register(&self, nodes: &Nodes, region: Option<&str>, body: &Value) -> Result<Value, AwsError> {
        let text = |name: &str| body[name].as_str().unwrap_or_default();
        let (id, key) = (text("ActivationId"), text("PublicKey"));
        let mut state = self.lock();
        if let Some(((account, its_region), node)) = state.keys.get(key)
            && nodes.exists(account, its_region, node)
        {
            return Err(AwsError::new(400, "InstanceAlreadyRegistered", format!("{node} has this public key.")));
        }
        let here = |home: &Home| region.is_none_or(|region| region == home.1);
        let found = state.homes.iter_mut().filter(|(home, _)| here(home)).find_map(|(home, activations)| {
            let activation = activations.iter_mut().find(|activation| activation.activation_id == id)?;
            Some((home.clone(), activation))
        });
        let Some((home, activation)) = found.filter(|(_, found)| found.activation_code == text("ActivationCode"))
        else {
            // AWS does not tell a wrong code from a wrong id.
            return Err(AwsError::new(400, "InvalidActivation", ""));
        };
        if activation.expiration <= clock::now() {
            return Err(AwsError::new(400, "ActivationExpired", ""));
        }
        if activation.registrations_count >= activation.registration_limit {
            return Err(AwsError::new(400, "RegistrationLimitExceeded", ""));
        }
        activation.registrations_count += 1;
        let node = NewNode {
            activation_id: id.to_owned(),
            iam_role: activation.iam_role.clone(),
            name: activation.default_instance_name.clone(),
            tags: activation.tags.clone(),
            ..NewNode::default()
        };
        let node = nodes.register(&home.0, &home.1, node);
        state.keys.insert(key.to_owned(), (home, node.clone()));
        Ok(json!({"InstanceId": node}))
    }

    fn change(&self, account: &str, region: &str, id: &str, change: impl FnOnce(&mut Activation)) -> bool {
        let mut state = self.lock();
        let activations = state.homes.entry(home(account, region)).or_default();
        activations.iter_mut().find(|activation| activation.activation_id == id).map(change).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The model of the agent's own operation, in the form of botocore's.
pub(crate) fn agent_model() -> Value {
    json!({
        "operations": {"RegisterManagedInstance": {"input": {"shape": "Request"}}},
        "shapes": {
            "Request": {
                "type": "structure",
                "required": ["ActivationId", "ActivationCode", "PublicKey"],
                "members": {
                    "ActivationId": {"shape": "Id"}, "ActivationCode": {"shape": "Code"}, "Fingerprint": {"shape": "Text"},
                    "PublicKey": {"shape": "Key"}, "PublicKeyType": {"shape": "KeyType"}
                }
            },
            "Id": {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
            "Code": {"type": "string", "min": 20, "max": 250},
            "Key": {"type": "string", "min": 392},
            "KeyType": {"type": "string", "enum": ["Rsa"]},
            "Text": {"type": "string"}
        }
    })
}

fn expiration(body: &Value, now: SystemTime) -> Result<SystemTime, AwsError> {
    let refused = |why: &str| Err(AwsError::new(400, "ValidationException", format!("ExpirationDate {why}")));
    let asked = match &body["ExpirationDate"] {
        Value::Null => return Ok(now + DEFAULT_LIFETIME),
        Value::Number(seconds) => seconds.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        _ => None,
    };
    let Some(asked) = asked.and_then(|seconds| UNIX_EPOCH.checked_add(seconds)) else {
        return refused("has to be a number of seconds.");
    };
    match asked.duration_since(now) {
        Err(_) => refused("has to be in the future."),
        Ok(ahead) if ahead > MAX_LIFETIME => refused("can be at most 30 days ahead."),
        Ok(_) => Ok(asked),
    }
}

/// 20 characters, with the two of Base64 that shells and URLs trip over always among them.
fn fresh_code(random: uuid::Uuid) -> String {
    let bytes = random.as_bytes();
    let mut code = base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes);
    code.truncate(18);
    code.insert(7, '+');
    code.insert(13, '/');
    code
}

fn view(activation: &Activation, now: SystemTime) -> Value {
    let mut view = json!({
        "ActivationId": activation.activation_id,
        "IamRole": activation.iam_role,
        "RegistrationLimit": activation.registration_limit,
        "RegistrationsCount": activation.registrations_count,
        "ExpirationDate": clock::epoch_seconds(activation.expiration),
        "Expired": activation.expiration <= now,
        "CreatedDate": clock::epoch_seconds(activation.created),
        "Tags": tag_list(&Tags::clone(&activation.tags)),
    });
    for (name, text) in
        [("Description", &activation.description), ("DefaultInstanceName", &activation.default_instance_name)]
    {
        if let Some(text) = text {
            view[name] = json!(text);
        }
    }
    view
}

fn invalid_token() -> AwsError {
    AwsError::new(400, "InvalidNextToken", "The specified token is not valid.")
}

fn home(account: &str, region: &str) -> Home {
    (account.to_owned(), region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACCOUNT: &str = "111111111111";
    const REGION: &str = "us-east-1";

    fn create(activations: &Activations, body: &Value) -> (String, String) {
        let answer = activations.create(ACCOUNT, REGION, body).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        (text("ActivationId"), text("ActivationCode"))
    }

    fn register(
        activations: &Activations,
        nodes: &Nodes,
        (id, code): &(String, String),
        key: &str,
    ) -> Result<String, String> {
        let body = json!({"ActivationId": id, "ActivationCode": code, "PublicKey": key});
        let answer = activations.register(nodes, Some(REGION), &body).map_err(|error| error.code)?;
        Ok(answer["InstanceId"].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_node_has_what_its_activation_gives_it() {
        let (activations, nodes) = (Activations::default(), Nodes::default());
        let tags = json!([{"Key": "tag-hub:agency", "Value": "222222222222"}]);
        let made = create(&activations, &json!({"IamRole": "node", "DefaultInstanceName": "agency", "Tags": tags}));
        assert_eq!(made.1.len(), 20);
        let id = register(&activations, &nodes, &made, "key").unwrap();
        let node = &nodes.list(ACCOUNT, REGION)[0];
        assert_eq!((&node.instance_id, &node.activation_id, &node.iam_role), (&id, &made.0, &"node".to_owned()));
        assert_eq!((node.name.as_deref(), node.tags()["tag-hub:agency"].as_str()), (Some("agency"), "222222222222"));
        assert_eq!(register(&activations, &nodes, &made, "key"), Err("InstanceAlreadyRegistered".to_owned()));
        assert_eq!(register(&activations, &nodes, &made, "other"), Err("RegistrationLimitExceeded".to_owned()));
        nodes.deregister(ACCOUNT, REGION, &id);
        assert_eq!(activations.list(ACCOUNT, REGION)[0].registrations_count, 1);
    }

    #[test]
    fn what_is_wrong_with_an_activation() {
        let (activations, nodes) = (Activations::default(), Nodes::default());
        let made = create(&activations, &json!({"IamRole": "node", "RegistrationLimit": 5}));
        let invalid = Err("InvalidActivation".to_owned());
        assert_eq!(register(&activations, &nodes, &(made.0.clone(), "wrong".to_owned()), "a"), invalid);
        let body = json!({"ActivationId": made.0, "ActivationCode": made.1, "PublicKey": "a"});
        assert_eq!(activations.register(&nodes, Some("eu-west-1"), &body).unwrap_err().code, "InvalidActivation");
        activations.expire(ACCOUNT, REGION, &made.0, Duration::ZERO);
        assert_eq!(register(&activations, &nodes, &made, "a"), Err("ActivationExpired".to_owned()));
        assert_eq!(activations.describe(ACCOUNT, REGION, &json!({})).unwrap()["ActivationList"][0]["Expired"], true);

        let delete =
            |id: &str| activations.delete(ACCOUNT, REGION, &json!({"ActivationId": id})).map_err(|error| error.code);
        assert_eq!(delete(&made.0), Ok(json!({})));
        assert_eq!(delete(&made.0), Err("InvalidActivation".to_owned()));
        assert_eq!(delete("0"), Err("InvalidActivationId".to_owned()));
        assert_eq!(register(&activations, &nodes, &made, "a"), invalid);
    }

    #[test]
    fn expiration_dates() {
        let now = clock::now();
        let at = |ahead: f64| json!({"ExpirationDate": clock::epoch_seconds(now) + ahead});
        let day = 86_400.0;
        assert_eq!(expiration(&json!({}), now), Ok(now + DEFAULT_LIFETIME));
        assert!(expiration(&at(29.9 * day), now).is_ok());
        for bad in [at(30.1 * day), at(-1.0), json!({"ExpirationDate": "tomorrow"})] {
            assert_eq!(expiration(&bad, now).unwrap_err().code, "ValidationException", "{bad}");
        }
    }

    #[test]
    fn filters_and_pages() {
        let activations = Activations::default();
        for index in 0..5 {
            let name = if index % 2 == 0 { "even" } else { "odd" };
            create(&activations, &json!({"IamRole": "node", "DefaultInstanceName": name}));
        }
        let describe = |body: Value| activations.describe(ACCOUNT, REGION, &body).unwrap();
        let odd = describe(json!({"Filters": [{"FilterKey": "DefaultInstanceName", "FilterValues": ["odd"]}]}));
        assert_eq!(items(&odd["ActivationList"]).len(), 2);
        let first = describe(json!({"MaxResults": 3}));
        let second = describe(json!({"MaxResults": 3, "NextToken": first["NextToken"]}));
        assert_eq!((items(&first["ActivationList"]).len(), items(&second["ActivationList"]).len()), (3, 2));
        assert!(second.get("NextToken").is_none());
    }
}
