//! `taghub run preview`, `preflight` and `start`.

use clap::Args;
use hub::AccountId;
use serde_json::{Value, json};

use super::request::{FLAGS, Request};
use super::{ask, remember, watch};
use crate::app::App;
use crate::aws::agencies::granted;
use crate::aws::hub::Hub;
use crate::failure::{Exit, Failure};
use crate::progress::Progress;
use crate::state::{self, LastRun};
use crate::view::run::answers::{self, StartAnswer};
use crate::view::run::start;

/// How long one look of a preflight waits, so that the line moves.
const LOOK_SECONDS: u64 = 10;
/// Letters and digits that are not mistaken for each other.
const KEY_LETTERS: &[u8] = b"abcdefghjkmnpqrstvwxyz23456789";
const KEY_LETTERS_COUNT: usize = 4;

/// Show what a request would do, and start nothing
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run preview AWS-RestartEC2Instance --all-agencies --regions us-east-1 --target tag:Env=TEST
  taghub run preview AWS-RestartEC2Instance --match Env=TEST --match Role=web
  taghub run preview --file request.json -o json")]
pub struct Preview {
    #[command(flatten)]
    request: Request,
}

/// Try accounts, Regions, roles, and the runbook, and change nothing
///
/// The runbook TagHub-Preflight runs in every location. It succeeds where the execution role can be assumed, the Region is
/// enabled, and the account knows the runbook.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run preflight AWS-RestartEC2Instance --all-agencies --regions us-east-1,us-west-2
  taghub run preflight --file request.json --timeout 10m")]
pub struct Preflight {
    #[command(flatten)]
    request: Request,
}

/// Start a runbook
///
/// It shows what it would do and asks. Request and key are remembered on this machine before anything is started: if you are
/// cut off, taghub run start --again sends both once more, which starts what is missing and nothing twice.
#[derive(Debug, Args)]
#[command(before_long_help = "\
Examples:
  taghub run start AWS-RestartEC2Instance --all-agencies --regions us-east-1 --target tag:Env=TEST --watch
  taghub run start --again                       go on after you were cut off
  taghub run start --file request.json --yes --key nightly-2026-11-23 --expect 24
                                                 in a job: under a key, so that a retry starts nothing twice")]
pub struct Start {
    #[command(flatten)]
    request: Request,
    /// The key of the run: the same key never starts the same work twice
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<String>,
    /// Send the last request from this machine again, under its key
    #[arg(long, conflicts_with_all = ["key", "runbook", "file"], conflicts_with_all = FLAGS)]
    again: bool,
    /// Refuse any other number of locations
    #[arg(long, value_name = "N")]
    expect: Option<usize>,
    /// Follow the run until it ends
    #[arg(long)]
    watch: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Preview {
    /// Runs the command.
    ///
    /// # Errors
    /// If the request is refused.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("run preview")?;
        let progress = Progress::new(app, "Looking at the request");
        let hub = Hub::find(app).await?;
        let request = complete(&self.request, &hub).await?;
        // A start has a key of its own making, so that a preview has nothing to say about one.
        let look = with(&request, json!({"Action": "Preview", "IdempotencyKey": "preview"}));
        let answer = ask::<StartAnswer>(&hub, &look).await?;
        drop(progress);
        if app.is_json() {
            app.print_json(&answer.raw)?;
        } else {
            app.print(&format!("{}Nothing was started.\n", start::preview(&answer.value, &app.out)))?;
        }
        Ok(Exit::Done)
    }
}

impl Preflight {
    /// Runs the command.
    ///
    /// # Errors
    /// If the request is refused, or the preflight cannot be started.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("run preflight")?;
        let progress = Progress::new(app, "Starting the preflight");
        let hub = Hub::find(app).await?;
        let request = complete(&self.request, &hub).await?;
        let begin = with(&request, json!({"Action": "Preflight", "WaitSeconds": LOOK_SECONDS}));
        let mut answer = ask::<answers::Preflight>(&hub, &begin).await?;
        // What was started and how the request was read, only the first answer says.
        let (failed, notes) = (answer.value.failed.clone(), answer.value.notes.clone());
        while !answer.value.complete && !answer.value.automation_execution_ids.is_empty() {
            progress.set("Waiting for every account and Region to answer");
            let look = json!({"Action": "Preflight", "WaitSeconds": LOOK_SECONDS,
                              "AutomationExecutionIds": answer.value.automation_execution_ids});
            answer = ask::<answers::Preflight>(&hub, &look).await?;
            answer.value.failed.clone_from(&failed);
            answer.value.notes.clone_from(&notes);
        }
        drop(progress);
        if app.is_json() {
            app.print_json(&answer.raw)?;
        } else {
            app.print(&start::preflight(&answer.value, &app.out))?;
        }
        Ok(Exit::wrong_if(!answer.value.ready || !answer.value.failed.is_empty()))
    }
}

impl Start {
    /// Runs the command.
    ///
    /// # Errors
    /// If the request is refused or nothing could be started, and if nobody confirmed.
    pub async fn run(self, app: &App) -> Result<Exit, Failure> {
        app.no_csv("run start")?;
        if !app.can_ask && (!self.yes || (self.key.is_none() && !self.again)) {
            return Err(Failure::usage("no terminal to ask on")
                .help("add --yes, and --key so that a retry starts nothing twice"));
        }
        let progress = Progress::new(app, "Looking at the request");
        let hub = Hub::find(app).await?;
        let (request, key) = if self.again {
            let LastRun { key, request, .. } = state::load(app, &hub.about)?;
            (request, key)
        } else {
            let request = complete(&self.request, &hub).await?;
            let key = self.key.clone().unwrap_or_else(|| made_key(&request, &app.now().to_string()));
            (request, key)
        };
        let named = with(&request, json!({"IdempotencyKey": key}));
        let preview = ask::<StartAnswer>(&hub, &with(&named, json!({"Action": "Preview"}))).await?.value;
        drop(progress);
        self.confirm(app, &preview, &key).await?;
        state::save(app, &hub.about, &LastRun { key: key.clone(), request, executions: Vec::new() })?;
        let progress = Progress::new(app, &format!("Starting {key}"));
        let answer = ask::<StartAnswer>(&hub, &with(&named, json!({"Action": "Start"}))).await;
        drop(progress);
        let answer = answer.map_err(|failure| match &failure.help {
            None => failure.help("taghub run start --again sends the same request under the same key"),
            Some(_) => failure,
        })?;
        if app.is_json() {
            app.print_json(&answer.raw)?;
        } else {
            app.print(&start::started(&answer.value, &app.out))?;
        }
        if !answer.value.complete {
            return Ok(Exit::Wrong);
        }
        let ids: Vec<String> =
            answer.value.executions.into_iter().map(|started| started.automation_execution_id).collect();
        remember(app, &hub, &key, &ids)?;
        if self.watch {
            return watch::follow_new(app, &hub, &key, ids).await;
        }
        Ok(Exit::Done)
    }

    /// Shows what would be done and asks, unless `--yes` answers already.
    async fn confirm(&self, app: &App, preview: &StartAnswer, key: &str) -> Result<(), Failure> {
        let locations = start::locations(preview);
        if let Some(expected) = self.expect
            && locations != Some(expected)
        {
            let got = locations.map_or("a number that is not known".to_owned(), |count| count.to_string());
            return Err(Failure::usage(format!(
                "--expect {expected}, but the request comes to {got} locations; nothing was started"
            ))
            .help("taghub run preview shows them"));
        }
        if !self.yes {
            app.say(start::preview(preview, &app.err).trim_end());
            let expected = locations.map_or_else(|| key.to_owned(), |count| count.to_string());
            let place = locations.map_or("these locations".to_owned(), |count| format!("{count} locations"));
            app.confirm(&format!("Start in {place}?"), &expected, "add --yes and --key").await?;
        }
        app.hint(&format!("Key {key}. If you are cut off: taghub run start --again"));
        Ok(())
    }
}

/// The request with the accounts of the agencies, if it asks for them.
async fn complete(request: &Request, hub: &Hub) -> Result<Value, Failure> {
    let agencies: Vec<AccountId> = if request.needs_agencies() {
        granted(hub).await?.into_iter().map(|agency| agency.account).collect()
    } else {
        Vec::new()
    };
    request.to_json(&agencies)
}

/// A request with more in it.
fn with(request: &Value, more: Value) -> Value {
    let mut all = request.clone();
    if let (Some(fields), Value::Object(more)) = (all.as_object_mut(), more) {
        fields.extend(more);
    }
    all
}

/// A key that says what and when: `restart-1123-k7qd`.
fn made_key(request: &Value, now: &str) -> String {
    let name = request["DocumentName"].as_str().unwrap_or_default();
    let name = name.rsplit(['/', ':']).next().unwrap_or(name);
    let name = name.split_once('-').map_or(name, |(_, name)| name);
    let word: String =
        name.chars().enumerate().map_while(|(at, c)| (at == 0 || c.is_ascii_lowercase()).then_some(c)).collect();
    let word = if word.is_empty() { "run".to_owned() } else { word.to_ascii_lowercase() };
    let day = now.get(5..10).unwrap_or_default().replace('-', "");
    let letter = || char::from(KEY_LETTERS[fastrand::usize(..KEY_LETTERS.len())]);
    let random: String = std::iter::repeat_with(letter).take(KEY_LETTERS_COUNT).collect();
    format!("{word}-{day}-{random}")
}

/// Reads a key: <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_Tag.html> bounds it.
fn key(text: &str) -> Result<String, String> {
    let is_key = (1..=256).contains(&text.chars().count()) && text != "last" && !text.chars().any(char::is_control);
    if is_key { Ok(text.to_owned()) } else { Err("expected 1 to 256 characters, and not last".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_key_says_what_and_when() {
        for (name, start) in [
            ("AWS-RestartEC2Instance", "restart-1123-"),
            ("arn:aws:ssm:us-east-1:111111111111:document/TagHub-PatchByTag", "patch-1123-"),
            ("", "run-1123-"),
        ] {
            let key = made_key(&json!({"DocumentName": name}), "2026-11-23T06:02:31Z");
            assert!(key.starts_with(start) && key.len() == start.len() + 4, "{key}");
        }
    }

    #[test]
    fn what_is_sent_again_is_not_changed() {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            start: Start,
        }
        let parse =
            |args: &str| <Only as clap::Parser>::try_parse_from(["x", "--again"].into_iter().chain(args.split(' ')));
        assert!(parse("--yes").is_ok());
        for args in [
            "AWS-X",
            "--key k",
            "--file x.json",
            "--accounts 222222222222",
            "--all-agencies",
            "--exclude 222222222222",
            "--target tag:Env=TEST",
            "--match Env=TEST",
            "--param A=1",
            "--max-concurrency 1",
            "--target-errors 0",
            "--role R",
        ] {
            let error = parse(args).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains("cannot be used with"), "{args}: {error}");
        }
    }

    #[test]
    fn keys() {
        assert!(key("nightly-2026-11-23").is_ok());
        assert!(key("").is_err() && key("last").is_err() && key("a\nb").is_err() && key(&"k".repeat(257)).is_err());
    }
}
