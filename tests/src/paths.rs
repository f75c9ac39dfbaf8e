//! Where the repository, the packages and the interpreter are.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// The places that a deployment on the local AWS needs.
#[derive(Debug, Clone)]
pub struct Paths {
    /// The repository's top folder.
    pub repository: PathBuf,
    /// A Python interpreter with MiniStack: `LOCAL_AWS_PYTHON`, by default that of `.venv`.
    pub python: PathBuf,
    /// The folder of the packages, `<binary>/bootstrap.zip`: `LAMBDA_PACKAGES`, by default `target/lambda`.
    pub packages: PathBuf,
}

impl Paths {
    /// Reads the environment.
    ///
    /// # Errors
    /// Where something is not there, with the command that makes it.
    #[expect(clippy::disallowed_methods, reason = "tests and tools are told by the Makefile where things are")]
    pub fn from_env() -> anyhow::Result<Self> {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
        let place = |name: &str, default: &str| std::env::var(name).map_or(repository.join(default), PathBuf::from);
        let python = place("LOCAL_AWS_PYTHON", ".venv/bin/python");
        let packages = place("LAMBDA_PACKAGES", "target/lambda");
        anyhow::ensure!(python.exists(), "{} is not there; run make setup", python.display());
        anyhow::ensure!(packages.exists(), "{} is not there; run make build", packages.display());
        Ok(Self { repository, python, packages })
    }

    /// A file of the repository, as text.
    pub fn text(&self, file: &str) -> anyhow::Result<String> {
        let path = self.repository.join(file);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// The package of a function.
    pub fn package(&self, binary: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.packages.join(binary).join("bootstrap.zip");
        std::fs::read(&path).with_context(|| format!("read {}; run make build", path.display()))
    }
}
