//! A machine that is registered, as far as its disk tells.

use std::time::Duration;

use hub::Region;

use super::calls::stopped;
use super::{MACHINE_PAUSE_MAX, Repair, Run, words};
use crate::agent_log::{Kind, Standing};
use crate::aws::Aws;
use crate::decide::{Facts, MarkerState};
use crate::detect::Manager;
use crate::evidence::{CONFIGURATION_FILE, Node, REGISTRATION_FILE};
use crate::failure::{Failure, Reason};
use crate::machine::{Command, Machine, Stop};
use crate::outcome::{Done, Success};
use crate::register;
use crate::verify::{self, Service, Verdict};
use crate::{profile, retry};

/// How long an agent that has just started is given to say that it is refused. Comparing its fingerprint takes it up to
/// 15 seconds, and the answer of Systems Manager a few more.
const SETTLE: Duration = Duration::from_secs(30);

/// How long `systemctl` may take.
const SYSTEMCTL_LIMIT: Duration = Duration::from_mins(1);

impl<M: Machine, A: Aws> Run<'_, M, A> {
    pub(super) async fn confirm(&self, facts: &Facts, node: &Node, marker: MarkerState) -> Result<Success, Failure> {
        let hub_region = facts.hub_region.as_ref();
        if self.settings.dry_run {
            return match verify::judge(&verify::look(self.machine, &self.installation, 0), node, hub_region) {
                Verdict::InUse(found) | Verdict::Settling(found) => {
                    Ok(self.success(Done::WouldWriteTag(found.id), found.region))
                }
                Verdict::Refused(Kind::Clock, why) => Err(words::agents_clock(&why).of(&node.id)),
                Verdict::NotYet(why) | Verdict::Refused(_, why) => Err(self.not_in_use(node, &why, facts)),
            };
        }
        if let Service::NotRunning(word) = verify::service(self.machine, &self.installation) {
            self.machine.say(&format!("registered as {}, but the agent is {word}; starting it", node.id));
            register::start_agent(self.machine, &self.installation)
                .map_err(|problem| Failure::new(Reason::AgentControl, problem).of(&node.id))?;
        }
        let needs_restart = self.see_to_profile()?;
        let confirmed = match self.settings.repair {
            Repair::Nothing => self.in_use(node, hub_region, 0, None).await,
            Repair::Heal | Repair::Replace => self.healed(node, hub_region, needs_restart).await,
        };
        let found = match confirmed {
            Ok(found) => found,
            Err(failure) if failure.reason == Reason::NotInUse => {
                let failure = with_flaw(failure, facts.evidence.flaw()).of(&node.id);
                // Without a network nothing is known about the registration, and a new one would fail too.
                let standing = verify::look(self.machine, &self.installation, 0).standing;
                if matches!(standing, Standing::Unreachable(_)) {
                    return Err(failure);
                }
                return self.or_replace(failure, Some(node), true).await;
            }
            Err(failure) => return Err(failure.of(&node.id)),
        };
        self.see_to_boot();
        self.see_to_file(facts, &found);
        self.machine.say(&format!("already registered as {}; writing the tag", found.id));
        let written = self.mark(&found.id, found.region.as_ref(), marker);
        self.calls.write_tag(&self.identity, &found.id).await.map_err(|failure| failure.of(&found.id))?;
        written.map_err(|failure| failure.of(&found.id))?;
        Ok(self.success(Done::TagWritten(found.id), found.region))
    }

    /// Asks the agent until it says that it is this node in this Region, or the time is up: that of the run, or `limit`.
    pub(super) async fn in_use(
        &self,
        node: &Node,
        region: Option<&Region>,
        log_from: u64,
        limit: Option<Duration>,
    ) -> Result<Node, Failure> {
        let (mut tries, mut waited) = (0, Duration::ZERO);
        loop {
            let seen = verify::look(self.machine, &self.installation, log_from);
            let why = match verify::judge(&seen, node, region) {
                Verdict::InUse(found) => return Ok(found),
                Verdict::Settling(found) if waited >= SETTLE => return Ok(found),
                Verdict::Settling(_) => "the agent has just started".to_owned(),
                Verdict::Refused(Kind::Clock, why) => return Err(words::agents_clock(&why)),
                Verdict::Refused(_, why) => return Err(not_in_use(node, &why, "")),
                Verdict::NotYet(why) => why,
            };
            if limit.is_some_and(|limit| waited >= limit) {
                return Err(not_in_use(node, &why, &self.route));
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
                    return Err(not_in_use(node, &why, &self.route));
                }
                Err(stop) => return Err(stopped(stop, None)),
            }
        }
    }

    fn not_in_use(&self, node: &Node, why: &str, facts: &Facts) -> Failure {
        with_flaw(not_in_use(node, why, &self.route), facts.evidence.flaw()).of(&node.id)
    }

    /// Sees to it that the agent runs after the next boot, or says that it will not; and says what was not seen.
    pub(super) fn see_to_boot(&self) {
        if let Some(problem) = verify::unreadable_log(self.machine) {
            self.note(problem);
        }
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

fn with_flaw(failure: Failure, flaw: Option<&str>) -> Failure {
    let Some(flaw) = flaw else { return failure };
    Failure { message: format!("{}. What is wrong on the disk: {flaw}", failure.message), ..failure }
}

/// What the service manager calls the agent's part in a boot, such as `enabled`; none if it does not say.
pub(crate) fn boot_word<M: Machine>(machine: &M, manager: &Manager) -> Option<String> {
    match manager {
        Manager::Systemd { systemctl, unit } => {
            let output = machine.run(&Command::new(systemctl, &["is-enabled", unit]), SYSTEMCTL_LIMIT).ok()?;
            let word = output.stdout.trim();
            let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            is_word.then(|| word.to_owned())
        }
        Manager::Upstart { job } => {
            let path = format!("/etc/init/{job}.override");
            let contents = machine.read_configuration(&path).ok().flatten()?;
            contents.lines().any(|line| line.trim() == "manual").then(|| "manual".to_owned())
        }
        Manager::Script { .. } => None,
    }
}
