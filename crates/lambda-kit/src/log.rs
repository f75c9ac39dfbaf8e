//! The form of a log line, and what may become one.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// Sets the log of a function up: JSON lines on standard output.
///
/// `name` is the crate of the function, `level` what Lambda has in `AWS_LAMBDA_LOG_LEVEL`.
///
/// Each line has `level` and `timestamp`. Lambda takes a line without one of them for `INFO`, whatever it is, and drops
/// it where the function's level is higher:
/// <https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html>. The set-up of
/// `lambda_runtime` writes no time.
pub fn init_log(name: &str, level: Option<&str>) {
    // It fails where a log is set up already, and then there is one.
    let _ = tracing::subscriber::set_global_default(subscriber(name, level, std::io::stdout));
}

fn subscriber<W>(name: &str, level: Option<&str>, writer: W) -> impl tracing::Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt().json().with_target(false).with_max_level(LevelFilter::TRACE);
    lines.with_writer(writer).finish().with(filter(name, level))
}

/// Lets through what the function says at `level` (`INFO` where it is absent or no level), and what the crates below it
/// say at `INFO` at the most.
///
/// At `DEBUG` and `TRACE` the AWS SDK writes requests and answers down as they are, and those hold tag values and
/// activation codes.
fn filter(name: &str, level: Option<&str>) -> Targets {
    let level = level.and_then(|level| level.parse().ok()).unwrap_or(LevelFilter::INFO);
    Targets::new()
        .with_default(level.min(LevelFilter::INFO))
        .with_target(name.replace('-', "_"), level)
        .with_target("lambda_runtime", level.min(LevelFilter::DEBUG))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::Level;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_level_and_the_time_that_lambda_filters_by() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber("lambda-kit", Some("WARN"), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not this");
            tracing::warn!(agency = "222222222222", "node rejected");
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["fields"]["message"], "node rejected");
        assert_eq!(line["fields"]["agency"], "222222222222");
        let time = line["timestamp"].as_str().unwrap();
        assert!(time.len() > 20 && time.contains('T') && time.ends_with('Z'), "{time}");
    }

    #[test]
    fn the_sdk_never_writes_what_it_sends_and_gets() {
        for level in [None, Some("TRACE"), Some("debug"), Some("INFO"), Some("WARN"), Some("nonsense")] {
            let filter = filter("tags-collector", level);
            for target in ["aws_smithy_runtime::client::orchestrator", "aws_sdk_ssm", "hyper_util", "rustls"] {
                assert!(!filter.would_enable(target, &Level::DEBUG), "{level:?} {target}");
                assert!(!filter.would_enable(target, &Level::TRACE), "{level:?} {target}");
            }
        }
    }

    #[test]
    fn the_function_itself_is_heard_as_asked() {
        let is_heard = |level, target, at| filter("tags-collector", level).would_enable(target, &at);
        assert!(is_heard(Some("TRACE"), "tags_collector::sweep", Level::TRACE));
        assert!(is_heard(None, "tags_collector::sweep", Level::INFO));
        assert!(!is_heard(None, "tags_collector::sweep", Level::DEBUG));
        assert!(!is_heard(Some("ERROR"), "aws_sdk_ssm", Level::WARN));
    }
}
