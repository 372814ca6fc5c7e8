use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::args::{AppArgs, ConfigArgs, StoreArgs};
use crate::cli::output;
use crate::cli::traffic::confirmation::Confirmation;
use crate::cli::traffic::json_path;
use crate::cli::traffic::target;
use crate::cli::traffic::target::TargetArgs;
use crate::clock::Clock;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use protocol::{AppId, Command, Delivery, Dialect};

/// Post sample events, or files, to a server
///
/// Samples have made-up values in the documented shapes. Their time is set to now,
/// so each is a new event; with `--as-is` it is kept, so that sending one again is
/// a duplicate. As the server answers OK to every request, the command then checks
/// what was stored, in the configured server's metrics or store. Exits with 1 when
/// something was not stored.
///
/// Examples:
///   trtc-callbacks send --all
///   trtc-callbacks send Call.CallbackAfterEndCall --set CallRecord.CallResult=Reject
///   trtc-callbacks send my-event.json --to https://rtc.example.com/callback --token secret
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Send {
    /// Commands (`trtc-callbacks commands` lists them), or files with one event each
    #[arg(required_unless_present = "all")]
    what: Vec<String>,
    /// One sample of every command
    #[arg(long, conflicts_with = "what")]
    all: bool,
    /// Set a value in the body: its path, and JSON or else plain text
    #[arg(long, value_name = "PATH=VALUE")]
    set: Vec<String>,
    /// Keep the sample's own time
    #[arg(long)]
    as_is: bool,
    /// How many times to send each
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    apps: AppArgs,
}

impl Send {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), Some(&self.apps))?;
        let app = target::app(&settings)?;
        let changes: Vec<(&str, Value)> =
            self.set.iter().map(|set| change(set)).collect::<Result<_>>()?;
        let chosen: Vec<(String, Delivery)> = if self.all {
            Command::all().map(|command| sample(command, app)).collect()
        } else {
            self.what.iter().map(|what| choose(what, app)).collect::<Result<_>>()?
        };
        let target = self.target.open(&settings, clock)?;
        let mut confirmation = Confirmation::begin(&settings, &target, clock).await;
        let mut last = UnixMillis::default();
        for _ in 0..self.count {
            for (name, delivery) in &chosen {
                // No two events of one run share a time, or the second would be a repeat of the first.
                last = clock.now().max(UnixMillis(last.0 + 1));
                let time = (!self.as_is).then_some(last);
                let event =
                    edited(delivery, time, &changes).with_context(|| format!("change {name}"))?;
                target.post(&event).await.with_context(|| format!("send {name}"))?;
                confirmation.answered_ok_to(&event);
            }
        }
        output::print(&confirmation.verdict().await.into_result()?)
    }
}

fn change(set: &str) -> Result<(&str, Value)> {
    let Some((path, value)) = set.split_once('=') else {
        bail!(Diagnostic::new(
            format!("`--set {set}` has no `=`"),
            "give a path and a value, as in CallRecord.CallResult=Reject"
        ));
    };
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((path, value))
}

fn sample(command: &Command, app: AppId) -> (String, Delivery) {
    (command.name.to_owned(), Delivery::sample(command, app))
}

fn choose(what: &str, app: AppId) -> Result<(String, Delivery)> {
    if let Some(command) = Command::find(what) {
        return Ok(sample(command, app));
    }
    if !Path::new(what).is_file() {
        let score = |command: &&Command| strsim::jaro_winkler(what, command.name);
        let nearest = Command::all().max_by(|a, b| score(a).total_cmp(&score(b)));
        let nearest = nearest.map_or("", |command| command.name);
        bail!(Diagnostic::new(
            format!("`{what}` is neither a known command nor a file"),
            format!("did you mean {nearest}? `trtc-callbacks commands` lists all")
        ));
    }
    let text = std::fs::read_to_string(what).with_context(|| format!("read {what}"))?;
    let delivery = Delivery::parse(&text).map_err(|error| {
        anyhow!(Diagnostic::new(
            format!("{what}: {error}"),
            "a file has the form {\"query\": \"SdkAppid=…\", \"body\": {…}}"
        ))
    })?;
    Ok((what.to_owned(), delivery))
}

/// The delivery with its time set to `time` and the changes made. Untouched to the byte where there is nothing to change.
fn edited(
    delivery: &Delivery,
    time: Option<UnixMillis>,
    changes: &[(&str, Value)],
) -> Result<Delivery> {
    let mut edited = delivery.clone();
    let Some(json) = &delivery.body else {
        if changes.is_empty() {
            return Ok(edited);
        }
        bail!("its body is not JSON, so nothing can be set in it");
    };
    if time.is_none() && changes.is_empty() {
        return Ok(edited);
    }
    let mut body: Value = serde_json::from_str(json.get()).context("read its body")?;
    if let Some(time) = time {
        set_time(&mut body, delivery, time);
    }
    for (path, value) in changes {
        json_path::set(&mut body, path, value.clone()).map_err(anyhow::Error::msg)?;
    }
    edited.body = Some(RawValue::from_string(body.to_string())?);
    Ok(edited)
}

/// Where the RTC Engine tells when it sends an event.
const SENT_AT: [&str; 2] = ["CallbackTs", "CallbackMsTs"];

/// Sets every time that stands where the command has one, in the unit and the type it has there.
fn set_time(body: &mut Value, delivery: &Delivery, time: UnixMillis) {
    let command = match delivery.dialect {
        Dialect::Im => {
            let in_query = protocol::Query::parse(&delivery.query).command;
            let in_body = body.get("CallbackCommand").and_then(Value::as_str).map(str::to_owned);
            in_body.or(in_query).and_then(|name| Command::find(&name))
        }
        Dialect::RtcEngine => {
            let number = body.get("EventType").and_then(Value::as_i64);
            number.and_then(Command::of_event_type)
        }
    };
    let Some(command) = command else { return };
    let of_dialect: &[&str] = match delivery.dialect {
        Dialect::Im => &[],
        Dialect::RtcEngine => &SENT_AT,
    };
    for path in command.time.iter().chain(of_dialect) {
        let Some(place) = json_path::get(body, path) else { continue };
        let number = place.as_i64().or_else(|| place.as_str()?.parse().ok());
        // Below this, a number of this century is one of seconds.
        let seconds = number.is_some_and(|number| number < 100_000_000_000);
        let now = if seconds { time.as_secs() } else { time.0 };
        *place = if place.is_string() { now.to_string().into() } else { now.into() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_of_the_rtc_engine_gets_the_time() {
        let app = AppId::parse("1400000001").unwrap();
        let now = UnixMillis(1_793_534_400_123);
        let is_rtc = |command: &&Command| command.event_type.is_some();
        assert!(Command::all().filter(is_rtc).count() > 40);
        for command in Command::all().filter(is_rtc) {
            let (name, sample) = sample(command, app);
            let sent = edited(&sample, Some(now), &[]).unwrap();
            assert_eq!(sent.headers, sample.headers, "{name}");
            let event = sent.event(now).unwrap();
            // A few samples tell it in s only.
            let told = [now, UnixMillis(now.as_secs() * 1000)];
            assert!(event.timed && told.contains(&event.event_time), "{name}");
            assert_eq!(event.command, command.name);
            let body: Value = serde_json::from_slice(&sent.bytes().unwrap()).unwrap();
            let sent_at = SENT_AT.iter().find_map(|key| body[*key].as_i64());
            assert_eq!(sent_at, Some(now.0), "{name}");
        }
    }
}
