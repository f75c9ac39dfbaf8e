//! `doctor`: looks at everything, changes nothing, and says for each thing that is wrong what to do.

mod checks;
mod report;

use std::future::Future;

use hub::AwsError;

use crate::activation::Activation;
use crate::aws::{Aws, Identity};
use crate::decide::Hub;
use crate::detect::{Installation, detect};
use crate::evidence::{Evidence, Registration};
use crate::failure::Failure;
use crate::find::found;
use crate::machine::{Machine, Stop};
use crate::marker::{MARKER_FILE, Marker};
use crate::proxy::Proxies;
use crate::start::Start;
use crate::steps::{self, Settings, Source};
use crate::{unit, verify};

pub use report::{Check, Report, Status, print};

/// Everything that could be found out, each thing by itself.
pub(crate) struct Findings {
    pub(crate) installation: Result<Installation, String>,
    pub(crate) evidence: Result<Evidence, Failure>,
    pub(crate) identity: Result<Identity, AwsError>,
    /// None if nothing is known about whom to ask.
    pub(crate) activation: Option<Result<Activation, ActivationProblem>>,
    pub(crate) marker: Option<Marker>,
    pub(crate) seen: Option<verify::Seen>,
    pub(crate) enabled: Option<String>,
    pub(crate) own_tag: Option<String>,
    pub(crate) unit_proxies: Option<Proxies>,
    pub(crate) shell_proxies: Proxies,
    pub(crate) unreadable_log: Option<String>,
    pub(crate) free_bytes: Option<u64>,
    pub(crate) is_profile_shared: bool,
    pub(crate) is_left_stopped: bool,
}

/// Why there is no activation.
pub(crate) enum ActivationProblem {
    Aws(AwsError),
    Malformed(String),
}

/// Looks at the machine.
///
/// # Errors
/// Not run as root: nothing could be read. Or a signal asked for an end.
pub async fn examine<M: Machine, A: Aws>(settings: &Settings, machine: &M, aws: &A) -> Result<Report, Failure> {
    steps::check_root(machine)?;
    let findings = look(settings, machine, aws).await;
    let is_stopped = async { matches!(machine.stop_requested().await, Stop::Signal) };
    let is_interrupted =
        tokio::select! { biased; is_stopped = is_stopped => is_stopped, () = tokio::task::yield_now() => false };
    if is_interrupted {
        return Err(steps::stopped(Stop::Signal, None));
    }
    Ok(Report::new(&findings, checks::all(settings, &findings, machine.now())))
}

/// One try of each thing: whoever asks is waiting for the answer. The machine comes first, so that what AWS does not
/// answer in time keeps nothing else from being known.
async fn look<M: Machine, A: Aws>(settings: &Settings, machine: &M, aws: &A) -> Findings {
    let installation = detect(&found(machine)).map_err(|missing| missing.to_string());
    let installed = installation.as_ref().ok();
    let environment = installed.map(|installed| unit::environment(machine, &installed.manager));
    if let Some((installed, environment)) = installed.zip(environment.as_ref()) {
        aws.use_proxies(&steps::proxies(machine, installed, environment).0);
    }
    let marker = machine.read(MARKER_FILE).ok().flatten();
    let evidence = steps::evidence(machine);
    let seen = installed.map(|installed| verify::look(machine, installed, Start::glanced_at(machine, installed)));
    let enabled = installed.and_then(|installed| steps::boot_word(machine, &installed.manager));
    let identity = in_time(machine, aws.identity()).await;
    let activation = match &identity {
        Ok(identity) => Some(
            in_time(machine, async { Ok(read_activation(settings, aws, identity).await) })
                .await
                .unwrap_or_else(|error| Err(ActivationProblem::Aws(error))),
        ),
        Err(_) => None,
    };
    let own_tag = match &identity {
        Ok(_) => in_time(machine, async { Ok(aws.own_tag().await) }).await.ok().flatten(),
        Err(_) => None,
    };
    Findings {
        evidence,
        marker: marker.as_deref().and_then(Marker::parse),
        seen,
        enabled,
        own_tag,
        unit_proxies: environment.as_ref().map(Proxies::from_variables),
        shell_proxies: Proxies::from_variables(machine.environment()),
        unreadable_log: verify::unreadable_log(machine),
        free_bytes: machine.free_bytes("/var/lib/amazon/ssm").or_else(|| machine.free_bytes("/")),
        is_profile_shared: crate::profile::has_credentials(machine) && !crate::profile::is_kept(machine),
        is_left_stopped: machine.exists(crate::register::STOPPED_FILE),
        installation,
        identity,
        activation,
    }
}

/// What comes of a call, or that its time was up.
async fn in_time<M: Machine, T>(machine: &M, call: impl Future<Output = Result<T, AwsError>>) -> Result<T, AwsError> {
    tokio::select! {
        biased;
        _ = machine.stop_requested() => Err(AwsError {
            operation: "aws",
            code: "Timeout".to_owned(),
            message: "no answer within the time that --timeout allows".to_owned(),
            request_id: None,
            retryable: true,
        }),
        answer = call => answer,
    }
}

async fn read_activation<A: Aws>(
    settings: &Settings,
    aws: &A,
    identity: &Identity,
) -> Result<Activation, ActivationProblem> {
    let read = async |name: &str| aws.parameter(identity, name).await.map_err(ActivationProblem::Aws);
    let activation = match &settings.source {
        Source::Json { parameter } => Activation::from_json(&read(parameter).await?),
        Source::Pair { id, code } => {
            let region = settings.region.clone().unwrap_or_else(|| identity.region.clone());
            Activation::from_pair(&read(id).await?, &read(code).await?, region)
        }
    };
    activation.map_err(ActivationProblem::Malformed)
}

impl Findings {
    pub(crate) fn node(&self) -> Option<crate::evidence::Node> {
        match self.evidence.as_ref().ok()?.registration() {
            Registration::As(node) => Some(node),
            Registration::None | Registration::Unreadable => None,
        }
    }

    /// The hub, as a run would know it.
    pub(crate) fn hub(&self, settings: &Settings) -> Option<Hub> {
        let identity = self.identity.as_ref().ok();
        let activation = self.activation.as_ref().and_then(|activation| activation.as_ref().ok());
        let account =
            activation.zip(identity).map(|(activation, identity)| activation.check_hub(&identity.account, None));
        let activation = activation.filter(|_| account.as_ref().is_some_and(Result::is_ok));
        let marker =
            self.marker.as_ref().filter(|marker| self.node().is_some_and(|node| node.id == marker.managed_instance_id));
        let region = settings.region.clone();
        let region = region.or_else(|| activation.map(|activation| activation.region.clone()));
        let region = region.or_else(|| marker?.hub_region.clone());
        Some(Hub { region: region?, account: account.and_then(Result::ok).flatten() })
    }
}
