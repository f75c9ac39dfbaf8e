//! The hub: found by the parameter `/tag-hub/about`, which `template.yaml` writes.

use hub::{AccountId, FunctionArn, Region};
use serde::Deserialize;

use crate::app::App;
use crate::aws::function;
use crate::aws::session::Session;
use crate::failure::{Exit, Failure};

/// The function that every agency's account has, under the prefix of its hub.
pub fn collector(app: &App) -> String {
    format!("{}tags-collector", app.global.name_prefix)
}

/// What a hub says of itself. Fields are only ever added.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// The version of its template.
    pub version: String,
    /// The central account.
    pub account: AccountId,
    /// Where it runs.
    pub region: Region,
    /// Such as `aws`.
    pub partition: String,
    /// What all of its names begin with; mostly empty.
    #[serde(default)]
    pub name_prefix: String,
    /// `Yes` if its roles, and those of its agencies, have the Region in their names.
    #[serde(default)]
    pub region_in_role_names: String,
    /// What its parts are called.
    pub names: Names,
    /// How many managed nodes the account may have.
    pub node_limit: usize,
}

/// What a hub's parts are called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Names {
    /// The function that tags nodes.
    pub manager: String,
    /// The function that makes activations.
    pub issuer: String,
    /// The function that starts runbooks.
    pub fanout: String,
    /// The state machine of campaigns.
    pub campaign: String,
    /// The function that reports on the fleet; a hub of an earlier release has none.
    pub reporter: Option<String>,
    /// The bucket of its reports.
    pub reports: Option<String>,
}

impl Names {
    /// The functions, as far as this hub has them.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        [Some(&self.manager), Some(&self.issuer), Some(&self.fanout), self.reporter.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// A hub, with a session in its account.
#[derive(Debug, Clone)]
pub struct Hub {
    /// The session.
    pub session: Session,
    /// What it says of itself.
    pub about: About,
}

impl Hub {
    /// Finds the hub of the account and Region of the credentials.
    ///
    /// # Errors
    /// Without credentials; if there is no hub, with a hint at where it is; if it has another version.
    pub async fn find(app: &App) -> Result<Self, Failure> {
        let session = Session::open(app, app.global.profile.as_deref(), app.global.region.as_ref()).await?;
        let name = format!("/tag-hub/{}about", app.global.name_prefix);
        let Some(text) = session.parameter(&name).await? else {
            return Err(no_hub(app, &session, &name).await);
        };
        let about = read(&text, &name)?;
        check_version(&about)?;
        Ok(Self { session, about })
    }

    /// The central account and the Region, in words.
    pub fn place(&self) -> String {
        format!("{}, {}", self.about.account, self.about.region)
    }

    /// The ARN of the state machine of campaigns.
    pub fn campaign_arn(&self) -> String {
        let About { partition, region, account, names, .. } = &self.about;
        format!("arn:{partition}:states:{region}:{account}:stateMachine:{}", names.campaign)
    }
}

fn read(text: &str, name: &str) -> Result<About, Failure> {
    serde_json::from_str(text).map_err(|problem| {
        Failure::new(Exit::Aws, "unreadable-hub", format!("the parameter {name} does not describe a hub"))
            .detail(problem.to_string())
            .help("deploy template.yaml again: it writes the parameter")
    })
}

/// Programs and hubs with the same first two numbers of their versions understand each other.
fn check_version(about: &About) -> Result<(), Failure> {
    let own = env!("CARGO_PKG_VERSION");
    let minor = |version: &str| version.splitn(3, '.').take(2).map(str::to_owned).collect::<Vec<_>>();
    if minor(own) == minor(&about.version) {
        return Ok(());
    }
    let talks_to = minor(own).join(".");
    let message = format!("taghub {own} cannot talk to hub {}; it talks to {talks_to}", about.version);
    Err(Failure::new(Exit::Version, "version", message)
        .help(format!("install taghub {}, or upgrade the hub", about.version)))
}

/// Why there is no hub here. In an agency's account its collector says where the hub is.
async fn no_hub(app: &App, session: &Session, parameter: &str) -> Failure {
    let caller = match session.caller().await {
        Ok(caller) => caller,
        Err(failure) => return failure,
    };
    if let Some(manager) = manager_of(app, session).await {
        let FunctionArn { account, region, .. } = &manager;
        let message = format!("{} is not the central account", caller.account);
        return Failure::new(Exit::Missing, "not-central", message)
            .detail(format!("It is an agency of the hub in {account}, {region}."))
            .help(format!("add --profile with a profile of {account}, and --region {region}"));
    }
    let message = format!("no hub \"{}tag-hub\" in {}, {}", app.global.name_prefix, caller.account, session.region);
    Failure::missing("no-hub", message)
        .detail(format!("The parameter {parameter} is not there; a hub of a release before 0.2 has none."))
        .help("add --region with the hub's Region, --profile with the central account's, or --hub with its NamePrefix")
}

/// The manager that the collector of this account reports to, if there is a collector.
async fn manager_of(app: &App, session: &Session) -> Option<FunctionArn> {
    let variables = function::variables(session, &collector(app)).await.ok()?;
    variables.get("MANAGER_FUNCTION_ARN")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(version: &str) -> About {
        let text = format!(
            r#"{{"schema": "tag-hub.about/1", "version": "{version}", "account": "111111111111", "region": "us-east-1",
                "partition": "aws", "nodeLimit": 1000, "later": "is added",
                "names": {{"manager": "ssm-tag-manager", "issuer": "activation-issuer",
                           "fanout": "automation-fanout", "campaign": "tag-hub-campaign"}}}}"#
        );
        read(&text, "/tag-hub/about").unwrap()
    }

    #[test]
    fn only_a_hub_of_the_same_minor_version_is_understood() {
        assert_eq!(check_version(&about(env!("CARGO_PKG_VERSION"))), Ok(()));
        for version in ["0.1.4", "9.9.0", "1", ""] {
            let failure = check_version(&about(version)).unwrap_err();
            assert_eq!(failure.exit, Exit::Version);
            assert!(failure.to_text().contains(&format!("cannot talk to hub {version}")), "{failure:?}");
        }
    }

    #[test]
    fn what_is_no_description_is_refused() {
        for text in ["", "{}", "[]", r#"{"version": 1}"#] {
            assert_eq!(read(text, "/tag-hub/about").unwrap_err().exit, Exit::Aws, "{text}");
        }
    }

    /// `template.yaml` writes the parameter, and its version is that of the workspace.
    #[test]
    fn the_template_describes_this_version() {
        let template = include_str!("../../../../template.yaml");
        let expected = format!(r#""version": "{}""#, env!("CARGO_PKG_VERSION"));
        assert_eq!(template.matches(&expected).count(), 1, "{expected} is not in template.yaml");
    }
}
