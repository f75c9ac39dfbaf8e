//! The registration that is being replaced, kept aside until the running agent uses the new one.
//!
//! `-clear` empties the vault, and with it the only private key of the old node. A kill or a power failure before the new
//! registration would make the machine nobody's node for good. So the files are written aside first, and the next run
//! puts them back if it finds no new registration.

use std::collections::BTreeMap;

use hub::{Ec2InstanceId, ManagedInstanceId};
use serde::{Deserialize, Serialize};

use super::{Run, read};
use crate::aws::Aws;
use crate::evidence::{FINGERPRINT_FILE, MANIFEST_FILE, Node, REGISTRATION_FILE, VAULT_FILE, Vault};
use crate::failure::{Failure, Reason};
use crate::machine::Machine;
use crate::marker::MARKER_FILE;
use crate::register::{self, NotRegistered};

/// Where the files are kept. It holds a private key, and is for root alone.
pub(crate) const PREVIOUS_FILE: &str = "/var/lib/tag-hub/previous-registration.json";
/// What it is called while it is written.
const PREVIOUS_HALF_WRITTEN: &str = "/var/lib/tag-hub/previous-registration.new";

/// All that makes a machine a node.
const PATHS: [&str; 5] = [VAULT_FILE, FINGERPRINT_FILE, MANIFEST_FILE, REGISTRATION_FILE, MARKER_FILE];

/// What each path held; none if there was no such file.
type Files = BTreeMap<String, Option<String>>;

/// A registration, as files.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Previous {
    /// An image of this machine carries the file too, and is not to become this node.
    ec2_instance_id: Ec2InstanceId,
    managed_instance_id: ManagedInstanceId,
    files: Files,
}

impl Previous {
    fn files(&self) -> Vec<(&'static str, Option<&str>)> {
        // A path that is not one of these is never written.
        PATHS.iter().filter_map(|path| Some((*path, self.files.get(*path)?.as_deref()))).collect()
    }
}

impl<M: Machine, A: Aws> Run<'_, M, A> {
    /// All that makes this machine a node now.
    pub(super) fn files(&self) -> Result<Files, Failure> {
        PATHS.iter().map(|path| Ok(((*path).to_owned(), read(self.machine, path)?))).collect()
    }

    /// Writes the registration aside that is about to be cleared; none if it is not known which node it is.
    pub(super) fn keep_previous(
        &self,
        old: Option<&Node>,
        files: &Result<Files, Failure>,
    ) -> Result<Option<Previous>, Failure> {
        let Some(old) = old else { return Ok(None) };
        let previous = Previous {
            ec2_instance_id: self.identity.instance.clone(),
            managed_instance_id: old.id.clone(),
            files: files.clone()?,
        };
        let contents = serde_json::to_string(&previous).unwrap_or_default();
        self.machine.write(PREVIOUS_FILE, &contents).map_err(|error| {
            Failure::unexpected(format!("cannot write {PREVIOUS_FILE}: {error}. Nothing was changed")).of(&old.id)
        })?;
        Ok(Some(previous))
    }

    /// Removes what was written aside: the running agent uses its registration, or the old one is back.
    pub(super) fn forget_previous(&self) {
        // What a kill left half written holds the key as well.
        if self.machine.exists(PREVIOUS_HALF_WRITTEN) {
            let _ = self.machine.remove(PREVIOUS_HALF_WRITTEN);
        }
        if !self.machine.exists(PREVIOUS_FILE) {
            return;
        }
        // The agent leaves it to the system when its files reach the disk. Whether they did is of no use to know here.
        for path in PATHS {
            let _ = self.machine.sync(path);
        }
        if let Err(error) = self.machine.remove(PREVIOUS_FILE) {
            self.note(format!("{PREVIOUS_FILE} holds a private key and cannot be removed: {error}"));
        }
    }

    /// The failure of a replacement, with what became of the old registration; `files` are what it was before.
    pub(super) fn put_back(
        &self,
        files: &Result<Files, Failure>,
        previous: Option<&Previous>,
        failure: Failure,
    ) -> Failure {
        if files.is_ok() && self.files() == *files {
            self.forget_previous();
            return Failure { message: format!("{}. The registration is unchanged", failure.message), ..failure };
        }
        let outcome = match previous.map(|previous| self.restore(&previous.files())) {
            None => "The old registration may be cleared".to_owned(),
            Some(Ok(None)) => "The old registration was put back".to_owned(),
            Some(Ok(Some(problem))) => format!("The old registration was put back, but {problem}"),
            Some(Err(problem)) => {
                format!(
                    "The old registration was cleared, and not put back: {problem}. {PREVIOUS_FILE} has it; run this again"
                )
            }
        };
        Failure { message: format!("{}. {outcome}", failure.message), ..failure }
    }

    /// Puts back what an earlier run cleared, if that was ended before there was a new registration.
    pub(super) fn put_left_over_back(&self) -> Result<(), Failure> {
        let Some(contents) = read(self.machine, PREVIOUS_FILE)? else { return Ok(()) };
        let Ok(previous) = serde_json::from_str::<Previous>(&contents) else {
            self.note(format!("{PREVIOUS_FILE} is not a registration that was kept aside; it was ignored"));
            return Ok(());
        };
        if previous.ec2_instance_id != self.identity.instance {
            self.note(format!("{PREVIOUS_FILE} is of {}; it was ignored", previous.ec2_instance_id));
            return Ok(());
        }
        let mut files = previous.files();
        // The agent writes this file at the end of a registration, and `-clear` removes it.
        let noted = read(self.machine, REGISTRATION_FILE)?;
        let is_registered_since =
            noted.is_some() && noted.as_ref() != previous.files.get(REGISTRATION_FILE).and_then(Option::as_ref);
        match Vault::parse(read(self.machine, VAULT_FILE)?.as_deref()) {
            Vault::Absent | Vault::Cleared | Vault::Unreadable if !is_registered_since => {}
            // The agent clears the fingerprint before the vault, and an agent that starts then makes a new one, which
            // Systems Manager does not know. The key in the vault may be newer than the one that was kept.
            Vault::Node(node) if node.id == previous.managed_instance_id => {
                files.retain(|(path, _)| *path != VAULT_FILE);
                let mut differs = Vec::new();
                for (path, kept) in files {
                    if read(self.machine, path)?.as_deref() != kept {
                        differs.push((path, kept));
                    }
                }
                files = differs;
            }
            _ => return Ok(()),
        }
        let id = &previous.managed_instance_id;
        if files.is_empty() {
            // It was never cleared. If somebody clears it now, it is not to come back.
            if !self.settings.dry_run {
                self.forget_previous();
            }
            return Ok(());
        }
        if self.settings.dry_run {
            self.note(format!("an earlier run was ended while it replaced {id}; {id} would be put back"));
            return Ok(());
        }
        self.machine.say(&format!("an earlier run was ended while it replaced {id}; putting {id} back"));
        match self.restore(&files) {
            Ok(None) => {
                self.note(format!("{id} was put back, which an earlier run had cleared without registering again"));
                Ok(())
            }
            Ok(Some(problem)) => Err(Failure::new(Reason::AgentControl, format!("{id} was put back, but {problem}"))),
            Err(problem) => Err(Failure { message: format!("{id} cannot be put back: {problem}"), ..problem }),
        }
    }

    /// Writes the files while the agent is stopped. Why the agent does not run now, if so.
    fn restore(&self, files: &[(&'static str, Option<&str>)]) -> Result<Option<String>, Failure> {
        let not_started = register::put_back(self.machine, &self.installation, files).map_err(control)?;
        self.forget_previous();
        Ok(not_started)
    }
}

pub(super) fn control(problem: NotRegistered) -> Failure {
    match problem {
        NotRegistered::Control(problem) => Failure::new(Reason::AgentControl, problem),
        NotRegistered::Unprepared(problem) | NotRegistered::Refused(_, problem, _) => Failure::unexpected(problem),
    }
}
