//! Whatever the agent does, it runs afterwards, and the next run registers the machine.

use std::path::Path;

use local_aws::machine::{Fault, Kind, Machine};
use serde_json::json;
use tests::SECOND_REGION;

use super::site::{Site, kill};

const AGENT: &str = "amazon-ssm-agent";

#[tokio::test]
async fn an_agent_that_goes_wrong_runs_again_and_the_next_run_converges() {
    let site = Site::new().await;
    tokio::join!(
        // Whatever may pass is tried until the time is up.
        goes_wrong(&site, Fault::Fail, 15, "network", "i/o timeout"),
        goes_wrong(&site, Fault::Throttled, 15, "network", "ThrottlingException"),
        goes_wrong(&site, Fault::Unknown, 10, "registration-failed", "SomethingNewException"),
        goes_wrong(&site, Fault::Garbage, 10, "registration-failed", "names no managed instance id"),
        has_no_space(&site),
        fails_after_it_has_registered(&site),
        says_nothing(&site),
        is_killed(&site),
        cannot_be_stopped_or_started(&site),
        the_tool_is_killed(&site),
        the_tool_is_asked_to_end(&site),
    );
    assert_eq!(site.nodes(), 11, "no machine has two");
}

async fn converges(site: &Site, machine: &Machine, outcome: &str) {
    assert!(machine.is_active(), "its agent runs again");
    let ran = site.run(machine, &[]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!(outcome)), "{}", ran.said);
    site.node(machine).await;
}

async fn goes_wrong(site: &Site, fault: Fault, code: i32, reason: &str, words: &str) {
    let machine = site.machine(Kind::AmazonLinux).await;
    machine.set_fault(AGENT, fault, None).unwrap();
    let ran = site.run(&machine, &["--timeout", "10s"]).await;
    ran.assert_failed(code, reason, words);
    assert!(ran.message().contains("--timeout"), "{}", ran.message());
    let log = machine.service_log();
    assert!(log.len() >= 6 && log.len() % 2 == 0, "stopped and started for each try: {log:?}");
    assert_eq!(site.tag(&machine).await, None);
    machine.clear_faults().unwrap();
    machine.set_fault(AGENT, fault, Some(2)).unwrap();
    converges(site, &machine, "registered").await;
}

/// A known refusal ends the run at once.
async fn has_no_space(site: &Site) {
    let machine = site.machine(Kind::AmazonLinux).await;
    machine.set_fault(AGENT, Fault::Full, Some(1)).unwrap();
    site.run(&machine, &[]).await.assert_failed(10, "registration-failed", "Unable to save registration information");
    assert_eq!(machine.service_log().len(), 2);
    converges(site, &machine, "registered").await;
}

async fn fails_after_it_has_registered(site: &Site) {
    let machine = site.machine_in(Kind::RedHat, SECOND_REGION, Some("TagHubInstance")).await;
    machine.set_fault(AGENT, Fault::FailAfterWrite, Some(1)).unwrap();
    converges(site, &machine, "registered").await;
    assert_eq!(machine.service_log().len(), 2, "it found out that it is registered");
}

async fn says_nothing(site: &Site) {
    let machine = site.machine(Kind::UbuntuDeb).await;
    machine.set_fault(AGENT, Fault::NoId, Some(1)).unwrap();
    converges(site, &machine, "registered").await;
    assert_eq!(machine.service_log().len(), 2);
}

async fn is_killed(site: &Site) {
    let machine = site.machine(Kind::UbuntuSnap).await;
    machine.set_fault(AGENT, Fault::Hang, Some(1)).unwrap();
    let kills = async {
        hangs(site, &machine).await;
        assert!(kill("KILL", agents_process(machine.root()).unwrap()));
    };
    let (ran, ()) = tokio::join!(site.run(&machine, &[]), kills);
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("registered")), "{}", ran.said);
    assert!(ran.said.contains("killed by a signal"), "{}", ran.said);
    site.node(&machine).await;
}

async fn cannot_be_stopped_or_started(site: &Site) {
    let machine = site.machine(Kind::RedHat).await;
    machine.set_fault("systemctl", Fault::FailStop, Some(1)).unwrap();
    site.run(&machine, &[]).await.assert_failed(11, "agent-control", "could not be stopped");
    assert_eq!(machine.registration(), None, "it was not registered");
    assert!(machine.is_active());

    machine.set_fault("systemctl", Fault::FailStart, Some(3)).unwrap();
    let ran = site.run(&machine, &[]).await;
    ran.assert_failed(11, "agent-control", "systemctl start amazon-ssm-agent.service");
    assert!(!machine.is_active() && ran.line["managedInstanceId"].is_string(), "{}", ran.said);
    // The next run starts it before anything else.
    let ran = site.run(&machine, &[]).await;
    assert_eq!((ran.code, &ran.line["outcome"]), (0, &json!("tag-written")), "{}", ran.said);
    site.node(&machine).await;
}

/// Killed outright while the agent registers, and a second run before that.
async fn the_tool_is_killed(site: &Site) {
    let machine = site.machine(Kind::AmazonLinux).await;
    machine.set_fault(AGENT, Fault::Hang, Some(1)).unwrap();
    let begun = site.begin(site.command(&machine, &[]), "stopping the agent").await;
    hangs(site, &machine).await;
    site.run(&machine, &[]).await.assert_failed(14, "locked", "another run");
    begun.signal("KILL");
    assert_eq!(site.end(begun).await.code, -1);
    assert!(!machine.is_active());
    let ran = site.run(&machine, &[]).await;
    assert_eq!(ran.code, 0, "{}", ran.said);
    assert!(ran.said.contains("an earlier run was killed"), "{}", ran.said);
    let words = ["stop", "start", "stop", "start"].map(|word| format!("{word} {}", machine.unit()));
    assert_eq!(machine.service_log(), words);
    site.node(&machine).await;
}

/// `SIGTERM` between two tries.
async fn the_tool_is_asked_to_end(site: &Site) {
    let machine = site.machine(Kind::UbuntuSnap).await;
    machine.set_fault(AGENT, Fault::Fail, None).unwrap();
    let begun = site.begin(site.command(&machine, &[]), "; trying again").await;
    begun.signal("TERM");
    site.end(begun).await.assert_failed(16, "interrupted", "run this again");
    machine.clear_faults().unwrap();
    converges(site, &machine, "registered").await;
}

/// Waits until the agent is at work.
async fn hangs(site: &Site, machine: &Machine) {
    let root = machine.root().to_owned();
    let within = std::time::Duration::from_mins(1);
    let is_there = |_: &_| agents_process(&root).is_some();
    site.world.eventually("the agent registers", within, is_there).await.unwrap();
}

/// The process that registers a machine.
fn agents_process(root: &Path) -> Option<u32> {
    let mine = root.display().to_string();
    std::fs::read_dir("/proc").unwrap().find_map(|entry| {
        let entry = entry.ok()?;
        let process = entry.file_name().to_str()?.parse().ok()?;
        // A process may end while it is looked at.
        let command = String::from_utf8_lossy(&std::fs::read(entry.path().join("cmdline")).ok()?).into_owned();
        (command.starts_with(&mine) && command.contains("amazon-ssm-agent\0-register\0")).then_some(process)
    })
}
