//! The command line.

use clap::{CommandFactory, Parser, Subcommand};

use crate::app::App;
use crate::command;
use crate::failure::{Exit, Failure};
use crate::flags::Global;

/// The operator's program of Tag Hub: the fleet, its tags, runs, and campaigns.
#[derive(Debug, Parser)]
#[command(name = "taghub", version, before_long_help = EXAMPLES, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Command {
    /// Show the whole hub on one screen
    Status(command::status::Status),
    /// List the managed nodes, each with its origin and state
    Nodes(command::nodes::Nodes),
    /// Show how many instances of each agency have a node, and which have none
    Instances(command::instances::Instances),
    /// Show why a node carries its tags
    Explain(command::explain::Explain),
    /// Show what the hub did with a node's tags, and which runs touched it
    History(command::history::History),
    /// List the agencies: which have a grant, which report, and which are silent
    Agencies(command::agencies::Agencies),
    /// Connect an agency, test its connection, or plan its removal
    #[command(subcommand)]
    Agency(command::agency::Agency),
    /// Check every link, and say how to fix what is broken
    Doctor(command::doctor::Doctor),
    /// Write the fleet on one page, with its files
    Report(command::report::Report),
    /// Show what a sweep would change in an agency, and write nothing
    Plan(command::sweep::Sweep),
    /// Read an agency's instances now and bring their nodes up to date
    Sweep(command::sweep::Sweep),
    /// Check, preview, compare, and approve the tag policy
    #[command(subcommand)]
    Policy(command::policy::Policy),
    /// Run a runbook in many accounts and Regions
    #[command(subcommand)]
    Run(Box<command::run::Run>),
    /// Run a runbook in waves, each behind a gate
    #[command(subcommand)]
    Campaign(command::campaign::Campaign),
    /// Print a script that completes taghub's commands in a shell
    Completions(command::shell::Completions),
    /// Print the manual page
    Man,
}

/// Runs a command.
///
/// # Errors
/// What is shown as an error.
pub async fn run(app: &App, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Status(command) => Box::pin(command.run(app)).await,
        Command::Nodes(command) => command.run(app).await,
        Command::Instances(command) => command.run(app).await,
        Command::Explain(command) => command.run(app).await,
        Command::History(command) => command.run(app).await,
        Command::Agencies(command) => command.run(app).await,
        Command::Agency(command) => Box::pin(command.run(app)).await,
        Command::Doctor(command) => Box::pin(command.run(app)).await,
        Command::Report(command) => Box::pin(command.run(app)).await,
        Command::Plan(command) => command.run(app, true).await,
        Command::Sweep(command) => command.run(app, false).await,
        Command::Policy(command) => command.run(app).await,
        Command::Run(command) => Box::pin(command.run(app)).await,
        Command::Campaign(command) => Box::pin(command.run(app)).await,
        Command::Completions(command) => command.run(app, Cli::command()),
        Command::Man => command::shell::man(app, Cli::command()),
    }
}

const EXAMPLES: &str = "\
Examples:
  taghub status                                 is everything all right?
  taghub nodes --agency Parks --offline         which of an agency's nodes are offline?
  taghub explain mi-0123456789abcdef0           why does a node carry these tags?
  taghub plan --agency Parks                    what would a sweep change?
  taghub run preview AWS-RestartEC2Instance --all-agencies --regions us-east-1 --target tag:Env=TEST
  taghub nodes -o json | jq -r 'select(.online == \"offline\").id'";

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  done, and something is wrong
    2  wrong usage; nothing was called
    3  AWS or the hub failed
    4  no credentials, or not allowed
    5  no such hub, agency, node, run, or campaign
    6  hub of another version
    7  --timeout is over; the work in AWS continues
  130  Ctrl-C";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_begins_its_long_help_with_examples() {
        fn look(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let subcommands: Vec<_> = command.get_subcommands().collect();
            for subcommand in &subcommands {
                look(subcommand, &path);
            }
            let name = path.trim();
            if subcommands.is_empty() && name != "taghub man" {
                let help = command.get_before_long_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.starts_with("Examples:\n"), "{name}: {help}");
                assert!(help.contains(name), "{name}: {help}");
            }
        }
        look(&Cli::command(), "");
    }

    /// A command of an example, without what follows it on its line.
    fn example(line: &str) -> Vec<String> {
        let ends = ["  ", " > ", " | ", " 2>"].into_iter().filter_map(|end| line.find(end));
        let line = &line[..ends.min().unwrap_or(line.len())];
        let parts = line.split('"').enumerate();
        let words = parts.flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect(),
            _ => vec![part.to_owned()],
        });
        words.collect()
    }

    #[test]
    fn every_example_is_a_command() {
        fn helps(command: &clap::Command, all: &mut String) {
            all.extend(command.get_before_long_help().map(|help| format!("{help}\n")));
            command.get_subcommands().for_each(|subcommand| helps(subcommand, all));
        }
        let mut text = String::new();
        helps(&Cli::command(), &mut text);
        let page = include_str!("../../../docs/taghub.md");
        let of_help =
            text.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with("taghub "));
        let of_page = page.lines().filter_map(|line| line.strip_prefix("$ "));
        let mut count = 0;
        for line in of_help.chain(of_page) {
            if let Err(error) = Cli::try_parse_from(example(line)) {
                panic!("{line}: {error}");
            }
            count += 1;
        }
        assert!(count > 50, "only {count} examples were found");
    }
}
