//! `MiniStack` as a child process.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::Options;

const READY_WITHIN: Duration = Duration::from_secs(90);
const LOG_LINES_SHOWN: usize = 20;

/// A running `MiniStack`, in a process group with the function processes that it starts.
#[derive(Debug)]
pub(crate) struct MiniStack {
    child: Child,
    port: u16,
    _home: TempDir,
}

impl MiniStack {
    /// Starts `MiniStack` and waits until it is ready. Functions find AWS at `endpoint`.
    pub(crate) fn start(options: &Options, endpoint: &str) -> anyhow::Result<Self> {
        let mut attempts_left = 5;
        loop {
            attempts_left -= 1;
            match Self::try_start(options, endpoint) {
                // Between a look for a free port and its use, another process can take it.
                Err(error) if attempts_left > 0 && format!("{error:#}").contains("is already in use") => {}
                started => return started,
            }
        }
    }

    fn try_start(options: &Options, endpoint: &str) -> anyhow::Result<Self> {
        let home = tempfile::tempdir().context("make a folder for MiniStack")?;
        let log = match &options.keep_logs {
            Some(folder) => {
                std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
                folder.join("ministack.log")
            }
            None => home.path().join("ministack.log"),
        };
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let program = home.path().join("ministack_beside_edge.py");
        std::fs::write(&program, include_str!("ministack_beside_edge.py")).context("write MiniStack's program")?;
        let mended = home.path().join("ministack_mended.py");
        std::fs::write(mended, include_str!("ministack_mended.py")).context("write MiniStack's program")?;
        let port = free_port()?;
        let child = Command::new(&options.python)
            .arg(&program)
            .args(&options.without_mend)
            // Nothing of the caller's environment: credentials and proxies would leak into functions.
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", home.path())
            .env("TMPDIR", home.path())
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", port.to_string())
            .env("AWS_ENDPOINT_URL", endpoint)
            .env("MINISTACK_IMDS_V2_REQUIRED", "1")
            // Waits of state machines are for people: here they go fifty times faster.
            .env("SFN_WAIT_SCALE", "0.02")
            .env("PERSIST_STATE", "0")
            .env("S3_PERSIST", "0")
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start MiniStack with {}", options.python.display()))?;
        let mut ministack = Self { child, port, _home: home };
        ministack.wait_until_ready().with_context(|| last_lines(&log))?;
        Ok(ministack)
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Tells `MiniStack`'s own process something, such as how a dial stands.
    pub(crate) fn tell(&self, told: &serde_json::Value) -> anyhow::Result<()> {
        let body = told.to_string();
        let request = format!(
            "POST /_local-aws/decide HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match ask(self.port, &request).context("tell MiniStack")? {
            Some(200) => Ok(()),
            status => bail!("MiniStack answered {status:?} to {body}"),
        }
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("MiniStack ended with {status}");
            }
            if is_ready(self.port) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("MiniStack was not ready within {} s", READY_WITHIN.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        // The group outlives its leader where a function is left, so the group is what has to end.
        if let Ok(id) = i32::try_from(self.child.id())
            && let Some(group) = Pid::from_raw(id)
        {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// botocore's `data` folder of an interpreter.
pub(crate) fn botocore_data(python: &Path) -> anyhow::Result<PathBuf> {
    let script = "import importlib.util as u; print(u.find_spec('botocore').submodule_search_locations[0])";
    let output =
        Command::new(python).args(["-c", script]).output().with_context(|| format!("run {}", python.display()))?;
    if !output.status.success() {
        bail!("{} has no botocore: {}", python.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("data"))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?.local_addr()?.port())
}

fn is_ready(port: u16) -> bool {
    let request = "GET /_ministack/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    matches!(ask(port, request), Ok(Some(200)))
}

/// Sends a request; the status of its answer.
fn ask(port: u16, request: &str) -> std::io::Result<Option<u16>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split_ascii_whitespace().nth(1).and_then(|status| status.parse().ok()))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
    format!("the end of MiniStack's log:\n{}", lines.get(from..).unwrap_or_default().join("\n"))
}
