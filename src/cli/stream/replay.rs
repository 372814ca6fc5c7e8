use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use tokio::sync::oneshot;

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::output::{self, say};
use crate::cli::stream::place::connect;
use crate::clock::Clock;
use crate::ingest::batch_writer::{BatchWriter, Ticket};
use crate::ingest::breaker::BreakerTexts;
use crate::store;
use crate::stream::reader::{Delivered, Reader};
use crate::stream::state::look;
use crate::telemetry::Metrics;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use receiver::Outcome;

/// How many events are read and stored at once.
const ROWS: usize = 500;
/// The pause after which the stream is asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How often in a row nothing may come before this gives up.
const EMPTY_MAX: u32 = 10;

/// Store the events of the stream again
///
/// For a database restored from a backup: give a time before the backup. Events
/// that are already stored do not change. Servers may run meanwhile.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ReplayStream {
    /// Events that entered the stream since then: a time, or an age such as 24h
    #[arg(long, value_name = "TIME")]
    since: String,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

#[derive(Debug, Default)]
struct Tally {
    new: u64,
    known: u64,
    dead: u64,
    unreadable: u64,
}

impl ReplayStream {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let Some(since) = UnixMillis::parse(&self.since, clock.now()) else {
            bail!(Diagnostic::new(
                format!("`--since {}` is no time", self.since),
                "give a span such as 24h, or a time such as 2026-11-01T12:00:00Z"
            ));
        };
        let (stream, connection) = connect(&settings).await?;
        let last = look(&connection, stream).await?.last;
        let store = store::open(&settings.store_options()).await?;
        store.migrate().await.context("migrate the store")?;
        let texts = BreakerTexts {
            opens: "the store does not take events",
            closes: "the store takes events",
        };
        let writer = BatchWriter::on_store(&settings.ingest, &store, texts, clock, &Metrics::new());
        writer.breaker.release();
        let (mut reader, mut next) = Reader::since(&connection, &stream.name, since).await?;
        let (mut tally, mut empty, mut given) = (Tally::default(), 0, 0);
        while next <= last {
            let fetched = reader.fetch(ROWS).await?;
            let (rows, begun) = (fetched.len(), given);
            let delivered = in_order(fetched, &mut given);
            let is_whole = rows > 0 && given - begun == rows as u64;
            if let Some(end) = delivered.last().map(|one| one.message.sequence) {
                (empty, next) = (0, end + 1);
                tally.store(&writer, delivered).await?;
            } else {
                empty += 1;
                if empty >= EMPTY_MAX {
                    bail!(Diagnostic::new(
                        format!(
                            "the stream gives nothing from {next} on, and its last event is {last}"
                        ),
                        "run it again: what is stored already is not stored twice"
                    ));
                }
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            if !is_whole {
                // The server counts as read what a connection that broke did not bring.
                reader = Reader::from(&connection, &stream.name, next).await?;
                given = 0;
            }
        }
        reader.close(&connection).await;
        store.close().await;
        let Tally { new, known, dead, unreadable } = tally;
        if dead > 0 {
            say(&format!("{dead} events were refused and are in dead_letter_events"));
        }
        if unreadable > 0 {
            say(&format!("{unreadable} messages are no records of events and were left out"));
        }
        output::print(&format!("{new} events stored, {known} were stored already\n"))
    }
}

/// What follows without a gap on what the reader has `given`, which is counted on.
fn in_order(mut fetched: Vec<Delivered>, given: &mut u64) -> Vec<Delivered> {
    let follow = fetched.iter().zip(*given + 1..).take_while(|(one, at)| one.message.given == *at);
    let rows = follow.count();
    fetched.truncate(rows);
    *given += rows as u64;
    fetched
}

impl Tally {
    async fn store(&mut self, writer: &BatchWriter, delivered: Vec<Delivered>) -> Result<()> {
        let (mut tickets, mut waiting) = (Vec::new(), Vec::new());
        for one in delivered {
            let Ok(event) = one.event else {
                self.unreadable += 1;
                continue;
            };
            let (answer, outcome) = oneshot::channel();
            let event = Arc::new(event);
            tickets.push(Ticket { event, changes: None, bypass_breaker: true, answer });
            waiting.push(outcome);
        }
        writer.write_once(tickets).await;
        for outcome in waiting {
            match outcome.await.context("an event was not stored")? {
                Ok(Outcome::Duplicate) => self.known += 1,
                Ok(Outcome::DeadLetter) => self.dead += 1,
                Ok(_) => self.new += 1,
                Err(reason) => bail!(Diagnostic::new(
                    format!("the store did not take an event: {reason}"),
                    "run it again once it does: what is stored already is not stored twice"
                )),
            }
        }
        Ok(())
    }
}
