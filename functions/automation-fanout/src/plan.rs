//! Planning: from one request of any size to the starts that the API takes.
//!
//! Values in, plan out. Its laws are tested: the parts' accounts and Regions are the request's, no pair is
//! there twice, no part is larger than the API takes, an absolute limit of the caller's is the sum of the
//! parts', and the same request makes the same tokens and the same tag.

pub mod advice;
pub mod campaign;
pub mod cause;
mod digest;
pub mod execution;
pub mod limit;
mod matrix;
mod nodes;
mod origin;
mod overlap;
mod permission;
pub mod problem;
pub mod request;
mod resume;
pub mod runbook;
mod share;
mod split;
mod token;

use std::collections::BTreeSet;

use self::problem::Problem;
use self::request::{ASSUME_ROLE_PARAMETER, StartRequest, TargetLocation};

pub use digest::{REQUEST_TAG_KEY, StartTag, digest, key_mark};
pub use matrix::{Cell, Pair, child_execution_id, matrix};
pub use nodes::VALUES_MAX;
pub use origin::Origin;
pub use permission::missing_permission;
pub use resume::{RESUMES_TAG_KEY, Resumption, STILL_RUNNING, Terms, Unresumable, rectangles, resumption};
pub use split::{ACCOUNTS_MAX, REGIONS_MAX, Split, split, split_alone};
pub use token::{TokenSource, WaveMark};

/// `TargetLocations` takes at most 100 items:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_StartAutomationExecution.html>.
pub const LOCATIONS_MAX: usize = 100;

/// What is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The starts, in the order of their tokens.
    pub parts: Vec<Part>,
    /// What a caller should know about how the request was read.
    pub notes: Vec<String>,
}

/// One start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The request as it is sent, with its token.
    pub request: StartRequest,
    /// How many locations it has, where that is known here.
    pub target_locations: Option<usize>,
    /// How many accounts times Regions it reaches, where that is known here.
    pub pairs: Option<usize>,
}

impl Part {
    /// The digest of the whole request in its tag.
    pub fn digest(&self) -> Option<String> {
        let tag = self.request.tags.iter().find(|tag| tag.key == REQUEST_TAG_KEY)?;
        StartTag::parse(&tag.value).map(|tag| tag.digest)
    }
}

/// Plans a request whose locations are split. `role_arn` is the `AutomationAssumeRole` that is added.
///
/// # Errors
/// Limits that cannot be shared over the groups of nodes.
pub fn plan(
    request: &StartRequest,
    split: &Split,
    role_arn: Option<&str>,
    tokens: &TokenSource,
) -> Result<Plan, Vec<Problem>> {
    let mut notes = split.notes.clone();
    let groups = nodes::groups(request, &mut notes)?;
    let mut template = StartRequest { target_locations: Vec::new(), ..request.clone() };
    if let Some(role_arn) = role_arn {
        template.parameters.entry(ASSUME_ROLE_PARAMETER.to_owned()).or_insert_with(|| vec![role_arn.to_owned()]);
    }
    let maps: BTreeSet<_> = template.target_maps.iter().collect();
    if maps.len() < request.target_maps.len() {
        notes.push(format!("TargetMaps: {} repeated maps are left out", request.target_maps.len() - maps.len()));
        let mut seen = BTreeSet::new();
        template.target_maps.retain(|map| seen.insert(map.clone()));
    }
    let tag = digest::request_tags(tokens, request);
    let mut parts = Vec::new();
    for (index, group) in groups.into_iter().enumerate() {
        // A request without locations runs in the central account alone, or where a file says.
        let chunks: Vec<&[TargetLocation]> = if request.target_locations.is_empty() {
            vec![&[]]
        } else {
            split.groups.get(index).map(|locations| locations.chunks(LOCATIONS_MAX).collect()).unwrap_or_default()
        };
        for locations in chunks {
            parts.push(Part {
                target_locations: template.target_locations_url.is_none().then_some(locations.len()),
                pairs: match template.target_locations_url {
                    Some(_) => None,
                    None => locations.iter().map(TargetLocation::pair_count).sum(),
                },
                request: StartRequest {
                    client_token: Some(tokens.token(parts.len())),
                    target_locations: locations.to_vec(),
                    targets: group.targets.clone(),
                    max_concurrency: group.max_concurrency,
                    max_errors: group.max_errors,
                    tags: template.tags.iter().cloned().chain([tag(parts.len())]).collect(),
                    ..template.clone()
                },
            });
        }
    }
    if parts.iter().any(|part| part.pairs.is_none()) {
        notes.push("how many accounts are reached is known to the service alone, not before it starts".to_owned());
    }
    Ok(Plan { parts, notes })
}
