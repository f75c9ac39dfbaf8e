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
    patience: Patience,
    /// Which proxy is used, for a message; empty if there is none.
    route: RefCell<String>,
}

/// Why a call came to nothing.
enum Trouble {
    /// The run has to end; the error of the last try, if there was one.
    Stopped(Stop, Option<AwsError>),
    Aws(AwsError),
}

impl<'a, M: Machine, A: Aws> Calls<'a, M, A> {
    pub(super) fn new(machine: &'a M, aws: &'a A, wait_for_network: bool) -> Self {
        Self {
            machine,
            aws,
            patience: Patience { uptime: uptime(machine), wait_for_network },
            route: RefCell::default(),
        }
    }

    /// Goes through proxies from now on; `route` says so in messages.
    pub(super) fn use_proxies(&self, proxies: &Proxies, route: String) {
        self.aws.use_proxies(proxies);
        *self.route.borrow_mut() = route;
    }

    pub(super) async fn identity(&self) -> Result<Identity, Failure> {
        self.tried("the instance's identity", || self.aws.identity()).await.map_err(|trouble| match trouble {
            Trouble::Stopped(stop, last) => stopped(stop, last.as_ref()),
            Trouble::Aws(error) => Failure::new(Reason::NotEc2, words::no_identity(&error)),
        })
    }

    pub(super) async fn parameter(&self, identity: &Identity, name: &str) -> Result<String, Failure> {
        let call = || self.aws.parameter(identity, name);
        self.tried(&format!("parameter {name}"), call).await.map_err(|trouble| match trouble {
            Trouble::Stopped(stop, last) => self.routed(stopped(stop, last.as_ref())),
            Trouble::Aws(error) if retry::kind(&error) == Kind::Clock => words::clock(&error),
            Trouble::Aws(error) => {
                Failure::new(Reason::ActivationUnreadable, words::no_parameter(name, identity, &error))
            }
        })
    }

    pub(super) async fn write_tag(&self, identity: &Identity, node: &ManagedInstanceId) -> Result<(), Failure> {
        let call = || self.aws.write_tag(identity, node);
        self.tried("the tag managedinstanceid", call).await.map_err(|trouble| match trouble {
            Trouble::Stopped(stop, last) => {
                let failure = stopped(stop, last.as_ref());
                let message = format!("registered as {node}, but not yet tagged: {failure}");
                self.routed(Failure { message, ..failure })
            }
            Trouble::Aws(error) if retry::kind(&error) == Kind::Clock => words::clock(&error),
            Trouble::Aws(error) => Failure::new(Reason::TagNotWritten, words::no_tag(node, &error)),
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

    async fn tried<T>(&self, what: &str, mut call: impl AsyncFnMut() -> Result<T, AwsError>) -> Result<T, Trouble> {
        let (mut tries, mut waited, mut last) = (0, Duration::ZERO, None);
        loop {
            let error = match self.unless_stopped(call()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(stop) => return Err(Trouble::Stopped(stop, last)),
            };
            tries += 1;
            let kind = retry::kind(&error);
            let Some(pause) = retry::pause(kind, tries, waited, self.patience, self.machine.random()) else {
                return Err(Trouble::Aws(error));
            };
            self.machine.say(&format!("{what}: {error}; trying again in {:.1} s", pause.as_secs_f64()));
            let paused = self.wait(pause).await;
            waited += pause;
            last = Some(error);
            if let Err(stop) = paused {
                return Err(Trouble::Stopped(stop, last));
            }
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
