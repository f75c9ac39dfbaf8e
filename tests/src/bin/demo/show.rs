//! What the demo prints.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use tests::{HOME_REGION, World, program};

/// A line that says what comes next.
pub(crate) fn step(text: &str) {
    println!("\n== {text}");
}

/// A line under a step.
pub(crate) fn note(text: &str) {
    println!("   {text}");
}

/// Waits until something is so, and shows that time goes by.
pub(crate) async fn wait(
    world: &World,
    what: &str,
    within: Duration,
    is_so: impl Fn(&World) -> bool,
) -> anyhow::Result<()> {
    let progress = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        for seconds in (0_u64..).step_by(5) {
            ticks.tick().await;
            if std::io::stdout().is_terminal() {
                print!("\r   waiting until {what}: {seconds} s");
                let _ = std::io::stdout().flush();
            } else {
                println!("   waiting until {what}: {seconds} s");
            }
        }
    };
    let result = tokio::select! {
        result = world.eventually(what, within, is_so) => result,
        () = progress => Ok(()),
    };
    if std::io::stdout().is_terminal() {
        println!();
    }
    result
}

/// What `taghub` shows to somebody with the credentials of an account. 1 is something found, and no error.
pub(crate) async fn taghub(world: &World, account: &str, arguments: &str) -> anyhow::Result<()> {
    println!("   $ taghub {arguments}");
    let mut command = Command::new(program("taghub")?);
    command.current_dir(&world.paths().repository).args(arguments.split(' '));
    command.env("AWS_ENDPOINT_URL", world.aws.endpoint());
    command.env("AWS_REGION", HOME_REGION).env("AWS_ACCESS_KEY_ID", account).env("AWS_SECRET_ACCESS_KEY", "any");
    // The same for everybody: no profile of the person at the screen, and nothing in their home.
    command.env_remove("AWS_PROFILE").env("AWS_CONFIG_FILE", "/dev/null");
    command.env("XDG_STATE_HOME", world.paths().repository.join(".local-aws"));
    // This process answers its calls meanwhile.
    let status = tokio::task::spawn_blocking(move || command.status()).await??;
    ensure!(status.code().is_some_and(|code| code < 2), "taghub {arguments} ended with {status}");
    Ok(())
}

/// What changed between two states of a node's tags.
pub(crate) fn difference(name: &str, before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) {
    for (key, value) in after.iter().filter(|(key, value)| before.get(*key) != Some(value)) {
        let old = before.get(key).map_or_else(|| "nothing".to_owned(), |old| format!("{old:?}"));
        note(&format!("{name}: {key} was {old}, is {value:?}"));
    }
    for (key, value) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        note(&format!("{name}: {key} was {value:?}, is gone"));
    }
    if before == after {
        note(&format!("{name}: as before"));
    }
}
