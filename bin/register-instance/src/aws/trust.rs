//! Which certificates the clients trust: those of the system, or those that the environment names instead.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The variables that OpenSSL reads, and so the HTTP client: a file, and folders with colons between them.
const FILE: &str = "SSL_CERT_FILE";
const FOLDERS: &str = "SSL_CERT_DIR";

/// How a certificate begins.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// The longest file that is looked at: a bundle of a system has a quarter of a megabyte.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Looks whether there is a certificate where the environment says. Without one the client cannot be built.
///
/// # Errors
/// There is none.
pub(super) fn check(environment: &BTreeMap<String, String>) -> Result<(), String> {
    let set = |name| environment.get(name).filter(|value| !value.is_empty());
    let (file, folders) = (set(FILE), set(FOLDERS));
    let in_folders = folders.into_iter().flat_map(std::env::split_paths).flat_map(|folder| files(&folder));
    if file.is_none() && folders.is_none() || file.map(PathBuf::from).into_iter().chain(in_folders).any(has_certificate)
    {
        return Ok(());
    }
    let named: Vec<String> = [(FILE, file), (FOLDERS, folders)]
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value?)))
        .collect();
    Err(format!("{}: expected a certificate in PEM form there, found none", named.join(" and ")))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

fn has_certificate(path: PathBuf) -> bool {
    // A device or a pipe would never end.
    let is_file = fs::metadata(&path).is_ok_and(|found| found.is_file() && found.len() <= MAX_BYTES);
    is_file && fs::read(path).is_ok_and(|contents| contents.windows(BEGIN.len()).any(|bytes| bytes == BEGIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_has_to_be_where_the_environment_says() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("ca.pem"), "# a comment\n-----BEGIN CERTIFICATE-----\n").unwrap();
        fs::write(at("empty"), "").unwrap();
        let (good, all) = (at("ca.pem"), at(""));
        let check = |file: &str, folders: &str| {
            let variables = [(FILE, file), (FOLDERS, folders)];
            check(&variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        for (file, folders, is_good) in [
            ("", "", true),
            (good.as_str(), "", true),
            ("", all.as_str(), true),
            ("", &format!("/nonexistent:{all}"), true),
            ("/nonexistent", all.as_str(), true),
            ("/nonexistent", "", false),
            (&at("empty"), "", false),
            ("/dev/zero", "", false),
            ("", "/nonexistent", false),
        ] {
            assert_eq!(check(file, folders).is_ok(), is_good, "{file} {folders}");
        }
        let problem = check("/nonexistent/ca.pem", "/nowhere").unwrap_err();
        assert!(problem.contains("SSL_CERT_FILE=/nonexistent/ca.pem and SSL_CERT_DIR=/nowhere"), "{problem}");
    }
}
