//! A sweep and many changes at once, while Systems Manager throttles.

use std::time::{Duration, Instant};

use anyhow::ensure;
use local_aws::Fault;
use serde_json::json;
use tests::{AGENCY_A, World};

use crate::fleet::Fleet;
use crate::{expected, show};

const CALLS_PER_SECOND: f64 = 5.0;
const WRITES: [&str; 2] = ["ssm:AddTagsToResource", "ssm:RemoveTagsFromResource"];
const LEASES: [&str; 2] = ["dynamodb:PutItem", "dynamodb:DeleteItem"];
/// The last one sets a tag, which no earlier one has set.
const ROUNDS: usize = 14;
const WITHIN: Duration = Duration::from_mins(2);

pub(crate) async fn tell(world: &World, fleet: &mut Fleet) -> anyhow::Result<()> {
    show::step("Two sweeps and many tag changes at once, and Systems Manager throttles: one report writes at a time");
    let faults = WRITES.map(|operation| world.aws.faults().add(Fault::rate(operation, CALLS_PER_SECOND, 1.0)));
    let before = world.aws.calls().snapshot();
    let start = Instant::now();
    let nothing = json!({});
    let sweep = || world.sweep(AGENCY_A, &nothing);
    let (first, second, changed) = tokio::join!(sweep(), sweep(), change(world, fleet));
    for answer in [first?, second?] {
        ensure!(answer.function_error.is_none(), "a sweep failed: {}", answer.payload);
    }
    let change_count = changed?;
    expected::arrive(world, fleet, "every node carries the last change, and nothing else", WITHIN).await?;
    for fault in faults {
        world.aws.faults().remove(fault);
    }
    let calls = world.aws.calls().snapshot().since(&before);
    let sum = |operations: [&str; 2]| operations.map(|operation| calls.of(operation).total()).iter().sum::<u64>();
    let throttled: u64 = WRITES.map(|operation| calls.of(operation).throttled).iter().sum();
    ensure!(sum(LEASES) > 0, "a lease was taken");
    show::note(&format!("{change_count} changes of 3 instances, exact after {:.1} s", start.elapsed().as_secs_f64()));
    show::note(&format!("{} writes, {throttled} of them throttled; {} calls for leases", sum(WRITES), sum(LEASES)));
    world.sweep_well(AGENCY_A).await?;
    let answer = world.sweep_well(AGENCY_A).await?;
    ensure!(answer["counts"]["updated"] == 0, "there was something left to change: {answer}");
    expected::tags(world, fleet)
}

/// Sets and deletes tags again and again, and answers with how many changes that were.
async fn change(world: &World, fleet: &mut Fleet) -> anyhow::Result<usize> {
    let mut count = 0;
    for round in 1..=ROUNDS {
        for name in ["web", "database", "cache"] {
            let member = fleet.member_mut(name)?;
            if round % 3 == 0 {
                world.untag(&member.enrolled, "Round").await?;
                member.carried.remove("Round");
            } else {
                let value = round.to_string();
                world.tag(&member.enrolled, "Round", &value).await?;
                member.carried.insert("Round".to_owned(), value);
            }
            count += 1;
        }
    }
    Ok(count)
}
