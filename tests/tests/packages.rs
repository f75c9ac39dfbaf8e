//! What is released: the packages in `dist` as they are uploaded, and the functions in them under the emulator of
//! Lambda's runtime interface.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};

use http::Method;
use regex::bytes::Regex;
use serde_json::Value;
use tests::{AGENCY_A, CENTRAL, Emulator, HOME_REGION, Paths, World};
use zip::ZipArchive;

/// What a package may weigh.
const BYTES_MAX: usize = 4_000_000;
/// For the manager, which has a third AWS client, for its leases, and may grow past the target of docs/performance.md.
const MANAGER_BYTES_MAX: usize = 4_300_000;
/// The C library of Amazon Linux 2, the oldest system that the programs run on.
const GLIBC_MAX: (u32, u32) = (2, 26);

/// The answers to an event that is none, or that nobody may send.
const REFUSALS: [&str; 4] = ["InvalidEvent", "InvalidReport", "Unauthenticated", "AccountMismatch"];

/// The account that the emulator says a function is in.
const EMULATED_ACCOUNT: &str = "012345678912";

/// A package: its name and its bytes.
fn packages() -> Vec<(String, Vec<u8>)> {
    let dist = Paths::released().unwrap().repository.join("dist");
    let zips = folders(&dist).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "zip"));
    let packages: Vec<_> = zips
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect();
    assert!(!packages.is_empty(), "{} has no packages; run make package", dist.display());
    packages
}

/// The program in a package, which holds nothing else.
fn bootstrap(package: &[u8]) -> Vec<u8> {
    let mut archive = ZipArchive::new(Cursor::new(package)).unwrap();
    assert_eq!(archive.len(), 1);
    let mut entry = archive.by_index(0).unwrap();
    assert_eq!(
        (entry.name().unwrap().into_owned(), entry.unix_mode().map(|mode| mode & 0o777)),
        ("bootstrap".to_owned(), Some(0o755))
    );
    let mut program = Vec::new();
    entry.read_to_end(&mut program).unwrap();
    program
}

/// The newest version of the C library that a program asks for.
fn glibc(program: &[u8]) -> (u32, u32) {
    let version = Regex::new(r"GLIBC_(\d+)\.(\d+)").unwrap();
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u32>().unwrap();
    let versions = version.captures_iter(program).map(|found| (number(&found[1]), number(&found[2])));
    versions.max().unwrap_or_else(|| panic!("a program without a C library"))
}

#[test]
fn every_function_has_a_small_package() {
    let functions = folders(&Paths::released().unwrap().repository.join("functions"));
    let functions: Vec<&str> = functions.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let packages = packages();
    assert_eq!(packages.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), functions);
    for (name, package) in packages {
        let most = if name == "ssm-tag-manager" { MANAGER_BYTES_MAX } else { BYTES_MAX };
        assert!(package.len() <= most, "{name}: {} bytes", package.len());
    }
}

#[test]
fn every_program_runs_on_the_oldest_system() {
    for (name, package) in packages() {
        assert!(glibc(&bootstrap(&package)) <= GLIBC_MAX, "{name} asks for {:?}", glibc(&bootstrap(&package)));
    }
    let repository = Paths::released().unwrap().repository;
    let dist = folders(&repository.join("dist"));
    for program in folders(&repository.join("bin")) {
        let begin = format!("{}-", program.file_name().unwrap().to_str().unwrap());
        let is_built = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with(&begin);
        let tool = dist.iter().find(is_built).unwrap_or_else(|| panic!("no {begin} in {dist:?}"));
        let program = std::fs::read(tool).unwrap();
        assert!(glibc(&program) <= GLIBC_MAX, "{} asks for {:?}", tool.display(), glibc(&program));
    }
}

#[tokio::test]
async fn a_hub_of_released_packages_carries_a_tag_over() {
    let world = World::deployed().await.unwrap();
    let enrolled = world.enroll(AGENCY_A, HOME_REGION, &[("Env", "PROD")]).await.unwrap();
    world.sweep_well(AGENCY_A).await.unwrap();
    assert_eq!(world.plain_tags(&enrolled.node)["Env"], "PROD");
}

#[tokio::test]
async fn every_package_starts_and_takes_its_samples() {
    let world = World::deployed().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let emulator = Emulator::new(world.paths(), folder.path()).unwrap();
    let mut count = 0;
    // What a campaign begins with goes to a state machine, and not to a function.
    let functions = folders(&world.paths().repository.join("events")).into_iter();
    for function in functions.filter(|folder| !folder.ends_with("campaign")) {
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
    let paths = Paths::released().unwrap();
    let emulator = Emulator::new(&paths, folder.path()).unwrap();
    std::fs::write(folder.path().join("broken.zip"), "no zip").unwrap();
    let error = emulator.unpack(&paths, &folder.path().join("broken.zip")).unwrap_err();
    assert!(error.to_string().contains("broken.zip"), "{error}");
}
