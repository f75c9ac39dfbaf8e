//! One line that says what is being waited for, while there is nothing else to show.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::app::App;
use crate::terminal::{Stream, fit};

/// Whoever waits for less than this sees nothing.
const AFTER: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(100);

/// A line on standard error, from its making to its end. Nothing without a terminal that can draw it, or with `--quiet`.
#[derive(Debug)]
pub struct Progress {
    text: Arc<Mutex<String>>,
    task: Option<JoinHandle<()>>,
}

impl Progress {
    /// Begins to wait for something.
    pub fn new(app: &App, text: &str) -> Self {
        let shared = Arc::new(Mutex::new(text.to_owned()));
        let shown = app.err.redraws && !app.global.quiet && !app.global.verbose;
        let frames: &'static [&'static str] = if app.err.utf8 {
            &["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"]
        } else {
            &["-", "\\", "|", "/"]
        };
        let task = shown.then(|| tokio::spawn(draw(shared.clone(), frames, app.err.width)));
        Self { text: shared, task }
    }

    /// Says something else from now on.
    pub fn set(&self, text: &str) {
        text.clone_into(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes the line away for what is printed next; it comes back by itself.
    pub fn make_room(&self) {
        if self.task.is_some() {
            erase();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
            erase();
        }
    }
}

async fn draw(text: Arc<Mutex<String>>, frames: &'static [&'static str], width: usize) {
    tokio::time::sleep(AFTER).await;
    for frame in frames.iter().cycle() {
        let line = format!("{frame} {}", text.lock().unwrap_or_else(PoisonError::into_inner));
        // The last column stays free: the cursor stands behind the text.
        rewrite(&fit(&line, width.saturating_sub(1)));
        tokio::time::sleep(TICK).await;
    }
}

fn erase() {
    rewrite("");
}

/// Puts a text in the place of the line.
fn rewrite(text: &str) {
    let mut err = io::stderr().lock();
    let _ = write!(err, "\r\u{1b}[K{text}").and_then(|()| err.flush());
}

/// Lines on standard error that are drawn again in their place, never on another screen. The last state stays.
#[derive(Debug, Default)]
pub struct Screen {
    lines: usize,
}

impl Screen {
    /// Draws the lines in the place of those before: at most as many as the terminal has, and none that it would wrap.
    pub fn draw<'a>(&mut self, lines: impl Iterator<Item = &'a str>, stream: &Stream) {
        let mut text = if self.lines > 0 { format!("\u{1b}[{}A", self.lines) } else { String::new() };
        self.lines = 0;
        for line in lines.take(stream.height.saturating_sub(1)) {
            text.push_str(&format!("\r\u{1b}[K{}\n", fit(line, stream.width)));
            self.lines += 1;
        }
        text.push_str("\u{1b}[J");
        let mut err = io::stderr().lock();
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}
