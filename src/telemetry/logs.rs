//! Logs, to stderr, by way of the thread that writes it.

use std::io::IsTerminal;

use serde::Deserialize;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::stderr::LogLine;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err(format!("expected auto, json or text, found `{word}`")),
        }
    }
}

/// Whether `filter` can be read: a level such as `info`, or directives such as `info,trtc_callbacks=debug`.
///
/// # Errors
/// What is wrong with it.
pub fn check_filter(filter: &str) -> Result<(), String> {
    targets(filter).map(|_| ())
}

/// Starts logging to stderr, for the whole process. A second call changes nothing.
///
/// Nobody waits for a line to be written, and a line for which there is no room is dropped and counted. Hold a
/// [`FlushLogs`](super::FlushLogs) to the end of the process, or its last lines may be missing.
///
/// # Errors
/// When `filter` cannot be read: it is a level such as `info`, or directives such as `info,trtc_callbacks=debug`.
pub fn init_logs(format: LogFormat, filter: &str) -> Result<(), String> {
    let filter = targets(filter)?;
    let terminal = std::io::stderr().is_terminal();
    // Its own errors would be printed with `eprintln!`, which panics where stderr does not take them.
    let lines =
        tracing_subscriber::fmt::layer().with_writer(LogLine::new).log_internal_errors(false);
    let json = format == LogFormat::Json || (format == LogFormat::Auto && !terminal);
    let started = if json {
        let lines = lines.json().flatten_event(true);
        let lines = lines.with_current_span(false).with_span_list(false).with_filter(filter);
        tracing_subscriber::registry().with(lines).try_init()
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = lines.with_ansi(colours).with_filter(filter);
        tracing_subscriber::registry().with(lines).try_init()
    };
    // It only fails where the process already has a subscriber, which then is the one that was wanted.
    drop(started);
    Ok(())
}

/// The client of NATS logs each try to connect, with no throttle: what there is to say of it the forwarder says. So it is silent
/// unless the filter names it.
const SILENT: &str = "async_nats";

fn targets(filter: &str) -> Result<Targets, String> {
    let targets: Targets = filter
        .parse()
        .map_err(|error: tracing_subscriber::filter::ParseError| error.to_string())?;
    let is_named = targets.iter().any(|(target, _)| target.starts_with(SILENT));
    Ok(if is_named { targets } else { targets.with_target(SILENT, LevelFilter::OFF) })
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_client_of_nats_is_silent_unless_it_is_named() {
        let enables = |filter: &str, target: &str| {
            targets(filter).unwrap().would_enable(target, &Level::ERROR)
        };
        assert!(enables("debug", "trtc_callbacks::server"));
        assert!(!enables("debug", "async_nats::connector"));
        assert!(enables("info,async_nats=debug", "async_nats::connector"));
    }
}
