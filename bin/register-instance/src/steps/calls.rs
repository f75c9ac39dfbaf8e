//! Calls of AWS, tried again as long as that is of use, and ended when the run has to end.

use std::cell::RefCell;
use std::future::Future;
use std::time::Duration;

use hub::{AwsError, ManagedInstanceId};

use super::words;
use crate::aws::{Aws, Identity};
use crate::failure::{Failure, Reason};
use crate::machine::{Machine, Stop};
use crate::proxy::Proxies;
use crate::retry::{self, Kind, Patience};
use crate::start::uptime;

/// Calls AWS for one run.
pub(super) struct Calls<'a, M, A> {
    machine: &'a M,
    aws: &'a A,
    wait_for_network: bool,
    /// Which proxy is used, for a message; empty if there is none.
    route: RefCell<String>,
}

impl<'a, M: Machine, A: Aws> Calls<'a, M, A> {
    pub(super) fn new(machine: &'a M, aws: &'a A, wait_for_network: bool) -> Self {
        Self { machine, aws, wait_for_network, route: RefCell::default() }
    }

    /// Goes through proxies from now on; `route` says so in messages.
    pub(super) fn use_proxies(&self, proxies: &Proxies, route: String) {
        self.aws.use_proxies(proxies);
        *self.route.borrow_mut() = route;
    }

    pub(super) async fn identity(&self) -> Result<Identity, Failure> {
        let refused = |error: &AwsError| Failure::new(Reason::NotEc2, words::no_identity(error));
        let identity = self.tried("the instance's identity", || self.aws.identity(), refused).await;
        // Nothing but the metadata service was asked.
        identity.map_err(|failure| match failure.reason {
            Reason::Network => Failure::new(Reason::NotEc2, words::no_identity_in_time(&failure)),
            _ => failure,
        })
    }

    pub(super) async fn parameter(&self, identity: &Identity, name: &str) -> Result<String, Failure> {
        let refused = |error: &AwsError| match retry::kind(error) {
            Kind::Clock => words::clock(error),
            _ => Failure::new(Reason::ActivationUnreadable, words::no_parameter(name, identity, error)),
        };
        self.tried(&format!("parameter {name}"), || self.aws.parameter(identity, name), refused).await
    }

    pub(super) async fn write_tag(&self, identity: &Identity, node: &ManagedInstanceId) -> Result<(), Failure> {
        let refused = |error: &AwsError| match retry::kind(error) {
            Kind::Clock => words::clock(error),
            _ => Failure::new(Reason::TagNotWritten, words::no_tag(node, error)),
        };
        let written = self.tried("the tag managedinstanceid", || self.aws.write_tag(identity, node), refused).await;
        written.map_err(|failure| match failure.reason {
            Reason::Network | Reason::Interrupted => {
                Failure { message: format!("registered as {node}, but not yet tagged: {failure}"), ..failure }
            }
            _ => failure,
        })
    }

    /// Waits, unless the run has to end.
    pub(super) async fn wait(&self, duration: Duration) -> Result<(), Stop> {
        self.unless_stopped(self.machine.pause(duration)).await
    }

    /// Fails if the run has to end.
    pub(super) async fn go_on(&self) -> Result<(), Stop> {
        // Lets a signal in that came while a program ran.
        self.unless_stopped(tokio::task::yield_now()).await?;
        self.unless_stopped(std::future::ready(())).await
    }

    /// Calls until there is an answer, another try is of no use, or the run has to end. `refused` is the failure that an
    /// error of AWS means.
    async fn tried<T>(
        &self,
        what: &str,
        mut call: impl AsyncFnMut() -> Result<T, AwsError>,
        refused: impl Fn(&AwsError) -> Failure,
    ) -> Result<T, Failure> {
        let (mut tries, mut waited, mut last) = (0, Duration::ZERO, None);
        loop {
            let error = match self.unless_stopped(call()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(stop) => return Err(self.ended(stop, last.as_ref(), refused)),
            };
            tries += 1;
            let patience = Patience { uptime: uptime(self.machine), wait_for_network: self.wait_for_network };
            let Some(pause) = retry::pause(retry::kind(&error), tries, waited, patience, self.machine.random()) else {
                return Err(refused(&error));
            };
            self.machine.say(&format!("{what}: {error}; trying again in {:.1} s", pause.as_secs_f64()));
            if let Err(stop) = self.wait(pause).await {
                return Err(self.ended(stop, Some(&error), refused));
            }
            waited += pause;
            last = Some(error);
        }
    }

    /// The failure of a run that has to end while it tries. A refusal that was tried again because it might pass is still
    /// a refusal when the time is up.
    fn ended(&self, stop: Stop, last: Option<&AwsError>, refused: impl Fn(&AwsError) -> Failure) -> Failure {
        match last.filter(|error| matches!(retry::kind(error), Kind::Metadata | Kind::Denied)) {
            Some(error) if stop == Stop::Deadline => {
                let failure = refused(error);
                let message = format!("{failure}. It was tried again until the time that --timeout allows was up");
                Failure { message, ..failure }
            }
            _ => self.routed(stopped(stop, last)),
        }
    }

    /// A failure of the network, with the way that was taken.
    fn routed(&self, failure: Failure) -> Failure {
        if failure.reason != Reason::Network {
            return failure;
        }
        let message = format!("{}{}", failure.message, self.route.borrow());
        Failure { message, ..failure }
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            stop = self.machine.stop_requested() => Err(stop),
            value = work => Ok(value),
        }
    }
}

/// The failure of a run that has to end.
pub(crate) fn stopped(stop: Stop, last: Option<&AwsError>) -> Failure {
    let last = last.map(|error| format!(": {error}")).unwrap_or_default();
    match stop {
        Stop::Signal => Failure::new(Reason::Interrupted, format!("stopped by a signal{last}; run this again")),
        Stop::Deadline => Failure::new(
            Reason::Network,
            format!("not done within the time that --timeout allows{last}; run this again"),
        ),
    }
}
