//! Events of a store that this machine reaches.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::cli::listen::source::{Arrivals, Bodies, PAGE_EVENTS, Page, Source, SourceError};
use crate::cli::output::say;
use crate::forwarding::rows;
use crate::store::{
    EventFilter, FeedLimit, FeedRead, Order, PAGE_BYTES_MAX, Position, Store, StoreError,
};
use forward::event_columns::EventColumns;
use protocol::UnixMillis;

/// How long to wait before the store is asked again whether there is something new.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

pub(super) struct StoreSource {
    pub(super) store: Arc<dyn Store>,
    /// For people.
    pub(super) url: String,
}

impl StoreSource {
    fn away(&self, error: &StoreError) -> SourceError {
        SourceError::Away(format!("read the store {}: {error}", self.url))
    }
}

#[async_trait]
impl Source for StoreSource {
    fn name(&self) -> &str {
        &self.url
    }

    fn hint(&self) -> &'static str {
        "`--store` names another store, and `--from` a server to read from"
    }

    async fn end(&self) -> Result<Position, SourceError> {
        let span = self.store.feed_span().await;
        Ok(span.map_err(|error| self.away(&error))?.end)
    }

    /// Bodies come with each event: a store gives none without.
    async fn page(
        &self,
        mut after: Position,
        wait: Duration,
        _bodies: Bodies,
    ) -> Result<Page, SourceError> {
        let limit = FeedLimit { events: PAGE_EVENTS, bytes: PAGE_BYTES_MAX };
        let until = Instant::now() + wait;
        loop {
            let read = self.store.events_after(after, limit).await;
            let page = match read.map_err(|error| self.away(&error))? {
                FeedRead::Page(page) => page,
                FeedRead::Outside(span) if after > span.end => {
                    return Err(SourceError::Outside(format!(
                        "position {after} is none of {}, whose latest is {}: was it replaced by an older copy?",
                        self.url, span.end
                    )));
                }
                FeedRead::Outside(span) => {
                    return Err(SourceError::Outside(format!(
                        "position {after} is no longer kept; the oldest is {}",
                        span.start
                    )));
                }
            };
            for (_, id) in &page.unreadable {
                say(&format!("event {id} cannot be read, and is not sent"));
            }
            if !page.events.is_empty() || !page.is_end || Instant::now() >= until {
                let events = page.events.into_iter();
                let events = events.map(|(position, event)| rows::columns(position, event));
                return Ok(Page { events: events.collect(), next: page.next, is_end: page.is_end });
            }
            after = page.next;
            sleep(LOOK_INTERVAL).await;
        }
    }

    async fn arrivals(
        &self,
        since: UnixMillis,
        place: Option<&str>,
    ) -> Result<Arrivals, SourceError> {
        let place = place.map(serde_json::from_str).transpose();
        let after = place.map_err(|error| SourceError::Away(format!("a place: {error}")))?;
        let filter = EventFilter {
            received_since: Some(since),
            order: Order::Arrived { after },
            limit: PAGE_EVENTS,
            ..EventFilter::default()
        };
        let page = self.store.event_page(&filter).await.map_err(|error| self.away(&error))?;
        let next = page.next.map(|place| serde_json::to_string(&place)).transpose();
        let next = next.map_err(|error| SourceError::Away(format!("a place: {error}")))?;
        let events = page.events.into_iter();
        let events = events.map(|event| rows::columns(Position::default(), event));
        Ok(Arrivals { events: events.collect(), next })
    }

    async fn event(&self, id: Uuid) -> Result<Option<EventColumns>, SourceError> {
        let event = self.store.event(id).await.map_err(|error| self.away(&error))?;
        Ok(event.map(|event| rows::columns(Position::default(), event)))
    }
}
