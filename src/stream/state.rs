//! How full the stream is and how far the writers are; and the removal of what was stored long ago.

use crate::settings::StreamSettings;
use crate::stream::connection::Connection;
use crate::stream::layout::CONSUMER;
use crate::stream::reader::Reader;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// From this share on stored events are removed, whatever their age.
const FULL: f64 = 0.5;

/// The stream and its writers at one moment.
#[derive(Debug, Clone)]
pub(crate) struct StreamState {
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// 0 where there is no limit.
    pub(crate) bytes_max: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// When the oldest one was published.
    pub(crate) oldest: Option<UnixMillis>,
    pub(crate) replicas: usize,
    /// Absent until a writer has begun.
    pub(crate) writers: Option<WritersState>,
}

/// How far the writers are.
#[derive(Debug, Clone)]
pub(crate) struct WritersState {
    /// Events that no writer was given yet.
    pub(crate) pending: u64,
    /// Events that were given and are not stored yet.
    pub(crate) ack_pending: u64,
    /// All up to this one is stored.
    pub(crate) floor: u64,
}

impl StreamState {
    /// How full it is, of 1.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    pub(crate) fn fill(&self) -> f64 {
        if self.bytes_max == 0 { 0.0 } else { self.bytes as f64 / self.bytes_max as f64 }
    }
}

/// Asks the stream how it is.
pub(crate) async fn look(
    connection: &Connection,
    settings: &StreamSettings,
) -> Result<StreamState, Diagnostic> {
    if let Some(trouble) = connection.trouble() {
        return Err(trouble);
    }
    let stream = connection.api.get_stream(&settings.name).await;
    let stream = stream.map_err(|error| unknown(settings, &error))?;
    let info = stream.cached_info();
    let writers = match stream.consumer_info(CONSUMER).await {
        Ok(info) => Some(WritersState {
            pending: info.num_pending,
            ack_pending: info.num_ack_pending as u64,
            floor: info.ack_floor.stream_sequence,
        }),
        Err(_) => None,
    };
    let state = &info.state;
    let millis = state.first_timestamp.unix_timestamp_nanos() / 1_000_000;
    Ok(StreamState {
        messages: state.messages,
        bytes: state.bytes,
        bytes_max: u64::try_from(info.config.max_bytes).unwrap_or(0),
        first: state.first_sequence,
        last: state.last_sequence,
        oldest: (state.messages > 0).then(|| UnixMillis(i64::try_from(millis).unwrap_or(0))),
        replicas: info.config.num_replicas,
        writers,
    })
}

/// Removes events that are stored and older than they are to be kept, or all stored ones where the stream is more than half
/// full. Returns how many.
pub(crate) async fn purge(
    connection: &Connection,
    settings: &StreamSettings,
    state: &StreamState,
    now: UnixMillis,
) -> Result<u64, Diagnostic> {
    let Some(floor) = state.writers.as_ref().map(|writers| writers.floor) else { return Ok(0) };
    let keep = i64::try_from(settings.keep().as_millis()).unwrap_or(i64::MAX);
    let expires = UnixMillis(now.0.saturating_sub(keep));
    let below = if state.fill() > FULL {
        floor + 1
    } else if state.oldest.is_some_and(|oldest| oldest < expires) {
        let (reader, first_kept) = Reader::since(connection, &settings.name, expires).await?;
        reader.close(connection).await;
        first_kept.min(floor + 1)
    } else {
        return Ok(0);
    };
    if below <= state.first {
        return Ok(0);
    }
    let stream = connection.api.get_stream(&settings.name).await;
    let stream = stream.map_err(|error| unknown(settings, &error))?;
    let purged = stream.purge().sequence(below).await;
    purged.map(|purged| purged.purged).map_err(|error| unknown(settings, &error))
}

fn unknown(settings: &StreamSettings, error: &dyn std::fmt::Display) -> Diagnostic {
    let hint = "a server creates the stream when it starts; an election takes some seconds";
    Diagnostic::new(format!("stream `{}`: {error}", settings.name), hint)
}
