//! What holds whatever goes wrong, at whatever step: each step fails, is done and says that it failed, or is the last one
//! before the process is killed. The laws are those of `tests/run/laws.rs`.

use std::thread;

use crate::cases::is_untouched;
use crate::machine::{FIRST_NODE, Fault, INSTANCE, Machine, NODE, STOPPED, VAULT};
use crate::run::{Done, run};

/// Machines as a run may find them.
fn starts() -> Vec<(&'static str, Machine)> {
    let mut cleared = Machine::registered();
    cleared.put(VAULT, r#"{"instanceID":"","region":"","privateKey":"k"}"#);
    cleared.identity = None;
    let mut killed_while_registering = Machine { service: Some("Stopped"), ..Machine::fresh() };
    let mut killed_after_registering = Machine { service: Some("Stopped"), ..Machine::registered() };
    for killed in [&mut killed_while_registering, &mut killed_after_registering] {
        killed.protected_folder();
        killed.put(STOPPED, "");
    }
    vec![
        ("fresh", Machine::fresh()),
        ("cleared, with the old file", cleared),
        ("registered by hand", Machine::registered()),
        ("registered, tag lost", Machine::marked(INSTANCE)),
        ("killed while registering", killed_while_registering),
        ("killed after registering", killed_after_registering),
    ]
}

/// One run with a fault and one without, and all laws.
fn check(name: &str, start: &Machine, at: usize, fault: Fault) {
    let before = start.registered_as();
    let was_running = start.is_running();
    let Done { machine, code } = run(Machine { faults: [(at, fault)].into(), ..start.clone() }, &[]);
    let context = format!("{name}, {fault:?} at {at}: {code:?}\n{:#?}\n{}", machine.calls, machine.said);
    let is_killed = matches!(fault, Fault::KillBefore | Fault::KillAfter) && machine.steps > at;
    assert_eq!(code.is_none(), is_killed, "{context}");
    let was_left = machine.calls.iter().any(|call| call == "stop");
    assert!(
        machine.is_running() || machine.exists(STOPPED) || !was_running && !was_left,
        "no run would start the agent: {context}"
    );
    if code == Some(0) {
        assert!(machine.is_running(), "success without an agent: {context}");
        assert!(machine.tag.is_some() && machine.tag == machine.registered_as(), "success without its tag: {context}");
    }
    if let Some(code) = code {
        assert!(machine.is_running() || code == 11 || !was_left, "the agent is left stopped: {context}");
    }
    if before.is_some() {
        assert_eq!(machine.registered_as(), before, "a registration was touched: {context}");
        assert_eq!(machine.count("register"), 0, "{context}");
    }
    assert!(machine.tag.is_none() || machine.tag == machine.registered_as(), "a tag that is not right: {context}");

    // Faults are counted from the begin of a run.
    let Done { machine: end, code } = run(Machine { faults: [].into(), ..machine }, &[]);
    let context = format!("{context}\nagain: {code:?}\n{}", end.said);
    assert_eq!(code, Some(0), "it does not converge: {context}");
    assert!(end.is_running() && !end.exists(STOPPED), "{context}");
    let node = end.registered_as().expect("registered at the end");
    assert_eq!(node, before.unwrap_or_else(|| FIRST_NODE.to_owned()), "{context}");
    assert_eq!(end.tag.as_deref(), Some(node.as_str()), "{context}");
    assert_eq!(end.marker(), Some((node, INSTANCE.to_owned())), "{context}");

    // And once it is registered it stays as it is.
    let Done { machine: again, code } = run(end.clone(), &[]);
    assert_eq!((code, &again.files, again.nodes_made), (Some(0), &end.files, end.nodes_made), "{context}");
}

#[test]
fn one_fault_at_each_step_of_the_script() {
    let most = thread::scope(|scope| {
        let runs: Vec<_> = starts()
            .into_iter()
            .map(|(name, start)| {
                scope.spawn(move || {
                    let steps = run(start.clone(), &[]).machine.steps;
                    for at in 0..steps + 2 {
                        for fault in [Fault::Fail, Fault::HalfDone, Fault::KillBefore, Fault::KillAfter] {
                            check(name, &start, at, fault);
                        }
                    }
                    steps
                })
            })
            .collect();
        runs.into_iter().map(|run| run.join().unwrap()).max().unwrap()
    });
    assert!(most >= 25, "the longest run has {most} steps, so faults at each of them say little");
}

#[test]
fn a_clone_is_never_touched() {
    let start = Machine::marked("i-0fedcba9876543210");
    let files = |machine: &Machine| {
        let mut files = machine.files.clone();
        files.retain(|path, _| path.contains("amazon") || path.ends_with("registration.json"));
        files
    };
    for at in 0..run(start.clone(), &[]).machine.steps + 2 {
        for fault in [Fault::Fail, Fault::HalfDone, Fault::KillBefore, Fault::KillAfter] {
            let Done { machine, code } = run(Machine { faults: [(at, fault)].into(), ..start.clone() }, &[]);
            assert_ne!(code, Some(0), "{at} {fault:?}\n{}", machine.said);
            is_untouched(&machine);
            assert_eq!((files(&machine), machine.tag, machine.nodes_made), (files(&start), None, 0), "{at} {fault:?}");
        }
    }
}

#[test]
fn a_registration_of_another_hub_is_never_touched() {
    let start = Machine::registered_in("eu-west-1");
    for at in 0..run(start.clone(), &[]).machine.steps + 2 {
        for fault in [Fault::Fail, Fault::HalfDone] {
            let Done { machine, code } = run(Machine { faults: [(at, fault)].into(), ..start.clone() }, &[]);
            assert_ne!(code, Some(0), "{at} {fault:?}\n{}", machine.said);
            is_untouched(&machine);
            assert_eq!((machine.registered_as().as_deref(), machine.tag), (Some(NODE), None), "{at} {fault:?}");
        }
    }
}
