//! `taghub completions` and `taghub man`.

use clap::Args;
use clap_complete::Shell;

use crate::app::App;
use crate::failure::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
  taghub completions bash > /etc/bash_completion.d/taghub
  taghub completions zsh > \"${fpath[1]}/_taghub\"
  taghub completions fish > ~/.config/fish/completions/taghub.fish";

/// Print a script that completes taghub's commands in a shell
#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Runs the command.
    ///
    /// # Errors
    /// If nobody reads.
    pub fn run(&self, app: &App, mut program: clap::Command) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, "taghub", &mut script);
        app.print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Done)
    }
}

/// Prints the manual page, with a section for each command.
///
/// # Errors
/// If nobody reads.
pub fn man(app: &App, mut command: clap::Command) -> Result<Exit, Failure> {
    command.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    subpages(&command, &mut page)?;
    app.print(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Done)
}

fn subpages(command: &clap::Command, page: &mut Vec<u8>) -> Result<(), Failure> {
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_bin_name().unwrap_or(subcommand.get_name()).to_owned();
        let man = clap_mangen::Man::new(subcommand.clone());
        page.extend(format!(".SH \"{}\"\n", name.to_uppercase()).bytes());
        man.render_synopsis_section(page)?;
        man.render_description_section(page)?;
        man.render_options_section(page)?;
        subpages(subcommand, page)?;
    }
    Ok(())
}
