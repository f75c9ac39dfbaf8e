//! The machine: its files and its programs.

mod local;
mod process;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::Timestamp;

pub use local::{Local, stop_on_signal_or_after};

/// What this tool needs of the machine.
///
/// Programs run while everything else waits: between stopping the agent and starting it, nothing can cut in.
#[expect(async_fn_in_trait, reason = "one thread runs the tool: no future has to be sent")]
pub trait Machine {
    /// True where everything may be read and changed.
    fn is_root(&self) -> bool;

    /// Takes the lock that keeps a second run out, until this process ends. False where another holds it.
    fn lock(&self) -> io::Result<bool>;

    /// The text of a file; none where there is no such file.
    fn read(&self, path: &str) -> io::Result<Option<String>>;

    /// Replaces a file as a whole, along with the folders that it is in.
    fn write(&self, path: &str, contents: &str) -> io::Result<()>;

    /// Removes a file. One that is not there is removed.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Where a program is on the path.
    fn program(&self, name: &str) -> Option<PathBuf>;

    /// Where a file with a fixed place is, if it is there.
    fn file(&self, path: &str) -> Option<PathBuf>;

    /// Runs a program with nothing on its standard input, for no longer than `limit`.
    fn run(&self, program: &Path, args: &[&str], limit: Duration) -> io::Result<Output>;

    /// The time.
    fn now(&self) -> Timestamp;

    /// Tells the operator about a step.
    fn say(&self, line: &str);

    /// Tells more, where the operator asked for it.
    fn explain(&self, line: &str);

    /// Waits.
    async fn pause(&self, duration: Duration);

    /// Waits until the run has to come to an end.
    async fn stop_requested(&self) -> Stop;
}

/// Why a run has to come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Somebody sent a signal.
    Signal,
    /// The time for the whole run is over.
    Deadline,
}

/// How a program ended and what it printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub ended: Ended,
    /// What it printed to its standard output.
    pub stdout: String,
    /// What it printed to its standard error.
    pub stderr: String,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It exited by itself.
    Exit(i32),
    /// A signal ended it.
    Killed,
    /// It took too long and was killed.
    TimedOut,
}

impl Output {
    /// True where the program exited with 0.
    pub(crate) fn is_success(&self) -> bool {
        self.ended == Ended::Exit(0)
    }

    /// All that it printed.
    pub(crate) fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// How it ended, in words.
    pub(crate) fn ending(&self) -> String {
        match self.ended {
            Ended::Exit(code) => format!("exit code {code}"),
            Ended::Killed => "killed by a signal".to_owned(),
            Ended::TimedOut => "killed, as it took too long".to_owned(),
        }
    }
}
