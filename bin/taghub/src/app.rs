//! What a command has at hand: the flags, the streams, the environment and the clock.

use std::io::{self, Write};
use std::time::SystemTime;

use hub::Timestamp;
use serde::Serialize;

use crate::failure::Failure;
use crate::flags::{Format, Global};
use crate::terminal::{Stream, Tone};
use crate::view::table::{self, Columns, Row};

/// What a command has at hand.
pub struct App {
    /// The flags that every command takes.
    pub global: Global,
    /// Standard output.
    pub out: Stream,
    /// Standard error.
    pub err: Stream,
    /// Whether somebody can answer a question.
    pub can_ask: bool,
    /// Reads an environment variable.
    pub lookup: fn(&str) -> Option<String>,
    /// Reads the clock.
    pub clock: fn() -> SystemTime,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("global", &self.global).finish_non_exhaustive()
    }
}

impl App {
    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::from((self.clock)())
    }

    /// Prints a result that is text: on a terminal as it is meant to look, else as `piped`.
    ///
    /// # Errors
    /// If nobody reads.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Prints a result as one document of JSON.
    ///
    /// # Errors
    /// If nobody reads.
    pub fn print_json(&self, document: &impl Serialize) -> Result<(), Failure> {
        let text =
            if self.out.is_terminal { serde_json::to_string_pretty(document) } else { serde_json::to_string(document) };
        self.print(&format!("{}\n", text.map_err(io::Error::from)?))
    }

    /// Prints a table, in whichever form was asked for; `document` is its JSON.
    ///
    /// # Errors
    /// If nobody reads.
    pub fn print_table(&self, columns: &Columns, rows: &[Row], document: &impl Serialize) -> Result<(), Failure> {
        match self.global.output {
            Format::Json => self.print_json(document),
            Format::Csv => {
                let rows: String = rows.iter().map(table::csv_row).collect();
                self.print(&(table::csv_header(columns) + &rows))
            }
            Format::Table if self.out.is_terminal => self.print(&table::render(columns, rows, &self.out)),
            Format::Table => self.print(&rows.iter().map(table::tabs).collect::<String>()),
        }
    }

    /// Refuses CSV where there is no table.
    ///
    /// # Errors
    /// A usage error.
    pub fn no_csv(&self, command: &str) -> Result<(), Failure> {
        if self.global.output == Format::Csv {
            let failure = Failure::usage(format!("taghub {command} prints no table, so there is no csv"));
            return Err(failure.help("use --output json"));
        }
        Ok(())
    }

    /// True if the result is for a program: JSON was asked for.
    pub fn is_json(&self) -> bool {
        self.global.output == Format::Json
    }

    /// A line on standard error that helps a person: nothing without a terminal or with `--quiet`.
    pub fn hint(&self, text: &str) {
        if self.err.is_terminal && !self.global.quiet {
            self.say(&self.err.toned(Tone::Faint, text));
        }
    }

    /// A line on standard error about something that a reader must know.
    pub fn say(&self, text: &str) {
        // Nobody may be reading, which is no reason to stop.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Asks for a text that has to be typed in full.
    ///
    /// # Errors
    /// Without a terminal, and if something else was typed.
    pub async fn confirm(&self, question: &str, expected: &str, without_terminal: &str) -> Result<(), Failure> {
        if !self.can_ask {
            return Err(Failure::usage("no terminal to ask on").help(without_terminal));
        }
        let mut err = io::stderr();
        write!(err, "{question} Type {expected} to go on: ")?;
        err.flush()?;
        // Beside everything else, so that Ctrl-C ends the program here too.
        let answer = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            io::stdin().read_line(&mut answer).map(|_| answer)
        });
        let answer = answer.await.map_err(io::Error::other)??;
        if answer.trim() == expected {
            return Ok(());
        }
        Err(Failure::usage("not confirmed; nothing was started or changed"))
    }
}
