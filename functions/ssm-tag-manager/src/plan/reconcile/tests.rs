use super::*;

const T: i64 = 1_795_312_800;
const SOURCE: &str = "222222222222/us-east-1/i-0abcdef0123456789";

fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn source(pairs: &[(&str, &str)]) -> Vec<hub::Tag> {
    pairs.iter().map(|(key, value)| hub::Tag { key: (*key).to_owned(), value: (*value).to_owned() }).collect()
}

/// A salt that differs from report to report, as in the function.
fn salt(at: i64) -> Salt {
    let mut salt = [0; 12];
    salt[..8].copy_from_slice(&at.to_be_bytes());
    salt
}

/// Decides with what is known beside the node's tags.
fn decide_with(
    policy: &str,
    instance: &[(&str, &str)],
    live: &Tags,
    at: i64,
    terminated: &BTreeSet<String>,
    unsettled: Option<&NodeIntent>,
) -> Decision {
    let policy = Policy::parse(policy).unwrap();
    let owner = "222222222222".parse().unwrap();
    let context = ReportContext {
        owner: Some(&owner),
        source: Some(SOURCE),
        observed_at: Timestamp::from_unix_seconds(at),
        terminated,
        unsettled,
        salt: salt(at),
        is_held: false,
    };
    reconcile(&policy, policy.desired(&source(instance)), live, context)
}

fn decide(policy: &str, instance: &[(&str, &str)], live: &Tags, at: i64) -> Decision {
    decide_with(policy, instance, live, at, &BTreeSet::new(), None)
}

fn planned(policy: &str, instance: &[(&str, &str)], live: &Tags) -> Plan {
    match decide(policy, instance, live, T) {
        Decision::Planned(plan) => plan,
        Decision::Rejected(reason) | Decision::Unmarked(reason, _) => panic!("rejected: {reason:?}"),
    }
}

fn apply(plan: &Plan, live: &mut Tags) {
    live.retain(|key, _| !plan.remove.contains(key));
    live.extend(plan.set.clone());
    live.extend(plan.stamp.clone());
    live.retain(|key, _| !plan.unmark_last || key != "tag-hub:terminated");
}

/// Decides about a node that several instances name, in a report that says that these sources are terminated.
fn contested_by_several(live: &Tags, terminated: &[&str]) -> Decision {
    let owner = "222222222222".parse().unwrap();
    let context = ReportContext {
        owner: Some(&owner),
        source: Some(SOURCE),
        observed_at: Timestamp::from_unix_seconds(T),
        terminated: &terminated.iter().map(|source| (*source).to_owned()).collect(),
        unsettled: None,
        salt: salt(T),
        is_held: false,
    };
    contested(live, context)
}

/// A node of the agency after the hub applied these tags to it.
fn node(applied: &[(&str, &str)]) -> Tags {
    let mut live = tags(&[("tag-hub:agency", "222222222222")]);
    let plan = planned("{}", applied, &live);
    apply(&plan, &mut live);
    live
}

#[test]
fn the_first_run_sets_tags_and_memory() {
    let plan = planned("{}", &[("Env", "PROD")], &tags(&[("tag-hub:agency", "222222222222")]));
    assert_eq!(plan.set, tags(&[("Env", "PROD")]));
    assert_eq!(plan.stamp["tag-hub:source"], SOURCE);
    assert!(plan.stamp["tag-hub:applied"].starts_with("2.1795312800."));
    assert!(plan.remove.is_empty() && plan.dropped.is_empty());
}

#[test]
fn the_steady_state_needs_no_call() {
    assert!(planned("{}", &[("Env", "PROD")], &node(&[("Env", "PROD")])).is_empty());
    assert!(planned("{}", &[], &node(&[])).is_empty());
}

#[test]
fn a_node_is_linked_to_its_instance_also_without_a_tag() {
    let plan = planned("{}", &[("aws:autoscaling:groupName", "web")], &tags(&[("tag-hub:agency", "222222222222")]));
    assert_eq!(plan.stamp, tags(&[("tag-hub:source", SOURCE)]), "there is nothing to remember beside it");
    assert!(plan.set.is_empty() && plan.remove.is_empty() && !plan.adopts);
}

#[test]
fn a_change_and_a_deletion() {
    let live = node(&[("Env", "PROD"), ("Role", "web")]);
    let plan = planned("{}", &[("Env", "TEST")], &live);
    assert_eq!(plan.set, tags(&[("Env", "TEST")]));
    assert_eq!(plan.remove, ["Role"]);
    assert_eq!(plan.stamp.keys().collect::<Vec<_>>(), ["tag-hub:applied"]);
}

#[test]
fn an_operators_own_tag_stays() {
    let mut live = node(&[("Env", "PROD")]);
    live.insert("Owner".to_owned(), "ops".to_owned());
    assert!(planned("{}", &[("Env", "PROD")], &live).is_empty());
    assert_eq!(planned("{}", &[], &live).remove, ["Env"]);
}

#[test]
fn under_a_key_of_the_source_the_source_wins_unless_the_policy_says_not() {
    let mut live = node(&[]);
    live.insert("Env".to_owned(), "ops".to_owned());
    assert_eq!(planned("{}", &[("Env", "PROD")], &live).set, tags(&[("Env", "PROD")]));
    let kept = planned(r#"{"overwrite": false}"#, &[("Env", "PROD")], &live);
    assert!(kept.is_empty());
    assert_eq!(kept.dropped, [DroppedTag { key: "Env".to_owned(), reason: DropReason::OperatorOwned }]);
}

#[test]
fn an_equal_tag_becomes_the_hubs_unless_the_policy_says_not() {
    let mut live = node(&[]);
    live.insert("Env".to_owned(), "PROD".to_owned());
    let kept = planned(r#"{"overwrite": false}"#, &[("Env", "PROD")], &live);
    assert!(kept.is_empty(), "equal by chance is the operator's all the same");
    assert_eq!(kept.dropped, [DroppedTag { key: "Env".to_owned(), reason: DropReason::OperatorOwned }]);
    let plan = planned("{}", &[("Env", "PROD")], &live);
    assert!(plan.set.is_empty() && !plan.stamp.is_empty());
    apply(&plan, &mut live);
    assert_eq!(planned("{}", &[], &live).remove, ["Env"]);
}

#[test]
fn without_remove_stale_a_tag_stays_and_stays_the_hubs() {
    let mut live = node(&[("Env", "PROD"), ("Role", "web")]);
    let plan = planned(r#"{"removeStale": false}"#, &[("Env", "TEST")], &live);
    assert!(plan.remove.is_empty());
    apply(&plan, &mut live);
    assert_eq!(planned("{}", &[("Env", "TEST")], &live).remove, ["Role"]);
}

#[test]
fn who_may_not_change_a_node_is_told_why() {
    let rejected = |live: &Tags, at: i64| match decide("{}", &[("Env", "X")], live, at) {
        Decision::Rejected(reason) => Some(reason),
        Decision::Unmarked(..) | Decision::Planned(_) => None,
    };
    assert_eq!(rejected(&Tags::new(), T), Some(Rejection::NotOwned));
    assert_eq!(rejected(&tags(&[("tag-hub:agency", "333333333333")]), T), Some(Rejection::NotOwned));
    let mut clone = node(&[("Env", "PROD")]);
    clone.insert("tag-hub:source".to_owned(), "222222222222/us-east-1/i-00000000".to_owned());
    assert_eq!(rejected(&clone, T), Some(Rejection::Conflict));
    assert_eq!(rejected(&clone, T - 1), Some(Rejection::Stale), "an old report is told so first");
    assert_eq!(rejected(&node(&[("Env", "PROD")]), T - 1), Some(Rejection::Stale));
    assert_eq!(rejected(&node(&[("Env", "PROD")]), T), None);
}

#[test]
fn a_node_that_lives_loses_its_mark_and_nothing_else() {
    let mut live = node(&[("Env", "PROD")]);
    for mark in [(T - 1).to_string(), T.to_string(), "edited by hand".to_owned()] {
        live.insert("tag-hub:terminated".to_owned(), mark);
        let plan = planned("{}", &[("Env", "PROD")], &live);
        assert_eq!(plan.remove, ["tag-hub:terminated"]);
        assert!(plan.set.is_empty() && plan.stamp.is_empty() && plan.dropped.is_empty());
    }
    live.insert("tag-hub:terminated".to_owned(), (T + 1).to_string());
    assert!(planned("{}", &[("Env", "PROD")], &live).is_empty(), "the instance was gone later than that");
    assert_eq!(planned("{}", &[], &live).remove, ["Env"]);
}

#[test]
fn the_survivor_of_a_terminated_instance_adopts_its_node() {
    const OTHER: &str = "222222222222/us-east-1/i-00000000";
    let mut live = node(&[("Env", "PROD"), ("Role", "web")]);
    live.insert("tag-hub:source".to_owned(), OTHER.to_owned());
    let instance = [("Env", "TEST")];
    let adopted = |decision: Decision| match decision {
        Decision::Planned(plan) => plan,
        other => panic!("{other:?}"),
    };
    // The same report says so.
    let terminated = BTreeSet::from([OTHER.to_owned()]);
    let plan = adopted(decide_with("{}", &instance, &live, T, &terminated, None));
    assert!(plan.adopts);
    assert_eq!((plan.set.clone(), plan.remove.clone()), (tags(&[("Env", "TEST")]), vec!["Role".to_owned()]));
    assert_eq!(plan.stamp["tag-hub:source"], SOURCE);
    let others = BTreeSet::from(["222222222222/us-east-1/i-00000001".to_owned()]);
    let conflict = Decision::Rejected(Rejection::Conflict);
    assert_eq!(decide_with("{}", &instance, &live, T, &others, None), conflict, "its instance lives");
    // A marker says so that is not younger than the report.
    live.insert("tag-hub:terminated".to_owned(), T.to_string());
    let plan = adopted(decide("{}", &instance, &live, T));
    assert!(plan.adopts);
    assert_eq!((plan.remove.clone(), plan.unmark_last), (vec!["Role".to_owned()], true));
    // Whoever dies in between leaves a node that says all it takes to go on.
    let mut half_done = live.clone();
    half_done.remove("Role");
    let again = adopted(decide("{}", &instance, &half_done, T));
    assert!(again.adopts && again.unmark_last);
    half_done.extend(again.set.clone());
    half_done.extend(again.stamp.clone());
    assert_eq!(planned("{}", &instance, &half_done).remove, ["tag-hub:terminated"]);
    apply(&plan, &mut live);
    assert!(planned("{}", &instance, &live).is_empty());
    live.insert("tag-hub:source".to_owned(), OTHER.to_owned());
    live.insert("tag-hub:terminated".to_owned(), (T + 1).to_string());
    assert_eq!(decide("{}", &instance, &live, T), conflict, "the report is from before");
}

#[test]
fn of_several_survivors_the_one_that_is_left_takes_the_node() {
    const OTHER: &str = "222222222222/us-east-1/i-00000000";
    let mut live = node(&[("Env", "PROD")]);
    live.insert("tag-hub:source".to_owned(), OTHER.to_owned());
    let freed = Decision::Unmarked(Rejection::Conflict, &["tag-hub:source", "tag-hub:terminated"]);
    assert_eq!(contested_by_several(&live, &[]), Decision::Rejected(Rejection::Conflict), "its instance may live");
    assert_eq!(contested_by_several(&live, &[OTHER]), freed);
    live.insert("tag-hub:terminated".to_owned(), T.to_string());
    assert_eq!(contested_by_several(&live, &[]), freed);
    live.remove("tag-hub:source");
    live.remove("tag-hub:terminated");
    assert_eq!(contested_by_several(&live, &[]), Decision::Rejected(Rejection::Conflict));
    let plan = planned("{}", &[("Env", "TEST")], &live);
    assert_eq!((plan.stamp["tag-hub:source"].as_str(), plan.set), (SOURCE, tags(&[("Env", "TEST")])));
}

#[test]
fn without_overwrite_a_key_that_looks_like_an_operators_is_left_behind() {
    let mut live = node(&[("Env", "PROD")]);
    live.insert("Patch Group".to_owned(), "frozen".to_owned());
    let instance = [("Env", "PROD"), ("Patch Group\u{3164}", "evil"), ("Role", "web")];
    let plan = planned(r#"{"overwrite": false}"#, &instance, &live);
    assert_eq!(plan.set, tags(&[("Role", "web")]));
    let dropped = DroppedTag { key: "Patch Group\u{3164}".to_owned(), reason: DropReason::OperatorOwned };
    assert_eq!(plan.dropped, std::slice::from_ref(&dropped));
    // Also if the hub set its tag first: what a node carries does not depend on the order of events.
    let mut live = node(&[("Patch Group\u{3164}", "evil"), ("Role", "web")]);
    live.insert("Patch Group".to_owned(), "frozen".to_owned());
    let plan = planned(r#"{"overwrite": false}"#, &instance[1..], &live);
    assert_eq!((plan.remove, plan.dropped), (vec!["Patch Group\u{3164}".to_owned()], vec![dropped]));
}

#[test]
fn a_marker_that_nobody_can_read_is_no_proof_of_an_end() {
    let mut live = node(&[("Env", "PROD")]);
    live.insert("tag-hub:terminated".to_owned(), "edited by hand".to_owned());
    live.insert("tag-hub:source".to_owned(), "222222222222/us-east-1/i-00000000".to_owned());
    let unmarked = Decision::Unmarked(Rejection::Conflict, &["tag-hub:terminated"]);
    assert_eq!(decide("{}", &[], &live, T), unmarked);
    assert_eq!(contested_by_several(&live, &[]), unmarked, "it is still linked to that instance");
    live.insert("tag-hub:agency".to_owned(), "333333333333".to_owned());
    assert_eq!(decide("{}", &[], &live, T), Decision::Rejected(Rejection::NotOwned));
}

#[test]
fn the_mark_makes_room_and_goes_even_where_there_is_none() {
    let mut live = node(&[]);
    live.extend((0..46).map(|n| (format!("ops-{n}"), "x".to_owned())));
    live.insert("tag-hub:terminated".to_owned(), T.to_string());
    let mut plan = planned("{}", &[("a", "1"), ("b", "2")], &live);
    assert_eq!(
        (plan.set.len(), plan.remove.len(), plan.dropped.len()),
        (1, 1, 1),
        "46, the agency, the source, the memory"
    );
    live.insert("one-more".to_owned(), "x".to_owned());
    assert_eq!(live.len(), MAX_TAGS_PER_NODE);
    plan = planned("{}", &[("a", "1")], &live);
    assert_eq!((plan.set.len(), plan.stamp.len(), plan.remove.len()), (0, 0, 1));
    assert_eq!(plan.dropped, [DroppedTag { key: "a".to_owned(), reason: DropReason::NodeFull }]);
}

#[test]
fn a_spoilt_memory_counts_as_none() {
    let mut live = node(&[("Env", "PROD")]);
    live.insert("tag-hub:applied".to_owned(), "edited by hand".to_owned());
    let plan = planned("{}", &[("Env", "PROD")], &live);
    assert!(plan.set.is_empty() && plan.stamp.contains_key("tag-hub:applied"));
}

#[test]
fn a_full_node_takes_what_fits() {
    let mut live = node(&[]);
    live.extend((0..47).map(|n| (format!("ops-{n}"), "x".to_owned())));
    assert_eq!(live.len(), 49, "the agency, the source and the operator's own");
    let plan = planned("{}", &[("a", "1"), ("ops-1", "y")], &live);
    assert_eq!(plan.dropped, [DroppedTag { key: "a".to_owned(), reason: DropReason::NodeFull }]);
    assert_eq!(plan.set, tags(&[("ops-1", "y")]));
    live.insert("one-more".to_owned(), "x".to_owned());
    let plan = planned("{}", &[("a", "1"), ("ops-1", "y"), ("ops-2", "x")], &live);
    assert!(plan.is_empty(), "there is no room for the memory");
    assert_eq!(plan.dropped.iter().map(|tag| tag.key.as_str()).collect::<Vec<_>>(), ["a", "ops-1"]);
}
