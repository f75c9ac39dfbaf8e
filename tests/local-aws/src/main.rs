//! Runs the local AWS until Ctrl-C.

use std::path::PathBuf;

use clap::Parser;
use local_aws::{LocalAws, Options, Outcome};

/// MiniStack, behind an edge that adds hybrid managed nodes, cross-account invocations and Automation.
#[derive(Debug, Parser)]
struct Arguments {
    /// Port on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 4566)]
    port: u16,
    /// Python interpreter that has ministack and botocore
    #[arg(long, default_value = ".venv/bin/python")]
    python: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let Arguments { port, python } = Arguments::parse();
    let aws = LocalAws::start(Options { port, ..Options::new(python) })?;
    // Nobody scripts anything here.
    aws.automation().set_default(Outcome::TargetedInstances);
    let endpoint = aws.endpoint();
    println!("The local AWS is at {endpoint}; an access key id of 12 digits is the root of that account:");
    println!(
        "AWS_ENDPOINT_URL={endpoint} AWS_ACCESS_KEY_ID=111111111111 AWS_SECRET_ACCESS_KEY=any aws --region us-east-1 sts get-caller-identity"
    );
    tokio::signal::ctrl_c().await?;
    Ok(())
}
