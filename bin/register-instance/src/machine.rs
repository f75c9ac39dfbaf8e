//! The machine: its files and its programs.

mod files;
mod local;
mod process;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::Timestamp;

pub use local::{Local, stop_on_signal_or_after};

/// Where the lock is. Whoever is first makes the file; it is never removed, as a second run may hold it open. It is not
/// in `/run/lock`, where everybody may make files, and for root alone: whoever may open it may hold the lock.
pub(crate) const LOCK_FILE: &str = "/run/tag-hub-register-instance.lock";

/// What this tool needs of the machine.
///
/// Programs run while everything else waits: between stopping the agent and starting it, nothing can cut in.
#[expect(async_fn_in_trait, reason = "one thread runs the tool: no future has to be sent")]
pub trait Machine {
    /// True if everything may be read and changed.
    fn is_root(&self) -> bool;

    /// Takes the lock that keeps a second run out, until this process ends.
    fn lock(&self) -> io::Result<Lock>;

    /// The text of a file that holds data; none if there is no such file. A link is not followed, and only a regular
    /// file of a sensible size is read.
    fn read(&self, path: &str) -> io::Result<Option<String>>;

    /// The same for a file of the system's configuration, which may be a link.
    fn read_configuration(&self, path: &str) -> io::Result<Option<String>>;

    /// The end of a log: what stands behind `from`, at most `limit` bytes of it. The files that the log was rotated into
    /// count as its earlier part.
    fn log(&self, path: &str, from: Position, limit: u64) -> io::Result<String>;

    /// When a log, or a file that it was rotated into, was last written; none if nothing tells.
    fn log_time(&self, path: &str) -> Option<Timestamp>;

    /// Where a log ends now; the default if there is none.
    fn log_end(&self, path: &str) -> io::Result<Position>;

    /// The names in a folder; none if there is no such folder.
    fn list(&self, folder: &str) -> Vec<String>;

    /// True if the file of a unit masks it: it is empty, or leads to `/dev/null`.
    fn is_masked(&self, path: &str) -> bool;

    /// True if there is something at the path.
    fn exists(&self, path: &str) -> bool;

    /// Replaces a file as a whole, along with the folders that it is in. It is for root alone.
    fn write(&self, path: &str, contents: &str) -> io::Result<()>;

    /// The same for a file of the system's configuration: a link stays one, and who may read the file may read it still.
    fn write_configuration(&self, path: &str, contents: &str) -> io::Result<()>;

    /// Waits until what a file holds is on the disk.
    fn sync(&self, path: &str) -> io::Result<()>;

    /// Removes a file. One that is not there is removed.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// How many bytes are free where a path is.
    fn free_bytes(&self, path: &str) -> Option<u64>;

    /// Where a program is on the search path.
    fn program(&self, name: &str) -> Option<PathBuf>;

    /// Where a program with a fixed place is, if it is there.
    fn program_at(&self, path: &str) -> Option<PathBuf>;

    /// The environment of this run.
    fn environment(&self) -> &BTreeMap<String, String>;

    /// Runs a program with nothing on its standard input, for no longer than `limit`. Of the environment of this run it
    /// has nothing.
    fn run(&self, command: &Command<'_>, limit: Duration) -> io::Result<Output>;

    /// The time.
    fn now(&self) -> Timestamp;

    /// How much is left of the time for the whole run; none if it has no end.
    fn remaining(&self) -> Option<Duration>;

    /// A number from 0 to 1, by chance.
    fn random(&self) -> f64;

    /// Tells the operator about a step.
    fn say(&self, line: &str);

    /// Tells more, if the operator asked for it.
    fn explain(&self, line: &str);

    /// Waits.
    async fn pause(&self, duration: Duration);

    /// Waits until the run has to come to an end.
    async fn stop_requested(&self) -> Stop;
}

/// A program to run.
#[derive(Debug, Clone, Copy)]
pub struct Command<'a> {
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub args: &'a [&'a str],
    /// Its environment, beside a search path.
    pub environment: Option<&'a BTreeMap<String, String>>,
    /// Whether it holds the lock too. If this run is killed, the next one then waits for it and does not do the same.
    pub keeps_lock: bool,
    /// Whether it changes nothing, and so can be killed when the run has to come to an end.
    pub is_question: bool,
}

impl<'a> Command<'a> {
    pub(crate) fn new(program: &'a Path, args: &'a [&'a str]) -> Self {
        Self { program, args, environment: None, keeps_lock: false, is_question: false }
    }

    pub(crate) fn question(program: &'a Path, args: &'a [&'a str]) -> Self {
        Self { is_question: true, ..Self::new(program, args) }
    }
}

/// Whether the lock was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// It is held until this process ends.
    Taken,
    /// Another process holds it; what it left about itself.
    Held(String),
}

/// A place in a log, which stays the same place when the log is rotated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of the file; 0 is before everything.
    pub file: u64,
    /// How many bytes of that file stand before it.
    pub offset: u64,
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
    /// True if the program exited with 0.
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
