//! Where the repository, the packages and the interpreter are.

use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The variable that names the folder of the packages that `make build` makes.
const PACKAGES: &str = "LAMBDA_PACKAGES";

/// The places that a deployment on the local AWS needs.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The repository's top folder.
    pub repository: PathBuf,
    /// A Python interpreter with MiniStack: `LOCAL_AWS_PYTHON`, by default that of `.venv`.
    pub python: PathBuf,
    /// The folder of the packages, `<binary>/bootstrap.zip`.
    pub packages: PathBuf,
}

impl Paths {
    /// Reads the environment. The packages are those that `LAMBDA_PACKAGES` names; without it, packages that start the
    /// functions that cargo has built beside this program, where they lie.
    ///
    /// # Errors
    /// Where something is not there, with the command that makes it.
    pub fn from_env() -> anyhow::Result<Self> {
        Self::find(|paths| match variable(PACKAGES) {
            Some(packages) => Ok(packages),
            None => packages_of_programs(&paths.repository),
        })
    }

    /// The same with the packages that are released, and no others.
    ///
    /// # Errors
    /// Also where `LAMBDA_PACKAGES` names none.
    pub fn released() -> anyhow::Result<Self> {
        Self::find(|_| variable(PACKAGES).with_context(|| format!("{PACKAGES} names no packages that are released")))
    }

    fn find(packages: impl FnOnce(&Self) -> anyhow::Result<PathBuf>) -> anyhow::Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let python = variable("LOCAL_AWS_PYTHON").unwrap_or_else(|| repository.join(".venv/bin/python"));
        ensure!(python.exists(), "{} is not there; run make setup", python.display());
        let mut paths = Self { repository, python, packages: PathBuf::new() };
        paths.packages = packages(&paths)?;
        ensure!(paths.packages.exists(), "{} is not there; run make build", paths.packages.display());
        Ok(paths)
    }

    /// A file of the repository, as text.
    pub fn text(&self, file: &str) -> anyhow::Result<String> {
        let path = self.repository.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// The package of a function.
    pub fn package(&self, binary: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.packages.join(binary).join("bootstrap.zip");
        std::fs::read(&path).with_context(|| format!("read {}", path.display()))
    }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// A program of this repository. cargo puts it beside the running one, or beside the folder of a running test.
///
/// # Errors
/// Where it is not there, with the command that makes it.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe().context("find the running program")?;
    let mut places = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = places.find(|path| path.is_file());
    found.with_context(|| format!("{name} is not beside {}: run make programs", own.display()))
}

/// Makes a package for each function, in a folder beside the programs.
///
/// A package holds a line of shell that starts the function's program where cargo left it. So a program of 50 MB is
/// neither packed nor uploaded nor unpacked, and every package is as new as its program.
fn packages_of_programs(repository: &Path) -> anyhow::Result<PathBuf> {
    let mut folder = None;
    for entry in std::fs::read_dir(repository.join("functions"))? {
        let name = entry?.file_name();
        let name = name.to_str().context("the name of a function is no text")?;
        let program = program(name)?;
        let packages = program.with_file_name("lambda");
        write(&packages.join(name).join("bootstrap.zip"), &starter(&program)?)?;
        folder = Some(packages);
    }
    folder.context("there are no functions")
}

/// A package that starts a program.
fn starter(program: &Path) -> anyhow::Result<Vec<u8>> {
    let path = program.to_str().with_context(|| format!("{} is no text", program.display()))?;
    let mut package = ZipWriter::new(Cursor::new(Vec::new()));
    package.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755))?;
    writeln!(package, "#!/bin/sh\nexec '{}' \"$@\"", path.replace('\'', r"'\''"))?;
    Ok(package.finish()?.into_inner())
}

/// Writes a file in one step: tests run side by side, and each makes the same packages.
fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    if std::fs::read(path).is_ok_and(|before| before == content) {
        return Ok(());
    }
    let folder = path.parent().with_context(|| format!("{} has no folder", path.display()))?;
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(content)?;
    file.persist(path).with_context(|| format!("write {}", path.display()))?;
    Ok(())
}
