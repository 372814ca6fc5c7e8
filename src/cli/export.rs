use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::value::RawValue;

use super::lists::{app, moment};
use super::{ConfigArgs, StoreArgs};
use crate::clock::Clock;
use crate::export;
use crate::store::{
    self, Anomaly, AnomalyFilter, Call, CallFilter, EventFilter, Order, Room, RoomFilter, Store,
    StoredEvent,
};

/// How many rows are read at once.
const PAGE_ROWS: u32 = 500;

/// Write a whole list to standard output.
///
/// The latest first, page by page, so that a list of any length takes little memory. Cells of CSV that a spreadsheet
/// would take for a formula begin with a '.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Which list
    #[arg(value_enum)]
    list: List,
    /// In which form
    #[arg(long, value_enum, default_value_t = Form::Csv)]
    format: Form,
    /// Of this app
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// From this time on: 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum List {
    Events,
    Calls,
    /// Each life of each conference and live room
    Rooms,
    Anomalies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Csv,
    /// One JSON object a line
    Ndjson,
}

impl Export {
    pub(super) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let store = store::open(&settings.store_options().to_read()).await?;
        let url = store::display_url(&settings.store.url);
        self.write(&store, clock).await.with_context(|| format!("export from the store {url}"))
    }

    async fn write(&self, store: &Arc<dyn Store>, clock: &Clock) -> Result<()> {
        let now = clock.now();
        let app = app(self.app.as_deref())?;
        let since = moment(self.since.as_deref(), now)?;
        let until = moment(self.until.as_deref(), now)?;
        let limit = PAGE_ROWS;
        let mut out = Out { form: self.format, begun: false };
        match self.list {
            List::Events => {
                let mut filter = EventFilter { app, since, until, limit, ..EventFilter::default() };
                loop {
                    let rows = store.events(&filter).await?;
                    let last = rows.last().map(|row| (row.event_time, row.id));
                    filter.order = Order::Newest { after: last };
                    if out.page::<StoredEvent>(&rows)? {
                        return Ok(());
                    }
                }
            }
            List::Calls => {
                let mut filter = CallFilter { app, since, until, limit, ..CallFilter::default() };
                loop {
                    let rows = store.calls(&filter).await?;
                    let place = |row: &Call| (row.first_at, row.sdk_app_id, row.call_id.clone());
                    filter.after = rows.last().map(place);
                    if out.page::<Call>(&rows)? {
                        return Ok(());
                    }
                }
            }
            List::Rooms => {
                let mut filter = RoomFilter { app, since, until, limit, ..RoomFilter::default() };
                loop {
                    let rows = store.rooms(&filter).await?;
                    let place = |row: &Room| {
                        (row.started_at, row.sdk_app_id, row.room_id.clone(), row.life)
                    };
                    filter.after = rows.last().map(place);
                    if out.page::<Room>(&rows)? {
                        return Ok(());
                    }
                }
            }
            List::Anomalies => {
                let mut filter =
                    AnomalyFilter { app, since, until, limit, ..AnomalyFilter::default() };
                loop {
                    let rows = store.anomalies(&filter).await?;
                    let place = |row: &Anomaly| {
                        let (kind, subject) = (row.kind.clone(), row.subject.clone());
                        (row.happened_at, row.sdk_app_id, kind, subject, row.life)
                    };
                    filter.after = rows.last().map(place);
                    if out.page::<Anomaly>(&rows)? {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Where the list goes.
struct Out {
    form: Form,
    begun: bool,
}

impl Out {
    /// Writes a page; whether it was the last.
    fn page<T: Serialize>(&mut self, rows: &[T]) -> Result<bool> {
        let bytes = match self.form {
            Form::Ndjson => export::ndjson(rows)?,
            Form::Csv if rows.is_empty() => Vec::new(),
            Form::Csv => export::csv(&columns(rows)?, rows, !self.begun)?,
        };
        self.begun = true;
        let mut out = io::stdout().lock();
        match out.write_all(&bytes).and_then(|()| out.flush()) {
            // A reader that has had enough, such as `head`, ends the program quietly.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            done => done.context("write to stdout")?,
        }
        Ok(rows.len() < PAGE_ROWS as usize)
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
