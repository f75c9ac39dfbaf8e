//! What holds whatever goes wrong, at whatever step.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::prelude::*;
use register_instance::Reason;

use crate::fake::{CODE, Fault, INSTANCE, NODE, STOPPED, State, VAULT, World, settings};

/// Machines as a run may find them.
fn starts() -> Vec<(&'static str, State)> {
    let mut cleared = State::registered();
    cleared.files.insert(VAULT.to_owned(), r#"{"instanceID":"","region":"","privateKey":"k"}"#.to_owned());
    // The agent was started since.
    cleared.identity = None;
    let mut tagged = State::marked(INSTANCE);
    (tagged.tag, tagged.shows_tags) = (Some(NODE.to_owned()), true);
    let mut killed_while_registering = State::fresh();
    killed_while_registering.is_agent_running = false;
    killed_while_registering.files.insert(STOPPED.to_owned(), String::new());
    let mut killed_after_registering = State::registered();
    killed_after_registering.is_agent_running = false;
    killed_after_registering.files.insert(STOPPED.to_owned(), String::new());
    vec![
        ("fresh", State::fresh()),
        ("cleared, with the old file", cleared),
        ("registered by hand", State::registered()),
        ("registered, tag lost", State::marked(INSTANCE)),
        ("registered and tagged", tagged),
        ("killed while registering", killed_while_registering),
        ("killed after registering", killed_after_registering),
    ]
}

/// One run with faults and one without, and all laws.
fn check(name: &str, mut start: State, faults: BTreeMap<usize, Fault>) {
    start.faults = faults;
    let before = start.registered_as();
    let context = format!("{name}, {:?}", start.faults);
    let world = World::new(start);

    let result = catch_unwind(AssertUnwindSafe(|| world.run(&settings())));
    let after = world.state();
    let context = format!("{context}, {:?}\n{:#?}\n{}", result.as_ref().ok(), after.calls, after.said);
    assert!(after.is_agent_running || after.files.contains_key(STOPPED), "no run would start the agent: {context}");
    match &result {
        Ok(Ok(_)) => {
            assert!(after.is_agent_running, "success without an agent: {context}");
            assert!(
                after.registered_as().is_some() && after.tag == after.registered_as(),
                "success without its tag: {context}"
            );
        }
        Ok(Err(failure)) if failure.reason == Reason::AgentControl => {}
        Ok(Err(_)) => {
            let was_stopped_by_this_run = after.count("systemctl stop") > 0;
            assert!(after.is_agent_running || !was_stopped_by_this_run, "the agent is left stopped: {context}");
        }
        // A panic: the guard has tried to start the agent.
        Err(_) => assert!(
            after.is_agent_running || after.count("systemctl start") > 0 || after.count("systemctl stop") == 0,
            "{context}"
        ),
    }
    if before.is_some() {
        assert_eq!(after.registered_as(), before, "a registration was touched: {context}");
        assert_eq!(after.count("amazon-ssm-agent"), 0, "{context}");
    }
    assert!(after.tag.is_none() || after.tag == after.registered_as(), "a tag that is not right: {context}");

    // The note of the lock and the pending stop end with the process.
    {
        let mut state = world.0.borrow_mut();
        (state.faults, state.stop) = (BTreeMap::new(), None);
    }
    let again = world.run(&settings());
    let end = world.state();
    let context = format!("{context}\nagain: {again:?}");
    assert!(again.is_ok(), "it does not converge: {context}");
    assert!(end.is_agent_running && !end.files.contains_key(STOPPED), "{context}");
    let node = end.registered_as().expect("registered at the end");
    assert_eq!(end.tag.as_deref(), Some(node.as_str()), "{context}");
    assert_eq!(end.marker(), Some((node, INSTANCE.to_owned())), "{context}");
    assert!(end.files.values().all(|contents| !contents.contains(CODE)), "{context}");

    // And once it is registered it stays as it is.
    let files = end.files.clone();
    assert!(world.run(&settings()).is_ok());
    assert_eq!((world.state().files, world.state().nodes_made), (files, end.nodes_made), "{context}");
}

#[test]
fn one_fault_at_each_step() {
    let mut most = 0;
    for (name, start) in starts() {
        let clean = World::new(start.clone());
        clean.run(&settings()).unwrap();
        let operations = clean.state().operations;
        most = most.max(operations);
        for at in 0..operations + 3 {
            for fault in [Fault::Fail, Fault::HalfDone, Fault::Panic, Fault::Signal] {
                check(name, start.clone(), [(at, fault)].into());
            }
        }
    }
    assert!(most >= 15, "the longest run has {most} operations, so faults at each of them say little");
}

#[test]
fn an_agent_that_does_not_start_is_said_and_started_by_the_next_run() {
    for (name, start) in starts() {
        // Wherever the three tries to start begin, they all fail.
        for at in 0..20 {
            check(name, start.clone(), (at..at + 3).map(|at| (at, Fault::Fail)).collect());
        }
    }
}

#[test]
fn a_clone_is_never_touched() {
    let start = State::marked("i-0fedcba9876543210");
    let files = start.files.clone();
    for at in 0..12 {
        for fault in [Fault::Fail, Fault::HalfDone, Fault::Signal] {
            let mut start = start.clone();
            start.faults.insert(at, fault);
            let world = World::new(start);
            // Where the note cannot be read the run fails; it never takes the machine for the original.
            world.run(&settings()).unwrap_err();
            let state = world.state();
            assert_eq!((state.files, state.tag, state.nodes_made), (files.clone(), None, 0), "{at} {fault:?}");
        }
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![Just(Fault::Fail), Just(Fault::HalfDone), Just(Fault::Panic), Just(Fault::Signal)]
}

proptest! {
    #[test]
    fn many_faults(start in 0..7_usize, faults in proptest::collection::btree_map(0..30_usize, fault(), 0..6)) {
        let (name, state) = starts().swap_remove(start);
        check(name, state, faults);
    }
}
