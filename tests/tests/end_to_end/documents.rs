//! The commands of the documents, run as they are written.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::document::{How, blocks, missing};
use tests::{AGENCY_A, CENTRAL, HOME_REGION, Paths, Session, World};

/// The longest takes as long as two deployments with the SAM CLI.
const BLOCK_WITHIN: Duration = Duration::from_mins(3);

/// Somebody with a terminal for each account, in a folder with what a deployment takes.
struct Reader {
    world: World,
    folder: tempfile::TempDir,
    sessions: BTreeMap<String, Session>,
}

impl Reader {
    /// A world with nothing in it, and a checkout with `dist` in it.
    fn new() -> Self {
        let paths = Paths::from_env().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let checkout = folder.path().join("checkout");
        std::fs::create_dir_all(checkout.join("cfn")).unwrap();
        for entry in std::fs::read_dir(paths.repository.join("cfn")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), checkout.join("cfn").join(entry.file_name())).unwrap();
        }
        std::fs::copy(paths.repository.join("template.yaml"), checkout.join("template.yaml")).unwrap();
        std::os::unix::fs::symlink(paths.repository.join("events"), checkout.join("events")).unwrap();
        let script = paths.repository.join("scripts/dist.py");
        let status = Command::new(&paths.python).args([&script, &paths.packages, &checkout.join("dist")]).status();
        assert!(status.unwrap().success(), "scripts/dist.py failed");
        aws_command(&paths.python, &folder.path().join("bin"));
        let world = World::start(paths, 0, None).unwrap();
        Self { world, folder, sessions: BTreeMap::new() }
    }

    /// Runs every block that can be, in the order of the document. Answers with how many ran.
    fn follow(&mut self, document: &str) -> usize {
        let text = self.world.paths().text(document).unwrap();
        let mut count = 0;
        for block in blocks(&text).unwrap_or_else(|problem| panic!("{document}, {problem}")) {
            let How::Run { sessions, output } = &block.how else { continue };
            for session in sessions {
                let printed = self.session(session).run(block.line, &block.text, BLOCK_WITHIN);
                let printed = printed.unwrap_or_else(|failure| panic!("{document}, {failure:#}"));
                if let Some(expected) = missing(output, &printed) {
                    panic!("{document}, line {}: {:?} is not in\n{printed}", expected.line, expected.pattern);
                }
                count += 1;
            }
        }
        count
    }

    /// The terminal of an account: `central` or `agency-<account id>`.
    fn session(&mut self, name: &str) -> &mut Session {
        if !self.sessions.contains_key(name) {
            let session = self.start(name);
            self.sessions.insert(name.to_owned(), session);
        }
        self.sessions.get_mut(name).unwrap()
    }

    fn start(&self, name: &str) -> Session {
        let account = match name.strip_prefix("agency-") {
            Some(account) => account,
            None if name == "central" => CENTRAL,
            None => panic!("there is no session {name}; name central or agency-<account id>"),
        };
        let folder = self.folder.path();
        let tools = self.world.paths().python.parent().unwrap();
        let environment = [
            ("PATH", format!("{}/bin:{}:/usr/bin:/bin", folder.display(), tools.display())),
            // So that nothing of whoever runs this is read or written.
            ("HOME", folder.join(name).display().to_string()),
            ("AWS_ENDPOINT_URL", self.world.aws.endpoint().to_owned()),
            ("AWS_ACCESS_KEY_ID", account.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "any".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SAM_CLI_TELEMETRY", "0".to_owned()),
        ];
        std::fs::create_dir_all(folder.join(name)).unwrap();
        // Each terminal has a checkout of its own, as on different machines.
        let checkout = folder.join(name).join("checkout");
        let copied = Command::new("cp").arg("-a").args([&folder.join("checkout"), &checkout]).status().unwrap();
        assert!(copied.success());
        Session::start(name, &checkout, &folder.join(name).join("blocks"), &environment).unwrap()
    }
}

/// Puts an `aws` into a folder that reaches SQS too: version 1 of the AWS CLI has an address of its own for that service,
/// whatever `AWS_ENDPOINT_URL` says.
fn aws_command(python: &Path, folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder).unwrap();
    let aws = python.parent().unwrap().join("aws");
    let script = format!("#!/bin/sh\nexec '{}' --endpoint-url \"$AWS_ENDPOINT_URL\" \"$@\"\n", aws.display());
    std::fs::write(folder.join("aws"), script).unwrap();
    std::fs::set_permissions(folder.join("aws"), std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn the_walk_through_of_a_deployment_works_as_it_is_written() {
    let mut reader = Reader::new();
    let enrolled = reader.world.enroll(AGENCY_A, HOME_REGION, &[("Role", "web")]).await.unwrap();
    let count = reader.follow("docs/deploy.md");
    assert!(count >= 20, "only {count} blocks ran");
    // Which name the other tag has depends on when the last sweep was; the policy is changed on the way.
    assert_eq!(reader.world.tags(&enrolled.node)["Env"], "PROD", "the tags outlive the hub");
}
