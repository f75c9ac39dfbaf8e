//! The program `taghub`.

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::SystemTime;

use clap::Parser;
use taghub::app::App;
use taghub::cli::{self, Cli};
use taghub::failure::{Exit, Failure};
use taghub::terminal::Stream;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Cli { global, command } = Cli::parse();
    let stream = |size| Stream::new(size, global.color, environment);
    let app = App {
        out: stream(size(std::io::stdout())),
        err: stream(size(std::io::stderr())),
        can_ask: !global.no_input && std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
        lookup: environment,
        clock: now,
        global,
    };
    let timeout = app.global.timeout;
    let work = Box::pin(cli::run(&app, command));
    let result = tokio::select! {
        result = work => result,
        () = over(timeout) => {
            let message = "--timeout is over; the work in AWS continues";
            Err(Failure::new(Exit::Timeout, "timeout", message))
        }
        _ = tokio::signal::ctrl_c() => {
            if app.err.is_terminal {
                app.say("");
            }
            end(Exit::Interrupted)
        }
    };
    let exit = result.unwrap_or_else(|failure| {
        if failure.exit != Exit::Done {
            app.say(&if app.is_json() { failure.to_json() } else { failure.to_text() });
        }
        failure.exit
    });
    end(exit)
}

/// Ends at once: the runtime would wait for a question that nobody answers any more.
fn end(exit: Exit) -> ! {
    std::process::exit(i32::from(exit.code()))
}

#[expect(clippy::disallowed_methods, reason = "this is where the environment is read")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[expect(clippy::disallowed_methods, reason = "this is where the clock is read")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// The size of a terminal in characters; nothing for what is none.
fn size(stream: impl AsFd + IsTerminal) -> Option<(usize, usize)> {
    let size = stream.is_terminal().then(|| rustix::termios::tcgetwinsize(stream))?;
    Some(size.map_or((0, 0), |size| (usize::from(size.ws_col), usize::from(size.ws_row))))
}

async fn over(timeout: Option<std::time::Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}
