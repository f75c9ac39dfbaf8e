//! What people who do this job ran into, each as a machine and the right outcome: the cases of `tests/run/cases.rs`,
//! `attacks.rs` and `proof.rs`, as far as they apply.

use crate::cases::{ends, is_untouched, refusing, says};
use crate::machine::{
    AGENT, BEGIN, CLI, FIRST_NODE, INSTANCE, MARKER, MISMATCH, Machine, NODE, NOTED, OLD_VAULT, RUNTIME, Ran, START,
    STOPPED, VAULT, stamped,
};

/// A registered machine whose agent says this when it is asked.
fn answering(answers: &[&str]) -> Machine {
    let cli_does = answers.iter().map(|out| Ran { out: (*out).to_owned(), ..Ran::default() }).collect();
    Machine { cli_does, ..Machine::registered() }
}

fn answer(id: &str, region: &str) -> String {
    format!(r#"{{"instance-id":"{id}","region":"{region}","release-version":"3.3"}}"#)
}

#[test]
fn a_registration_in_another_region_is_refused() {
    let words = [NODE, "registered as", "eu-west-1", "the hub is in us-east-1", "Nothing was changed"];
    let machine = ends(Machine::registered_in("eu-west-1"), &[], 18, &words);
    is_untouched(&machine);
    let asked = [("Region", "ap-southeast-2")];
    is_untouched(&ends(Machine::registered(), &asked, 18, &["us-east-1", "the hub is in ap-southeast-2"]));
    // Only the agent knows, or only the file beside the vault.
    let mut agent = Machine::registered();
    agent.put(VAULT, &format!(r#"{{"instanceID":"{NODE}"}}"#));
    agent.identity = Some((NODE.to_owned(), "eu-west-1".to_owned()));
    is_untouched(&ends(agent, &[], 18, &["in eu-west-1, and the hub is in us-east-1"]));
    let mut file = Machine::registered_in("eu-west-1");
    file.remove(VAULT);
    file.remove(CLI);
    is_untouched(&ends(file, &[], 18, &["in eu-west-1, and the hub is in us-east-1"]));
}

#[test]
fn both_vaults_are_looked_at_and_the_present_one_first() {
    let old = |mut machine: Machine| {
        machine.vault = OLD_VAULT;
        if let Some(file) = machine.files.remove(&VAULT.to_lowercase()) {
            machine.put(OLD_VAULT, &file.text);
        }
        machine
    };
    assert_eq!(ends(old(Machine::registered()), &[], 0, &[]).tag.as_deref(), Some(NODE));
    // Also where the agent answers nothing: no second node is made.
    let mut silent = old(Machine::registered());
    silent.remove(CLI);
    silent.remove(NOTED);
    let machine = ends(silent, &[], 17, &[NODE]);
    assert_eq!((machine.nodes_made, machine.tag), (0, None));
    let machine = ends(old(Machine::fresh()), &[], 0, &[]);
    assert_eq!((machine.tag.as_deref(), machine.text(VAULT).as_str()), (Some(FIRST_NODE), ""));
    is_untouched(&ends(old(Machine::registered_in("eu-west-1")), &[], 18, &[]));
    // Each holds another node: the present agents read the first.
    let mut both = Machine::registered();
    both.put(OLD_VAULT, r#"{"instanceID":"mi-99999999999999999","region":"eu-west-1","privateKey":"k"}"#);
    assert_eq!(ends(both, &[], 0, &[]).tag.as_deref(), Some(NODE));
}

#[test]
fn what_is_on_the_disk_is_not_what_the_agent_uses() {
    let ec2 = Machine { ignores_vault: true, identity: None, ..Machine::registered() };
    let machine = ends(ec2, &[], 17, &["it answers that it is an EC2 instance"]);
    assert_eq!((machine.tag.as_deref(), machine.count("stop")), (None, 0));
    let fresh = Machine { ignores_vault: true, ..Machine::fresh() };
    let machine = ends(fresh, &[], 17, &["it answers that it is an EC2 instance"]);
    assert_eq!((machine.tag, machine.nodes_made), (None, 1));
    // The vault holds one node, and the agent is another.
    let mut other = Machine::registered();
    other.identity = Some((FIRST_NODE.to_owned(), "us-east-1".to_owned()));
    assert_eq!(ends(other, &[], 17, &[NODE, "it answers that it is mi-00000000000000001"]).tag, None);
    let mut started_as_other = Machine::registered();
    started_as_other.put(RUNTIME, r#"{"InstanceId":"mi-99999999999999999"}"#);
    assert_eq!(ends(started_as_other, &[], 17, &["it was started as mi-99999999999999999"]).tag, None);
    // It needs a while to say so.
    let slow = answering(&["", "starting", &answer(NODE, "us-east-1")]);
    assert_eq!(ends(slow, &[], 0, &["asking again"]).tag.as_deref(), Some(NODE));
    // Lines of its log before, behind and beside the answer.
    let noise = format!("2026 INFO {{x}} starting\n{}\n2026 INFO {{\"a\": 1}} done", answer(NODE, "us-east-1"));
    let warned = Ran { out: noise, err: "WARN x\n".to_owned(), ..Ran::default() };
    ends(Machine { cli_does: vec![warned], ..Machine::registered() }, &[], 0, &[]);
}

#[test]
fn an_agent_that_answers_nonsense_is_not_believed() {
    let huge = "x".repeat(300_000);
    for said in [
        "",
        "<html>",
        "{",
        "[]",
        "null",
        "\u{0}\u{0}\u{0}",
        "Error: <html>",
        r#"{"instance-id":null}"#,
        r#"{"instance-id":"mi-XXXXXXXXXXXXXXXXX","region":"us-east-1"}"#,
        r#"{"instance-id":"MI-11111111111111111","region":"us-east-1"}"#,
        r#"{"instance-id":"mi-11111111111111111\n","region":"us-east-1"}"#,
        r#"{"instance-id":"mi-11111111111111111"}"#,
        r#"{"instance-id":"mi-11111111111111111","region":7}"#,
        r#"{"instance-id":"mi-11111111111111111","region":"us-east-1""#,
        r#"{"instance-id":"mi-11111111111111112","region":"us-east-1"}"#,
        r#"{"instance-id":"mi-11111111111111111","region":"eu-west-1"}"#,
        &huge,
    ] {
        let machine = ends(answering(&[said]), &[("TimeoutSeconds", "30")], 17, &["does not use that"]);
        assert!(machine.tag.is_none() && machine.is_running() && machine.nodes_made == 0, "{said}");
        assert!(machine.said.len() < 5000, "it is not repeated");
    }
    let right = answer(NODE, "us-east-1");
    for ran in
        [Ran { code: 1, out: right.clone(), ..Ran::default() }, Ran { hangs: true, out: right, ..Ran::default() }]
    {
        let machine = Machine { cli_does: vec![ran], ..Machine::registered() };
        let machine = ends(machine, &[("TimeoutSeconds", "60")], 17, &["does not say which node it is"]);
        assert!(machine.now - BEGIN < 120_000, "{}", machine.now - BEGIN);
    }
    let mut old = Machine::registered();
    old.remove(CLI);
    ends(old, &[], 17, &["ssm-cli does not say"]);
}

#[test]
fn an_agent_that_was_stopped_is_started() {
    let stopped = || Machine { service: Some("Stopped"), ..Machine::registered() };
    let machine = ends(stopped(), &[], 0, &["starting it"]);
    assert!(machine.is_running() && machine.tag.as_deref() == Some(NODE));
    let machine = ends(Machine { starts_failing: 2, ..stopped() }, &[], 0, &[]);
    assert_eq!(machine.count("start"), 3);
    for broken in [Machine { starts_failing: 99, ..stopped() }, Machine { start_hangs: true, ..stopped() }] {
        let machine = ends(broken, &[], 11, &["could not be started", "Start the service AmazonSSMAgent"]);
        assert_eq!(machine.tag, None);
    }
    // One that Windows still stops or starts.
    for state in ["StartPending", "StopPending", "Paused"] {
        let machine =
            ends(Machine { service: Some(state), ..Machine::registered() }, &[], 11, &["could not be started"]);
        assert_eq!(machine.tag, None, "{state}");
    }
}

#[test]
fn an_agent_that_cannot_be_stopped_is_not_registered() {
    for broken in [Machine { cannot_stop: true, ..Machine::fresh() }, Machine { stop_hangs: true, ..Machine::fresh() }]
    {
        let machine = ends(broken, &[("TimeoutSeconds", "60")], 11, &["could not be stopped", "not touched"]);
        assert_eq!((machine.count("register"), machine.nodes_made), (0, 0));
        assert!(machine.now - BEGIN < 200_000, "{}", machine.now - BEGIN);
    }
    // Registered, and then it does not start: the note is there, and the next run knows its hub.
    let unstarted = Machine { starts_failing: 3, ..Machine::fresh() };
    let machine = ends(unstarted, &[], 11, &["registered as mi-00000000000000001, but the agent could not be started"]);
    assert_eq!((machine.tag.as_deref(), machine.marker().is_some()), (None, true));
    let machine = ends(machine, &[("HubAccount", "111111111111")], 0, &[]);
    assert_eq!((machine.tag.as_deref(), machine.nodes_made), (Some(FIRST_NODE), 1));
    assert!(!machine.said.contains("by other means"), "{}", machine.said);
    let both = Machine { starts_failing: 3, agent_does: vec![says("ActivationExpired")], ..Machine::fresh() };
    ends(both, &[], 11, &["ActivationExpired", "could not be started"]);
}

#[test]
fn an_agent_that_hangs_while_it_registers_is_ended() {
    let hangs = Ran { hangs: true, ..Ran::default() };
    let machine = Machine { agent_does: vec![hangs.clone(); 99], ..Machine::fresh() };
    let machine = ends(machine, &[("TimeoutSeconds", "60")], 10, &["not registered within 60 seconds"]);
    assert!(machine.is_running() && machine.now - BEGIN < 150_000, "{}", machine.now - BEGIN);
    // What it has started holds its pipes.
    let held = Ran { holds_pipes: true, ..says("ActivationExpired") };
    let machine =
        ends(Machine { agent_does: vec![held; 99], ..Machine::fresh() }, &[("TimeoutSeconds", "60")], 10, &[]);
    assert!(machine.is_running());
    let mut unrunnable = Machine { has_runnable_agent: false, ..Machine::fresh() };
    unrunnable = ends(unrunnable, &[], 10, &["cannot run", AGENT]);
    assert!(unrunnable.is_running());
}

#[test]
fn an_agent_that_somebody_else_starts_meanwhile_is_started_again() {
    let machine = ends(Machine { is_started_meanwhile: true, ..Machine::fresh() }, &[], 0, &["somebody else"]);
    assert_eq!((machine.tag.as_deref(), machine.count("stop")), (Some(FIRST_NODE), 2));
}

#[test]
fn an_agent_that_contradicts_itself_is_not_believed() {
    let machine = Machine { agent_names: Some("mi-99999999999999999"), ..Machine::fresh() };
    // The vault is what the next start of the agent takes it from.
    let machine = ends(machine, &[], 0, &[]);
    assert_eq!((machine.tag.as_deref(), machine.nodes_made), (Some(FIRST_NODE), 1));
    let silent = Machine { agent_does: vec![Ran::default(); 99], ..Machine::fresh() };
    let machine = ends(silent, &[], 10, &["names 0 nodes"]);
    assert_eq!(machine.tag, None);
}

#[test]
fn a_run_that_was_killed_while_the_agent_was_stopped_is_made_good() {
    let mut killed = Machine { service: Some("Stopped"), ..Machine::fresh() };
    killed.protected_folder();
    killed.put(STOPPED, "");
    // Nothing is left to register with: the agent runs all the same.
    killed.parameters.clear();
    let machine = ends(killed, &[], 6, &["an earlier run was ended"]);
    assert!(machine.is_running() && !machine.exists(STOPPED));
}

#[test]
fn a_vault_that_cannot_be_read_is_not_overwritten() {
    for contents in [
        "not json",
        "{",
        r#"{"instanceID":"mi-1111"#,
        r#"{"instanceID":"mi-11111111111111111","region":"us-east-1","private"#,
        r#"{"instanceID":7}"#,
        r#"{"instanceID":null}"#,
        r#"{"instanceID":"mi-11111111111111111\n","region":"us-east-1"}"#,
        r#"{"id":"mi-11111111111111111"}"#,
        "[]",
        "null",
        "<html>",
        "\u{0}\u{0}\u{0}\u{0}",
    ] {
        let mut machine = Machine::fresh();
        machine.put(VAULT, contents);
        let machine = ends(machine, &[], 17, &["vault", "Nothing was changed"]);
        is_untouched(&machine);
        assert_eq!(machine.text(VAULT), contents);
    }
    let mut held = Machine::fresh();
    held.put(VAULT, "x");
    held.file_mut(VAULT).problem = Some("The process cannot access the file");
    is_untouched(&ends(held, &[], 1, &["cannot read", "RegistrationKey"]));
    // What a failed try left is no registration, however short it was cut.
    for contents in ["", "\r\n", r#"{"instanceID":"","region":"","instanceTy"#, r#"{"region":"","instanceID":""}"#] {
        let mut machine = Machine::fresh();
        machine.put(VAULT, contents);
        // This one outlives its registration.
        machine.put(NOTED, &format!(r#"{{"ManagedInstanceID":"{NODE}","Region":"us-east-1"}}"#));
        assert_eq!(ends(machine, &[], 0, &[]).tag.as_deref(), Some(FIRST_NODE), "{contents}");
    }
    // The agent knows who it is, or the file beside the vault does: that counts.
    let mut machine = Machine::registered();
    machine.put(VAULT, "future form");
    assert_eq!(ends(machine.clone(), &[], 0, &[]).tag.as_deref(), Some(NODE));
    machine.identity = None;
    let machine = ends(machine, &[], 17, &[NODE]);
    assert_eq!((machine.tag, machine.nodes_made), (None, 0));
    // As does what the agent noted where it is silent and has no vault.
    let mut silent = Machine::registered();
    silent.remove(VAULT);
    silent.remove(CLI);
    let machine = ends(silent, &[], 17, &[NODE]);
    assert_eq!((machine.tag, machine.nodes_made), (None, 0));
}

#[test]
fn notes_that_are_half_written() {
    for (path, code) in [(NOTED, 0), (MARKER, 0), (STOPPED, 0), (RUNTIME, 17)] {
        for contents in ["", "{", "\u{0}\u{0}", "<html>", "[]", "7", "null"] {
            let mut machine = Machine::marked(INSTANCE);
            machine.put(path, contents);
            let machine = ends(machine, &[("TimeoutSeconds", "30")], code, &[]);
            assert_eq!((machine.nodes_made, machine.tag.is_some()), (0, code == 0), "{path} {contents}");
        }
    }
}

#[test]
fn a_file_that_another_holds_open() {
    let held = |path: &str| {
        let mut machine = Machine::marked(INSTANCE);
        machine.file_mut(path).problem = Some("The process cannot access the file");
        machine
    };
    // The agent writes it every now and then.
    assert_eq!(ends(held(RUNTIME), &[], 17, &["does not say as which node it was started"]).tag, None);
    for path in [VAULT, MARKER] {
        is_untouched(&ends(held(path), &[], 1, &["cannot read"]));
    }
}

#[test]
fn a_note_about_another_node_says_nothing() {
    let mut other = Machine::marked("i-0fedcba9876543210");
    let text = other.text(MARKER).replace(NODE, "mi-99999999999999999");
    other.put(MARKER, &text);
    assert_eq!(ends(other, &[], 0, &[]).marker(), Some((NODE.to_owned(), INSTANCE.to_owned())));
    // An image that was cleared of its registration, but not of the note.
    let mut cleared = Machine::marked("i-0fedcba9876543210");
    cleared.put(VAULT, "");
    cleared.identity = None;
    assert_eq!(ends(cleared, &[], 0, &[]).marker(), Some((FIRST_NODE.to_owned(), INSTANCE.to_owned())));
}

#[test]
fn windows_starts_the_agent_after_the_next_boot_or_it_is_said() {
    for start in [Machine::fresh(), Machine::registered()] {
        let machine =
            ends(Machine { start_mode: "Manual", ..start.clone() }, &[], 0, &["Windows starts it from now on"]);
        assert_eq!(machine.start_mode, "Auto");
        let stuck = Machine { start_mode: "Manual", cannot_set_service: true, ..start };
        ends(stuck, &[], 0, &["gone after a reboot", "Set-Service"]);
    }
}

#[test]
fn the_agent_registers_with_the_environment_of_its_service() {
    let mut machine = Machine::fresh();
    machine.variables.insert("HTTPS_PROXY".to_owned(), "http://machine:1".to_owned());
    machine.service_environment =
        ["HTTPS_PROXY=http://me:secret@proxy:3128", "NO_PROXY=169.254.169.254", "", "A", "B=x=y"]
            .map(str::to_owned)
            .to_vec();
    let (_, variables) = ends(machine.clone(), &[], 0, &[]).registered_with.unwrap();
    let expected = [
        ("A", ""),
        ("B", "x=y"),
        ("HTTPS_PROXY", "http://me:secret@proxy:3128"),
        ("NO_PROXY", "169.254.169.254"),
        ("Path", r"C:\Windows\system32"),
        ("ProgramData", r"C:\ProgramData"),
        ("ProgramFiles", r"C:\Program Files"),
        ("SystemDrive", "C:"),
        ("SystemRoot", r"C:\Windows"),
    ];
    assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let refused = Machine { agent_does: refusing(&["proxyconnect tcp: EOF"; 99]).agent_does, ..machine };
    let machine =
        ends(refused, &[], 15, &["through the proxy http://proxy:3128, as in the environment of the service"]);
    assert!(!machine.said.contains("secret"), "{}", machine.said);
}

#[test]
fn no_space_on_the_disk() {
    let full = Machine { is_full: true, ..Machine::fresh() };
    let machine = ends(full, &[], 1, &["not enough space"]);
    is_untouched(&machine);
    let machine = ends(Machine { is_full: false, ..machine }, &[], 0, &[]);
    assert_eq!(machine.tag.as_deref(), Some(FIRST_NODE));
    // Registered before: what can be done is done, and what could not be written is said.
    let mut registered = Machine { is_full: true, ..Machine::registered() };
    registered.protected_folder();
    let machine = ends(registered, &[], 1, &["cannot take the lock", "not enough space"]);
    assert_eq!(machine.tag, None);
    let mut blocked = Machine::registered();
    blocked.protected_folder();
    blocked.put(MARKER, "");
    blocked.file_mut(MARKER).is_folder = true;
    ends(blocked, &[], 1, &["cannot read", "registration.json"]);
    let said = "ERROR Registration failed due to Unable to save registration information. There is not enough space on the disk.";
    let machine = ends(Machine { agent_does: vec![says(said)], ..Machine::fresh() }, &[], 10, &["not enough space"]);
    assert!(machine.is_running());
}

#[test]
fn a_lock_that_is_held_is_named_and_keeps_nobody_waiting() {
    let machine = Machine { is_locked: true, ..Machine::registered() };
    let machine = ends(machine, &[], 14, &["end the process that holds", "register-instance.lock"]);
    assert_eq!(machine.now, BEGIN);
    ends(machine, &[("DryRun", "")], 0, &["would write the tag"]);
}

#[test]
fn an_agent_that_is_refused_does_not_use_its_registration() {
    let denied = "ERROR [CredentialRefresher] Retrieve credentials produced error: AccessDeniedException: ";
    for line in [MISMATCH, denied] {
        let mut machine = Machine::registered();
        machine.log(line);
        let machine = ends(machine, &[], 17, &["Systems Manager refuses the agent", NODE]);
        assert_eq!(
            (machine.tag.as_deref(), machine.now, machine.count("stop")),
            (None, BEGIN, 0),
            "it is known at once"
        );
    }
    let registering = Machine { logs_at_start: vec![START.to_owned(), MISMATCH.to_owned()], ..Machine::fresh() };
    let machine = ends(registering, &[], 17, &["MachineFingerprintDoesNotMatch"]);
    assert_eq!((machine.tag, machine.nodes_made), (None, 1));
    // One that is refused after a while.
    let later = Machine {
        logs_at_start: vec![START.to_owned()],
        logs_later: vec![(12, MISMATCH.to_owned())],
        ..Machine::fresh()
    };
    assert_eq!(ends(later, &[], 17, &["MachineFingerprintDoesNotMatch"]).tag, None);
    // The last words of the process that is stopped are not those of the one that is started.
    let mut before =
        Machine { logs_at_start: vec![START.to_owned()], service: Some("Stopped"), ..Machine::registered() };
    before.put(crate::machine::LOG, &stamped(BEGIN - 60_000, MISMATCH));
    ends(before, &[], 0, &["nothing here proves"]);
}
