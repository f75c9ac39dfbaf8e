//! The operator's program, with its output piped and on a terminal.

mod agencies;
mod bad_input;
mod campaigns;
mod fleet;
mod health;
mod runs;
mod terminal;
mod transcripts;

use std::collections::BTreeMap;
use std::io::{BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

use serde_json::Value;
use tests::{CENTRAL, HOME_REGION, World, program};

/// Somebody at a shell, with a home folder and credentials.
struct Operator {
    home: tempfile::TempDir,
    variables: BTreeMap<&'static str, String>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
struct Printed {
    code: i32,
    out: String,
    err: String,
}

impl Operator {
    /// Somebody with the credentials of an account's root.
    fn of(world: &World, account: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let variables = BTreeMap::from([
            ("AWS_ENDPOINT_URL", world.aws.endpoint().to_owned()),
            ("AWS_ACCESS_KEY_ID", account.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "any".to_owned()),
            ("AWS_REGION", HOME_REGION.to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("HOME", home.path().to_str().unwrap().to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("PATH", "/usr/bin:/bin".to_owned()),
        ]);
        Self { home, variables }
    }

    /// Central IT.
    fn central(world: &World) -> Self {
        Self::of(world, CENTRAL)
    }

    /// The same with another variable, or without one.
    fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.variables.insert(name, value.to_owned()),
            None => self.variables.remove(name),
        };
        self
    }

    /// The same with profiles: the text of both files of the AWS configuration.
    fn with_profiles(self, config: &str, credentials: &str) -> Self {
        let folder = self.home.path().join(".aws");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config"), config).unwrap();
        std::fs::write(folder.join("credentials"), credentials).unwrap();
        self
    }

    /// Writes a file beside which commands run.
    fn write(&self, name: &str, content: &Value) {
        std::fs::write(self.home.path().join(name), content.to_string()).unwrap();
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.variables).current_dir(self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs `taghub` with its output piped.
    async fn run(&self, arguments: &str) -> Printed {
        let mut command = self.command(program("taghub").unwrap());
        command.args(words(arguments));
        ended(command).await
    }

    /// The same, where it has to end well.
    async fn run_well(&self, arguments: &str) -> Printed {
        let printed = self.run(arguments).await;
        assert_eq!(printed.code, 0, "taghub {arguments}: {printed:?}");
        printed
    }

    /// The JSON that a command prints.
    async fn json(&self, arguments: &str) -> Value {
        let printed = self.run_well(&format!("{arguments} -o json")).await;
        serde_json::from_str(&printed.out).unwrap_or_else(|error| panic!("{arguments}: {error}: {printed:?}"))
    }

    /// A line of shell on a terminal of so many columns; `taghub` is in the search path there.
    fn terminal(&self, columns: usize, line: &str) -> Command {
        let mut path = program("taghub").unwrap().parent().unwrap().as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        let mut command = self.command("script");
        command.env("PATH", path);
        let line = format!("stty cols {columns} rows 24; {line}");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command
    }

    /// Runs `taghub` on a terminal, where somebody presses Ctrl-C once a text is shown; the exit code.
    async fn interrupted_at(&self, text: &'static str, arguments: &str) -> Option<i32> {
        let mut command = self.terminal(100, &format!("exec taghub {arguments}"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let ended = tokio::task::spawn_blocking(move || {
            let mut terminal = command.spawn().unwrap();
            let mut shown = Vec::new();
            let mut screen = BufReader::new(terminal.stdout.take().unwrap()).bytes();
            while !String::from_utf8_lossy(&shown).contains(text) {
                shown.push(screen.next().unwrap().unwrap());
            }
            terminal.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
            // Until nothing more is shown.
            screen.for_each(drop);
            terminal.wait().unwrap().code()
        });
        ended.await.unwrap()
    }

    /// Runs `taghub` on a terminal, where somebody types; what it shows, on both streams together.
    async fn on_terminal(&self, columns: usize, arguments: &str, typed: &str) -> Printed {
        self.types(columns, &format!("exec taghub {arguments}"), typed).await
    }

    /// Runs a line of shell in the same way.
    async fn types(&self, columns: usize, line: &str, typed: &str) -> Printed {
        let mut command = self.terminal(columns, line);
        let input = self.home.path().join("typed");
        std::fs::write(&input, typed).unwrap();
        command.stdin(std::fs::File::open(input).unwrap());
        let printed = ended(command).await;
        Printed { out: printed.out.replace('\r', ""), ..printed }
    }
}

/// The process has a thread of its own: what it calls is served by this one.
async fn ended(mut command: Command) -> Printed {
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    Printed { code: output.status.code().unwrap_or(-1), out, err }
}

/// Words as a shell has them, with double quotes.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(at, part)| match at % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}
