//! Planning: from one request of any size to the starts that the API takes.
//!
//! Values in, plan out. Its laws are tested: the parts' accounts and Regions are the request's, no pair is
//! there twice, no part is larger than the API takes, an absolute limit of the caller's is the sum of the
//! parts', and the same request makes the same tokens.

mod overlap;
mod resume;
mod share;
mod split;
mod token;

use crate::problem::{Path, Problem};
use crate::request::{ASSUME_ROLE_PARAMETER, StartRequest, TargetLocation};

pub use resume::{RESUMES_TAG_KEY, Resumption, Terms, Unresumable, resumption};
pub use split::{ACCOUNTS_MAX, REGIONS_MAX};
pub use token::TokenSource;

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

/// What keeps a request from being planned.
pub fn problems(request: &StartRequest) -> Vec<Problem> {
    split_all(request).problems
}

/// Plans one request.
///
/// # Errors
/// All problems: limits that do not go round, and accounts and Regions that come twice.
pub fn plan(request: &StartRequest, role_arn: &str, tokens: &TokenSource) -> Result<Plan, Vec<Problem>> {
    let Split { locations, mut notes, problems } = split_all(request);
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut parameters = request.parameters.clone();
    parameters.entry(ASSUME_ROLE_PARAMETER.to_owned()).or_insert_with(|| vec![role_arn.to_owned()]);
    let template = StartRequest { parameters, target_locations: Vec::new(), ..request.clone() };
    // A request without locations runs in the central account alone, or where a file says.
    let chunks: Vec<&[TargetLocation]> =
        if locations.is_empty() { vec![&[]] } else { locations.chunks(LOCATIONS_MAX).collect() };
    let parts: Vec<Part> = chunks
        .into_iter()
        .enumerate()
        .map(|(index, locations)| Part {
            target_locations: template.target_locations_url.is_none().then_some(locations.len()),
            pairs: match template.target_locations_url {
                Some(_) => None,
                None => locations.iter().map(TargetLocation::pair_count).sum(),
            },
            request: StartRequest {
                client_token: Some(tokens.token(index)),
                target_locations: locations.to_vec(),
                ..template.clone()
            },
        })
        .collect();
    if parts.iter().any(|part| part.pairs.is_none()) {
        notes.push("how many accounts are reached is known to the service alone, not before it starts".to_owned());
    }
    Ok(Plan { parts, notes })
}

#[derive(Debug, Default)]
struct Split {
    locations: Vec<TargetLocation>,
    notes: Vec<String>,
    problems: Vec<Problem>,
}

fn split_all(request: &StartRequest) -> Split {
    let member = Path::Root.field("TargetLocations");
    let mut all = Split::default();
    for (index, location) in request.target_locations.iter().enumerate() {
        let split = split::split(location, &member.index(index));
        all.locations.extend(split.parts);
        all.notes.extend(split.notes);
        all.problems.extend(split.problems);
    }
    all.problems.extend(overlap::overlaps(&request.target_locations, &request.targets));
    all
}
