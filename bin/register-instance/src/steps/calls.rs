//! Calls of AWS, tried again where that is of use, and ended when the run has to end.

use std::future::Future;
use std::time::Duration;

use hub::{AwsError, ManagedInstanceId};

use super::words;
use crate::aws::{Aws, Identity};
use crate::failure::{Failure, Reason};
use crate::machine::{Machine, Stop};
use crate::retry::{self, Kind, Patience};

/// Calls AWS for one run.
pub(super) struct Calls<'a, M, A> {
    machine: &'a M,
    aws: &'a A,
    patience: Patience,
}

/// Why a call came to nothing.
enum Trouble {
    /// The run has to end; the error of the last try, if there was one.
    Stopped(Stop, Option<AwsError>),
    Aws(AwsError),
}

impl<'a, M: Machine, A: Aws> Calls<'a, M, A> {
    pub(super) fn new(machine: &'a M, aws: &'a A, wait_for_network: bool) -> Self {
        Self { machine, aws, patience: Patience { uptime: uptime(machine), wait_for_network } }
    }

    pub(super) async fn identity(&self) -> Result<Identity, Failure> {
        self.tried("the instance's identity", || self.aws.identity()).await.map_err(|trouble| match trouble {
            Trouble::Stopped(stop, last) => stopped(stop, last.as_ref()),
            Trouble::Aws(error) => Failure::new(Reason::NotEc2, words::no_identity(&error)),
        })
    }

    /// One try is enough: the answer only spares a call.
    pub(super) async fn own_tag(&self) -> Result<Option<String>, Failure> {
        self.unless_stopped(self.aws.own_tag()).await.map_err(|stop| stopped(stop, None))
    }

    pub(super) async fn parameter(&self, identity: &Identity, name: &str) -> Result<String, Failure> {
        let call = || self.aws.parameter(identity, name);
        self.tried(&format!("parameter {name}"), call).await.map_err(|trouble| match trouble {
            Trouble::Stopped(stop, last) => stopped(stop, last.as_ref()),
            Trouble::Aws(error) if is_for_later(&error) => Failure::new(Reason::Network, error.to_string()),
            Trouble::Aws(error) => {
                Failure::new(Reason::ActivationUnreadable, words::no_parameter(name, identity, &error))
            }
        })
    }

    pub(super) async fn write_tag(&self, identity: &Identity, node: &ManagedInstanceId) -> Result<(), Failure> {
        let call = || self.aws.write_tag(identity, node);
        self.tried("the tag managedinstanceid", call).await.map_err(|trouble| match trouble {
            Trouble::Stopped(stop, last) => stopped(stop, last.as_ref()),
            Trouble::Aws(error) if is_for_later(&error) => Failure::new(
                Reason::Network,
                format!("registered as {node}, but not yet tagged: {error}; run this again"),
            ),
            Trouble::Aws(error) => Failure::new(Reason::TagNotWritten, words::no_tag(node, &error)),
        })
    }

    /// Waits, unless the run has to end.
    pub(super) async fn pause(&self, duration: Duration) -> Result<(), Failure> {
        self.unless_stopped(self.machine.pause(duration)).await.map_err(|stop| stopped(stop, None))
    }

    /// Fails where the run has to end.
    pub(super) async fn go_on(&self) -> Result<(), Failure> {
        // Lets a signal in that came while a program ran.
        self.unless_stopped(tokio::task::yield_now()).await.map_err(|stop| stopped(stop, None))?;
        self.unless_stopped(std::future::ready(())).await.map_err(|stop| stopped(stop, None))
    }

    async fn tried<T>(&self, what: &str, mut call: impl AsyncFnMut() -> Result<T, AwsError>) -> Result<T, Trouble> {
        let (mut tries, mut last) = (0, None);
        loop {
            let error = match self.unless_stopped(call()).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(stop) => return Err(Trouble::Stopped(stop, last)),
            };
            tries += 1;
            let Some(pause) = retry::pause(retry::kind(&error), tries, self.patience) else {
                return Err(Trouble::Aws(error));
            };
            self.machine.say(&format!("{what}: {error}; trying again in {} s", pause.as_secs()));
            let paused = self.unless_stopped(self.machine.pause(pause)).await;
            last = Some(error);
            if let Err(stop) = paused {
                return Err(Trouble::Stopped(stop, last));
            }
        }
    }

    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Result<T, Stop> {
        tokio::select! {
            biased;
            stop = self.machine.stop_requested() => Err(stop),
            value = work => Ok(value),
        }
    }
}

fn is_for_later(error: &AwsError) -> bool {
    matches!(retry::kind(error), Kind::Network | Kind::Busy)
}

fn stopped(stop: Stop, last: Option<&AwsError>) -> Failure {
    let last = last.map(|error| format!(": {error}")).unwrap_or_default();
    match stop {
        Stop::Signal => Failure::new(Reason::Interrupted, format!("stopped by a signal{last}; run this again")),
        Stop::Deadline => Failure::new(
            Reason::Network,
            format!("not done within the time that --timeout allows{last}; run this again"),
        ),
    }
}

/// How long the machine has been up: the first number in `/proc/uptime`, in seconds.
fn uptime<M: Machine>(machine: &M) -> Option<Duration> {
    let contents = machine.read("/proc/uptime").ok().flatten()?;
    let seconds = contents.split(['.', ' ']).next()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}
