//! A machine that is not registered.

use hub::Region;

use super::calls::stopped;
use super::{Run, words};
use crate::activation::Activation;
use crate::agent::Refusal;
use crate::aws::Aws;
use crate::decide::Hub;
use crate::detect::Installation;
use crate::evidence::{Node, Registration};
use crate::failure::{Failure, Reason};
use crate::machine::{Machine, Stop};
use crate::outcome::{Done, Success};
use crate::register::{self, NotRegistered, Registered};
use crate::{profile, retry};

impl<M: Machine, A: Aws> Run<'_, M, A> {
    pub(super) async fn register(&self) -> Result<Success, Failure> {
        let activation = self.activation().await?;
        let region = activation.region.clone();
        self.machine.say(&format!("activation {} for Region {region}", activation.id));
        if self.settings.dry_run {
            return Ok(self.would_register(&activation));
        }
        self.calls.go_on().await.map_err(|stop| stopped(stop, None))?;
        let node = self.become_node(activation).await?;
        Ok(self.success(Done::Registered(node.id), Some(region)))
    }

    fn would_register(&self, activation: &Activation) -> Success {
        let Installation { agent, stop, start, .. } = &self.installation;
        let (agent, stop, start) = (agent.display(), stop.words(), start.words());
        let Activation { id, region, .. } = activation;
        self.machine.say(&format!("would run `{stop}`"));
        self.machine.say(&format!("would run `{agent} -register -code *** -id {id} -region {region}`"));
        self.machine.say(&format!("would run `{start}`, ask the agent, and write the tag managedinstanceid"));
        self.success(Done::WouldRegister, Some(region.clone()))
    }

    /// Registers, and does not call it done before the running agent says so and the tag is written.
    pub(super) async fn become_node(&self, activation: Activation) -> Result<Node, Failure> {
        if self.settings.keep_default_profile {
            profile::keep(self.machine).map_err(|problem| Failure::new(Reason::Unexpected, problem))?;
        }
        let hub_account = activation.terms.as_ref().and_then(|terms| terms.hub_account.clone());
        let hub = Hub { region: activation.region.clone(), account: hub_account };
        let Registered { node: id, started } = self.registered(activation).await?;
        self.machine.say(&format!("registered as {id}; asking the agent"));
        let marked = self.mark(&id, &hub);
        // Without its agent the node is of no use, whatever its tag.
        let start = started
            .map_err(|problem| Failure::new(Reason::AgentControl, format!("registered, but {problem}")).of(&id))?;
        self.see_to_boot();
        let node = Node { id: id.clone(), region: Some(hub.region.clone()) };
        self.in_use(&node, Some(&hub.region), start, None).await.map_err(|unused| unused.failure.of(&id))?;
        self.forget_previous();
        self.calls.write_tag(&self.identity, &id).await.map_err(|failure| failure.of(&id))?;
        marked.map_err(|failure| failure.of(&id))?;
        Ok(node)
    }

    /// Tries until the agent is registered, another try is of no use, or the time is up.
    async fn registered(&self, mut activation: Activation) -> Result<Registered, Failure> {
        let (mut tries, mut is_read_again) = (0, false);
        loop {
            self.machine.say("stopping the agent, registering it, and starting it again");
            let attempt = register::attempt(self.machine, &self.installation, &self.environment, &activation);
            let (refusal, said, start) = match attempt {
                Ok(registered) => return Ok(registered),
                Err(NotRegistered::Refused(refusal, said, start)) => (refusal, said + &self.route, start),
                Err(NotRegistered::Control(problem)) => return Err(Failure::new(Reason::AgentControl, problem)),
                Err(NotRegistered::Unprepared(problem)) => return Err(Failure::new(Reason::Unexpected, problem)),
            };
            let failure = words::refused(refusal, &said, self.settings, &self.identity);
            match refusal {
                Refusal::Expired | Refusal::Exhausted | Refusal::Invalid if !is_read_again => {
                    is_read_again = true;
                    self.machine.say(&format!("{failure}; reading the activation again"));
                    // The hub may have renewed it since. If it cannot be read, the first failure is the one to know.
                    match self.activation().await {
                        Ok(renewed) if !renewed.is_same(&activation) => activation = renewed,
                        _ => return Err(failure),
                    }
                }
                Refusal::Transient | Refusal::Unknown => {
                    tries += 1;
                    let pause = retry::backoff(tries, self.machine.random());
                    self.machine.say(&format!("{said}; trying again in {:.1} s", pause.as_secs_f64()));
                    if let Err(stop) = self.calls.wait(pause).await {
                        return Err(ended(stop, failure, tries));
                    }
                    if let Some(id) = self.registered_after_all(&activation.region)? {
                        return Ok(Registered { node: id, started: Ok(start) });
                    }
                }
                _ => return Err(failure),
            }
        }
    }

    /// A try that got no answer may have reached its end all the same.
    fn registered_after_all(&self, region: &Region) -> Result<Option<hub::ManagedInstanceId>, Failure> {
        match super::evidence(self.machine)?.registration() {
            Registration::As(node) if node.region.as_ref() == Some(region) => Ok(Some(node.id)),
            _ => Ok(None),
        }
    }
}

/// The end of a run that was still trying, and what it failed with last.
fn ended(stop: Stop, last: Failure, tries: u32) -> Failure {
    match stop {
        Stop::Deadline => {
            let message = format!("not registered within the time that --timeout allows, after {tries} tries: {last}");
            Failure { message, ..last }
        }
        Stop::Signal => stopped(stop, None),
    }
}
