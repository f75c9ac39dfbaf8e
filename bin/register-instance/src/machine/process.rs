//! Runs a program to its end.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Command, Ended, Output};

/// How often a running program is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long output is awaited after the program has ended. A service that was started by it may hold the pipe open
/// for as long as it lives.
const REST: Duration = Duration::from_millis(500);

/// How much of a program's output is kept.
const OUTPUT_MAX_BYTES: usize = 256 * 1024;

/// Runs a program with nothing on its standard input, and kills it after `limit`, or as soon as it `is_unwanted`.
///
/// It is in a process group of its own, so that Ctrl-C on the terminal does not end a registration half-way.
///
/// Of the environment of this run it gets nothing, as a service would not: neither credentials nor certificates nor a
/// language. It does not run in the folder of whoever was here before.
pub(super) fn run(
    command: &Command<'_>,
    search_path: &OsStr,
    limit: Duration,
    is_unwanted: impl Fn() -> bool,
) -> io::Result<Output> {
    let mut child = std::process::Command::new(command.program)
        .env_clear()
        .env("PATH", search_path)
        .envs(command.environment.into_iter().flatten())
        .current_dir("/")
        .args(command.args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let stdout = child.stdout.take().map(Reading::start);
    let stderr = child.stderr.take().map(Reading::start);
    let ended = wait(&mut child, limit, is_unwanted)?;
    let text = |reading: Option<Reading>| reading.map(Reading::finish).unwrap_or_default();
    Ok(Output { ended, stdout: text(stdout), stderr: text(stderr) })
}

fn wait(child: &mut Child, limit: Duration, is_unwanted: impl Fn() -> bool) -> io::Result<Ended> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.code().map_or(Ended::Killed, Ended::Exit));
        }
        if waited >= limit || is_unwanted() {
            child.kill()?;
            let status = child.wait()?;
            // It may have ended by itself in the meantime.
            let ended_by_itself = status.code().filter(|_| status.signal().is_none());
            return Ok(ended_by_itself.map_or(Ended::TimedOut, Ended::Exit));
        }
        thread::sleep(LOOK);
        waited += LOOK;
    }
}

/// Output that is read while the program runs, so that a full pipe never makes it wait.
struct Reading {
    kept: Arc<Mutex<Vec<u8>>>,
    done: Receiver<()>,
}

impl Reading {
    fn start(mut pipe: impl Read + Send + 'static) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (sender, done) = channel();
        let store = Arc::clone(&kept);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
                let room = OUTPUT_MAX_BYTES.saturating_sub(store.len()).min(count);
                store.extend_from_slice(&buffer[..room]);
            }
            // Nobody listens any more where the program had ended long before.
            let _ = sender.send(());
        });
        Self { kept, done }
    }

    fn finish(self) -> String {
        let _ = self.done.recv_timeout(REST);
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    fn shell(script: &str, limit: Duration) -> Output {
        start(&Command::new(Path::new("/bin/sh"), &["-c", script]), limit).unwrap()
    }

    fn start(command: &Command<'_>, limit: Duration) -> io::Result<Output> {
        run(command, OsStr::new("/usr/bin:/bin"), limit, || false)
    }

    #[test]
    fn nothing_of_the_environment_of_this_run_is_passed_on() {
        let environment = BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://proxy:3128".to_owned())]);
        let env = Path::new("/usr/bin/env");
        let command = Command { environment: Some(&environment), ..Command::new(env, &[]) };
        let said = start(&command, Duration::from_mins(1)).unwrap().stdout;
        assert_eq!(said, "HTTPS_PROXY=http://proxy:3128\nPATH=/usr/bin:/bin\n");
        assert_eq!(start(&Command::new(env, &[]), Duration::from_mins(1)).unwrap().stdout, "PATH=/usr/bin:/bin\n");
    }

    #[test]
    fn what_is_not_wanted_any_more_is_killed() {
        let command = Command::new(Path::new("/bin/sh"), &["-c", "exec sleep 600"]);
        let output = run(&command, OsStr::new("/usr/bin:/bin"), Duration::from_mins(1), || true).unwrap();
        assert_eq!(output.ended, Ended::TimedOut);
    }

    #[test]
    fn output_and_exit_code() {
        let output = shell("echo out; echo err >&2; read line || echo nothing to read; exit 3", Duration::from_mins(1));
        assert_eq!(
            output,
            Output { ended: Ended::Exit(3), stdout: "out\nnothing to read\n".into(), stderr: "err\n".into() }
        );
    }

    #[test]
    fn too_long_too_much_and_killed() {
        assert_eq!(shell("echo begun; exec sleep 600", Duration::from_millis(200)).ended, Ended::TimedOut);
        assert_eq!(shell("kill -9 $$", Duration::from_mins(1)).ended, Ended::Killed);
        let much = shell("head -c 1000000 /dev/zero | tr '\\0' x", Duration::from_mins(1));
        assert_eq!((much.ended, much.stdout.len()), (Ended::Exit(0), OUTPUT_MAX_BYTES));
    }

    #[test]
    fn a_service_that_keeps_the_pipe_is_not_waited_for() {
        let output = shell("sleep 600 & echo started $!", Duration::from_mins(1));
        let service = output.stdout.trim().strip_prefix("started ").unwrap();
        start(&Command::new(Path::new("/bin/kill"), &[service]), Duration::from_mins(1)).unwrap();
        assert_eq!(output.ended, Ended::Exit(0));
    }

    #[test]
    fn a_program_that_is_not_there() {
        assert!(start(&Command::new(Path::new("/nonexistent/program"), &[]), Duration::from_mins(1)).is_err());
    }
}
