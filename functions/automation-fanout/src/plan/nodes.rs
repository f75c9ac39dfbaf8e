//! Lists of nodes that are longer than the API takes, split into groups that each make starts of their own.

use std::collections::HashSet;

use super::limit::Limit;
use super::problem::{Path, Problem};
use super::request::{PARAMETER_VALUES, StartRequest, Target};
use super::share::{evenly, share};

/// `Values` of a target takes at most 50 items:
/// <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_Target.html>.
pub const VALUES_MAX: usize = 50;

/// The targets of one group of starts, and the caller's limits within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) targets: Vec<Target>,
    pub(super) max_concurrency: Option<Limit>,
    pub(super) max_errors: Option<Limit>,
}

/// How many values each group of starts has that the targets of a request make; at least one group.
pub(super) fn group_sizes(request: &StartRequest) -> Vec<usize> {
    let values = listed(&request.targets).map(|target| distinct(&target.values)).unwrap_or_default();
    let sizes: Vec<usize> = evenly(&values, VALUES_MAX).map(<[String]>::len).collect();
    if sizes.is_empty() { vec![0] } else { sizes }
}

/// One group, or as few as possible for a list of nodes that is too long for one.
///
/// # Errors
/// A limit that cannot be shared over the groups.
pub(super) fn groups(request: &StartRequest, notes: &mut Vec<String>) -> Result<Vec<Group>, Vec<Problem>> {
    let targets = each_once(&request.targets, &Path::Root, notes);
    let whole =
        Group { targets: targets.clone(), max_concurrency: request.max_concurrency, max_errors: request.max_errors };
    let Some(Target { key, values }) = listed(&targets).filter(|target| target.values.len() > VALUES_MAX) else {
        return Ok(vec![whole]);
    };
    let lists: Vec<&[String]> = evenly(values, VALUES_MAX).collect();
    let weights: Vec<usize> = lists.iter().map(|list| list.len()).collect();
    notes.push(format!(
        "Targets: {} values are split into {} groups of starts that run at the same time",
        values.len(),
        lists.len()
    ));
    let root = Path::Root;
    let concurrency =
        limits(&root.field("MaxConcurrency"), request.max_concurrency, &weights, 1, notes).map_err(|one| vec![one])?;
    let errors = limits(&root.field("MaxErrors"), request.max_errors, &weights, 0, notes).map_err(|one| vec![one])?;
    let groups = lists.into_iter().zip(concurrency.into_iter().zip(errors));
    let group = |(list, (max_concurrency, max_errors)): (&[String], _)| Group {
        targets: vec![Target { key: key.clone(), values: list.to_vec() }],
        max_concurrency,
        max_errors,
    };
    Ok(groups.map(group).collect())
}

/// Targets whose values are resources, each of them once: the service runs over a list as it is.
pub(super) fn each_once(targets: &[Target], path: &Path<'_>, notes: &mut Vec<String>) -> Vec<Target> {
    let mut targets = targets.to_vec();
    for target in targets.iter_mut().filter(|target| target.key == PARAMETER_VALUES) {
        let distinct = distinct(&target.values);
        if distinct.len() < target.values.len() {
            let count = target.values.len() - distinct.len();
            notes.push(format!("{}: {count} repeated values are left out", path.field("Targets")));
            target.values = distinct;
        }
    }
    targets
}

/// The one target that lists resources, if it is that.
fn listed(targets: &[Target]) -> Option<&Target> {
    match targets {
        [target] if target.key == PARAMETER_VALUES => Some(target),
        _ => None,
    }
}

/// The values in their order, each once.
fn distinct(values: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    values.iter().filter(|value| seen.insert(value.as_str())).cloned().collect()
}

/// A limit on targets, shared over groups of values with these sizes.
pub(super) fn limits(
    path: &Path<'_>,
    limit: Option<Limit>,
    weights: &[usize],
    floor: u32,
    notes: &mut Vec<String>,
) -> Result<Vec<Option<Limit>>, Problem> {
    let Some(Limit::Count(total)) = limit else {
        if let Some(percent) = limit {
            let count = weights.len();
            notes.push(format!("{path} of {percent} holds for each of the {count} groups of values by itself"));
        }
        return Ok(vec![limit; weights.len()]);
    };
    let Some(shares) = share(total, weights, floor) else {
        let text = format!(
            "{total} cannot be shared over the {0} groups that the values are split into; expected at least {0}, a \
             percentage, or at most {VALUES_MAX} values",
            weights.len()
        );
        return Err(Problem::new(*path, text));
    };
    let words: Vec<String> = shares.iter().map(u32::to_string).collect();
    notes.push(format!("{path} is shared over the groups as {}", words.join(", ")));
    Ok(shares.into_iter().map(|share| Some(Limit::Count(share))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(count: usize, max_concurrency: Option<Limit>) -> StartRequest {
        let values = (0..count).map(|index| format!("mi-{index:017x}")).collect();
        let target = Target { key: PARAMETER_VALUES.to_owned(), values };
        StartRequest { targets: vec![target], max_concurrency, ..StartRequest::default() }
    }

    #[test]
    fn a_long_list_makes_few_groups_that_share_the_limits() {
        for (count, limit, expected) in [
            (50, Some(Limit::Count(1)), vec![(50, Some(Limit::Count(1)))]),
            (51, Some(Limit::Percent(10)), vec![(25, Some(Limit::Percent(10))), (26, Some(Limit::Percent(10)))]),
            (51, Some(Limit::Count(10)), vec![(25, Some(Limit::Count(5))), (26, Some(Limit::Count(5)))]),
            (205, None, vec![(41, None); 5]),
        ] {
            let groups = groups(&request(count, limit), &mut Vec::new()).unwrap();
            let got: Vec<_> = groups.iter().map(|g| (g.targets[0].values.len(), g.max_concurrency)).collect();
            assert_eq!(got, expected, "{count} {limit:?}");
            assert_eq!(group_sizes(&request(count, limit)), expected.iter().map(|(size, _)| *size).collect::<Vec<_>>());
            let together: Vec<_> = groups.into_iter().flat_map(|group| group.targets[0].values.clone()).collect();
            assert_eq!(together, request(count, limit).targets[0].values);
        }
        let mut twice = request(40, None);
        twice.targets[0].values.extend(request(30, None).targets[0].values.clone());
        let mut notes = Vec::new();
        let groups_of_twice = groups(&twice, &mut notes).unwrap();
        assert_eq!(groups_of_twice[0].targets, request(40, None).targets);
        assert_eq!((groups_of_twice.len(), group_sizes(&twice)), (1, vec![40]));
        assert_eq!(notes, ["Targets: 30 repeated values are left out"]);
        let problems = groups(&request(205, Some(Limit::Count(4))), &mut Vec::new()).unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "MaxConcurrency: 4 cannot be shared over the 5 groups that the values are split into; expected at least 5, a \
             percentage, or at most 50 values"
        );
    }
}
