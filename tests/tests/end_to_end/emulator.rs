//! The packages as they are uploaded, under the emulator of Lambda's runtime interface.

use std::path::{Path, PathBuf};

use http::Method;
use serde_json::Value;
use tests::{AGENCY_A, CENTRAL, Emulator, HOME_REGION, Paths, World};

/// The answers to an event that is none, or that nobody may send.
const REFUSALS: [&str; 4] = ["InvalidEvent", "InvalidReport", "Unauthenticated", "AccountMismatch"];

/// The account that the emulator says a function is in.
const EMULATED_ACCOUNT: &str = "012345678912";

#[tokio::test]
async fn every_package_starts_and_takes_its_samples() {
    let world = World::deployed().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::new(world.paths(), folder.path()).unwrap();
    let mut count = 0;
    for function in folders(&world.paths().repository.join("events")) {
        let name = function.file_name().unwrap().to_str().unwrap().to_owned();
        let environment = environment(&world, &name).await;
        let environment: Vec<(&str, String)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let package = world.paths().packages.join(&name).join("bootstrap.zip");
        let bootstrap = emulator.unpack(world.paths(), &package).unwrap();
        let emulated = emulator.start(&bootstrap, &environment).unwrap();
        for sample in folders(&function) {
            let event = std::fs::read_to_string(&sample).unwrap().replace(AGENCY_A, EMULATED_ACCOUNT);
            let answer = emulated.invoke(&event).unwrap();
            let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
            assert!(is_taken(&answer), "{}: {answer}\n{}", sample.display(), emulated.log());
            count += 1;
        }
        assert!(emulated.init_ms().unwrap() > 0.0);
    }
    assert!(count >= 15, "only {count} samples were sent");
}

/// Whether an event was understood. What it asks for need not be there.
fn is_taken(answer: &Value) -> bool {
    let kind = answer["errorType"].as_str().unwrap_or_default();
    let message = answer["errorMessage"].as_str().unwrap_or_default();
    // A process that is gone, or that took too long.
    let is_broken = kind.starts_with("Runtime.") || kind.starts_with("Sandbox.");
    // The samples name executions that there are not; this is found out by asking for them.
    let is_misunderstood = kind == "InvalidRequest" && !message.contains("that Systems Manager knows");
    !is_broken && !is_misunderstood && !REFUSALS.contains(&kind)
}

/// The variables that the deployed function has, and what Lambda adds.
async fn environment(world: &World, function: &str) -> Vec<(String, String)> {
    let path = format!("/2015-03-31/functions/{function}/configuration");
    let mut found = None;
    for account in [CENTRAL, AGENCY_A] {
        let client = world.aws.client(account, HOME_REGION);
        if let Ok(reply) = client.rest("lambda", Method::GET, &path, &[], "").await {
            found = Some((account, reply.json()));
        }
    }
    let (account, configuration) = found.unwrap_or_else(|| panic!("{function} is not deployed"));
    let variables = configuration["Environment"]["Variables"].as_object().cloned().unwrap_or_default();
    let mut environment: Vec<(String, String)> = variables
        .into_iter()
        .map(|(name, value)| (name, value.as_str().unwrap().to_owned()))
        // The emulator invokes without an alias, and then only this lets a report in.
        .filter(|(name, _)| name != "OWNERSHIP_CHECK")
        .collect();
    environment.extend(
        [
            ("OWNERSHIP_CHECK", "off"),
            ("AWS_ACCESS_KEY_ID", account),
            ("AWS_SECRET_ACCESS_KEY", "any"),
            ("AWS_REGION", HOME_REGION),
            ("AWS_ENDPOINT_URL", world.aws.endpoint()),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    environment
}

/// What is in a folder, sorted.
fn folders(path: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
}

#[test]
fn a_package_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths::from_env().unwrap();
    let emulator = Emulator::new(&paths, folder.path()).unwrap();
    std::fs::write(folder.path().join("broken.zip"), "no zip").unwrap();
    let error = emulator.unpack(&paths, &folder.path().join("broken.zip")).unwrap_err();
    assert!(error.to_string().contains("broken.zip"), "{error}");
}
