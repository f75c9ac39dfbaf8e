//! What an invocation came to. No code is ever in it.

use std::fmt::{self, Write as _};

use hub::{AccountId, AwsError, Timestamp};
use serde::Serialize;

use crate::activation::ActivationId;
use crate::plan::Reason;
use crate::plan::census::Census;

/// How many agencies a message about trouble names.
const NAMED_MAX: usize = 10;

/// The answer of an invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// True where nothing was written.
    pub dry_run: bool,
    /// How many of what.
    pub counts: Counts,
    /// The hybrid nodes of the account, if they could be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<u32>,
    /// Whose they are, in which tier, and when they will be too many, if they could be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub census: Option<Census>,
    /// One entry for each agency, in the order of their account ids.
    pub agencies: Vec<AgencyAnswer>,
}

/// How many of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Agencies that have a grant and were asked for.
    pub agencies: usize,
    /// Those whose parameters hold a live activation in every Region at the end, even if it is to be renewed.
    pub live: usize,
    /// Activations made, those included that were deleted again because they could not be stored.
    pub created: usize,
    /// Activations deleted.
    pub deleted: usize,
    /// Agencies for which something failed, those without a grant included.
    pub failed: usize,
    /// Agencies that there was no time for.
    pub deferred: usize,
}

/// What became of one agency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgencyAnswer {
    /// The agency.
    pub agency: AccountId,
    /// What became of it.
    pub outcome: Outcome,
    /// What was wrong with its parameters, if anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The activation that its parameters hold now, or in some Regions where the outcome is `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activation_id: Option<ActivationId>,
    /// When that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expiration_date: Option<Timestamp>,
    /// How many nodes it still registers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registrations_left: Option<u32>,
    /// The activations of the agency that were deleted, because no parameter holds them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<ActivationId>,
    /// The same, in a dry run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_delete: Vec<ActivationId>,
    /// The first thing that failed.
    #[serde(flatten)]
    pub failure: Option<Failure>,
}

/// What became of one agency, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its parameters hold a live activation, and nothing had to be written.
    Live,
    /// Its parameters hold a live activation, and had to be written for that: see the reason.
    Renewed,
    /// They would be written, were this no dry run.
    WouldRenew,
    /// It has no grant any more, and its activations were deleted.
    Revoked,
    /// They would be deleted, were this no dry run.
    WouldRevoke,
    /// Something failed. What its parameters held before is still there, where nothing else is said.
    Failed,
    /// There was no time for it.
    Deferred,
}

/// Something that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The error code of AWS, `DeadlineExceeded`, or the ceiling that is reached: `RenewalsPerDay`, `AgencyNodeLimit`,
    /// `NodeLimit`, `StandardTier`. Not to be confused with the code of an activation.
    pub error_code: String,
    /// The same in words, and what to do.
    pub message: String,
}

impl Failure {
    /// A failed call, with what to do about it.
    pub fn new(error: &AwsError, advice: Option<&str>) -> Self {
        let message = match advice {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        };
        Self { error_code: error.code.clone(), message }
    }
}

impl AgencyAnswer {
    /// An answer that says nothing but the outcome.
    pub fn new(agency: &AccountId, outcome: Outcome) -> Self {
        Self {
            agency: agency.clone(),
            outcome,
            reason: None,
            activation_id: None,
            expiration_date: None,
            registrations_left: None,
            deleted: Vec::new(),
            would_delete: Vec::new(),
            failure: None,
        }
    }

    /// Turns the answer into one about a failure, unless it is that already: the first one counts.
    pub fn fail(&mut self, failure: Failure) {
        self.outcome = Outcome::Failed;
        self.failure.get_or_insert(failure);
    }

    fn is_served(&self) -> bool {
        !matches!(self.outcome, Outcome::Failed | Outcome::Deferred)
    }
}

impl Answer {
    /// True where nothing failed and nothing was left for the next run.
    pub fn is_complete(&self) -> bool {
        self.agencies.iter().all(AgencyAnswer::is_served)
    }

    /// What failed, agency by agency, in words.
    pub fn problems(&self) -> String {
        let troubled: Vec<_> = self.agencies.iter().filter(|agency| !agency.is_served()).collect();
        let mut text = format!("{} of {} agencies failed or were deferred", troubled.len(), self.agencies.len());
        for (index, agency) in troubled.iter().take(NAMED_MAX).enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            // Writing to a string does not fail.
            let _ = write!(text, "{separator}{agency}");
        }
        if troubled.len() > NAMED_MAX {
            let _ = write!(text, "; and {} more", troubled.len() - NAMED_MAX);
        }
        text
    }
}

impl fmt::Display for AgencyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Some(failure) => write!(f, "{}, {}", self.agency, failure.message),
            None => write!(f, "{}, deferred because time ran out", self.agency),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agency(outcome: Outcome) -> AgencyAnswer {
        AgencyAnswer::new(&"222222222222".parse().unwrap(), outcome)
    }

    #[test]
    fn an_agency_has_the_documented_form() {
        let renewed = AgencyAnswer {
            reason: Some(Reason::UsedUp),
            activation_id: "0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11".parse().ok(),
            expiration_date: Some(Timestamp::from_unix_seconds(1_795_312_800)),
            registrations_left: Some(1000),
            ..agency(Outcome::Renewed)
        };
        let expected = json!({
            "agency": "222222222222", "outcome": "renewed", "reason": "used-up",
            "activationId": "0b4f2b0e-6f1c-4c0e-9f6a-2f4f2f9f0c11", "expirationDate": "2026-11-22T02:00:00Z",
            "registrationsLeft": 1000
        });
        assert_eq!(serde_json::to_value(renewed).unwrap(), expected);
        let mut failed = agency(Outcome::Live);
        failed.fail(Failure { error_code: "AccessDenied".to_owned(), message: "in words".to_owned() });
        failed.fail(Failure { error_code: "Later".to_owned(), message: "not told".to_owned() });
        let expected =
            json!({"agency": "222222222222", "outcome": "failed", "errorCode": "AccessDenied", "message": "in words"});
        assert_eq!(serde_json::to_value(failed).unwrap(), expected);
    }

    #[test]
    fn trouble_is_told_and_its_rest_counted() {
        let answer =
            |agencies| Answer { dry_run: false, counts: Counts::default(), nodes: None, census: None, agencies };
        assert!(answer(vec![agency(Outcome::Live), agency(Outcome::WouldRevoke)]).is_complete());
        let few = answer(vec![agency(Outcome::Deferred), agency(Outcome::Live)]);
        assert!(!few.is_complete());
        assert_eq!(
            few.problems(),
            "1 of 2 agencies failed or were deferred: 222222222222, deferred because time ran out"
        );
        let many = answer(vec![agency(Outcome::Deferred); 12]);
        assert!(many.problems().ends_with("; and 2 more"), "{}", many.problems());
    }
}
