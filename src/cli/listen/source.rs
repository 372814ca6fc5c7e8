//! Where events come from.

use std::time::Duration;

use anyhow::anyhow;
use async_trait::async_trait;
use uuid::Uuid;

use crate::store::Position;
use forward::event_columns::EventColumns;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How many events are asked for at once.
pub(super) const PAGE_EVENTS: u32 = 200;

/// Events in the order of storing.
pub(super) struct Page {
    pub(super) events: Vec<EventColumns>,
    /// The position after which to go on.
    pub(super) next: Position,
    /// Whether these are all there are by now.
    pub(super) is_end: bool,
}

/// Events in the order of their arrival. They have no positions.
pub(super) struct Arrivals {
    pub(super) events: Vec<EventColumns>,
    /// Where the next page begins; absent at the end.
    pub(super) next: Option<String>,
}

/// Whether bodies are wanted, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bodies {
    Included,
    /// Events are only counted.
    Omitted,
}

/// A store, or the API of a server.
#[async_trait]
pub(super) trait Source: Send + Sync {
    /// How it is called, without a secret.
    fn name(&self) -> &str;

    /// What to look at where it cannot be reached at all.
    fn hint(&self) -> &'static str;

    /// The position after which new events will be.
    async fn end(&self) -> Result<Position, SourceError>;

    /// The events after a position; where there is none yet, waits for one so long at most.
    async fn page(
        &self,
        after: Position,
        wait: Duration,
        bodies: Bodies,
    ) -> Result<Page, SourceError>;

    /// The events that arrived since then, from the place on where the page before ended.
    async fn arrivals(
        &self,
        since: UnixMillis,
        place: Option<&str>,
    ) -> Result<Arrivals, SourceError>;

    /// One event.
    async fn event(&self, id: Uuid) -> Result<Option<EventColumns>, SourceError>;
}

/// Why there are no events.
#[derive(Debug)]
pub(super) enum SourceError {
    /// It cannot be reached or does not answer as it should: perhaps later.
    Away(String),
    /// Nobody knows what followed the position.
    Outside(String),
    /// Asking again is of no use.
    Final(Diagnostic),
}

impl SourceError {
    /// As what the command fails with where nothing was ever heard of the source.
    pub(super) fn at_first(self, source: &dyn Source) -> anyhow::Error {
        match self {
            Self::Away(problem) => anyhow!(Diagnostic::new(problem, source.hint())),
            Self::Outside(problem) => anyhow!(problem),
            Self::Final(diagnostic) => anyhow!(diagnostic),
        }
    }
}
