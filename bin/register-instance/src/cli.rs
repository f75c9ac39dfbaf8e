//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use hub::Region;

use crate::failure::Reason;
use crate::steps::{Settings, Source};

/// The time that a run may take. Below it not even a slow agent could register; above it nobody waits.
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 10..=3600;

/// Registers this EC2 instance as a managed node of the central account, and tags it with its node's id.
///
/// Runs as root. An instance that is registered is left alone: only its tag managedinstanceid is written where it is
/// missing. Safe to run at every boot.
#[derive(Debug, Parser)]
#[command(name = "register-instance", version, after_help = EXAMPLES, after_long_help = after_long_help())]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag on the command line")]
pub struct Cli {
    /// The parameter with the activation, as the hub writes it
    #[arg(long, value_name = "NAME", default_value = "/tag-hub/activation")]
    parameter: String,

    /// The parameter with the activation's id, where id and code are two parameters
    #[arg(long, value_name = "NAME", requires = "activation_code_parameter", conflicts_with = "parameter")]
    activation_id_parameter: Option<String>,

    /// The parameter with the activation's code, where id and code are two parameters
    #[arg(long, value_name = "NAME", requires = "activation_id_parameter", conflicts_with = "parameter")]
    activation_code_parameter: Option<String>,

    /// The Region of the hub. With two parameters the default is this instance's own; one parameter names it, and it
    /// then has to be this one
    #[arg(long, value_name = "REGION", value_parser = str::parse::<Region>)]
    region: Option<Region>,

    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Keep trying until the network is up, as long as --timeout allows
    #[arg(long)]
    wait_for_network: bool,

    /// How long the run may take: seconds, or with a unit as in 90s or 5m. A registration under way is not cut short
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = duration)]
    timeout: Duration,

    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,

    /// Say more, and show what the agent prints, without the activation code
    #[arg(long, short)]
    verbose: bool,

    /// Look for files with fixed places under this folder
    #[arg(long, value_name = "FOLDER", default_value = "/", hide = true)]
    root: PathBuf,
}

impl Cli {
    /// What the run is to do.
    pub fn settings(&self) -> Settings {
        let source = match (&self.activation_id_parameter, &self.activation_code_parameter) {
            (Some(id), Some(code)) => Source::Pair { id: id.clone(), code: code.clone() },
            _ => Source::Json { parameter: self.parameter.clone() },
        };
        Settings { source, region: self.region.clone(), dry_run: self.dry_run, wait_for_network: self.wait_for_network }
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
  register-instance --activation-id-parameter ActivationID \\
    --activation-code-parameter ActivationCode --region us-east-1
                                           with an activation that was made by hand";

fn after_long_help() -> String {
    let codes: Vec<String> =
        Reason::ALL.iter().map(|reason| format!("  {:>2}  {}", reason.exit_code(), reason.meaning())).collect();
    let (first, rest) = codes.split_at(1);
    format!(
        "{EXAMPLES}\n\nExit codes:\n   0  registered and tagged, now or before\n{}\n   2  wrong usage\n{}",
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
        assert!(parse(&[&pair[..], &["--parameter", "/x"]].concat()).unwrap_err().contains("cannot be used with"));
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
        assert!(parse(&["--region", "Virginia"]).unwrap_err().contains("expected a Region code"));
    }

    #[test]
    fn the_help_lists_every_exit_code() {
        let help = Cli::command().render_long_help().to_string();
        for reason in Reason::ALL {
            assert!(help.contains(&format!("{:>2}  {}", reason.exit_code(), reason.meaning())), "{help}");
        }
        assert!(help.contains("--wait-for-network") && !help.contains("--root"), "{help}");
    }
}
