//! What an operator is told, and what to do about it.

use hub::{AwsError, Ec2InstanceId, ManagedInstanceId, Region};

use super::{Settings, Source};
use crate::activation::Unusable;
use crate::agent::Refusal;
use crate::aws::Identity;
use crate::decide::{Hub, Others};
use crate::detect::Installation;
use crate::evidence::{Node, VAULT_FILE};
use crate::failure::{Failure, Reason};
use crate::retry::{self, Kind, METADATA_DISABLED, NO_CREDENTIALS, ROLE_NOT_ASSUMED};

const SET_THE_CLOCK: &str = "Set the clock (`chronyc makestep`), and run this again. If it is right, a proxy on the way \
                             may have a certificate that expired";

const RUN_ON_EC2: &str = "Run this on an EC2 instance with its instance metadata service on (IMDSv2); in a container, \
                          set the hop limit to 2";

/// What makes a machine register again.
pub(crate) const REPLACE: &str = "register-instance heal --replace";

pub(crate) fn clone(node: &ManagedInstanceId, original: &Ec2InstanceId, instance: &Ec2InstanceId) -> String {
    format!(
        "this machine carries the registration of another: {node} belongs to {original}, and this is {instance}. It was \
         probably made from an image of it. Nothing was changed. To register this machine under its own identity, run \
         `{REPLACE}`. Clear the registration before you make the next image"
    )
}

pub(crate) fn foreign(node: &Node, hub: &Hub) -> String {
    let Node { id, region } = node;
    let region = region.as_ref().map_or("another Region", Region::as_str);
    let account = hub.account.as_ref().map(|account| format!(" of account {account}")).unwrap_or_default();
    let hub = &hub.region;
    format!(
        "this machine is registered as {id} in {region}, and the hub is in {hub}{account}. Nothing was changed. If you no longer \
         need that registration, run `{REPLACE}`; otherwise do not run this tool here"
    )
}

/// Nothing says whether a registration is one of the hub's, because of the problem.
pub(super) fn unknown_hub(node: &Node, problem: &Failure, settings: &Settings) -> String {
    let Node { id, region } = node;
    let region = region.as_ref().map(|region| format!(" in {region}")).unwrap_or_default();
    let leave_out = settings.hub_account.as_ref().map_or("", |_| "leave --hub-account out, and ");
    format!(
        "this machine is registered as {id}{region}, and nothing says whether that is the hub's: {problem}. The tag was not \
         written. If it is, {leave_out}name the hub's Region with --region"
    )
}

/// A registration that is not used, and was not replaced either.
pub(super) fn kept(failure: &Failure, installation: &Installation) -> String {
    let Installation { agent, stop, .. } = installation;
    format!(
        "{failure}. The registration was kept: nothing shows that Systems Manager refuses it, and a new one would have the same \
         trouble. To throw it away all the same, run `{}` and `{} -register -clear`, and run register-instance",
        stop.words(),
        agent.display()
    )
}

pub(crate) fn unreadable() -> String {
    format!(
        "{VAULT_FILE} does not hold a readable registration: it was half written, or has an unknown format. Nothing was \
         changed. Restart the agent and run this again; if that does not help, register again with `{REPLACE}`"
    )
}

/// The agent does not use its registration, in the words of `why`.
pub(crate) fn not_in_use(node: &ManagedInstanceId, why: &str) -> String {
    format!(
        "the machine is registered as {node}, but the running agent does not use that: {why}. The tag was not written. \
         Run `register-instance heal`, which restarts the agent; if that does not help, register again with `{REPLACE}`, and \
         deregister {node} in the central account if no other machine uses it"
    )
}

/// The agent says that it is a node, and nothing proves it, in the words of `why`.
pub(super) fn unproven(node: &Node, why: &str) -> String {
    let Node { id, region } = node;
    let region = region.as_ref().map(|region| format!(" --region {region}")).unwrap_or_default();
    format!(
        "the agent says that it is {id}, but nothing here proves that Systems Manager accepts it: {why}. Look in the central \
         account whether it is Online: `aws ssm describe-instance-information --filters Key=InstanceIds,Values={id}{region}`"
    )
}

/// What to do with a node that this machine no longer uses.
pub(super) fn given_up(old: &Node, others: Others) -> String {
    let Node { id, region } = old;
    let region = region.as_ref().map(|region| format!(" --region {region}")).unwrap_or_default();
    let command = format!("`aws ssm deregister-managed-instance --instance-id {id}{region}`");
    match others {
        Others::Nobody => format!("{id} is no longer in use. Deregister it in its central account: {command}"),
        Others::Perhaps => format!(
            "If no other machine uses {id} (this may be a copy of it), deregister it in its central account: {command}"
        ),
        Others::Certainly => format!("do not deregister {id}: the other instance uses it"),
    }
}

pub(super) fn clock(error: &AwsError) -> Failure {
    Failure::new(Reason::Clock, format!("AWS refuses the time of this machine: {error}. {SET_THE_CLOCK}"))
}

/// The agent is refused for the time, in the words of `why`.
pub(super) fn agents_clock(why: &str) -> Failure {
    Failure::new(Reason::Clock, format!("{why}. {SET_THE_CLOCK}. The registration was left alone"))
}

pub(crate) fn no_identity(error: &AwsError) -> String {
    if error.code == METADATA_DISABLED {
        return format!("{error}. Unset it: nothing else tells which instance this is");
    }
    format!("{error}. {RUN_ON_EC2}")
}

pub(super) fn no_identity_in_time(problem: &Failure) -> String {
    format!("the instance metadata service gave no identity: {problem}. {RUN_ON_EC2}")
}

pub(crate) fn no_parameter(name: &str, identity: &Identity, error: &AwsError) -> String {
    let Identity { account, region, .. } = identity;
    match error.code.as_str() {
        "ParameterNotFound" => format!(
            "there is no parameter {name} in account {account}, {region}. Central IT's activation-issuer writes it, in the \
             Regions that it is set up for; invoke it for this account: {{\"agency\": \"{account}\"}}"
        ),
        NO_CREDENTIALS => format!("{error}. Attach the instance profile of Tag Hub (TagHubInstance) to this instance"),
        ROLE_NOT_ASSUMED => format!(
            "{error}. The role's trust policy must let ec2.amazonaws.com assume it; if the role was deleted and created again, \
             detach the instance profile and attach it again"
        ),
        _ if retry::kind(error) == Kind::Denied => format!(
            "{error}. The instance profile needs ssm:GetParameter on {name}, and kms:Decrypt if it has a key of its own"
        ),
        _ => error.to_string(),
    }
}

pub(super) fn no_activation(source: &Source, problem: &str) -> String {
    match source {
        Source::Json { parameter } => format!("parameter {parameter} does not hold an activation: {problem}"),
        Source::Pair { id, code } => format!("parameters {id} and {code} do not hold an activation: {problem}"),
    }
}

pub(super) fn no_tag(node: &ManagedInstanceId, error: &AwsError) -> String {
    let what = format!("registered as {node}, but the tag managedinstanceid could not be written: {error}");
    let advice = match error.code.as_str() {
        "TagLimitExceeded" => {
            "The instance has 50 tags, which is all that EC2 allows: remove one; then run this again, which writes the tag alone"
        }
        _ if retry::kind(error) == Kind::Denied => {
            "The instance profile needs ec2:CreateTags on this instance for that key, and no other policy may deny it; then \
             run this again, which writes the tag alone"
        }
        _ => "Run this again, which writes the tag alone",
    };
    format!("{what}. {advice}")
}

pub(super) fn unusable(problem: &Unusable, settings: &Settings, identity: &Identity) -> Failure {
    let name = source(&settings.source);
    match problem {
        Unusable::OtherAccount(..) | Unusable::OtherHub(..) => Failure::new(
            Reason::ActivationWrong,
            format!("the activation in {name} is not for this instance: {problem}. Nothing was changed"),
        ),
        Unusable::UnknownHub(_) => Failure::new(
            Reason::ActivationWrong,
            format!(
                "the activation in {name} may be another hub's: {problem}. {}",
                match settings.source {
                    Source::Json { .. } => renew(settings, identity),
                    // No new one will say it either.
                    Source::Pair { .. } => "Leave --hub-account out".to_owned(),
                }
            ),
        ),
        Unusable::OtherRegion(..) => Failure::new(
            Reason::ActivationWrong,
            format!(
                "the activation in {name} is not the one asked for: {problem}. Nothing was changed. Leave --region out, or \
                 name the parameter of that hub with --parameter"
            ),
        ),
        Unusable::Expired(_) => Failure::new(
            Reason::ActivationExpired,
            format!("the activation in {name} cannot be used: {problem}. {}", renew(settings, identity)),
        ),
    }
}

pub(super) fn refused(refusal: Refusal, said: &str, settings: &Settings, identity: &Identity) -> Failure {
    let name = source(&settings.source);
    match refusal {
        Refusal::Expired => Failure::new(
            Reason::ActivationExpired,
            format!("the activation in {name} expired: {said}. {}", renew(settings, identity)),
        ),
        Refusal::Exhausted => Failure::new(
            Reason::ActivationExhausted,
            format!("the activation in {name} has no registrations left: {said}. {}", renew(settings, identity)),
        ),
        Refusal::Invalid => Failure::new(
            Reason::ActivationWrong,
            format!(
                "Systems Manager does not know the activation in {name} in that Region: {said}. {}",
                renew(settings, identity)
            ),
        ),
        Refusal::Transient => Failure::new(Reason::Network, format!("{said}; run this again")),
        Refusal::Clock => agents_clock(said),
        Refusal::AlreadyRegistered => Failure::new(
            Reason::RegistrationFailed,
            format!("the agent holds a registration, which was left alone: {said}. See `register-instance doctor`"),
        ),
        Refusal::Permanent | Refusal::Unknown => Failure::new(Reason::RegistrationFailed, said.to_owned()),
    }
}

fn renew(settings: &Settings, identity: &Identity) -> String {
    match settings.source {
        Source::Json { .. } => format!(
            "The hub renews it by itself; for now, have central IT invoke activation-issuer with {{\"agency\": \"{}\"}}, and run \
             this again",
            identity.account
        ),
        Source::Pair { .. } => "Put the ID and the code of a new activation into both, and run this again".to_owned(),
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Json { parameter } => parameter.clone(),
        Source::Pair { id, code } => format!("{id} and {code}"),
    }
}
