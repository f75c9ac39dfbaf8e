//! What is remembered on this machine: the last run, so that it can be started again under its key.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::aws::hub::About;
use crate::failure::{Exit, Failure};

/// A run that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// Its key.
    pub key: String,
    /// The request, without the key.
    pub request: Value,
    /// What it started, once that is known: after a resumption, what that started.
    #[serde(default)]
    pub executions: Vec<String>,
}

/// Where the last run at a hub is kept.
///
/// # Errors
/// If there is no folder for it.
fn file(app: &App, about: &About) -> Result<PathBuf, Failure> {
    let set = |name: &str| (app.lookup)(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    let folder =
        folder.ok_or_else(|| Failure::usage("no folder to remember the run in").help("set XDG_STATE_HOME or HOME"))?;
    Ok(folder.join("taghub").join(file_name(about)))
}

/// One for each hub: an account and Region can have several.
fn file_name(about: &About) -> String {
    format!("{}{}-{}.json", about.name_prefix, about.account, about.region)
}

/// Remembers a run, before anything of it is started.
///
/// # Errors
/// If it cannot be written: then nothing must be started, because nobody could go on with it.
pub fn save(app: &App, about: &About, run: &LastRun) -> Result<(), Failure> {
    let path = file(app, about)?;
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Usage, "state", format!("cannot remember the run in {}: {error}", path.display()))
            .help("set XDG_STATE_HOME to a writable folder")
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    // Parameters of a runbook may be secret.
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(serde_json::to_string(run).unwrap_or_default().as_bytes()).map_err(failed)
}

/// The last run at a hub from this machine.
///
/// # Errors
/// If there is none.
pub fn load(app: &App, about: &About) -> Result<LastRun, Failure> {
    let path = file(app, about)?;
    let text = fs::read_to_string(&path).ok();
    text.and_then(|text| serde_json::from_str(&text).ok()).ok_or_else(|| {
        Failure::missing("no-last-run", format!("no run was started from this machine at the hub of {}", about.account))
            .detail(format!("{} is not there.", path.display()))
            .help("taghub run list shows the runs of the hub")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_hub_has_a_last_run_of_its_own() {
        let about = |prefix: &str| -> About {
            serde_json::from_value(json!({
                "version": "0.2.0", "account": "111111111111", "region": "us-east-1", "partition": "aws",
                "namePrefix": prefix, "nodeLimit": 1_000,
                "names": {"manager": "m", "issuer": "i", "fanout": "f", "campaign": "c"},
            }))
            .unwrap()
        };
        assert_eq!(file_name(&about("")), "111111111111-us-east-1.json");
        assert_eq!(file_name(&about("test-")), "test-111111111111-us-east-1.json");
    }
}
