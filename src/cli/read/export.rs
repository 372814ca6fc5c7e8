use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::output;
use crate::cli::read::filter_args::FilterArgs;
use crate::cli::read::lists::Source;
use crate::clock::Clock;
use crate::export;
use crate::store::{
    AnomalyFilter, CallFilter, EventFilter, Filter, List, LiveSessions, RecordingFilter,
    RoomFilter, RtcRoomFilter, RtcTaskFilter,
};
use protocol::UnixMillis;

/// How many rows are read at once.
const PAGE_ROWS: u32 = 500;

/// Export a complete list to standard output.
///
/// Newest first, read page by page, so that memory stays small for any length. CSV cells that a spreadsheet would take for
/// a formula are prefixed with a '.
#[derive(Debug, Args)]
pub(crate) struct Export {
    #[command(subcommand)]
    list: ExportList,
}

#[derive(Debug, Subcommand)]
enum ExportList {
    /// Events; in NDJSON with their bodies, so that `replay` reads them
    Events(ListExport<EventFilter>),
    /// Calls
    Calls(ListExport<CallFilter>),
    /// Each session of each conference and live room
    Rooms(ListExport<RoomFilter>),
    /// Each session of each live room, with its viewers, gifts and battles
    #[command(name = "lives")]
    LiveSessions(ListExport<LiveSessions>),
    /// Each session of each room of the RTC Engine
    RtcRooms(ListExport<RtcRoomFilter>),
    /// Recordings, with their files
    Recordings(ListExport<RecordingFilter>),
    /// Cloud tasks of the RTC Engine: relay, ingest, AI, slicing, moderation, transcription
    RtcTasks(ListExport<RtcTaskFilter>),
    /// Detected anomalies, such as calls without an end
    Anomalies(ListExport<AnomalyFilter>),
}

/// Which rows, in which form, and of which store.
#[derive(Debug, Args)]
struct ListExport<F: Filter> {
    #[command(flatten)]
    which: FilterArgs<F>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    #[command(flatten)]
    source: Source,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    /// One JSON object per line
    Ndjson,
}

impl Export {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let now = clock.now();
        match self.list {
            ExportList::Events(list) => list.write(now).await,
            ExportList::Calls(list) => list.write(now).await,
            ExportList::Rooms(list) => list.write(now).await,
            ExportList::LiveSessions(list) => list.write(now).await,
            ExportList::RtcRooms(list) => list.write(now).await,
            ExportList::Recordings(list) => list.write(now).await,
            ExportList::RtcTasks(list) => list.write(now).await,
            ExportList::Anomalies(list) => list.write(now).await,
        }
    }
}

impl<F: Filter + Default + List<Row: Serialize>> ListExport<F> {
    async fn write(self, now: UnixMillis) -> Result<()> {
        let (list, opened) = (self.which.filter(now)?, self.source.open().await?);
        let mut out = ListWriter { format: self.format, begun: false };
        let mut after = None;
        loop {
            let (rows, end) = opened.read(list.part(&*opened.store, (after, PAGE_ROWS))).await?;
            out.write(&rows)?;
            if end.is_none() {
                return Ok(());
            }
            after = end;
        }
    }
}

/// Where the list goes.
struct ListWriter {
    format: Format,
    begun: bool,
}

impl ListWriter {
    fn write<T: Serialize>(&mut self, rows: &[T]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let bytes = match self.format {
            Format::Ndjson => export::ndjson(rows)?,
            Format::Csv => export::csv(&columns(rows)?, rows, !self.begun)?,
        };
        self.begun = true;
        let text = String::from_utf8(bytes).context("write a list")?;
        match self.format {
            Format::Ndjson => output::print_json(&text),
            Format::Csv => output::print(&text),
        }
    }
}

/// The columns of a table: the fields of its rows, the body of an event aside, which has a form of its own each time.
fn columns<T: Serialize>(rows: &[T]) -> Result<Vec<String>> {
    let Some(row) = rows.first() else { return Ok(Vec::new()) };
    let text = serde_json::to_string(row)?;
    let fields: std::collections::BTreeMap<String, &RawValue> = serde_json::from_str(&text)?;
    let order = |name: &String| text.find(&format!("\"{name}\":"));
    let bodies = ["payload", "body_text", "body_base64"];
    let mut names: Vec<_> =
        fields.into_keys().filter(|name| !bodies.contains(&name.as_str())).collect();
    names.sort_by_key(order);
    Ok(names)
}
