//! Which stream a command is about.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::settings::{Settings, StreamSettings};
use crate::stream::connection::Connection;
use protocol::diagnostic::Diagnostic;

/// Connects to the stream that the settings name.
pub(crate) async fn connect(settings: &Settings) -> Result<(&StreamSettings, Connection)> {
    let Some(stream) = settings.stream() else {
        bail!(Diagnostic::new(
            "there is no stream: the key `stream.url` is not set",
            "run it with the configuration of a server in scale-out mode, or set TRTC_STREAM_URL"
        ));
    };
    let ack_wait = Duration::from_millis(settings.ingest.ack_deadline_ms);
    Ok((stream, Connection::open(stream, ack_wait, false).await?))
}
