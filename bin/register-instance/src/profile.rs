//! Whether the agent writes its credentials into root's default profile.
//!
//! An agent that is registered does (`Profile.ShareCreds`, on by default): whatever runs as root and looks for
//! credentials the usual way then acts as the central role. Patching and other documents need that, so it is left as it
//! is unless the operator says otherwise.

use serde_json::{Map, Value, json};

use crate::configuration::{configuration_of, is_name};
use crate::evidence::CONFIGURATION_FILE;
use crate::machine::Machine;

/// True if root has a file of credentials, in its home folder as the system knows it.
pub(crate) fn has_credentials<M: Machine>(machine: &M) -> bool {
    let users = machine.read_configuration("/etc/passwd").ok().flatten().unwrap_or_default();
    let root = users.lines().find(|line| line.starts_with("root:"));
    let home = root.and_then(|line| line.split(':').nth(5)).filter(|home| !home.is_empty());
    home.is_some_and(|home| machine.exists(&format!("{home}/.aws/credentials")))
}

/// True if the agent is told not to share its credentials.
pub(crate) fn is_kept<M: Machine>(machine: &M) -> bool {
    let contents = machine.read_configuration(CONFIGURATION_FILE).ok().flatten().unwrap_or_default();
    configuration_of(&contents, &["Profile", "ShareCreds"]) == Some(json!(false))
}

/// Tells the agent, from its next start on, not to share its credentials. True if that is new.
///
/// # Errors
/// The configuration cannot be read as JSON, or not be written. Nothing is changed then.
pub(crate) fn keep<M: Machine>(machine: &M) -> Result<bool, String> {
    if is_kept(machine) {
        return Ok(false);
    }
    let problem = |why: &dyn std::fmt::Display| format!("cannot change {CONFIGURATION_FILE}: {why}");
    let contents = machine.read_configuration(CONFIGURATION_FILE).map_err(|error| problem(&error))?;
    let mut configuration: Map<String, Value> = match contents.as_deref().map(str::trim) {
        None | Some("") => Map::new(),
        Some(contents) => serde_json::from_str(contents).map_err(|error| problem(&error))?,
    };
    if !configuration.keys().any(|name| is_name(name, "Profile")) {
        configuration.insert("Profile".to_owned(), json!({}));
    }
    for (_, profile) in configuration.iter_mut().filter(|(name, _)| is_name(name, "Profile")) {
        let Value::Object(profile) = profile else { return Err(problem(&"its Profile is not an object")) };
        profile.retain(|name, _| !is_name(name, "ShareCreds"));
        profile.insert("ShareCreds".to_owned(), json!(false));
    }
    let contents = serde_json::to_string_pretty(&configuration).map_err(|error| problem(&error))?;
    machine.write_configuration(CONFIGURATION_FILE, &(contents + "\n")).map_err(|error| problem(&error))?;
    Ok(true)
}
