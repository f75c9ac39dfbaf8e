//! `heal`: restarts an agent that does not use its registration, and replaces a registration that is of no use.

use std::time::Duration;

use hub::Region;

use super::{Repair, Run, words};
use crate::aws::Aws;
use crate::evidence::Node;
use crate::failure::{Failure, Reason};
use crate::machine::Machine;
use crate::outcome::{Done, Success};
use crate::register::{self, NotRegistered};
use crate::verify::{self, Verdict};

/// How long an agent that was restarted is waited for before its registration is replaced.
const RESTART_LIMIT: Duration = Duration::from_mins(1);

impl<M: Machine, A: Aws> Run<'_, M, A> {
    /// Looks at the agent, and restarts it if it does not use its registration, or has to be restarted anyway.
    pub(super) async fn healed(
        &self,
        node: &Node,
        region: Option<&Region>,
        needs_restart: bool,
    ) -> Result<Node, Failure> {
        let seen = verify::look(self.machine, &self.installation, 0);
        match verify::judge(&seen, node, region) {
            Verdict::InUse(found) if !needs_restart => return Ok(found),
            Verdict::InUse(_) => self.machine.say("restarting the agent"),
            _ => self.machine.say("the agent does not use its registration; restarting it"),
        }
        let log_from = verify::log_length(self.machine);
        register::restart(self.machine, &self.installation).map_err(control)?;
        self.note("the agent was restarted".to_owned());
        // If the registration may be replaced, there has to be time left for that.
        let limit = (self.settings.repair == Repair::Replace).then_some(RESTART_LIMIT);
        self.in_use(node, region, log_from, limit).await
    }

    /// Fails, unless the registration may be replaced. `is_unused`: nothing else uses the old node.
    pub(super) async fn or_replace(
        &self,
        failure: Failure,
        old: Option<&Node>,
        is_unused: bool,
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
        self.machine.say("clearing the registration");
        register::clear(self.machine, &self.installation).map_err(control)?;
        let advice = old.map(|old| {
            if is_unused {
                words::deregister(old)
            } else {
                format!("do not deregister {}: the other instance uses it", old.id)
            }
        });
        match self.become_node(activation).await {
            Ok(node) => {
                if let Some(advice) = advice {
                    self.note(advice);
                }
                let old = old.map(|old| old.id.clone());
                Ok(self.success(Done::Replaced { node: node.id, old }, Some(region)))
            }
            Err(failure) => {
                let advice = advice.map(|advice| format!(" {advice}")).unwrap_or_default();
                let message = format!("{}. The old registration was cleared.{advice}", failure.message);
                Err(Failure { message, ..failure })
            }
        }
    }
}

fn control(problem: NotRegistered) -> Failure {
    match problem {
        NotRegistered::Control(problem) => Failure::new(Reason::AgentControl, problem),
        NotRegistered::Unprepared(problem) | NotRegistered::Refused(_, problem) => {
            Failure::new(Reason::Unexpected, problem)
        }
    }
}
