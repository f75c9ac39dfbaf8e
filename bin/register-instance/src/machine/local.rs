//! The machine that this runs on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hub::Timestamp;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::files::{self, Links};
use super::{Command, LOCK_FILE, Lock, Machine, Output, Position, Stop, process};

/// Where programs are looked for if the environment has no path or an empty one, as under a bare cron or init.
const PATH_DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long a lock is waited for that another run holds.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Files under a folder, programs on a path, and the clock.
#[derive(Debug)]
pub struct Local {
    root: PathBuf,
    path: Vec<PathBuf>,
    environment: BTreeMap<String, String>,
    verbose: bool,
    clock: fn() -> SystemTime,
    stop: watch::Receiver<Option<Stop>>,
    deadline: Option<Instant>,
    lock: RefCell<Option<File>>,
}

impl Local {
    /// The machine whose files with fixed places are under `root`.
    pub fn new(
        root: PathBuf,
        environment: BTreeMap<String, String>,
        verbose: bool,
        clock: fn() -> SystemTime,
        stop: watch::Receiver<Option<Stop>>,
    ) -> Self {
        let path = environment.get("PATH").filter(|path| !path.is_empty()).map_or(PATH_DEFAULT, String::as_str);
        let path = std::env::split_paths(OsStr::new(path)).collect();
        Self { root, path, environment, verbose, clock, stop, deadline: None, lock: RefCell::new(None) }
    }

    /// The same for a run that has this long.
    #[must_use]
    pub fn for_no_longer_than(self, limit: Duration) -> Self {
        Self { deadline: Some(Instant::now() + limit), ..self }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Where programs are looked for. Root runs nothing from a folder of whoever was here before, or that others may
    /// write to.
    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        self.path.iter().filter(|folder| folder.is_absolute() && files::is_ours(folder))
    }

    /// The search path of what is run: as careful, and never without the system's own programs.
    fn search_path(&self) -> OsString {
        let own = std::env::split_paths(PATH_DEFAULT).filter(|folder| !self.path.contains(folder));
        // What was split at colons can be joined with them.
        std::env::join_paths(self.folders().cloned().chain(own)).unwrap_or_default()
    }
}

impl Machine for Local {
    fn is_root(&self) -> bool {
        // Files under another folder are a test's own.
        self.root != Path::new("/") || rustix::process::geteuid().is_root()
    }

    fn lock(&self) -> io::Result<Lock> {
        let mut file = files::lock_file(&self.at(LOCK_FILE))?;
        let begun = Instant::now();
        let mut taken = file.try_lock();
        // A run that was killed may have left an agent that is about to end, and with it the lock.
        while matches!(taken, Err(TryLockError::WouldBlock)) && begun.elapsed() < LOCK_WAIT {
            thread::sleep(LOCK_PAUSE);
            taken = file.try_lock();
        }
        match taken {
            Ok(()) => {
                // Only for whoever finds it held; a full disk is no reason not to run.
                let _ =
                    file.set_len(0).and_then(|()| write!(file, "process {} since {}", std::process::id(), self.now()));
                *self.lock.borrow_mut() = Some(file);
                Ok(Lock::Taken)
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.rewind().and_then(|()| file.take(200).read_to_string(&mut holder));
                Ok(Lock::Held(holder))
            }
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn read(&self, path: &str) -> io::Result<Option<String>> {
        files::read(&self.at(path), Links::Refused)
    }

    fn read_configuration(&self, path: &str) -> io::Result<Option<String>> {
        files::read(&self.at(path), Links::Followed)
    }

    fn log(&self, path: &str, from: Position, limit: u64) -> io::Result<String> {
        files::log(&self.at(path), from, limit)
    }

    fn log_time(&self, path: &str) -> Option<Timestamp> {
        files::log_time(&self.at(path)).map(Timestamp::from)
    }

    fn log_end(&self, path: &str) -> io::Result<Position> {
        files::log_end(&self.at(path))
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(folder)).into_iter().flatten().filter_map(Result::ok);
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn is_masked(&self, path: &str) -> bool {
        files::is_masked(&self.at(path))
    }

    fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.at(path)).is_ok()
    }

    fn write(&self, path: &str, contents: &str) -> io::Result<()> {
        files::write(&self.at(path), contents)
    }

    fn write_configuration(&self, path: &str, contents: &str) -> io::Result<()> {
        files::write_configuration(&self.at(path), contents)
    }

    fn sync(&self, path: &str) -> io::Result<()> {
        files::sync(&self.at(path))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        files::remove(&self.at(path))
    }

    fn free_bytes(&self, path: &str) -> Option<u64> {
        let found = rustix::fs::statvfs(self.at(path)).ok()?;
        Some(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        self.folders().map(|folder| folder.join(name)).find(|file| is_program(file))
    }

    fn program_at(&self, path: &str) -> Option<PathBuf> {
        Some(self.at(path)).filter(|file| is_program(file))
    }

    fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    fn run(&self, command: &Command<'_>, limit: Duration) -> io::Result<Output> {
        let is_unwanted = || command.is_question && self.stop.borrow().is_some();
        let run = || process::run(command, &self.search_path(), limit, is_unwanted);
        let lock = self.lock.borrow();
        let Some(lock) = lock.as_ref().filter(|_| command.keeps_lock) else { return run() };
        // A lock belongs to the open file, which whoever inherits it keeps open.
        fcntl_setfd(lock, FdFlags::empty())?;
        let output = run();
        fcntl_setfd(lock, FdFlags::CLOEXEC)?;
        output
    }

    fn now(&self) -> Timestamp {
        (self.clock)().into()
    }

    fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    fn random(&self) -> f64 {
        // Each state of the standard library's hash is keyed by chance.
        let bits = std::hash::RandomState::new().build_hasher().finish() >> 32;
        f64::from(u32::try_from(bits).unwrap_or_default()) / f64::from(u32::MAX)
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
/// itself: a stopped agent is started first. While a program runs, which keeps one thread busy, this takes another.
///
/// # Errors
/// The system does not let signals be handled.
pub fn stop_on_signal_or_after(limit: Duration) -> io::Result<watch::Receiver<Option<Stop>>> {
    let (sender, receiver) = watch::channel(None);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    // A write past a limit is an error to be told, and no reason to die with the agent stopped.
    drop(signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?);
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

fn is_program(file: &Path) -> bool {
    let can_be_run = |found: fs::Metadata| found.is_file() && found.permissions().mode() & 0o111 != 0;
    fs::metadata(file).is_ok_and(can_be_run) && files::is_ours(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(root: &Path, path: &str) -> Local {
        let (_, stop) = watch::channel(None);
        let environment = [("PATH".to_owned(), path.to_owned())].into();
        Local::new(root.to_owned(), environment, false, || SystemTime::UNIX_EPOCH, stop)
    }

    #[test]
    fn files_are_under_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path(), "");
        assert_eq!(machine.read("/var/lib/x/y.json").unwrap(), None);
        machine.write("/var/lib/x/y.json", "one").unwrap();
        machine.write("/var/lib/x/y.json", "two").unwrap();
        assert_eq!(machine.read("/var/lib/x/y.json").unwrap().as_deref(), Some("two"));
        assert_eq!(machine.list("/var/lib/x"), ["y.json"]);
        machine.remove("/var/lib/x/y.json").unwrap();
        machine.remove("/var/lib/x/y.json").unwrap();
        assert!(!machine.exists("/var/lib/x/y.json"));
        assert!(machine.free_bytes("/var/lib/x").is_some());
    }

    #[test]
    fn only_what_can_be_run_is_a_program_and_only_in_an_absolute_folder() {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        let machine = |path: &str| machine(folder.path(), path);
        let absolute = machine(bin.to_str().unwrap());
        absolute.write("/bin/ssm-cli", "#!/bin/sh\n").unwrap();
        assert_eq!(absolute.program("ssm-cli"), None);
        fs::set_permissions(bin.join("ssm-cli"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(absolute.program("ssm-cli"), Some(bin.join("ssm-cli")));
        // Where this test runs, there is a folder `src` with files; make one that could be run.
        let here = std::env::current_dir().unwrap();
        let above: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let relative = above.join(bin.strip_prefix("/").unwrap());
        assert!(relative.join("ssm-cli").exists(), "the test looks in the right place");
        assert_eq!(machine(relative.to_str().unwrap()).program("ssm-cli"), None);
        assert_eq!(machine(&format!(":.:{}", bin.display())).program("ssm-cli"), Some(bin.join("ssm-cli")));
        // Whoever may write to the folder could be meant by the name.
        fs::set_permissions(&bin, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(machine(bin.to_str().unwrap()).program("ssm-cli"), None);
    }

    #[test]
    fn one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (machine(folder.path(), ""), machine(folder.path(), ""));
        assert_eq!(first.lock().unwrap(), Lock::Taken);
        let Lock::Held(holder) = second.lock().unwrap() else { panic!("two runs have the lock") };
        assert!(holder.starts_with(&format!("process {} since 1970", std::process::id())), "{holder}");
        drop(first);
        assert_eq!(second.lock().unwrap(), Lock::Taken);
    }

    #[test]
    fn chance_is_between_nothing_and_one() {
        let machine = machine(Path::new("/"), "");
        let numbers: Vec<f64> = (0..100).map(|_| machine.random()).collect();
        assert!(numbers.iter().all(|number| (0.0..=1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number < 0.5) && numbers.iter().any(|number| *number > 0.5));
    }
}
