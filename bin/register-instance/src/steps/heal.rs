//! `heal`: restarts an agent that does not use its registration, and replaces a registration that is of no use.

use std::time::Duration;

use hub::Region;

use super::calls::stopped;
use super::confirm::Unused;
use super::previous::control;
use super::{Repair, Run, read, words};
use crate::aws::Aws;
use crate::decide::{Facts, Others};
use crate::evidence::{FINGERPRINT_FILE, MANIFEST_FILE, Node, VAULT_FILE, Vault, mended_manifest};
use crate::failure::{Failure, Reason};
use crate::machine::Machine;
use crate::outcome::{Done, Success};
use crate::register;
use crate::start::Start;
use crate::verify::{self, Verdict};

/// How long an agent that was restarted is waited for before its registration is replaced.
const RESTART_LIMIT: Duration = Duration::from_mins(1);

impl<M: Machine, A: Aws> Run<'_, M, A> {
    /// Looks at the agent, and restarts it if it does not use its registration, or has to be restarted anyway.
    pub(super) async fn healed(
        &self,
        facts: &Facts,
        node: &Node,
        region: Option<&Region>,
        start: Start,
        needs_restart: bool,
    ) -> Result<Node, Unused> {
        if facts.evidence.lacks_manifest() {
            self.mend_manifest()?;
        }
        let is_as_registered = facts.evidence.other_machine().is_none();
        let seen = verify::look(self.machine, &self.installation, start);
        match verify::judge(&seen, node, region) {
            Verdict::InUse(found) if is_as_registered && !needs_restart => return Ok(self.proven(found)),
            Verdict::Settling(_) | Verdict::Unproven(..) if is_as_registered && !needs_restart => {
                match self.in_use(node, region, start, None).await {
                    Err(Unused { failure, .. }) if failure.reason == Reason::NotInUse => {}
                    settled => return settled,
                }
            }
            Verdict::InUse(_) | Verdict::Unproven(..) if is_as_registered => self.machine.say("restarting the agent"),
            _ => self.machine.say("the agent does not use its registration; restarting it"),
        }
        self.calls.go_on().await.map_err(|stop| stopped(stop, None))?;
        let start = register::restart(self.machine, &self.installation).map_err(control)?;
        self.note("the agent was restarted".to_owned());
        // If the registration may be replaced, there has to be time left for that.
        let limit = (self.settings.repair == Repair::Replace).then_some(RESTART_LIMIT);
        self.in_use(node, region, start, limit).await
    }

    /// Writes the list of what is in the vault, without which an agent that starts sees nothing of it.
    fn mend_manifest(&self) -> Result<(), Failure> {
        // What cannot be read as text is no list.
        let contents = read(self.machine, MANIFEST_FILE)?;
        let contents = mended_manifest(contents.as_deref(), self.machine.exists(FINGERPRINT_FILE));
        self.machine
            .write(MANIFEST_FILE, &contents)
            .map_err(|error| Failure::new(Reason::Unexpected, format!("cannot write {MANIFEST_FILE}: {error}")))?;
        self.note(format!("{MANIFEST_FILE} did not list the registration; it does now"));
        Ok(())
    }

    /// Fails, unless the registration may be replaced.
    pub(super) async fn or_replace(
        &self,
        failure: Failure,
        old: Option<&Node>,
        others: Others,
    ) -> Result<Success, Failure> {
        if self.settings.repair != Repair::Replace {
            return Err(failure);
        }
        // Nothing is cleared before there is something to register with.
        let activation = self.activation().await?;
        let region = activation.region.clone();
        self.machine.say(&format!("{failure}"));
        if self.settings.dry_run {
            self.machine.say("would clear the registration and register again");
            return Ok(self.success(Done::WouldRegister, Some(region)));
        }
        // From here to the first try to register nothing cuts in: a machine that was only cleared is nobody's node.
        self.calls.go_on().await.map_err(|stop| stopped(stop, None))?;
        let files = self.files();
        let previous = self.keep_previous(old, &files)?;
        self.machine.say("clearing the registration");
        if let Err(problem) = register::clear(self.machine, &self.installation) {
            return Err(self.put_back(&files, previous.as_ref(), control(problem)));
        }
        let advice = old.map(|old| words::given_up(old, others));
        match self.become_node(activation).await {
            Ok(node) => {
                if let Some(advice) = advice {
                    self.note(advice);
                }
                let old = old.map(|old| old.id.clone());
                Ok(self.success(Done::Replaced { node: node.id, old }, Some(region)))
            }
            Err(failure) if previous.is_some() && self.is_nobody() => {
                Err(self.put_back(&files, previous.as_ref(), failure))
            }
            Err(failure) => {
                self.known.borrow_mut().replaced = old.map(|old| old.id.clone());
                let advice = advice.map(|advice| format!(" {advice}")).unwrap_or_default();
                let message = format!("{}. The old registration was cleared.{advice}", failure.message);
                Err(Failure { message, ..failure })
            }
        }
    }
}

impl<M: Machine, A: Aws> Run<'_, M, A> {
    /// True if the vault holds no registration, not even one of a try that got no answer.
    fn is_nobody(&self) -> bool {
        read(self.machine, VAULT_FILE).is_ok_and(|record| !matches!(Vault::parse(record.as_deref()), Vault::Node(_)))
    }
}
