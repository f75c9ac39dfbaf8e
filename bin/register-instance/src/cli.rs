//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use hub::{AccountId, Region};

use crate::failure::Reason;
use crate::steps::{Repair, Settings, Source};

/// The time that a run may take. Below it not even a slow agent could register; above it nobody waits.
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 10..=3600;

/// Registers this EC2 instance as a managed node of the central account, and tags it with its node's ID.
///
/// Runs as root. If the instance is registered, its registration is left alone: the running agent is asked whether it
/// uses it, and the tag managedinstanceid is written. Safe to run at every boot.
#[derive(Debug, Parser)]
#[command(name = "register-instance", version, after_help = EXAMPLES, after_long_help = after_long_help())]
#[command(args_override_self = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// The parameter with the activation, as the hub writes it
    #[arg(long, value_name = "NAME", default_value = "/tag-hub/activation", global = true)]
    parameter: String,

    /// The parameter with the activation's ID, if ID and code are two parameters
    #[arg(
        long,
        value_name = "NAME",
        requires = "activation_code_parameter",
        conflicts_with = "parameter",
        global = true
    )]
    activation_id_parameter: Option<String>,

    /// The parameter with the activation's code, if ID and code are two parameters
    #[arg(
        long,
        value_name = "NAME",
        requires = "activation_id_parameter",
        conflicts_with = "parameter",
        global = true
    )]
    activation_code_parameter: Option<String>,

    /// The Region of the hub. With two parameters the default is this instance's own; one parameter names it, and it
    /// then has to be this one
    #[arg(long, value_name = "REGION", value_parser = str::parse::<Region>, global = true)]
    region: Option<Region>,

    /// The central account. An activation of any other is refused. Two parameters do not say which they are for
    #[arg(
        long,
        value_name = "ACCOUNT",
        value_parser = str::parse::<AccountId>,
        conflicts_with = "activation_id_parameter",
        global = true
    )]
    hub_account: Option<AccountId>,

    /// Say what would be done, and change nothing
    #[arg(long, global = true)]
    dry_run: bool,

    /// At boot: wait for the metadata service and for the agent to be installed, as long as --timeout allows
    #[arg(long, global = true)]
    wait_for_network: bool,

    /// Tell the agent not to write its credentials, which are the central account's, into root's default profile.
    /// Patching and other documents need them there
    #[arg(long, global = true)]
    keep_default_profile: bool,

    /// How long the run may take: seconds, or with a unit as in 90s or 5m. Each step of a registration under way has 10
    /// seconds at least
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration, global = true)]
    timeout: Duration,

    /// Print the result as one line of JSON
    #[arg(long, global = true)]
    json: bool,

    /// Say more, and show what the agent prints, without the activation code
    #[arg(long, short, global = true)]
    verbose: bool,

    /// Look for files with fixed places under this folder
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true, global = true)]
    root: PathBuf,
}

/// What else can be done than to register.
#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Look at everything that a registration depends on, and say what is wrong and what to do. Changes nothing
    Doctor,
    /// Do what a run does, and besides restart an agent that does not use its registration
    Heal {
        /// Clear a registration that is foreign, another machine's, or not in use after a restart, and register again
        #[arg(long)]
        replace: bool,
    },
}

impl Cli {
    /// What the run is to do.
    pub fn settings(&self) -> Settings {
        let source = match (&self.activation_id_parameter, &self.activation_code_parameter) {
            (Some(id), Some(code)) => Source::Pair { id: id.clone(), code: code.clone() },
            _ => Source::Json { parameter: self.parameter.clone() },
        };
        let repair = match self.command {
            None | Some(Command::Doctor) => Repair::Nothing,
            Some(Command::Heal { replace: false }) => Repair::Heal,
            Some(Command::Heal { replace: true }) => Repair::Replace,
        };
        Settings {
            source,
            region: self.region.clone(),
            hub_account: self.hub_account.clone(),
            dry_run: self.dry_run,
            wait_for_network: self.wait_for_network,
            keep_default_profile: self.keep_default_profile,
            repair,
        }
    }

    /// Whether to look only.
    pub fn is_doctor(&self) -> bool {
        matches!(self.command, Some(Command::Doctor))
    }

    /// How long the run may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Where files with fixed places are.
    pub fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Whether to say more.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// Whether the result is for a script.
    pub fn is_json(&self) -> bool {
        self.json
    }
}

const EXAMPLES: &str = "\
Examples:
  register-instance                        register with the activation in /tag-hub/activation
  register-instance --dry-run --verbose    say what would be done
  register-instance --wait-for-network --timeout 15m --json
                                           in user data, where the network may not be up yet
  register-instance doctor                 say what is wrong and what to do about it
  register-instance heal                   restart the agent if it does not use its registration
  register-instance --activation-id-parameter ActivationID \\
    --activation-code-parameter ActivationCode --region us-east-1
                                           with an activation that was made by hand";

fn after_long_help() -> String {
    let codes: Vec<String> =
        Reason::all().map(|reason| format!("  {:>2}  {}", reason.exit_code(), reason.meaning())).collect();
    let (first, rest) = codes.split_at(1);
    format!(
        "{EXAMPLES}\n\nExit codes:\n   0  registered and tagged, and the running agent says so\n{}\n   2  wrong usage\n{}",
        first.join("\n"),
        rest.join("\n")
    )
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(number) => (number, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds) if TIMEOUT_SECONDS.contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected 10 seconds to 60 minutes, such as 300, 90s or 5m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, String> {
        let args = [&["register-instance"], args].concat();
        Cli::try_parse_from(args).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let cli = parse(&[]).unwrap();
        assert_eq!(cli.settings().source, Source::Json { parameter: "/tag-hub/activation".to_owned() });
        assert_eq!((cli.timeout(), cli.root()), (Duration::from_mins(5), PathBuf::from("/")));
    }

    #[test]
    fn the_pair_is_a_pair() {
        let pair = ["--activation-id-parameter", "ActivationID", "--activation-code-parameter", "ActivationCode"];
        let source = Source::Pair { id: "ActivationID".to_owned(), code: "ActivationCode".to_owned() };
        assert_eq!(parse(&pair).unwrap().settings().source, source);
        assert!(parse(&pair[..2]).unwrap_err().contains("--activation-code-parameter"));
        for other in [["--parameter", "/x"], ["--hub-account", "111111111111"]] {
            assert!(parse(&[&pair[..], &other].concat()).unwrap_err().contains("cannot be used with"), "{other:?}");
        }
    }

    #[test]
    fn commands() {
        let repair = |args: &[&str]| parse(args).map(|cli| (cli.is_doctor(), cli.settings().repair));
        assert_eq!(repair(&[]), Ok((false, Repair::Nothing)));
        assert_eq!(repair(&["doctor", "--json"]), Ok((true, Repair::Nothing)));
        assert_eq!(repair(&["--json", "doctor"]), Ok((true, Repair::Nothing)));
        assert_eq!(repair(&["heal", "--timeout", "60s"]), Ok((false, Repair::Heal)));
        assert_eq!(repair(&["heal", "--replace"]), Ok((false, Repair::Replace)));
        assert!(repair(&["--replace"]).is_err() && repair(&["dcotor"]).is_err());
        let region = parse(&["heal", "--region", "us-east-1", "--hub-account", "111111111111"]).unwrap().settings();
        assert_eq!(
            (region.region.unwrap().as_str(), region.hub_account.unwrap().as_str()),
            ("us-east-1", "111111111111")
        );
        assert!(parse(&["--hub-account", "1"]).is_err());
    }

    #[test]
    fn times_and_regions() {
        for (text, expected) in [
            ("10", Some(10)),
            ("90s", Some(90)),
            ("60m", Some(3600)),
            ("9", None),
            ("61m", None),
            ("5h", None),
            ("m", None),
            ("99999999999999999999m", None),
        ] {
            assert_eq!(duration(text).ok().map(|time| time.as_secs()), expected, "{text}");
        }
        // The packaged unit has options of its own before those of an operator.
        let cli = parse(&["--wait-for-network", "--timeout", "15m", "--json", "--timeout", "30m", "--json"]).unwrap();
        assert_eq!((cli.timeout(), cli.is_json()), (Duration::from_mins(30), true));
        assert!(parse(&["--region", "Virginia"]).unwrap_err().contains("expected a Region code"));
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for reason in Reason::all() {
            assert!(help.contains(&format!("{:>2}  {}", reason.exit_code(), reason.meaning())), "{help}");
        }
        assert!(help.contains("--wait-for-network") && !help.contains("--root"), "{help}");
    }
}
