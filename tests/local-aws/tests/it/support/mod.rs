//! What the tests share: a local AWS, and a package of a function that does what its event says.

use std::io::Write as _;
use std::path::PathBuf;

use local_aws::{Client, LocalAws, Options, stacks};
use serde_json::Value;
use zip::write::SimpleFileOptions;

pub(crate) const CENTRAL: &str = "111111111111";
pub(crate) const AGENCY: &str = "222222222222";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const NODE: &str = "mi-0123456789abcdef0";
pub(crate) const BUCKET: &str = "packages";

/// The interpreter: `LOCAL_AWS_PYTHON`, else the workspace's `.venv`.
#[expect(clippy::disallowed_methods, reason = "a test has no main.rs to read the environment for it")]
pub(crate) fn python() -> PathBuf {
    let workspace = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.venv/bin/python");
    std::env::var("LOCAL_AWS_PYTHON").map_or_else(|_| PathBuf::from(workspace), PathBuf::from)
}

/// What to leave out of the mends of `MiniStack`.
pub(crate) const WITHOUT_MEND: &str = "LOCAL_AWS_WITHOUT_MEND";

pub(crate) fn start() -> LocalAws {
    let without_mend = std::env::var_os(WITHOUT_MEND).map(|name| name.into_string().unwrap());
    LocalAws::start(Options { without_mend, ..Options::new(python()) }).unwrap()
}

/// A role with one policy of its own.
pub(crate) async fn role(client: &Client, name: &str, trust: &Value, policy: &Value) {
    let params = [("RoleName", name), ("AssumeRolePolicyDocument", &trust.to_string())];
    client.query("iam", "CreateRole", &params).await.unwrap();
    let params = [("RoleName", name), ("PolicyName", "own"), ("PolicyDocument", &policy.to_string())];
    client.query("iam", "PutRolePolicy", &params).await.unwrap();
}

/// The package, in the central account's bucket.
pub(crate) async fn upload_function(aws: &LocalAws) {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("bootstrap", SimpleFileOptions::default().unix_permissions(0o755)).unwrap();
    write!(archive, "#!{}\n{}", python().display(), include_str!("bootstrap.py")).unwrap();
    let package = archive.finish().unwrap().into_inner();
    stacks::upload(&aws.client(CENTRAL, REGION), BUCKET, "function.zip", package).await.unwrap();
}

/// The central stack; answers with the ARN of the agency's alias.
pub(crate) async fn deploy_central(aws: &LocalAws) -> String {
    upload_function(aws).await;
    let parameters = [("Agency", AGENCY), ("Bucket", BUCKET)];
    let client = aws.client(CENTRAL, REGION);
    let outputs = stacks::deploy(&client, "central", include_str!("central.yaml"), &parameters).await.unwrap();
    outputs["Alias"].clone()
}
