//! The machine that this runs on.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hub::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Machine, Output, Stop, process};

/// Where the lock is. Whoever is first makes the file; it is never removed, as a second run may hold it open. It is not
/// in `/run/lock`, where everybody may make files, and for root alone: whoever may open it may hold the lock.
const LOCK_FILE: &str = "/run/tag-hub-register-instance.lock";

/// Where programs are looked for if the environment has no path, as under a bare cron or init.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Files under a folder, programs on a path, and the clock.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    path: Vec<PathBuf>,
    verbose: bool,
    clock: fn() -> SystemTime,
    stop: watch::Receiver<Option<Stop>>,
    lock: RefCell<Option<File>>,
}

impl Local {
    /// The machine whose files with fixed places are under `root`.
    pub fn new(
        root: PathBuf,
        path: Option<&OsStr>,
        verbose: bool,
        clock: fn() -> SystemTime,
        stop: watch::Receiver<Option<Stop>>,
    ) -> Self {
        let path = std::env::split_paths(path.unwrap_or(OsStr::new(PATH_DEFAULT))).collect();
        Self { root, path, verbose, clock, stop, lock: RefCell::new(None) }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl Machine for Local {
    fn is_root(&self) -> bool {
        // Files under another folder are a test's own.
        self.root != Path::new("/") || rustix::process::geteuid().is_root()
    }

    fn lock(&self) -> io::Result<bool> {
        let path = self.at(LOCK_FILE);
        create_folder_of(&path)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                *self.lock.borrow_mut() = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn read(&self, path: &str) -> io::Result<Option<String>> {
        match fs::read(self.at(path)) {
            Ok(contents) => Ok(Some(String::from_utf8_lossy(&contents).into_owned())),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, path: &str, contents: &str) -> io::Result<()> {
        let path = self.at(path);
        create_folder_of(&path)?;
        // Written beside it and put in its place, so that nobody ever reads half of it.
        let beside = path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(contents.as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, path)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        match fs::remove_file(self.at(path)) {
            Err(error) if !is_absent(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(name)).find(|file| is_program(file))
    }

    fn file(&self, path: &str) -> Option<PathBuf> {
        let path = self.at(path);
        path.exists().then_some(path)
    }

    fn run(&self, program: &Path, args: &[&str], limit: Duration) -> io::Result<Output> {
        process::run(program, args, limit)
    }

    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }

    fn say(&self, line: &str) {
        // Nobody may be reading any more; that is no reason to leave the agent stopped.
        let _ = writeln!(io::stderr(), "register-instance: {line}");
    }

    fn explain(&self, line: &str) {
        if self.verbose {
            self.say(line);
        }
    }

    async fn pause(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    async fn stop_requested(&self) -> Stop {
        let mut stop = self.stop.clone();
        let requested = stop.wait_for(Option::is_some).await.ok().and_then(|stop| *stop);
        match requested {
            Some(stop) => stop,
            // Nobody is left who could ask for it.
            None => std::future::pending().await,
        }
    }
}

/// Asks for an end when a signal comes, or when `limit` is over. From here on no such signal ends the process by
/// itself: a stopped agent is started first.
///
/// # Errors
/// The system does not let signals be handled.
pub fn stop_on_signal_or_after(limit: Duration) -> io::Result<watch::Receiver<Option<Stop>>> {
    let (sender, receiver) = watch::channel(None);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        let stop = tokio::select! {
            _ = terminate.recv() => Stop::Signal,
            _ = interrupt.recv() => Stop::Signal,
            _ = hang_up.recv() => Stop::Signal,
            () = tokio::time::sleep(limit) => Stop::Deadline,
        };
        // The run may have ended in the same moment.
        let _ = sender.send(Some(stop));
    });
    Ok(receiver)
}

fn create_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn is_program(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(root: &Path) -> Local {
        let (_, stop) = watch::channel(None);
        let path = root.join("bin");
        Local::new(root.to_owned(), Some(path.as_os_str()), false, || SystemTime::UNIX_EPOCH, stop)
    }

    #[test]
    fn files_are_under_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        assert_eq!(machine.read("/var/lib/x/y.json").unwrap(), None);
        machine.write("/var/lib/x/y.json", "one").unwrap();
        machine.write("/var/lib/x/y.json", "two").unwrap();
        assert_eq!(machine.read("/var/lib/x/y.json").unwrap().as_deref(), Some("two"));
        assert_eq!(fs::read_dir(folder.path().join("var/lib/x")).unwrap().count(), 1, "nothing is left beside it");
        machine.remove("/var/lib/x/y.json").unwrap();
        machine.remove("/var/lib/x/y.json").unwrap();
        assert_eq!(machine.file("/var/lib/x/y.json"), None);
    }

    #[test]
    fn only_what_can_be_run_is_a_program() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        machine.write("/bin/ssm-cli", "#!/bin/sh\n").unwrap();
        assert_eq!(machine.program("ssm-cli"), None);
        fs::set_permissions(folder.path().join("bin/ssm-cli"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(machine.program("ssm-cli"), Some(folder.path().join("bin/ssm-cli")));
    }

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (machine(folder.path()), machine(folder.path()));
        assert!(first.lock().unwrap());
        assert!(!second.lock().unwrap());
        drop(first);
        assert!(second.lock().unwrap());
    }
}
