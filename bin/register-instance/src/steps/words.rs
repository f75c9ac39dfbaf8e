//! What an operator is told, and what to do about it.

use hub::{AwsError, Ec2InstanceId, ManagedInstanceId};

use super::{Settings, Source};
use crate::activation::Unusable;
use crate::agent::Refusal;
use crate::aws::Identity;
use crate::detect::Installation;
use crate::evidence::REGISTRATION_FILE;
use crate::failure::{Failure, Reason};
use crate::marker::MARKER_FILE;
use crate::retry::{self, Kind, NO_CREDENTIALS};

pub(super) fn clone(
    node: &ManagedInstanceId,
    original: &Ec2InstanceId,
    instance: &Ec2InstanceId,
    installation: &Installation,
) -> String {
    format!(
        "this machine carries the registration of another: {node} belongs to {original}, and this is {instance}. It was \
         probably made from an image of it. Nothing was changed. Clear what the image carried and run this again: `{}`. \
         Do the same before the next image is made",
        clear(installation)
    )
}

pub(super) fn contradiction(
    answered: &ManagedInstanceId,
    kept: &ManagedInstanceId,
    installation: &Installation,
) -> String {
    format!(
        "the agent answers {answered} and keeps {kept}. Nothing was changed. Restart the agent and run this again; if it \
         stays so, clear the registration: `{}`",
        clear(installation)
    )
}

/// The commands that take a registration off a machine. The agent's own -clear leaves its file.
fn clear(installation: &Installation) -> String {
    let Installation { agent, stop, start, .. } = installation;
    format!(
        "{} && {} -register -clear && rm -f {REGISTRATION_FILE} {MARKER_FILE} && {}",
        stop.words(),
        agent.display(),
        start.words()
    )
}

pub(super) fn no_identity(error: &AwsError) -> String {
    format!(
        "{error}. This has to run on an EC2 instance with its instance metadata service on (IMDSv2); in a container the hop \
         limit has to be 2"
    )
}

pub(super) fn no_parameter(name: &str, identity: &Identity, error: &AwsError) -> String {
    let Identity { account, region, .. } = identity;
    match error.code.as_str() {
        "ParameterNotFound" => format!(
            "there is no parameter {name} in account {account}, {region}. Central IT's activation-issuer writes it, in the \
             Regions that it is set up for; have it run for this account: {{\"agency\": \"{account}\"}}"
        ),
        NO_CREDENTIALS => format!("{error}. Attach the instance profile of Tag Hub (TagHubInstance) to this instance"),
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
    format!(
        "registered as {node}, but the tag managedinstanceid could not be written: {error}. The instance profile needs \
         ec2:CreateTags on this instance for that key; then run this again, which writes the tag alone"
    )
}

pub(super) fn unusable(problem: &Unusable, settings: &Settings, identity: &Identity) -> Failure {
    let name = source(&settings.source);
    match problem {
        Unusable::OtherAccount(..) => Failure::new(
            Reason::ActivationWrong,
            format!("the activation in {name} is not for this instance: {problem}. Nothing was changed"),
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
            format!("the activation in {name} is over: {problem}. {}", renew(settings, identity)),
        ),
    }
}

pub(super) fn refused(refusal: Refusal, said: &str, settings: &Settings, identity: &Identity) -> Failure {
    let name = source(&settings.source);
    match refusal {
        Refusal::Expired => Failure::new(
            Reason::ActivationExpired,
            format!("the activation in {name} is over: {said}. {}", renew(settings, identity)),
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
        Refusal::AlreadyRegistered => Failure::new(
            Reason::RegistrationFailed,
            format!("the agent holds a registration, which was left alone: {said}. Run this again with --verbose"),
        ),
        Refusal::Other => Failure::new(Reason::RegistrationFailed, said.to_owned()),
    }
}

fn renew(settings: &Settings, identity: &Identity) -> String {
    match settings.source {
        Source::Json { .. } => format!(
            "The hub renews it daily; for now, have central IT invoke activation-issuer with {{\"agency\": \"{}\"}}, and run \
             this again",
            identity.account
        ),
        Source::Pair { .. } => "Put the id and the code of a new activation into both, and run this again".to_owned(),
    }
}

fn source(source: &Source) -> String {
    match source {
        Source::Json { parameter } => parameter.clone(),
        Source::Pair { id, code } => format!("{id} and {code}"),
    }
}
