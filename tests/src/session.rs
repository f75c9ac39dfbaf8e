//! Shell sessions that run the blocks of a document.
//!
//! A session is one bash, started with `set -euo pipefail`, so variables, functions and the folder last from one
//! block to the next, as in a terminal. What a block prints is kept apart from what the others print.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, bail};

/// Reads the names of files with blocks, runs each in this shell, and says so when it is done.
///
/// The command that failed and its line are left beside the block. The shell ends there, as a script would.
const DRIVER: &str = r#"
set -Eeuo pipefail
trap 'printf "%s\t%s\n" "$LINENO" "$BASH_COMMAND" > "$DOCUMENT_BLOCK.failed"' ERR
while IFS= read -r DOCUMENT_BLOCK; do
    . "$DOCUMENT_BLOCK" > "$DOCUMENT_BLOCK.output" 2>&1 < /dev/null
    printf 'done\n'
done
"#;

/// A running shell.
#[derive(Debug)]
pub struct Session {
    name: String,
    shell: Child,
    blocks: ChildStdin,
    done: Receiver<()>,
    scratch: PathBuf,
    count: usize,
}

/// Why a block failed, for people to read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, in the session {session}: {what}\n{command}\n{output}")]
pub struct Failure {
    /// The session.
    pub session: String,
    /// The line of the document.
    pub line: usize,
    /// What happened to the command.
    pub what: String,
    /// The command, with its variables as they are written.
    pub command: String,
    /// What the block had printed until then.
    pub output: String,
}

impl Session {
    /// Starts a shell in a folder with exactly this environment.
    ///
    /// `scratch` is a folder for files of the session's own.
    pub fn start(name: &str, folder: &Path, scratch: &Path, environment: &[(&str, String)]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(scratch)?;
        let mut shell = Command::new("bash")
            .args(["--noprofile", "--norc", "-c", DRIVER])
            .current_dir(folder)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start bash")?;
        let blocks = shell.stdin.take().context("the shell has no input")?;
        let answers = BufReader::new(shell.stdout.take().context("the shell has no output")?);
        let (sender, done) = channel();
        // The thread ends with the shell.
        std::thread::spawn(move || answers.lines().map_while(Result::ok).try_for_each(|_| sender.send(())));
        Ok(Self { name: name.to_owned(), shell, blocks, done, scratch: scratch.to_owned(), count: 0 })
    }

    /// Runs a block that begins on a line of its document. Answers with what it printed.
    ///
    /// # Errors
    /// [`Failure`] where a command failed or the time was over; the session is then at its end.
    pub fn run(&mut self, line: usize, block: &str, within: Duration) -> anyhow::Result<String> {
        self.count += 1;
        let file = self.scratch.join(format!("{}.sh", self.count));
        // As many empty lines as there are above the block: so the shell counts the lines of the document.
        std::fs::write(&file, format!("{}{block}", "\n".repeat(line - 1)))?;
        writeln!(self.blocks, "{}", file.display()).context("the shell is gone")?;
        let what = match self.done.recv_timeout(within) {
            Ok(()) => return Ok(read(&file, "output")),
            Err(RecvTimeoutError::Timeout) => {
                self.shell.kill()?;
                format!("not done after {} s", within.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => format!("the shell ended with {}", self.shell.wait()?),
        };
        let failed = read(&file, "failed");
        let (at, command) = failed.trim_end().split_once('\t').unwrap_or(("", block));
        bail!(Failure {
            session: self.name.clone(),
            line: at.parse().unwrap_or(line),
            what,
            command: command.to_owned(),
            output: read(&file, "output"),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The shell may have ended by itself, and then there is nothing to do.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// A file beside a block, empty where there is none.
fn read(block: &Path, kind: &str) -> String {
    std::fs::read_to_string(format!("{}.{kind}", block.display())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    fn session(folder: &Path) -> Session {
        let environment = [("PATH", "/usr/bin:/bin".to_owned()), ("GIVEN", "from outside".to_owned())];
        Session::start("central", folder, &folder.join("scratch"), &environment).unwrap()
    }

    #[test]
    fn variables_and_the_folder_last_and_input_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut session = session(folder.path());
        assert_eq!(session.run(3, "A=1\nmkdir x\ncd x\necho $GIVEN\n", WITHIN).unwrap(), "from outside\n");
        assert_eq!(session.run(9, "cat; echo $A; basename \"$PWD\" >&2\n", WITHIN).unwrap(), "1\nx\n");
    }

    #[test]
    fn a_failure_names_its_line_and_command() {
        for (block, line, command) in [
            ("echo before\nls /nowhere\necho after\n", 11, "ls /nowhere"),
            ("echo before\necho \"$UNSET_HERE\"\n", 10, "UNSET_HERE"),
            ("echo before\nfalse | cat\n", 11, "cat"),
            ("echo before\nX=$(false)\n", 11, "false"),
            ("f() { false; }\necho before\nf\n", 10, "false"),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let mut session = session(folder.path());
            let failure = session.run(10, block, WITHIN).unwrap_err();
            let failure = failure.downcast_ref::<Failure>().unwrap();
            assert!(failure.output.starts_with("before\n"), "{block}: {failure}");
            assert!(failure.command.contains(command), "{block}: {failure}");
            assert_eq!(failure.line, line, "{block}: {failure}");
            assert!(!failure.output.contains("after"), "{block}: {failure}");
        }
    }

    #[test]
    fn a_block_that_hangs_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let mut session = session(folder.path());
        let failure = session.run(1, "echo before; read -r _ < <(exec sleep 30)\n", Duration::from_millis(300));
        assert!(failure.unwrap_err().to_string().contains("not done"));
    }
}
