//! The stream and its consumer: how they are made, and what of existing ones is not as it should be.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};

use crate::settings::StreamSettings;
use crate::stream::connection::Connection;
use crate::stream::message::OVERHEAD_BYTES;
use protocol::diagnostic::Diagnostic;

/// How long anything stays in the stream at most.
const MAX_AGE: Duration = Duration::from_hours(72);
/// For how long a repeat is noticed.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(2);
/// The consumer that all writers share.
pub(crate) const CONSUMER: &str = "writer";
/// After so long without an acknowledgement an event is given to another writer.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// How many events writers may hold together.
pub(crate) const ACK_PENDING_MAX: i64 = 20_000;
/// Older servers lost whole streams in crashes, or skipped events.
const VERSION_MIN: (u32, u32, u32) = (2, 12, 3);

/// The stream as it is made where it is missing.
fn stream(settings: &StreamSettings) -> Config {
    Config {
        name: settings.name.clone(),
        subjects: vec![format!("{}.*", settings.subject)],
        // Not a work queue: those lost or stuck messages in several releases, and cannot be read again.
        retention: RetentionPolicy::Limits,
        // An acknowledged event must not give way to a new one.
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        max_bytes: i64::try_from(settings.max_bytes).unwrap_or(i64::MAX),
        max_messages: -1,
        max_messages_per_subject: -1,
        max_age: MAX_AGE,
        duplicate_window: DUPLICATE_WINDOW,
        description: Some("events of trtc-callbacks on their way to the store".to_owned()),
        ..Config::default()
    }
}

/// The consumer as it is made where it is missing.
pub(crate) fn consumer() -> pull::Config {
    pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        deliver_policy: DeliverPolicy::All,
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_ack_pending: ACK_PENDING_MAX,
        // An event is never given up: a refused one is kept as a dead letter by the writer.
        max_deliver: -1,
        ..pull::Config::default()
    }
}

/// Makes the stream where it is missing, and returns what of it could be better. An error where it must not be used: an
/// acknowledgement of it would be worth nothing, or never come.
pub(crate) async fn prepare(
    connection: &Connection,
    settings: &StreamSettings,
    body_bytes_max: usize,
) -> Result<Vec<Diagnostic>, Diagnostic> {
    if let Some(trouble) = connection.trouble() {
        return Err(trouble);
    }
    let made = connection.api.get_or_create_stream(stream(settings)).await;
    let made = made.map_err(|error| not_made(settings, &error))?;
    let (version, max_payload) = connection.server();
    judge(made.cached_info(), settings, body_bytes_max, &version, max_payload)
}

/// The same without making anything; `None` where there is no stream yet.
pub(crate) async fn examine(
    connection: &Connection,
    settings: &StreamSettings,
    body_bytes_max: usize,
) -> Result<Option<Vec<Diagnostic>>, Diagnostic> {
    let stream = match connection.api.get_stream(&settings.name).await {
        Ok(stream) => stream,
        Err(error) => {
            let hint = "check the rights of this user, and that the servers have elected a leader and their disks have room";
            return match error.kind() {
                GetStreamErrorKind::JetStream(found)
                    if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(Diagnostic::new(format!("stream `{}`: {error}", settings.name), hint)),
            };
        }
    };
    // There is none before a writer has begun.
    if let Ok(consumer) = stream.consumer_info(CONSUMER).await {
        judge_consumer(&consumer)?;
    }
    let (version, max_payload) = connection.server();
    judge(stream.cached_info(), settings, body_bytes_max, &version, max_payload).map(Some)
}

fn not_made(settings: &StreamSettings, error: &CreateStreamError) -> Diagnostic {
    let hint = match error.kind() {
        CreateStreamErrorKind::JetStream(error) => match error.error_code() {
            ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED => {
                "a single server holds one copy: set `stream.replicas` to 1, or run three servers"
            }
            ErrorCode::STORAGE_RESOURCES_EXCEEDED | ErrorCode::CLUSTER_NO_PEERS => {
                "the servers reserve `stream.max_bytes`: lower it, or raise their `max_file_store`"
            }
            _ => "check the rights of this user, and the log of the servers",
        },
        _ => "check that the servers run with JetStream (`-js`) and have elected a leader",
    };
    Diagnostic::new(format!("stream `{}`: {error}", settings.name), hint)
}

fn wrong(settings: &StreamSettings, what: &str, hint: &str) -> Diagnostic {
    Diagnostic::new(format!("stream `{}` {what}", settings.name), hint)
}

/// An error where the stream must not be used.
fn refuse(config: &Config, settings: &StreamSettings) -> Result<(), Diagnostic> {
    let wrong = |what: &str, hint: &str| wrong(settings, what, hint);
    if config.no_ack {
        let hint = "set `no_ack` to false (`nats stream edit`)";
        return Err(wrong("acknowledges nothing", hint));
    }
    if config.discard == DiscardPolicy::Old {
        let hint = "set its discard policy to new (`nats stream edit --discard new`)";
        return Err(wrong("deletes its oldest events when it is full, stored or not", hint));
    }
    if config.max_messages_per_subject > 0 && !config.discard_new_per_subject {
        let hint =
            "set `max_msgs_per_subject` to -1 (`nats stream edit --max-msgs-per-subject=-1`)";
        return Err(wrong("deletes the oldest event of a subject for a new one", hint));
    }
    if config.storage != StorageType::File {
        return Err(wrong("is in memory", "make it anew with file storage"));
    }
    if config.retention != RetentionPolicy::Limits {
        return Err(wrong("is no stream of limits", "make it anew with limits retention"));
    }
    let subject = format!("{}.*", settings.subject);
    if !config
        .subjects
        .iter()
        .any(|taken| *taken == subject || *taken == format!("{}.>", settings.subject))
    {
        let hint = format!("add `{subject}` to its subjects, or correct `stream.subject`");
        return Err(wrong(&format!("does not take `{subject}`"), &hint));
    }
    Ok(())
}

/// What of the stream is not as it should be; an error where it must not be used.
fn judge(
    info: &Info,
    settings: &StreamSettings,
    body_bytes_max: usize,
    version: &str,
    max_payload: usize,
) -> Result<Vec<Diagnostic>, Diagnostic> {
    let config = &info.config;
    refuse(config, settings)?;
    let wrong = |what: &str, hint: &str| wrong(settings, what, hint);
    let mut found = Vec::new();
    if config.num_replicas < settings.replicas {
        let text = format!(
            "has {} replicas, and `stream.replicas` is {}",
            config.num_replicas, settings.replicas
        );
        found.push(wrong(&text, "`nats stream edit --replicas` changes it"));
    }
    if config.num_replicas < 3 {
        let hint = "use three servers in three zones: with fewer, one lost disk loses events that were answered OK";
        found.push(wrong(&format!("has {} replicas", config.num_replicas), hint));
    }
    if config.max_bytes <= 0 {
        found.push(wrong("has no limit", "set `max_bytes`, or it fills the disks of the servers"));
    }
    if config.max_age != Duration::ZERO && config.max_age < settings.keep() {
        found.push(wrong("deletes events before `stream.keep_h`", "raise its `max_age` to 72 h"));
    }
    if config.duplicate_window < DUPLICATE_WINDOW {
        let hint = "set its duplicate window to 2 min: shorter ones only cost work, since the store knows repeats";
        found.push(wrong("forgets ids early", hint));
    }
    let largest = body_bytes_max + OVERHEAD_BYTES;
    let message_max = usize::try_from(config.max_message_size).unwrap_or(usize::MAX);
    if message_max != 0 && message_max < largest {
        let hint =
            format!("set its `max_msg_size` to {largest} or -1, or lower `server.body_bytes_max`");
        found.push(wrong("refuses large bodies", &hint));
    }
    if max_payload < largest {
        let problem = format!("the servers of NATS take {max_payload} bytes at most");
        let hint =
            format!("set their `max_payload` to {largest}, or lower `server.body_bytes_max`");
        found.push(Diagnostic::new(problem, hint));
    }
    if is_old(version) {
        let (major, minor, patch) = VERSION_MIN;
        let problem = format!("the server of NATS is version {version}");
        let hint = format!(
            "use {major}.{minor}.{patch} or newer: older ones lost events in crashes and elections"
        );
        found.push(Diagnostic::new(problem, hint));
    }
    Ok(found)
}

/// Whether the consumer of the writers gives them each event until it is stored.
pub(crate) fn judge_consumer(info: &consumer::Info) -> Result<(), Diagnostic> {
    let config = &info.config;
    let is_filtered = !config.filter_subject.is_empty() || !config.filter_subjects.is_empty();
    let found = if config.ack_policy != AckPolicy::Explicit {
        "does not wait for the acknowledgement of each event".to_owned()
    } else if config.max_deliver > 0 {
        format!("gives an event up after {} deliveries", config.max_deliver)
    } else if is_filtered {
        "reads some subjects only".to_owned()
    } else if config.headers_only {
        "gives no bodies".to_owned()
    } else {
        return Ok(());
    };
    let name = &info.stream_name;
    let hint = format!(
        "delete it (`nats consumer rm {name} {CONSUMER}`): a writer makes it anew, and stores nothing twice"
    );
    Err(Diagnostic::new(format!("consumer `{CONSUMER}` of stream `{name}` {found}"), hint))
}

fn is_old(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    (part(), part(), part()) < VERSION_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        for (version, old) in
            [("2.9.10", true), ("2.12.2", true), ("2.12.3", false), ("2.13.0-beta", false)]
        {
            assert_eq!(is_old(version), old, "{version}");
        }
    }
}
