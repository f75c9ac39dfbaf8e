//! A machine that is registered, as far as its disk tells.

use std::time::Duration;

use hub::Region;

use super::calls::stopped;
use super::{MACHINE_PAUSE_MAX, Repair, Run, words};
use crate::agent_log::Kind;
use crate::aws::Aws;
use crate::decide::{Facts, Hub, MarkerState, Others};
use crate::detect::Manager;
use crate::evidence::{CONFIGURATION_FILE, Flaw, Node, REGISTRATION_FILE};
use crate::failure::{Failure, Reason};
use crate::machine::{Command, Machine, Stop};
use crate::outcome::{Done, Success};
use crate::register;
use crate::start::{SETTLE, Start, has_just_started};
use crate::verify::{self, Service, Verdict};
use crate::{profile, retry};

/// How long `systemctl` may take.
const SYSTEMCTL_LIMIT: Duration = Duration::from_mins(1);

/// Why the running agent is not the node.
pub(super) struct Unused {
    pub(super) failure: Failure,
    /// How Systems Manager refuses the registration, if it does: then nothing good is lost with it.
    pub(super) refusal: Option<Kind>,
}

impl From<Failure> for Unused {
    fn from(failure: Failure) -> Self {
        Self { failure, refusal: None }
    }
}

impl<M: Machine, A: Aws> Run<'_, M, A> {
    pub(super) async fn confirm(
        &self,
        facts: &Facts,
        node: &Node,
        hub: &Hub,
        marker: MarkerState,
    ) -> Result<Success, Failure> {
        let region = Some(&hub.region);
        if self.settings.dry_run {
            if let Some(why) = facts.evidence.other_machine() {
                return Err(self.not_in_use(node, &why, facts));
            }
            let start = Start::glanced_at(self.machine, &self.installation);
            self.see_to_log();
            let found = match verify::judge(&verify::look(self.machine, &self.installation, start), node, region) {
                Verdict::InUse(found) => self.proven(found),
                Verdict::Settling(found) => self.unproven(found, "the agent has just started"),
                Verdict::Unproven(found, why) => self.unproven(found, &why),
                Verdict::Refused(Kind::Clock, why) => return Err(words::agents_clock(&why).of(&node.id)),
                Verdict::NotYet(why) | Verdict::Refused(_, why) => return Err(self.not_in_use(node, &why, facts)),
            };
            return Ok(self.success(Done::WouldWriteTag(found.id), found.region));
        }
        let start = self.see_to_service(node)?;
        let needs_restart = self.see_to_profile()?;
        let confirmed = match (self.settings.repair, facts.evidence.other_machine()) {
            (Repair::Nothing, Some(why)) => return Err(self.not_in_use(node, &why, facts)),
            (Repair::Nothing, None) => self.in_use(node, region, start, None).await,
            (Repair::Heal | Repair::Replace, _) => self.healed(facts, node, region, start, needs_restart).await,
        };
        let found = match confirmed {
            Ok(found) => found,
            Err(Unused { failure, refusal }) if failure.reason == Reason::NotInUse => {
                let failure = with_flaw(failure, facts.evidence.flaw()).of(&node.id);
                return match self.settings.repair {
                    Repair::Replace if refusal.is_none() && !facts.evidence.is_incomplete() => {
                        Err(Failure { message: words::kept(&failure, &self.installation), ..failure })
                    }
                    _ => self.or_replace(failure, Some(node), Others::of(facts, node, refusal)).await,
                };
            }
            Err(Unused { failure, .. }) => return Err(failure.of(&node.id)),
        };
        self.forget_previous();
        self.see_to_boot();
        self.see_to_file(facts, &found);
        if let Some(Flaw { what, remedy }) = facts.evidence.flaw().filter(|_| self.settings.repair == Repair::Nothing) {
            self.note(format!("{what}: {remedy}"));
        }
        if let Some(account) = self.settings.hub_account.as_ref().filter(|_| !facts.knows_account(node)) {
            self.note(format!(
                "{} was registered by other means, so nothing here says that it is in account {account}",
                found.id
            ));
        }
        self.machine.say(&format!("already registered as {}; writing the tag", found.id));
        let written = match marker {
            MarkerState::Right => Ok(()),
            // Nothing here says in which account a node is that was registered by other means.
            MarkerState::Missing => self.mark(&found.id, &Hub { account: None, ..hub.clone() }),
        };
        self.calls.write_tag(&self.identity, &found.id).await.map_err(|failure| failure.of(&found.id))?;
        written.map_err(|failure| failure.of(&found.id))?;
        Ok(self.success(Done::TagWritten(found.id), found.region))
    }

    /// Starts an agent that does not run. When the one that runs was started.
    fn see_to_service(&self, node: &Node) -> Result<Start, Failure> {
        let word = match verify::service(self.machine, &self.installation) {
            Service::Running => {
                return Ok(self.started.unwrap_or_else(|| Start::found(self.machine, &self.installation)));
            }
            Service::NotRunning(word) => word,
            // To start what runs does no harm.
            Service::Unknown => "in a state that its manager does not tell".to_owned(),
        };
        self.machine.say(&format!("registered as {}, but the agent is {word}; starting it", node.id));
        register::start_agent(self.machine, &self.installation)
            .map_err(|problem| Failure::new(Reason::AgentControl, problem).of(&node.id))
    }

    /// Asks the agent until it says that it is this node in this Region, or the time is up: that of the run, or `limit`.
    pub(super) async fn in_use(
        &self,
        node: &Node,
        region: Option<&Region>,
        start: Start,
        limit: Option<Duration>,
    ) -> Result<Node, Unused> {
        let (mut tries, mut waited) = (0, Duration::ZERO);
        loop {
            let seen = verify::look(self.machine, &self.installation, start.after(waited));
            // An agent that starts again and again is never old enough.
            let is_settled = || !has_just_started(self.machine, &self.installation);
            let why = match verify::judge(&seen, node, region) {
                Verdict::InUse(found) if seen.age < SETTLE || is_settled() => return Ok(self.proven(found)),
                Verdict::Unproven(found, why) if is_settled() => return Ok(self.unproven(found, &why)),
                Verdict::InUse(_) | Verdict::Unproven(..) | Verdict::Settling(_) => {
                    "the agent has just started".to_owned()
                }
                Verdict::Refused(Kind::Clock, why) => return Err(words::agents_clock(&why).into()),
                Verdict::Refused(kind, why) => {
                    return Err(Unused { failure: not_in_use(node, &why, ""), refusal: Some(kind) });
                }
                Verdict::NotYet(why) => why,
            };
            if limit.is_some_and(|limit| waited >= limit) {
                return Err(not_in_use(node, &why, &self.route).into());
            }
            tries += 1;
            let pause = retry::backoff(tries, self.machine.random()).min(MACHINE_PAUSE_MAX);
            if tries == 1 {
                self.machine.say(&format!("{why}; asking again"));
            } else {
                self.machine.explain(&why);
            }
            match self.calls.wait(pause).await {
                Ok(()) => waited += pause,
                Err(Stop::Deadline) => {
                    let why = format!("{why}, until the time that --timeout allows was up");
                    return Err(not_in_use(node, &why, &self.route).into());
                }
                Err(stop) => return Err(stopped(stop, None).into()),
            }
        }
    }

    fn not_in_use(&self, node: &Node, why: &str, facts: &Facts) -> Failure {
        with_flaw(not_in_use(node, why, &self.route), facts.evidence.flaw()).of(&node.id)
    }

    /// Sees to it that the agent runs after the next boot, or says that it will not; and says what was not seen.
    pub(super) fn see_to_boot(&self) {
        self.see_to_log();
        let word = boot_word(self.machine, &self.installation.manager);
        match (&self.installation.manager, word.as_deref()) {
            (
                Manager::Systemd { systemctl, unit },
                Some(word @ ("disabled" | "enabled-runtime" | "linked" | "linked-runtime")),
            ) => match self.machine.run(&Command::new(systemctl, &["enable", unit]), SYSTEMCTL_LIMIT) {
                Ok(output) if output.is_success() => self.note(format!("{unit} was {word}; it is enabled now")),
                _ => self.note(format!(
                    "{unit} is {word} and could not be enabled: the agent will be gone after a reboot. Run `systemctl \
                         enable {unit}`"
                )),
            },
            (Manager::Upstart { job }, Some("manual")) => self.note(format!(
                "/etc/init/{job}.override says manual: the agent will be gone after a reboot. Remove that line"
            )),
            _ => {}
        }
    }

    fn see_to_log(&self) {
        if let Some(problem) = verify::unreadable_log(self.machine) {
            self.note(problem);
        }
    }

    /// The node that the agent is.
    pub(super) fn proven(&self, found: Node) -> Node {
        self.known.borrow_mut().is_proven = Some(true);
        found
    }

    /// The node that the agent says it is, with the word that nothing proves it.
    fn unproven(&self, found: Node, why: &str) -> Node {
        self.known.borrow_mut().is_proven = Some(false);
        self.note(words::unproven(&found, why));
        found
    }

    /// True if the agent has to be restarted for it.
    fn see_to_profile(&self) -> Result<bool, Failure> {
        if !self.settings.keep_default_profile {
            return Ok(false);
        }
        let is_new = profile::keep(self.machine).map_err(|problem| Failure::new(Reason::Unexpected, problem))?;
        if is_new && self.settings.repair == Repair::Nothing {
            self.note(format!(
                "{CONFIGURATION_FILE} now says that the agent keeps out of root's default profile, once the agent is \
                 restarted: run `register-instance heal`"
            ));
        }
        Ok(is_new)
    }

    /// The file `registration` is what other programs on the machine read.
    fn see_to_file(&self, facts: &Facts, found: &Node) {
        let Some(stale) = facts.evidence.stale_file() else { return };
        let what = format!("{REGISTRATION_FILE} names {}, and the agent is {}", stale.id, found.id);
        if self.settings.repair == Repair::Nothing {
            return self.note(format!("{what}: run `register-instance heal`"));
        }
        let contents = serde_json::json!({"ManagedInstanceID": found.id, "Region": found.region}).to_string();
        match self.machine.write(REGISTRATION_FILE, &contents) {
            Ok(()) => self.note(format!("{what}: the file is corrected")),
            Err(error) => self.note(format!("{what}, and the file cannot be written: {error}")),
        }
    }
}

fn not_in_use(node: &Node, why: &str, route: &str) -> Failure {
    Failure::new(Reason::NotInUse, words::not_in_use(&node.id, &format!("{why}{route}")))
}

fn with_flaw(failure: Failure, flaw: Option<Flaw>) -> Failure {
    let Some(Flaw { what, remedy }) = flaw else { return failure };
    Failure { message: format!("{}. What is wrong on the disk: {what}; {remedy}", failure.message), ..failure }
}

/// What the service manager calls the agent's part in a boot, such as `enabled`; none if it does not say.
pub(crate) fn boot_word<M: Machine>(machine: &M, manager: &Manager) -> Option<String> {
    match manager {
        Manager::Systemd { systemctl, unit } => {
            let output = machine.run(&Command::question(systemctl, &["is-enabled", unit]), SYSTEMCTL_LIMIT).ok()?;
            let word = output.stdout.trim();
            verify::is_word(word).then(|| word.to_owned())
        }
        Manager::Upstart { job } => {
            let path = format!("/etc/init/{job}.override");
            let contents = machine.read_configuration(&path).ok().flatten()?;
            contents.lines().any(|line| line.trim() == "manual").then(|| "manual".to_owned())
        }
        Manager::Script { .. } => None,
    }
}
