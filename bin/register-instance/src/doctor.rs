//! `doctor`: looks at everything, changes nothing, and says for each thing that is wrong what to do.

mod checks;
mod report;

use hub::{AwsError, Region};

use crate::activation::Activation;
use crate::aws::{Aws, Identity};
use crate::detect::{Installation, detect};
use crate::evidence::{Evidence, FINGERPRINT_FILE, Registration};
use crate::failure::Failure;
use crate::find::found;
use crate::machine::Machine;
use crate::marker::{MARKER_FILE, Marker};
use crate::proxy::Proxies;
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
    /// The machine ID that the agent's fingerprint was made with, and the one of now.
    pub(crate) machine_ids: Option<(String, String)>,
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
/// Not run as root: nothing could be read.
pub async fn examine<M: Machine, A: Aws>(settings: &Settings, machine: &M, aws: &A) -> Result<Report, Failure> {
    steps::check_root(machine)?;
    let findings = look(settings, machine, aws).await;
    Ok(Report::new(&findings, checks::all(settings, &findings, machine.now())))
}

/// One try of each thing: whoever asks is waiting for the answer.
async fn look<M: Machine, A: Aws>(settings: &Settings, machine: &M, aws: &A) -> Findings {
    let installation = detect(&found(machine)).map_err(|missing| missing.to_string());
    let installed = installation.as_ref().ok();
    let environment = installed.and_then(|installed| unit::environment(machine, &installed.manager));
    if let Some(installed) = installed {
        aws.use_proxies(&steps::proxies(machine, installed, environment.as_ref()).0);
    }
    let identity = aws.identity().await;
    let activation = match &identity {
        Ok(identity) => Some(read_activation(settings, aws, identity).await),
        Err(_) => None,
    };
    let text = |path| machine.read(path).ok().flatten();
    let fingerprinted = text(FINGERPRINT_FILE).and_then(|contents| crate::evidence::fingerprinted_machine(&contents));
    // Where the agent looks, in its order.
    let machine_id = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let machine_id = machine_id.iter().find_map(|path| machine.read_configuration(path).ok().flatten());
    let machine_id = machine_id.map(|id| id.trim().to_owned());
    Findings {
        evidence: steps::evidence(machine),
        marker: text(MARKER_FILE).as_deref().and_then(Marker::parse),
        seen: installed.map(|installed| verify::look(machine, installed, 0)),
        enabled: installed.and_then(|installed| steps::boot_word(machine, &installed.manager)),
        own_tag: if identity.is_ok() { aws.own_tag().await } else { None },
        unit_proxies: environment.as_ref().map(Proxies::from_variables),
        shell_proxies: Proxies::from_variables(machine.environment()),
        machine_ids: fingerprinted.zip(machine_id),
        free_bytes: machine.free_bytes("/var/lib/amazon/ssm").or_else(|| machine.free_bytes("/")),
        is_profile_shared: crate::profile::has_credentials(machine) && !crate::profile::is_kept(machine),
        is_left_stopped: machine.exists(crate::register::STOPPED_FILE),
        installation,
        identity,
        activation,
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

    pub(crate) fn hub_region(&self, settings: &Settings) -> Option<Region> {
        let known = self.activation.as_ref().and_then(|activation| activation.as_ref().ok());
        settings.region.clone().or_else(|| known.map(|activation| activation.region.clone()))
    }
}
