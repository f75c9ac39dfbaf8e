//! The request of a run, from flags or from a file.

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use hub::{AccountId, Region};
use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::flags::pair;

/// What takes a target in AWS's own runbooks for instances.
const USUAL_TARGET_PARAMETER: &str = "InstanceId";

/// What says in flags what to run and where, besides the runbook.
pub const FLAGS: [&str; 16] = [
    "accounts",
    "all_agencies",
    "units",
    "exclude",
    "regions",
    "target",
    "target_parameter",
    "matching",
    "param",
    "document_version",
    "max_concurrency",
    "max_errors",
    "target_concurrency",
    "target_errors",
    "role",
    "tag",
];

/// What to run, and where. The same for preview, preflight and start: change one word of a command that previewed well.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Request")]
pub struct Request {
    /// The runbook: a name, or an ARN
    #[arg(conflicts_with = "file")]
    runbook: Option<String>,
    /// A request in JSON, as in docs/fanout-reference.md; - reads standard input
    #[arg(long, value_name = "REQUEST.json", conflicts_with_all = FLAGS)]
    file: Option<PathBuf>,
    /// Accounts to run in
    #[arg(long, value_name = "ACCOUNT,…", value_delimiter = ',', value_parser = str::parse::<AccountId>)]
    accounts: Vec<AccountId>,
    /// Run in the accounts of all agencies
    #[arg(long, conflicts_with_all = ["accounts", "units"])]
    all_agencies: bool,
    /// Organizational units or roots to run in
    #[arg(long, value_name = "OU,…", value_delimiter = ',', conflicts_with = "accounts")]
    units: Vec<String>,
    /// Accounts to leave out
    #[arg(long, value_name = "ACCOUNT,…", value_delimiter = ',', value_parser = str::parse::<AccountId>)]
    exclude: Vec<AccountId>,
    /// Regions to run in
    #[arg(long, value_name = "REGION,…", value_delimiter = ',', value_parser = str::parse::<Region>)]
    regions: Vec<Region>,
    /// What to work on there: tag:KEY=VALUE, group:NAME, or all
    #[arg(long, value_name = "TARGET", value_parser = str::parse::<Target>, conflicts_with = "matching")]
    target: Option<Target>,
    /// The parameter of the runbook that takes a target [default: InstanceId]
    #[arg(long, value_name = "NAME")]
    target_parameter: Option<String>,
    /// Nodes of the hub that carry a tag; with several, those that carry all of them
    #[arg(long = "match", value_name = "KEY=VALUE", value_parser = pair)]
    matching: Vec<(String, String)>,
    /// A parameter of the runbook; repeat it for several values
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    param: Vec<(String, String)>,
    /// The version of the runbook
    #[arg(long, value_name = "VERSION")]
    document_version: Option<String>,
    /// Locations at the same time, such as 10 or 25%
    #[arg(long, value_name = "N|%")]
    max_concurrency: Option<String>,
    /// Locations that may fail before no more are started, such as 0 or 10%
    #[arg(long, value_name = "N|%")]
    max_errors: Option<String>,
    /// Targets at the same time in one location
    #[arg(long, value_name = "N|%")]
    target_concurrency: Option<String>,
    /// Targets that may fail in one location
    #[arg(long, value_name = "N|%")]
    target_errors: Option<String>,
    /// The name of the execution role in the accounts
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// A tag of the execution
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    tag: Vec<(String, String)>,
}

/// What to work on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// What carries a tag.
    Tag(String, String),
    /// A resource group.
    Group(String),
    /// Every instance.
    All,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        if let Some(name) = text.strip_prefix("group:").filter(|name| !name.is_empty()) {
            return Ok(Self::Group(name.to_owned()));
        }
        let tag = text.strip_prefix("tag:").and_then(|tag| pair(tag).ok());
        tag.map(|(key, value)| Self::Tag(key, value))
            .ok_or_else(|| "expected tag:KEY=VALUE, group:NAME, or all".to_owned())
    }
}

impl Request {
    /// True if the accounts of the agencies have to be known.
    pub fn needs_agencies(&self) -> bool {
        self.all_agencies
    }

    /// The request without action and key. `agencies` are the accounts that `--all-agencies` stands for.
    ///
    /// # Errors
    /// If the file cannot be read, and if no account or no Region is named.
    pub fn to_json(&self, agencies: &[AccountId]) -> Result<Value, Failure> {
        match &self.file {
            Some(path) => without_key(read(path)?),
            None => self.of_flags(agencies),
        }
    }

    fn of_flags(&self, agencies: &[AccountId]) -> Result<Value, Failure> {
        let Some(runbook) = &self.runbook else {
            return Err(Failure::usage("no runbook to run").help("name a runbook, or add --file"));
        };
        let mut request = Map::new();
        let mut put = |name: &str, value: Value| request.insert(name.to_owned(), value);
        put("DocumentName", json!(runbook));
        if let Some(version) = &self.document_version {
            put("DocumentVersion", json!(version));
        }
        if !self.param.is_empty() {
            put("Parameters", grouped(&self.param));
        }
        let parameter = self.target_parameter.as_deref().unwrap_or(USUAL_TARGET_PARAMETER);
        let target = |key: String, value: &str| json!([{"Key": key, "Values": [value]}]);
        let targets = match &self.target {
            Some(Target::Tag(key, value)) => Some(target(format!("tag:{key}"), value)),
            Some(Target::Group(name)) => Some(target("ResourceGroup".to_owned(), name)),
            Some(Target::All) => Some(target("InstanceIds".to_owned(), "*")),
            None => None,
        };
        if targets.is_none() && self.matching.is_empty() {
            if self.target_parameter.is_some() {
                return Err(Failure::usage("--target-parameter without targets").help("add --target or --match"));
            }
        } else {
            put("TargetParameterName", json!(parameter));
        }
        if let Some(targets) = targets {
            put("Targets", targets);
        }
        if !self.matching.is_empty() {
            let tags = self.matching.iter().map(|(key, value)| json!({"Key": format!("tag:{key}"), "Values": [value]}));
            put("Match", tags.collect());
        }
        for (name, value) in [("MaxConcurrency", &self.target_concurrency), ("MaxErrors", &self.target_errors)] {
            if let Some(value) = value {
                put(name, json!(value));
            }
        }
        if !self.tag.is_empty() {
            put("Tags", self.tag.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect());
        }
        if let Some(location) = self.location(agencies)? {
            put("TargetLocations", json!([location]));
        }
        Ok(Value::Object(request))
    }

    /// The location; nothing for nodes of the hub, which the function knows the place of.
    fn location(&self, agencies: &[AccountId]) -> Result<Option<Value>, Failure> {
        let accounts: Vec<&str> = if self.all_agencies {
            agencies.iter().map(AccountId::as_str).collect()
        } else {
            self.accounts.iter().map(AccountId::as_str).chain(self.units.iter().map(String::as_str)).collect()
        };
        let is_excluded = |account: &&str| self.exclude.iter().any(|excluded| excluded.as_str() == *account);
        let accounts: Vec<&str> = accounts.into_iter().filter(|account| !is_excluded(account)).collect();
        if accounts.is_empty() && self.regions.is_empty() && !self.matching.is_empty() {
            return self.without_location().map(|()| None);
        }
        if accounts.is_empty() {
            return Err(Failure::usage("no account to run in").help("add --accounts, --all-agencies, or --units"));
        }
        if self.regions.is_empty() {
            return Err(Failure::usage("no Region to run in").help("add --regions"));
        }
        let mut location = json!({"Accounts": accounts, "Regions": self.regions});
        if !self.units.is_empty() {
            location["IncludeChildOrganizationUnits"] = json!(true);
            if !self.exclude.is_empty() {
                location["ExcludeAccounts"] = json!(self.exclude);
            }
        }
        let limits = [
            ("TargetLocationMaxConcurrency", &self.max_concurrency),
            ("TargetLocationMaxErrors", &self.max_errors),
            ("ExecutionRoleName", &self.role),
        ];
        for (name, value) in limits {
            if let Some(value) = value {
                location[name] = json!(value);
            }
        }
        Ok(Some(location))
    }

    /// Refuses what is about locations, where there are none.
    fn without_location(&self) -> Result<(), Failure> {
        let given = [
            ("--exclude", !self.exclude.is_empty()),
            ("--all-agencies", self.all_agencies),
            ("--max-concurrency", self.max_concurrency.is_some()),
            ("--max-errors", self.max_errors.is_some()),
            ("--role", self.role.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((flag, _)) => {
                let message = format!("{flag} is about accounts and Regions; --match runs in the central account");
                Err(Failure::usage(message).help("for the nodes, use --target-concurrency and --target-errors"))
            }
        }
    }
}

/// Reads a file of JSON, or standard input.
///
/// # Errors
/// If it is not there, or no JSON; with the line.
pub fn read(path: &PathBuf) -> Result<Value, Failure> {
    let (name, text) = if path.as_os_str() == "-" {
        let mut text = String::new();
        ("standard input".to_owned(), std::io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    let text = text.map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{name}:{}:{} is not JSON: {error}", error.line(), error.column())))
}

/// A request of a file: its action is the command's, and its key the one of `--key`.
fn without_key(mut request: Value) -> Result<Value, Failure> {
    let Some(fields) = request.as_object_mut() else {
        return Err(Failure::usage("the request is not a JSON object"));
    };
    fields.remove("Action");
    fields.remove("WaitSeconds");
    for key in ["IdempotencyKey", "ClientToken"] {
        if fields.contains_key(key) {
            let failure = Failure::usage(format!("the request has a field {key}"));
            return Err(failure.help("remove it, and pass it as --key of taghub run start"));
        }
    }
    Ok(request)
}

/// Several values under one name.
fn grouped(pairs: &[(String, String)]) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, value) in pairs {
        if let Some(values) = all.entry(name).or_insert_with(|| json!([])).as_array_mut() {
            values.push(json!(value));
        }
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        request: Request,
    }

    fn request(args: &str) -> Result<Value, String> {
        let args = ["x"].into_iter().chain(args.split_whitespace());
        let only = Only::try_parse_from(args).map_err(|error| error.to_string())?;
        let agencies = ["222222222222", "333333333333"].map(|account| account.parse().unwrap());
        only.request.to_json(&agencies).map_err(|failure| failure.to_text())
    }

    #[test]
    fn flags_become_a_request() {
        let args = "AWS-RestartEC2Instance --all-agencies --exclude 333333333333 --regions us-east-1,us-west-2 \
                    --target tag:Env=TEST --max-concurrency 4 --max-errors 10% --param A=1 --param A=2";
        assert_eq!(
            request(args).unwrap(),
            json!({
                "DocumentName": "AWS-RestartEC2Instance", "Parameters": {"A": ["1", "2"]},
                "TargetParameterName": "InstanceId", "Targets": [{"Key": "tag:Env", "Values": ["TEST"]}],
                "TargetLocations": [{"Accounts": ["222222222222"], "Regions": ["us-east-1", "us-west-2"],
                                     "TargetLocationMaxConcurrency": "4", "TargetLocationMaxErrors": "10%"}]
            })
        );
        let nodes = request("TagHub-X --match Env=PROD --match Role=web --target-parameter Node").unwrap();
        assert_eq!(
            nodes,
            json!({"DocumentName": "TagHub-X", "TargetParameterName": "Node",
                   "Match": [{"Key": "tag:Env", "Values": ["PROD"]}, {"Key": "tag:Role", "Values": ["web"]}]})
        );
        let units = request("X --units ou-ab12-cdefghij --exclude 222222222222 --regions us-east-1 --target group:web")
            .unwrap();
        assert_eq!(units["TargetLocations"][0]["ExcludeAccounts"], json!(["222222222222"]));
        assert_eq!(units["Targets"], json!([{"Key": "ResourceGroup", "Values": ["web"]}]));
        let all = request("X --accounts 222222222222 --regions us-east-1 --target all").unwrap();
        assert_eq!(all["Targets"], json!([{"Key": "InstanceIds", "Values": ["*"]}]));
    }

    #[test]
    fn what_is_missing_is_said() {
        for (args, words) in [
            ("", "no runbook to run"),
            ("X --regions us-east-1", "no account to run in"),
            ("X --accounts 222222222222", "no Region to run in"),
            ("X --all-agencies --exclude 222222222222,333333333333 --regions us-east-1", "no account to run in"),
            ("X --accounts 2 --regions us-east-1", "12 digits"),
            ("X --accounts 222222222222 --regions virginia", "Region code"),
            ("X --target Env=TEST", "expected tag:KEY=VALUE"),
            ("X --file y.json", "cannot be used with"),
            (
                "X --accounts 222222222222 --regions us-east-1 --target-parameter P",
                "--target-parameter without targets",
            ),
            ("X --match A=B --exclude 222222222222", "--exclude is about accounts and Regions"),
            ("X --match A=B --max-concurrency 1", "--max-concurrency is about accounts and Regions"),
            ("X --match A=B --max-errors 0", "help: for the nodes, use --target-concurrency and --target-errors"),
            ("X --match A=B --role R", "--role is about accounts and Regions"),
            ("X --match A=B --all-agencies --exclude 222222222222,333333333333", "--exclude is about"),
            ("--file nowhere.json", "cannot read nowhere.json"),
        ] {
            let error = request(args).unwrap_err();
            assert!(error.contains(words), "{args}: {error}");
        }
    }

    #[test]
    fn a_file_is_taken_without_its_action_and_refused_with_a_key() {
        let given = json!({"Action": "Preview", "DocumentName": "X", "WaitSeconds": 5});
        assert_eq!(without_key(given).unwrap(), json!({"DocumentName": "X"}));
        assert!(without_key(json!({"IdempotencyKey": "k"})).unwrap_err().help.unwrap().contains("--key"));
        assert!(without_key(json!([])).is_err());
    }
}
