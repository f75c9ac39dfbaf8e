//! Files, opened as root should: no link is followed where somebody else could have left one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// The longest file that is read as a whole. The agent's own are a few kilobytes.
const READ_MAX_BYTES: u64 = 1024 * 1024;

/// Whether the last part of a path may be a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Followed,
    Refused,
}

pub(super) fn read(path: &Path, links: Links) -> io::Result<Option<String>> {
    let Some(file) = open(path, links)? else { return Ok(None) };
    let mut contents = Vec::new();
    file.take(READ_MAX_BYTES + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > READ_MAX_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidData, "longer than a megabyte"));
    }
    Ok(Some(String::from_utf8_lossy(&contents).into_owned()))
}

/// What stands behind `from`, and the length of the file.
pub(super) fn tail(path: &Path, from: u64, limit: u64) -> io::Result<Option<(String, u64)>> {
    let Some(mut file) = open(path, Links::Refused)? else { return Ok(None) };
    let length = file.metadata()?.len();
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(from.max(length.saturating_sub(limit))))?;
    let mut contents = Vec::new();
    file.take(limit).read_to_end(&mut contents)?;
    Ok(Some((String::from_utf8_lossy(&contents).into_owned(), length)))
}

/// Opens a regular file. A pipe or a device would make root wait, or worse.
fn open(path: &Path, links: Links) -> io::Result<Option<File>> {
    let nofollow = if links == Links::Refused { OFlags::NOFOLLOW } else { OFlags::empty() };
    let file = match OpenOptions::new().read(true).custom_flags(bits(nofollow | OFlags::NONBLOCK)).open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(not_a_file()) }
}

/// Writes beside it and puts it in its place, so that nobody ever reads half of it.
pub(super) fn write(path: &Path, contents: &str) -> io::Result<()> {
    create_folder_of(path)?;
    let beside = path.with_extension("new");
    remove(&beside)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(bits(OFlags::NOFOLLOW))
        .open(&beside)?;
    let written = file.write_all(contents.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        // What is half written is of use to nobody.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    Ok(())
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_absent(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Opens the file of a lock, in a folder where nobody but its owner and root could put another in its place.
pub(super) fn lock_file(path: &Path) -> io::Result<File> {
    create_folder_of(path)?;
    if let Some(folder) = path.parent() {
        let found = fs::metadata(folder)?;
        let owners = [0, rustix::process::geteuid().as_raw()];
        if !owners.contains(&found.uid()) || found.mode() & 0o022 != 0 {
            let problem = format!("{} is not root's, or others may write to it", folder.display());
            return Err(io::Error::new(ErrorKind::PermissionDenied, problem));
        }
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(bits(OFlags::NOFOLLOW))
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(not_a_file()) }
}

/// True if nobody but root, or whoever runs this, could put a program there.
pub(super) fn is_ours(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|found| {
        let owners = [0, rustix::process::geteuid().as_raw()];
        found.is_dir() && owners.contains(&found.uid()) && found.mode() & 0o002 == 0
    })
}

fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a file")
}

pub(super) fn is_masked(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn create_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[expect(clippy::cast_possible_wrap, reason = "open(2) takes the bits as they are")]
fn bits(flags: OFlags) -> i32 {
    flags.bits() as i32
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_and_what_is_not_a_file_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink(at("file"), at("link")).unwrap();
        assert_eq!(read(&at("file"), Links::Refused).unwrap().as_deref(), Some("text"));
        assert!(read(&at("link"), Links::Refused).is_err());
        assert_eq!(read(&at("link"), Links::Followed).unwrap().as_deref(), Some("text"));
        assert_eq!(read(&at("none"), Links::Refused).unwrap(), None);
        assert!(read(folder.path(), Links::Refused).is_err());
        assert!(lock_file(&at("link")).is_err());
        // A pipe that nobody writes to would never end.
        assert!(std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap().success());
        assert!(read(&at("pipe"), Links::Refused).is_err());
        assert!(lock_file(&at("pipe")).is_err() && lock_file(folder.path()).is_err());
        fs::write(at("long"), "x".repeat(2_000_000)).unwrap();
        assert!(read(&at("long"), Links::Refused).is_err());
    }

    #[test]
    fn what_is_written_is_root_s_alone_and_follows_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("victim"), "precious").unwrap();
        symlink(at("victim"), at("note.new")).unwrap();
        write(&at("note.json"), "one").unwrap();
        write(&at("note.json"), "two").unwrap();
        assert_eq!(fs::read_to_string(at("note.json")).unwrap(), "two");
        assert_eq!(fs::read_to_string(at("victim")).unwrap(), "precious");
        assert_eq!(fs::metadata(at("note.json")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn a_lock_in_a_folder_of_everybody_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).unwrap();
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(lock_file(&shared.join("lock")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    }

    #[test]
    fn the_end_of_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        assert_eq!(tail(&log, 0, 10).unwrap(), None);
        fs::write(&log, "0123456789").unwrap();
        assert_eq!(tail(&log, 0, 4).unwrap(), Some(("6789".to_owned(), 10)));
        assert_eq!(tail(&log, 8, 4).unwrap(), Some(("89".to_owned(), 10)));
        assert_eq!(tail(&log, 10, 4).unwrap(), Some((String::new(), 10)));
        assert_eq!(tail(&log, 99, 100).unwrap(), Some(("0123456789".to_owned(), 10)), "replaced since");
    }
}
