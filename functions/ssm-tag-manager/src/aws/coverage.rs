//! The coverage of agencies in Parameter Store, for the fleet page and the program taghub.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_ssm::Client as SsmClient;
use aws_sdk_ssm::types::ParameterType;
use hub::{AwsError, Region, Timestamp};
use lambda_kit::CallCounts;

use super::operation::Operation;
use crate::plan::{CoverageRecord, KeptCoverage, REGIONS_KEPT};

/// How long it may all take: the report is done by then, and its answer waits.
const KEEP_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest page: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParametersByPath.html>.
const PARAMETERS_PER_PAGE: i32 = 10;

/// Where the coverage is. Lives as long as the sandbox.
#[derive(Debug)]
pub struct CoverageParameters {
    ssm: SsmClient,
    /// Such as `/tag-hub/coverage`.
    path: String,
    read: Operation,
    list: Operation,
    write: Operation,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The parameter says so already, or something that was seen later.
    Unchanged,
    /// The Region is empty and not the hub's: it gets no parameter, of which an account and Region has 10,000
    /// (<https://docs.aws.amazon.com/general/latest/gr/ssm.html>).
    Empty,
    /// It was written.
    Written,
    /// The agency has parameters for more Regions than there are.
    TooManyRegions,
}

impl CoverageParameters {
    /// The parameters below a path.
    pub fn new(sdk: &SdkConfig, path: &str) -> Self {
        Self::over(SsmClient::new(sdk), path)
    }

    /// The same with a client of one's own.
    pub fn over(ssm: SsmClient, path: &str) -> Self {
        Self {
            ssm,
            path: path.to_owned(),
            read: Operation::new("ssm:GetParameter"),
            list: Operation::new("ssm:GetParametersByPath"),
            write: Operation::new("ssm:PutParameter"),
        }
    }

    /// Keeps a record, within `budget`. What goes wrong is logged and fails nothing: the next sweep brings it again.
    pub async fn keep(&self, record: &CoverageRecord, budget: Duration) {
        let kept = tokio::time::timeout(KEEP_TIMEOUT.min(budget), self.try_keep(record)).await;
        let code = match kept {
            Ok(Ok(Kept::Unchanged | Kept::Empty | Kept::Written)) => return,
            Ok(Ok(Kept::TooManyRegions)) => "TooManyRegions".to_owned(),
            Ok(Err(error)) => error.code,
            Err(_) => "Timeout".to_owned(),
        };
        let (agency, region) = (record.agency.as_str(), record.region.as_str());
        tracing::warn!(agency, region, code, "coverage not kept");
    }

    /// Keeps a record.
    ///
    /// # Errors
    /// What Parameter Store answers.
    pub async fn try_keep(&self, record: &CoverageRecord) -> Result<Kept, AwsError> {
        let name = format!("{}/{}", self.path, record.place());
        match self.read(&name).await? {
            Some(kept) if !record.differs_from(&kept) => return Ok(Kept::Unchanged),
            None if !record.has_instances && !self.is_home(&record.region) => return Ok(Kept::Empty),
            None if self.count(record).await? >= REGIONS_KEPT => return Ok(Kept::TooManyRegions),
            Some(_) | None => {}
        }
        let request = self.ssm.put_parameter().name(name).value(&record.text).r#type(ParameterType::String);
        let request = request.overwrite(true);
        self.write.call(async || request.clone().send().await).await?;
        Ok(Kept::Written)
    }

    /// What was called since this was last asked for.
    pub fn take_counts(&self) -> CallCounts {
        self.read.take_counts() + self.list.take_counts() + self.write.take_counts()
    }

    fn is_home(&self, region: &Region) -> bool {
        self.ssm.config().region().is_none_or(|home| home.as_ref() == region.as_str())
    }

    async fn read(&self, name: &str) -> Result<Option<KeptCoverage>, AwsError> {
        match self.read.call(async || self.ssm.get_parameter().name(name).send().await).await {
            Ok(found) => Ok(found.parameter.map(|parameter| KeptCoverage {
                written_at: parameter.last_modified_date.map(|date| Timestamp::from_unix_seconds(date.secs())),
                text: parameter.value.unwrap_or_default(),
            })),
            Err(error) if error.code == "ParameterNotFound" => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many Regions of the agency have a parameter; no more than matters are counted.
    async fn count(&self, record: &CoverageRecord) -> Result<usize, AwsError> {
        let path = format!("{}/{}", self.path, record.agency);
        let request = self.ssm.get_parameters_by_path().path(path).max_results(PARAMETERS_PER_PAGE);
        let (mut count, mut token) = (0, None);
        while count < REGIONS_KEPT {
            let request = request.clone().set_next_token(token);
            let page = self.list.call(async || request.clone().send().await).await?;
            count += page.parameters.unwrap_or_default().len();
            token = page.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(count)
    }
}
