//! Kills the local processes of a function, as if its sandbox had gone.

use rustix::process::{Pid, Signal, kill_process};

/// Kills every process that runs `function` for the local AWS at `endpoint`; how many there were.
pub(crate) fn kill_function(function: &str, endpoint: &str) -> usize {
    let name = format!("AWS_LAMBDA_FUNCTION_NAME={function}");
    let address = format!("AWS_ENDPOINT_URL={endpoint}");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let found = processes.filter_map(|entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let has = |wanted: &str| environment.split(|byte| *byte == 0).any(|pair| pair == wanted.as_bytes());
        (has(&name) && has(&address)).then_some(id)
    });
    found.filter(|id| Pid::from_raw(*id).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())).count()
}
