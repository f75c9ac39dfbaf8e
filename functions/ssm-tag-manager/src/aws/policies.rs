//! The policies in Parameter Store: one for each agency, and one for all that have none of their own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ssm::Client as SsmClient;
use hub::{AccountId, AwsError};
use lambda_kit::CallCounts;
use tokio::time::Instant;

use super::operation::Operation;
use crate::config::Config;
use crate::error::ManagerError;
use crate::plan::Policy;

const OPERATION: &str = "ssm:GetParameter";
/// How long a policy that was read holds, in each sandbox.
const LIFETIME: Duration = Duration::from_mins(1);
/// How long a read may take, with all attempts.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// The name of the policy of all agencies without one of their own.
const DEFAULT: &str = "default";
/// Where the approvals of policies are: a parameter for each policy's name and digest.
const APPROVED: &str = "approved";

/// Where the policies are. Lives as long as the sandbox, and remembers what it read for a minute.
#[derive(Debug)]
pub struct PolicyParameters {
    ssm: SsmClient,
    /// Such as `/tag-hub/policy`.
    path: String,
    read: Operation,
    known: RefCell<BTreeMap<AccountId, Known>>,
}

/// The configuration with an agency's policy, and when that was read.
#[derive(Debug, Clone)]
struct Known {
    at: Instant,
    config: Rc<Config>,
}

impl PolicyParameters {
    /// The parameters below a path.
    pub fn new(sdk: &SdkConfig, path: &str) -> Self {
        Self::over(SsmClient::new(sdk), path)
    }

    /// The same with a client of one's own.
    pub fn over(ssm: SsmClient, path: &str) -> Self {
        Self { ssm, path: path.to_owned(), read: Operation::new(OPERATION), known: RefCell::default() }
    }

    /// The configuration with the policy of an agency: its own, or the one of all, or that of the configuration.
    ///
    /// A read that fails leaves the last policy in force that this sandbox knows.
    ///
    /// # Errors
    /// `PolicyInvalid` where the policy is not understood, or was never read.
    pub async fn config_of(&self, config: &Config, agency: &AccountId) -> Result<Rc<Config>, ManagerError> {
        let known = self.known.borrow().get(agency).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.at.elapsed() < LIFETIME) {
            return Ok(Rc::clone(&known.config));
        }
        let names = [agency.as_str(), DEFAULT].map(|name| format!("{}/{name}", self.path));
        let found = match self.read(&names).await {
            Ok(found) => found,
            Err(error) => {
                let Some(known) = known else {
                    return Err(ManagerError::PolicyInvalid {
                        parameter: names.join(" or "),
                        problem: error.to_string(),
                    });
                };
                tracing::warn!(agency = agency.as_str(), code = %error.code, "policy not read, the last one holds");
                return Ok(known.config);
            }
        };
        let mut config = config.clone();
        // An approval is for the policy of one agency, or for that of all without one: that of the configuration too.
        let approved_for =
            if found.as_ref().is_some_and(|(name, _)| *name == names[0]) { agency.as_str() } else { DEFAULT };
        if let Some((parameter, text)) = found {
            config.policy = Policy::parse(&text)
                .map_err(|problems| ManagerError::PolicyInvalid { parameter, problem: problems.join("; ") })?;
        }
        let digest = config.policy.digest.clone();
        if !config.approved_policies.contains(&digest) && self.is_approved(approved_for, &digest).await {
            config.approved_policies.insert(digest);
        }
        let config = Rc::new(config);
        self.known.borrow_mut().insert(agency.clone(), Known { at: Instant::now(), config: Rc::clone(&config) });
        Ok(config)
    }

    /// What was called since this was last asked for.
    pub fn take_counts(&self) -> CallCounts {
        self.read.take_counts()
    }

    /// True if an operator approved the policy of this name. A policy of which that cannot be read is not.
    async fn is_approved(&self, policy: &str, digest: &str) -> bool {
        let name = format!("{}/{APPROVED}/{policy}/{digest}", self.path);
        let read = self.read_one(&name).await;
        read.inspect_err(|error| tracing::warn!(parameter = name, code = %error.code, "approval not read"))
            .is_ok_and(|found| found.is_some())
    }

    /// The first of these parameters that there is, with its name.
    async fn read(&self, names: &[String]) -> Result<Option<(String, String)>, AwsError> {
        for name in names {
            if let Some(text) = self.read_one(name).await? {
                return Ok(Some((name.clone(), text)));
            }
        }
        Ok(None)
    }

    /// What a parameter holds; nothing where it is not there.
    async fn read_one(&self, name: &str) -> Result<Option<String>, AwsError> {
        let send = async || self.ssm.get_parameter().name(name).send().await;
        let read = tokio::time::timeout(READ_TIMEOUT, self.read.call(send)).await;
        let late = || AwsError {
            operation: OPERATION,
            code: "Timeout".to_owned(),
            message: format!("no answer within {} s", READ_TIMEOUT.as_secs()),
            request_id: None,
            retryable: true,
        };
        match read.unwrap_or_else(|_| Err(late())) {
            Ok(found) => Ok(Some(found.parameter.and_then(|parameter| parameter.value).unwrap_or_default())),
            Err(error) if error.code == "ParameterNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }
}
