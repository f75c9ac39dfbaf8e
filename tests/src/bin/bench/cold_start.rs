//! INIT time under the Lambda Runtime Interface Emulator, beside a function that does nothing.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tests::Paths;

use crate::package::{Package, Packages};

const ROUNDS: usize = 11;
const WITHIN: Duration = Duration::from_secs(20);

/// Where a Linux distribution keeps all certificates in one file.
const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

pub(crate) fn measure(paths: &Paths, packages: &Packages, folder: &Path) -> anyhow::Result<()> {
    let emulator = emulator(paths, folder)?;
    let bundle = BUNDLES.into_iter().find(|path| Path::new(path).exists()).context("no bundle of certificates")?;
    println!("### Cold start\n\nMedian INIT of {ROUNDS} starts. Target: at most 4 times the echo.\n");
    println!("| function | certificates | INIT | beside the echo |\n|---|---|---|---|");
    // The SDK reads every certificate file that it finds. Amazon Linux has one bundle, and so has Lambda; Debian has
    // a file for each certificate beside it.
    rounds(&emulator, packages, "one bundle, as on Lambda", Some(bundle))?;
    rounds(&emulator, packages, "as this machine keeps them", None)?;
    println!();
    Ok(())
}

fn rounds(emulator: &Path, packages: &Packages, what: &str, bundle: Option<&str>) -> anyhow::Result<()> {
    let packages = [&packages.echo, &packages.collector, &packages.manager, &packages.fanout];
    let mut rounds: [Vec<f64>; 4] = Default::default();
    // Taking turns keeps a slow moment of the machine from falling on one function alone.
    for _ in 0..ROUNDS {
        for (times, package) in rounds.iter_mut().zip(packages) {
            times.push(init_ms(emulator, package, bundle)?);
        }
    }
    let echo = median(&mut rounds[0]);
    for (times, package) in rounds.iter_mut().zip(packages) {
        let init = median(times);
        println!("| {} | {what} | {init:.1} ms | {:.1} × |", package.name, init / echo);
    }
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The emulator ships with the SAM CLI, without the right to be run.
fn emulator(paths: &Paths, folder: &Path) -> anyhow::Result<PathBuf> {
    let find =
        "import pathlib, samcli; print(pathlib.Path(samcli.__file__).parent / 'local/rapid/aws-lambda-rie-x86_64')";
    let found = Command::new(&paths.python).args(["-c", find]).output()?;
    let path = String::from_utf8(found.stdout)?.trim().to_owned();
    let target = folder.join("aws-lambda-rie");
    std::fs::copy(&path, &target).with_context(|| format!("copy the Runtime Interface Emulator from {path:?}"))?;
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o755))?;
    Ok(target)
}

/// Starts a function anew and reads how long its INIT took.
fn init_ms(emulator: &Path, package: &Package, bundle: Option<&str>) -> anyhow::Result<f64> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let runtime_api = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut process = Command::new(emulator)
        .args(["--runtime-interface-emulator-address", &format!("127.0.0.1:{port}")])
        .args(["--runtime-api-address", &runtime_api.to_string(), "--log-level", "info"])
        .arg(&package.bootstrap)
        .env_clear()
        .envs(bundle.map(|path| ("SSL_CERT_FILE", path)))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "222222222222")
        .env("AWS_SECRET_ACCESS_KEY", "any")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        .env(
            "MANAGER_FUNCTION_ARN",
            "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222",
        )
        .env(
            "AUTOMATION_ADMINISTRATION_ROLE_ARN",
            "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole",
        )
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let log = process.stderr.take().context("the emulator has no log")?;
    let result = invoke(port).and_then(|()| read_init(BufReader::new(log)));
    process.kill()?;
    process.wait()?;
    result.with_context(|| format!("start {}", package.name))
}

/// One invocation: the emulator starts the function with the first. What it answers does not matter.
fn invoke(port: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + WITHIN;
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) if Instant::now() > deadline => bail!("the emulator does not answer: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    stream.set_read_timeout(Some(WITHIN))?;
    let body = r#""no event of ours""#;
    write!(
        stream,
        "POST /2015-03-31/functions/function/invocations HTTP/1.1\r\nHost: function\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(())
}

/// The emulator's log has a line such as `INIT REPORT(durationMs: 8.512)`.
fn read_init(log: impl std::io::BufRead) -> anyhow::Result<f64> {
    for line in log.lines() {
        let line = line?;
        if let Some((_, rest)) = line.split_once("INIT REPORT(durationMs: ") {
            let number = rest.split(')').next().unwrap_or_default();
            return number.parse().with_context(|| format!("read a time from {line:?}"));
        }
    }
    bail!("the emulator reported no INIT")
}
