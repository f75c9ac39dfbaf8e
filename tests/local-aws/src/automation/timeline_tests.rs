use super::*;

const fn work(takes: u64, end: End) -> Work {
    Work { takes, end }
}

const OK: Work = work(10, End::Success);
const BAD: Work = work(10, End::Failed);

fn plan(work: &[Work], concurrency: usize, errors: usize, stop: Option<Stop>) -> Section {
    section(work, Limits { concurrency, errors }, stop, &BTreeMap::new(), 0)
}

fn begins(section: &Section) -> Vec<Option<u64>> {
    section.runs.iter().map(|run| run.begins).collect()
}

#[test]
fn one_after_the_other_unless_more_places_are_given() {
    assert_eq!(begins(&plan(&[OK; 3], 1, 0, None)), [Some(0), Some(10), Some(20)]);
    assert_eq!(begins(&plan(&[OK; 3], 2, 0, None)), [Some(0), Some(0), Some(10)]);
    assert_eq!(begins(&plan(&[OK; 3], 100, 0, None)), [Some(0), Some(0), Some(0)]);
    let slow = [work(100, End::Success), OK, OK, OK];
    assert_eq!(begins(&plan(&slow, 2, 0, None)), [Some(0), Some(0), Some(10), Some(20)]);
}

#[test]
fn at_no_time_more_pairs_run_than_there_are_places() {
    let work: Vec<Work> = (0..200).map(|index| work(1 + index * 7 % 13, End::Success)).collect();
    for concurrency in [1, 3, 17] {
        let section = plan(&work, concurrency, 0, None);
        let last = section.runs.iter().map(|run| run.ends).max().unwrap();
        for now in 0..last {
            let running = section.runs.iter().filter(|run| run.status(now) == "InProgress").count();
            assert!(running <= concurrency, "{running} at {now}");
        }
    }
}

#[test]
fn the_first_error_beyond_the_allowed_ones_halts_and_what_runs_goes_on() {
    let halted = plan(&[BAD, OK, OK], 1, 0, None);
    assert_eq!(begins(&halted), [Some(0), None, None]);
    assert!(halted.failed);
    assert_eq!((halted.runs[1].ends, halted.runs[1].end), (10, End::Cancelled));

    let within = plan(&[BAD, OK, BAD, OK], 1, 2, None);
    assert_eq!(begins(&within), [Some(0), Some(10), Some(20), Some(30)]);
    assert!(!within.failed);

    let beside = plan(&[work(5, End::Failed), work(100, End::Success), OK, OK], 2, 0, None);
    assert_eq!(begins(&beside), [Some(0), Some(0), None, None]);
    assert_eq!(beside.runs[1].end, End::Success);
    assert_eq!(beside.runs[2].ends, 5);

    let last = plan(&[OK, BAD], 1, 0, None);
    assert!(last.failed, "a failure of the last pair counts too");
}

#[test]
fn a_time_out_counts_as_an_error() {
    assert_eq!(begins(&plan(&[work(10, End::TimedOut), OK], 1, 0, None)), [Some(0), None]);
}

#[test]
fn cancel_ends_what_runs_and_begins_nothing_more() {
    let stop = Stop { at: 15, cancel_takes: Some(2) };
    let section = plan(&[OK, OK, OK], 1, 0, Some(stop));
    assert_eq!(begins(&section), [Some(0), Some(10), None]);
    assert_eq!(section.runs[0].end, End::Success);
    assert_eq!((section.runs[1].ends, section.runs[1].end), (17, End::Cancelled));
    let statuses = [14, 15, 17].map(|now| section.runs[1].status(now));
    assert_eq!(statuses, ["InProgress", "Cancelling", "Cancelled"]);
    assert_eq!([14, 15].map(|now| section.runs[2].status(now)), ["Pending", "Cancelled"]);
}

#[test]
fn a_pair_that_ends_before_it_is_cancelled_ends_on_its_own() {
    let section = plan(&[OK], 1, 0, Some(Stop { at: 9, cancel_takes: Some(2) }));
    assert_eq!((section.runs[0].ends, section.runs[0].end), (10, End::Success));
}

#[test]
fn complete_lets_what_runs_finish() {
    let section = plan(&[OK, OK, OK], 1, 0, Some(Stop { at: 15, cancel_takes: None }));
    assert_eq!(begins(&section), [Some(0), Some(10), None]);
    assert_eq!((section.runs[1].ends, section.runs[1].end), (20, End::Success));
    assert_eq!((section.runs[2].ends, section.runs[2].end), (15, End::Cancelled));
}

#[test]
fn a_stopped_child_is_an_error_of_its_location() {
    let stops = BTreeMap::from([(7, Stop { at: 3, cancel_takes: Some(1) })]);
    let section = section(&[OK, OK], Limits { concurrency: 1, errors: 0 }, None, &stops, 7);
    assert_eq!((section.runs[0].ends, section.runs[0].end), (4, End::Cancelled));
    assert_eq!(section.runs[1].begins, None);
    assert!(section.failed);
}

#[test]
fn counts_at_any_time() {
    let timeline = Timeline::new([plan(&[BAD, OK, OK], 2, 1, None), plan(&[OK, BAD, OK], 1, 0, None)], false);
    assert_eq!((timeline.len(), timeline.ends()), (6, 20));
    let at = |now| End::ALL.map(|end| timeline.ended(end, now));
    assert_eq!(at(0), [0, 0, 0, 0]);
    assert_eq!(at(10), [2, 1, 0, 0]);
    assert_eq!(at(20), [3, 2, 0, 1]);
    assert!(timeline.failed());
}

#[test]
fn a_pair_that_never_begins_can_stay_pending() {
    let sections = || [plan(&[BAD, OK], 1, 0, None)];
    let statuses =
        |timeline: &Timeline| (timeline.run(1).unwrap().status(1_000), timeline.ended(End::Cancelled, 1_000));
    assert_eq!(statuses(&Timeline::new(sections(), false)), ("Cancelled", 1));
    let timeline = Timeline::new(sections(), true);
    assert_eq!(statuses(&timeline), ("Pending", 0));
    assert_eq!(timeline.ends(), 10);
}
