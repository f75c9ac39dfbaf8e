//! Who is calling, and what their policies decide: questions to `MiniStack`'s own evaluator.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::forward::Forward;

/// How long a decision is taken for the same question; an IAM change passing by ends it at once.
const DECISION_LIFETIME: Duration = Duration::from_secs(2);

/// May this principal do this?
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Question {
    #[serde(rename = "accessKey")]
    pub(crate) access_key: String,
    pub(crate) region: String,
    /// `service:Action`, as policies spell it.
    pub(crate) action: String,
    /// The exact ARN.
    pub(crate) resource: String,
    /// Condition keys such as `aws:TagKeys`, with a text or a list.
    pub(crate) context: Map<String, Value>,
    /// The resource's own policy, where it has one.
    pub(crate) policy: Option<Value>,
}

/// What one kind of policy says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Effect {
    Allow,
    Deny,
    ImplicitDeny,
}

/// The evaluator's answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Decision {
    /// The ARN that a denial names: a user, a role session or an account's root.
    pub(crate) principal: String,
    pub(crate) identity: Effect,
    /// What the resource's policy says; absent where the question carried none.
    pub(crate) resource: Option<Effect>,
}

#[derive(Debug, Deserialize)]
struct Caller {
    account: String,
}

/// Asks, and remembers for a moment.
#[derive(Debug)]
pub(crate) struct Access {
    forward: Forward,
    accounts: Mutex<HashMap<String, String>>,
    decisions: Mutex<HashMap<String, (Instant, Decision)>>,
}

impl Access {
    pub(crate) fn new(forward: Forward) -> Self {
        Self { forward, accounts: Mutex::default(), decisions: Mutex::default() }
    }

    /// The account of an access key; `None` for a key that nobody was given.
    pub(crate) async fn account(&self, access_key: &str) -> Option<String> {
        if let Some(account) = lock(&self.accounts).get(access_key) {
            return Some(account.clone());
        }
        let question = serde_json::json!({"accessKey": access_key});
        let caller: Caller = self.ask(&question).await.ok()?;
        lock(&self.accounts).insert(access_key.to_owned(), caller.account.clone());
        Some(caller.account)
    }

    pub(crate) async fn decide(&self, question: &Question) -> anyhow::Result<Decision> {
        let key = serde_json::to_string(question)?;
        let now = Instant::now();
        if let Some((until, decision)) = lock(&self.decisions).get(&key)
            && *until > now
        {
            return Ok(decision.clone());
        }
        let decision: Decision = self.ask(question).await?;
        let mut decisions = lock(&self.decisions);
        decisions.retain(|_, (until, _)| *until > now);
        decisions.insert(key, (now + DECISION_LIFETIME, decision.clone()));
        Ok(decision)
    }

    /// Forgets all decisions: policies may have changed.
    pub(crate) fn forget(&self) {
        lock(&self.decisions).clear();
    }

    /// Asks `MiniStack`'s own process, and remembers nothing.
    pub(crate) async fn ask<T: serde::de::DeserializeOwned>(&self, question: &impl Serialize) -> anyhow::Result<T> {
        let request = Request::builder()
            .method("POST")
            .uri("/_local-aws/decide")
            .body(Bytes::from(serde_json::to_vec(question)?))?;
        let answer = self.forward.send(request).await?;
        serde_json::from_slice(answer.body())
            .with_context(|| format!("MiniStack decided: {}", String::from_utf8_lossy(answer.body())))
    }
}

/// The text of a denial, as AWS words it.
pub(crate) fn denial(decision: &Decision, action: &str, resource: &str) -> Option<String> {
    let reason = match (decision.identity, decision.resource) {
        (Effect::Deny, _) => "with an explicit deny in an identity-based policy".to_owned(),
        (_, Some(Effect::Deny)) => "with an explicit deny in a resource-based policy".to_owned(),
        (Effect::ImplicitDeny, _) => format!("because no identity-based policy allows the {action} action"),
        (_, Some(Effect::ImplicitDeny)) => format!("because no resource-based policy allows the {action} action"),
        (Effect::Allow, None | Some(Effect::Allow)) => return None,
    };
    let principal = &decision.principal;
    Some(format!("User: {principal} is not authorized to perform: {action} on resource: {resource} {reason}"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_policies_have_to_allow_and_a_deny_wins() {
        let text = |identity, resource| {
            let decision = Decision { principal: "P".to_owned(), identity, resource };
            denial(&decision, "a:B", "R")
        };
        assert_eq!(text(Effect::Allow, None), None);
        assert_eq!(text(Effect::Allow, Some(Effect::Allow)), None);
        let rows = [
            (Effect::Deny, Some(Effect::Allow), "with an explicit deny in an identity-based policy"),
            (Effect::ImplicitDeny, Some(Effect::Allow), "because no identity-based policy allows the a:B action"),
            (Effect::Allow, Some(Effect::ImplicitDeny), "because no resource-based policy allows the a:B action"),
            (Effect::Allow, Some(Effect::Deny), "with an explicit deny in a resource-based policy"),
        ];
        for (identity, resource, reason) in rows {
            let expected = format!("User: P is not authorized to perform: a:B on resource: R {reason}");
            assert_eq!(text(identity, resource), Some(expected));
        }
    }
}
