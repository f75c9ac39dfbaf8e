//! `systemctl`: `start`, `stop`, `restart`, `enable`, `is-active`, `is-enabled`, `status` and `list-unit-files` for the
//! units that the machine has. `initctl` starts and stops the one job of an upstart machine.
//!
//! If nothing matches, `list-unit-files` ends with 0 on Amazon Linux and with 1 elsewhere, as old and new systemd do.

use super::Files;

/// Each unit is a file that says `active` or `inactive`.
pub(crate) fn run(machine: &Files, arguments: &[String]) -> u8 {
    let words: Vec<&str> = arguments.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let Some((verb, names)) = words.split_first() else {
        eprintln!("systemctl: the stand-in needs a command");
        return 1;
    };
    if *verb == "list-unit-files" {
        return list(machine, names);
    }
    let mut code = 0;
    for name in names {
        code = code.max(one(machine, verb, &unit(name)));
    }
    code
}

fn one(machine: &Files, verb: &str, unit: &str) -> u8 {
    let path = machine.own("units").join(unit);
    let state = path.exists().then(|| Files::read(&path));
    match (verb, state.as_deref()) {
        ("is-active", state) => {
            println!("{}", state.unwrap_or("inactive"));
            match state {
                Some("active") => 0,
                Some(_) => 3,
                None => 4,
            }
        }
        ("is-enabled", Some(_)) => {
            let is_disabled = machine.own(&format!("disabled/{unit}")).exists();
            println!("{}", if is_disabled { "disabled" } else { "enabled" });
            u8::from(is_disabled)
        }
        ("enable", Some(_)) => {
            if machine.fault("systemctl", &["fail-enable"]).is_some() {
                eprintln!("Failed to enable unit: Access denied");
                return 1;
            }
            let _ = std::fs::remove_file(machine.own(&format!("disabled/{unit}")));
            0
        }
        ("is-enabled", None) => {
            eprintln!("Failed to get unit file state for {unit}: No such file or directory");
            1
        }
        ("show", _) => {
            eprintln!("systemctl: the stand-in does not know when a unit was started");
            1
        }
        ("status", Some(state)) => {
            println!("● {unit}\n   Active: {state}");
            if state == "active" { 0 } else { 3 }
        }
        ("start" | "stop" | "restart", Some(_)) => change(machine, verb, unit),
        (verb, _) => {
            eprintln!("Failed to {verb} {unit}: Unit {unit} not found.");
            if verb == "status" { 4 } else { 5 }
        }
    }
}

fn change(machine: &Files, verb: &str, unit: &str) -> u8 {
    let failing = machine.fault("systemctl", &[&format!("fail-{verb}")]).is_some();
    machine.append("service.log", &format!("{verb} {unit}{}", if failing { " (failed)" } else { "" }));
    if failing {
        eprintln!("Job for {unit} failed because the control process exited with error code.");
        return 1;
    }
    let state = if verb == "stop" { "inactive" } else { "active" };
    if state == "active" {
        machine.start_agent();
    }
    u8::from(Files::write(&machine.own("units").join(unit), state).is_err())
}

/// `initctl start JOB` and `initctl stop JOB`, with upstart's errors for what is so already.
pub(crate) fn upstart(machine: &Files, arguments: &[String]) -> u8 {
    let [verb, job] = arguments else {
        eprintln!("initctl: the stand-in needs a verb and a job");
        return 1;
    };
    let unit = unit(job);
    let is_active = Files::read(&machine.own("units").join(&unit)) == "active";
    match (verb.as_str(), is_active) {
        ("status", true) => {
            println!("{job} start/running, process 2817");
            return 0;
        }
        ("status", false) => {
            println!("{job} stop/waiting");
            return 0;
        }
        ("start", true) => eprintln!("initctl: Job is already running: {job}"),
        ("stop", false) => eprintln!("initctl: Unknown instance: "),
        ("start" | "stop", _) => return change(machine, verb, &unit),
        _ => eprintln!("initctl: unknown verb {verb}"),
    }
    1
}

fn list(machine: &Files, patterns: &[&str]) -> u8 {
    let entries = std::fs::read_dir(machine.own("units")).into_iter().flatten().filter_map(Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut found: Vec<String> = names.filter(|name| matches(patterns, name)).collect();
    found.sort();
    println!("UNIT FILE                                          STATE   VENDOR PRESET");
    for name in &found {
        println!("{name:<50} enabled enabled");
    }
    println!("\n{} unit files listed.", found.len());
    let strict = machine.identity().is_some_and(|identity| identity.strict_systemd);
    u8::from(found.is_empty() && !patterns.is_empty() && strict)
}

/// A pattern may end in `*`.
fn matches(patterns: &[&str], name: &str) -> bool {
    let one = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => unit(pattern) == name,
    };
    patterns.is_empty() || patterns.iter().any(one)
}

fn unit(name: &str) -> String {
    if name.contains('*') || name.ends_with(".service") { name.to_owned() } else { format!("{name}.service") }
}
