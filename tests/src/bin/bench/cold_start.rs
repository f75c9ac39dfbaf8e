//! INIT time under the Lambda Runtime Interface Emulator, beside a function that does nothing.

use std::path::Path;

use anyhow::Context as _;
use tests::Emulator;

use crate::package::{Package, Packages};

const ROUNDS: usize = 11;

/// Where a Linux distribution keeps all certificates in one file.
const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

pub(crate) fn measure(emulator: &Emulator, packages: &Packages) -> anyhow::Result<()> {
    let bundle = BUNDLES.into_iter().find(|path| Path::new(path).exists()).context("no bundle of certificates")?;
    println!("### Cold start\n\nMedian INIT of {ROUNDS} starts. Target: at most 3 times the echo.\n");
    println!("| function | certificates | INIT | beside the echo |\n|---|---|---|---|");
    // Amazon Linux has one bundle, and so has Lambda. Debian has a file for each certificate beside it, which no function
    // may read again.
    rounds(emulator, packages, "one bundle, as on Lambda", Some(bundle))?;
    rounds(emulator, packages, "as this machine keeps them", None)?;
    println!();
    Ok(())
}

fn rounds(emulator: &Emulator, packages: &Packages, what: &str, bundle: Option<&str>) -> anyhow::Result<()> {
    let packages = packages.all();
    let mut rounds: [Vec<f64>; 5] = Default::default();
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

/// Starts a function anew and reads how long its INIT took.
fn init_ms(emulator: &Emulator, package: &Package, bundle: Option<&str>) -> anyhow::Result<f64> {
    let manager = "arn:aws:lambda:us-east-1:111111111111:function:ssm-tag-manager:agency-222222222222";
    let administration = "arn:aws:iam::111111111111:role/AWS-SystemsManager-AutomationAdministrationRole";
    let mut environment = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "222222222222"),
        ("AWS_SECRET_ACCESS_KEY", "any"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("MANAGER_FUNCTION_ARN", manager),
        ("AUTOMATION_ADMINISTRATION_ROLE_ARN", administration),
        ("MANAGER_FUNCTION_NAME", "ssm-tag-manager"),
        ("WRITER_ROLE_NAME", "TagHubActivationWriter"),
        ("NODE_ROLE", "tag-hub-managed-node"),
        ("PARAMETER_NAME", "/tag-hub/activation"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    environment.extend(bundle.map(|path| ("SSL_CERT_FILE", path.to_owned())));
    let started = emulator.start(&package.bootstrap, &environment).and_then(|function| {
        // The emulator starts the function with the first invocation. What it answers does not matter.
        function.invoke(r#""no event of ours""#)?;
        function.init_ms()
    });
    started.with_context(|| format!("start {}", package.name))
}
