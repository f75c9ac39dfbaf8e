//! Packages under the Lambda Runtime Interface Emulator, which ships with the SAM CLI.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

use crate::paths::Paths;

const WITHIN: Duration = Duration::from_mins(1);

/// The emulator itself.
#[derive(Debug)]
pub struct Emulator {
    program: PathBuf,
    folder: PathBuf,
}

/// A function under the emulator. It ends when this is dropped.
#[derive(Debug)]
pub struct Emulated {
    process: Child,
    port: u16,
    log: PathBuf,
}

impl Emulator {
    /// Copies the emulator into a folder, because it comes without the right to be run.
    pub fn new(paths: &Paths, folder: &Path) -> anyhow::Result<Self> {
        let find =
            "import pathlib, samcli; print(pathlib.Path(samcli.__file__).parent / 'local/rapid/aws-lambda-rie-x86_64')";
        let found = Command::new(&paths.python).args(["-c", find]).output()?;
        let path = String::from_utf8(found.stdout)?.trim().to_owned();
        let program = folder.join("aws-lambda-rie");
        std::fs::copy(&path, &program).with_context(|| format!("copy the Runtime Interface Emulator from {path:?}"))?;
        make_executable(&program)?;
        Ok(Self { program, folder: folder.to_owned() })
    }

    /// Unpacks a zip as Lambda does, and answers where the binary is.
    pub fn unpack(&self, paths: &Paths, zip: &Path) -> anyhow::Result<PathBuf> {
        let target = tempfile::tempdir_in(&self.folder)?.keep();
        let status = Command::new(&paths.python).args(["-m", "zipfile", "-e"]).args([zip, &target]).status()?;
        ensure!(status.success(), "{} cannot be unpacked", zip.display());
        let bootstrap = target.join("bootstrap");
        make_executable(&bootstrap)?;
        Ok(bootstrap)
    }

    /// Makes a function ready to be invoked, with these variables and no others.
    pub fn start(&self, bootstrap: &Path, environment: &[(&str, String)]) -> anyhow::Result<Emulated> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let runtime_api = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (file, log) = tempfile::NamedTempFile::new_in(&self.folder)?.keep()?;
        let process = Command::new(&self.program)
            .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
            .args(["--runtime-api-address", &runtime_api.to_string(), "--log-level", "info"])
            .arg(bootstrap)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()?;
        Ok(Emulated { process, port, log })
    }
}

impl Emulated {
    /// One invocation; the emulator starts the function with the first. Answers with the body of the answer.
    pub fn invoke(&self, payload: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + WITHIN;
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => bail!("the emulator does not answer: {error}"),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        stream.set_read_timeout(Some(WITHIN))?;
        // In this version of HTTP an answer comes in one piece, up to the end of the connection.
        write!(
            stream,
            "POST /2015-03-31/functions/function/invocations HTTP/1.0\r\nContent-Length: {}\r\n\r\n{payload}",
            payload.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).with_context(|| format!("no answer; the log:\n{}", self.log()))?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        Ok(body.to_owned())
    }

    /// How long the function took to start, once it was invoked.
    pub fn init_ms(&self) -> anyhow::Result<f64> {
        let deadline = Instant::now() + WITHIN;
        loop {
            // The log has a line such as `INIT REPORT(durationMs: 8.512)`.
            if let Some((_, rest)) = self.log().split_once("INIT REPORT(durationMs: ")
                && let Some((number, _)) = rest.split_once(')')
            {
                return number.parse().with_context(|| format!("{number:?} is no time"));
            }
            ensure!(Instant::now() < deadline, "the emulator reported no INIT:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the emulator has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn make_executable(path: &Path) -> anyhow::Result<()> {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| format!("make {} executable", path.display()))
}
