//! Files, opened as root should: no link is followed where somebody else could have left one.

use std::cmp::Reverse;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::OFlags;

use super::Position;

/// The longest file that is read as a whole. The agent's own are a few kilobytes.
const READ_MAX_BYTES: u64 = 1024 * 1024;

/// Whether the last part of a path may be a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Followed,
    /// Followed if it is root's own, or of whoever runs this.
    Ours,
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

/// What stands behind `from` in a log and in the files that it was rotated into. If the file of `from` is gone, what is
/// in the present one counts.
pub(super) fn log(path: &Path, from: Position, limit: u64) -> io::Result<String> {
    let present = open(path, Links::Ours)?;
    let earlier = rotated(path).into_iter().filter_map(|path| open(&path, Links::Ours).ok().flatten());
    let (mut parts, mut room, mut is_found) = (Vec::new(), limit, from == Position::default());
    let mut is_copy = false;
    for mut file in present.into_iter().chain(earlier) {
        let (number, length) = file.metadata().map(|found| (found.ino(), found.len()))?;
        // A file that is shorter than that was written anew: what it held before may have been copied into another.
        let is_cut = number == from.file && length < from.offset;
        let is_last = (number == from.file || is_copy) && from.offset <= length;
        let start = if is_last { from.offset } else { 0 };
        is_copy = is_cut;
        file.seek(SeekFrom::Start(start.max(length.saturating_sub(room))))?;
        let mut contents = Vec::new();
        file.take(room).read_to_end(&mut contents)?;
        room -= contents.len() as u64;
        parts.push(String::from_utf8_lossy(&contents).into_owned());
        is_found |= is_last;
        if is_last || room == 0 {
            break;
        }
    }
    if !is_found {
        parts.truncate(1);
    }
    parts.reverse();
    Ok(parts.concat())
}

/// When a log, or a file that it was rotated into, was last written.
pub(super) fn log_time(path: &Path) -> Option<SystemTime> {
    let files = std::iter::once(path.to_owned()).chain(rotated(path));
    files.filter_map(|file| open(&file, Links::Ours).ok()??.metadata().ok()?.modified().ok()).max()
}

/// Where a log ends.
pub(super) fn log_end(path: &Path) -> io::Result<Position> {
    let Some(file) = open(path, Links::Ours)? else { return Ok(Position::default()) };
    let found = file.metadata()?;
    Ok(Position { file: found.ino(), offset: found.len() })
}

/// The files that a log was rotated into, such as `agent.log.3`, `agent.log-20261122`, or `agent-20261122.log`, the
/// newest first. What was compressed is not among them.
fn rotated(log: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(name)) = (log.parent(), log.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let (stem, extension) = name.rsplit_once('.').map_or((name, ""), |(stem, _)| (stem, &name[stem.len()..]));
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = entries
        .filter(|entry| {
            let other = entry.file_name();
            let after = other.to_str().and_then(|other| other.strip_prefix(name)).unwrap_or_default();
            let is_compressed = ["gz", "zip", "bz2", "xz", "zst", "lz4"].iter().any(|form| after.ends_with(form));
            let between = other.to_str().and_then(|other| other.strip_prefix(stem)?.strip_suffix(extension));
            let is_dated = between.is_some_and(|date| !date.is_empty() && !date.contains(char::is_alphabetic));
            after.starts_with(['.', '-']) && !is_compressed || is_dated
        })
        .filter_map(|entry| Some((Reverse(entry.metadata().ok()?.modified().ok()?), entry.path())))
        .collect();
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

/// Opens a regular file. A pipe or a device would make root wait, or worse.
fn open(path: &Path, links: Links) -> io::Result<Option<File>> {
    let is_followed = match links {
        Links::Followed => true,
        Links::Ours => fs::symlink_metadata(path).is_ok_and(|found| is_owned(&found)),
        Links::Refused => false,
    };
    let nofollow = if is_followed { OFlags::empty() } else { OFlags::NOFOLLOW };
    let file = match OpenOptions::new().read(true).custom_flags(bits(nofollow | OFlags::NONBLOCK)).open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.is_file() { Ok(Some(file)) } else { Err(not_a_file()) }
}

/// Writes beside it and puts it in its place, so that nobody ever reads half of it.
pub(super) fn write(path: &Path, contents: &str) -> io::Result<()> {
    replace(path, contents, None)
}

/// The same for what a link leads to, with the owner and the permissions that it has.
pub(super) fn write_configuration(path: &Path, contents: &str) -> io::Result<()> {
    match fs::canonicalize(path) {
        Ok(path) => replace(&path, contents, Some(&fs::metadata(&path)?)),
        Err(error) if is_absent(&error) && fs::symlink_metadata(path).is_err() => replace(path, contents, None),
        Err(error) => Err(error),
    }
}

fn replace(path: &Path, contents: &str, like: Option<&Metadata>) -> io::Result<()> {
    create_folder_of(path)?;
    let beside = path.with_extension("new");
    remove(&beside)?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(bits(OFlags::NOFOLLOW))
        .open(&beside)?;
    let written = file
        .write_all(contents.as_bytes())
        .and_then(|()| {
            let Some(like) = like else { return Ok(()) };
            fchown(&file, Some(like.uid()), Some(like.gid()))?;
            file.set_permissions(like.permissions())
        })
        .and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        // What is half written is of use to nobody.
        let _ = fs::remove_file(&beside);
        return Err(error);
    }
    // The name too has to outlive a power failure.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

pub(super) fn sync(path: &Path) -> io::Result<()> {
    open(path, Links::Refused)?.map_or(Ok(()), |file| file.sync_all())
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
        if !is_owned(&found) || found.mode() & 0o022 != 0 {
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

/// True if nobody but root, or whoever runs this, could put something else there: in that place, or where it leads to.
pub(super) fn is_ours(path: &Path) -> bool {
    let are_ours = |path: &Path| path.ancestors().all(|path| fs::metadata(path).is_ok_and(|found| is_kept(&found)));
    are_ours(path) && fs::canonicalize(path).is_ok_and(|path| are_ours(&path))
}

/// True if no other may write to it. In a folder such as `/tmp` nobody may take away what is another's.
fn is_kept(found: &Metadata) -> bool {
    const STICKY: u32 = 0o1000;
    let is_own_group = [0, rustix::process::getegid().as_raw()].contains(&found.gid());
    let writers = if is_own_group { 0o002 } else { 0o022 };
    is_owned(found) && (found.mode() & writers == 0 || found.is_dir() && found.mode() & STICKY != 0)
}

fn is_owned(found: &Metadata) -> bool {
    [0, rustix::process::geteuid().as_raw()].contains(&found.uid())
}

fn not_a_file() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "not a file")
}

/// True for an empty file and for `/dev/null`, whatever link leads to it.
pub(super) fn is_masked(path: &Path) -> bool {
    let null = Path::new("/dev/null");
    fs::canonicalize(path).is_ok_and(|target| target == null)
        || fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == 0)
}

pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn create_folder_of(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| DirBuilder::new().recursive(true).mode(0o755).create(folder))
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
        let at = |name: &str| folder.path().join(name);
        let (path, all) = (at("log"), Position::default());
        let read = |from, limit| log(&path, from, limit).unwrap();
        assert_eq!((read(all, 10).as_str(), log_end(&path).unwrap()), ("", all));
        fs::write(&path, "0123456789").unwrap();
        let end = log_end(&path).unwrap();
        assert_eq!((read(all, 4).as_str(), read(all, 99).as_str()), ("6789", "0123456789"));
        assert_eq!((read(end, 4).as_str(), read(Position { offset: 8, ..end }, 4).as_str()), ("", "89"));
        assert_eq!(read(Position { offset: 99, ..end }, 100), "0123456789", "written anew since");
        // Rotated since, twice, and by one that counts up. What is no number is another file.
        fs::write(&path, "0123456789ab").unwrap();
        fs::rename(&path, at("log.1")).unwrap();
        for (name, text, age) in
            [("log", "ef", 0), ("log.2", "cd", 10), ("log.1", "0123456789ab", 20), ("log.gz", "x", 5)]
        {
            fs::write(at(name), text).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 - age);
            File::options().write(true).open(at(name)).unwrap().set_modified(time).unwrap();
        }
        assert_eq!((read(end, 99).as_str(), read(all, 5).as_str()), ("abcdef", "bcdef"));
        assert_eq!(log_time(&path), Some(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)));
        assert_eq!(log_time(&at("none")), None);
        fs::remove_file(at("log.1")).unwrap();
        assert_eq!(read(end, 99), "ef", "the file is gone");
    }

    #[test]
    fn a_log_under_another_name() {
        for (name, is_read) in [
            ("agent.log.1", true),
            ("agent.log.old", true),
            ("agent.log-20261122", true),
            ("agent.log.2026-11-22", true),
            ("agent-20261122.log", true),
            ("agent.log.1.gz", false),
            ("agent.log-20261122.zip", false),
            ("agent-update.log", false),
            ("agentx.log", false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (path, other) = (folder.path().join("agent.log"), folder.path().join(name));
            fs::write(&path, "0123").unwrap();
            let end = log_end(&path).unwrap();
            fs::rename(&path, &other).unwrap();
            // Whoever has it open goes on.
            File::options().append(true).open(&other).unwrap().write_all(b"45").unwrap();
            let read = |from| log(&path, from, 99).unwrap();
            let expected = if is_read { ("45", "012345") } else { ("", "") };
            assert_eq!((read(end).as_str(), read(Position::default()).as_str()), expected, "{name}");
            fs::write(&path, "67").unwrap();
            assert_eq!(read(end), if is_read { "4567" } else { "67" }, "{name}");
        }
        // Copied, and written anew.
        let folder = tempfile::tempdir().unwrap();
        let (path, copy) = (folder.path().join("log"), folder.path().join("log-1"));
        fs::write(&path, "0123").unwrap();
        let end = log_end(&path).unwrap();
        fs::write(copy, "012345").unwrap();
        File::options().write(true).truncate(true).open(&path).unwrap().write_all(b"67").unwrap();
        assert_eq!(log(&path, end, 99).unwrap(), "4567");
    }

    #[test]
    fn a_log_behind_a_link_of_root_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "text").unwrap();
        symlink(at("file"), at("log")).unwrap();
        assert_eq!(log(&at("log"), Position::default(), 9).unwrap(), "text");
        if std::os::unix::fs::lchown(at("log"), Some(1), None).is_ok() {
            assert!(log(&at("log"), Position::default(), 9).is_err());
        }
    }

    #[test]
    fn a_configuration_keeps_its_link_and_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("real"), "one").unwrap();
        fs::set_permissions(at("real"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink("real", at("link")).unwrap();
        write_configuration(&at("link"), "two").unwrap();
        assert!(at("link").is_symlink());
        assert_eq!(fs::read_to_string(at("real")).unwrap(), "two");
        assert_eq!(fs::metadata(at("real")).unwrap().permissions().mode() & 0o777, 0o644);
        write_configuration(&at("more/new"), "three").unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        assert!(write_configuration(&at("dangling"), "four").is_err() && at("dangling").is_symlink());
    }

    #[test]
    fn a_unit_is_masked_by_an_empty_file_and_by_any_link_to_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("empty"), "").unwrap();
        fs::write(at("unit"), "[Service]").unwrap();
        symlink("/dev/null", at("null")).unwrap();
        symlink("null", at("indirect")).unwrap();
        symlink(folder.path().components().skip(1).map(|_| "..").collect::<PathBuf>().join("dev/null"), at("relative"))
            .unwrap();
        symlink("unit", at("alias")).unwrap();
        for (name, expected) in [
            ("empty", true),
            ("null", true),
            ("indirect", true),
            ("relative", true),
            ("unit", false),
            ("alias", false),
            ("none", false),
        ] {
            assert_eq!(is_masked(&at(name)), expected, "{name}");
        }
    }
}
