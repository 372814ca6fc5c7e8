//! Events in the order of storing, for readers that must miss none.

use std::time::Duration;

use async_trait::async_trait;
use axum::response::Response;
use tokio::time::{Instant, sleep_until};

use crate::http::api::endpoints::events::one::Event;
use crate::http::api::list::{self, Items};
use crate::http::api::params::{Form, PageRequest};
use crate::http::ops::state::Ops;
use crate::http::problem::Problem;
use crate::store::{
    Behind, ConditionKind, EventFilter, FEED_EVENTS_MAX, FeedLimit, FeedRead, List, PAGE_BYTES_MAX,
    Part, Position, Store, StoreError, filter,
};
use protocol::UnixMillis;
use protocol::diagnostic::Hint;

/// Orders of events.
const ORDERS: &[&str] = &["newest", "stored", "arrived"];
/// The longest wait for new events.
pub(crate) const WAIT_MAX: u64 = 30;

filter! {
    /// Which order, and where in it.
    #[derive(Debug, Default)]
    pub(crate) struct FeedQuery {
        /// `newest` (the default): by event time, newest first. `stored`: in the order of storing, earliest first, each event
        /// with its `position`; `next` is never null, and is the `after` of the next page. `arrived`: by time of arrival,
        /// earliest first.
        "order" "" ConditionKind::OneOf(ORDERS) => order: Option<String>,
        /// With `order=stored`: only events after this position, or `now` for those stored from now on. By default from the
        /// oldest that is kept. A position that is no longer kept is answered 410.
        "after" "" ConditionKind::Text => after: Option<String>,
        /// With `order=stored`: how long to wait for an event if there is none yet, in seconds, 30 at most.
        "wait" "" ConditionKind::Text => wait: Option<String>,
        /// With `order=arrived`: only events that arrived at this time or later
        "received_since" "" ConditionKind::Time => received_since: Option<UnixMillis>,
    }
}

/// In which order events are wanted.
pub(crate) enum Ordering {
    /// By event time, the latest first.
    Newest,
    /// By time of arrival, the earliest first, from this time on.
    Arrived(Option<UnixMillis>),
    /// In the order of storing.
    Stored(FeedQuestion),
}

/// Where to begin, and how long to wait.
pub(crate) struct FeedQuestion {
    after: After,
    wait: Duration,
}

enum After {
    Oldest,
    Now,
    Position(Position),
}

impl FeedQuery {
    /// What is asked.
    pub(crate) fn read(self, page: &PageRequest) -> Result<Ordering, Problem> {
        let order = self.order.as_deref().unwrap_or("newest");
        let given = [
            ("after", "stored", self.after.is_some()),
            ("wait", "stored", self.wait.is_some()),
            ("received_since", "arrived", self.received_since.is_some()),
        ];
        let wrong = given.iter().find(|(_, of, is_given)| *is_given && *of != order);
        if let Some((name, of, _)) = wrong {
            let in_order = if *of == "stored" { "storing" } else { "arrival" };
            let detail = format!("`{name}` is for events in the order of {in_order}");
            let hint = format!("add `order={of}`, or omit it");
            return Err(Problem::parameter(name, detail, &hint));
        }
        match order {
            "stored" => self.question(page).map(Ordering::Stored),
            "arrived" => Ok(Ordering::Arrived(self.received_since)),
            _ => Ok(Ordering::Newest),
        }
    }

    fn question(self, page: &PageRequest) -> Result<FeedQuestion, Problem> {
        if self.after.is_some() && page.cursor().is_some() {
            let detail = "`after` and `cursor` are both given";
            return Err(Problem::parameter("after", detail, "give one of them"));
        }
        let (name, text) = match (self.after.as_deref(), page.cursor()) {
            (None, cursor) => ("cursor", cursor),
            (after, _) => ("after", after),
        };
        let after = match text {
            None => After::Oldest,
            Some("now") if name == "after" => After::Now,
            Some(text) => After::Position(text.parse().map_err(|error| {
                let hint = "give the `position` of an event, or the `next` of a page";
                Problem::parameter(name, format!("invalid `{name}`: {error}"), hint)
            })?),
        };
        let wait = self.wait.as_deref().map_or(Some(0), |text| text.parse().ok());
        let wait = wait.filter(|seconds| *seconds <= WAIT_MAX).ok_or_else(|| {
            let hint = format!("give 0 to {WAIT_MAX}");
            Problem::parameter("wait", "`wait` is not a number of seconds in its range", &hint)
        })?;
        Ok(FeedQuestion { after, wait: Duration::from_secs(wait) })
    }
}

/// The events that are wanted.
pub(crate) struct Feed {
    pub(crate) filter: EventFilter,
    pub(crate) with_payload: bool,
}

/// A part of the feed as its reader gets it.
enum Answer {
    Page(FeedItems),
    Gone(Problem),
}

struct FeedItems {
    items: Vec<Event>,
    next: Position,
    is_end: bool,
}

impl Feed {
    /// Answers with a page, or with everything to the end where an export is asked for.
    pub(crate) async fn answer(
        self,
        ops: &Ops,
        page: &PageRequest,
        FeedQuestion { after, wait }: FeedQuestion,
    ) -> Result<Response, Problem> {
        let (reading, until) = (&ops.reading, Instant::now() + wait);
        let after = match after {
            After::Position(position) => position,
            After::Oldest => reading.ask(reading.store()?.feed_span()).await?.start,
            After::Now => reading.ask(reading.store()?.feed_span()).await?.end,
        };
        if page.form != Form::Json {
            // Where it is not kept, that is said before the answer begins.
            self.page(ops, after, 1).await?;
            return list::answer(reading, &page.without_cursor(), FeedExport { feed: self, after })
                .await;
        }
        let (mut after, mut seat) = (after, None);
        loop {
            let part = self.page(ops, after, page.rows()).await?;
            let is_over = Instant::now() >= until;
            if !part.items.is_empty() || is_over {
                return answer_page(ops, part);
            }
            after = part.next;
            if !part.is_end {
                continue;
            }
            let Some(seat) = &seat else {
                // What was stored meanwhile is read once more: from now on news are told.
                seat = Some(ops.tail.join().await?);
                continue;
            };
            let (buffer, _) = seat.end();
            tokio::select! {
                () = seat.more(Some(buffer), after) => {}
                () = sleep_until(until) => {}
                () = ops.stop.cancelled() => return answer_page(ops, part),
            }
        }
    }

    async fn page(&self, ops: &Ops, after: Position, limit: u32) -> Result<FeedItems, Problem> {
        let store = ops.reading.store()?;
        match ops.reading.ask(self.read(&*store, after, limit)).await? {
            Answer::Page(items) => Ok(items),
            Answer::Gone(problem) => Err(problem),
        }
    }

    /// At most `limit` of the events after a position; of those that do not pass the filter a bounded number is read.
    async fn read(
        &self,
        store: &dyn Store,
        after: Position,
        limit: u32,
    ) -> Result<Answer, StoreError> {
        let is_whole = self.filter == EventFilter::default();
        let events = if is_whole { limit } else { FEED_EVENTS_MAX };
        let read = store.events_after(after, FeedLimit { events, bytes: PAGE_BYTES_MAX }).await?;
        let page = match read {
            FeedRead::Page(page) => page,
            FeedRead::Outside(span) => return Ok(Answer::Gone(Problem::position(after, span))),
        };
        page.log_unreadable();
        let (mut items, mut last) = (Vec::new(), None);
        for (position, event) in page.events {
            if !self.filter.matches(&event) {
                continue;
            }
            if items.len() >= limit as usize {
                let next = last.unwrap_or(after);
                return Ok(Answer::Page(FeedItems { items, next, is_end: false }));
            }
            items.push(Event::new(&event, self.with_payload).at(position));
            last = Some(position);
        }
        Ok(Answer::Page(FeedItems { items, next: page.next, is_end: page.is_end }))
    }
}

fn answer_page(ops: &Ops, FeedItems { items, next, .. }: FeedItems) -> Result<Response, Problem> {
    let items = Items { items, next: Some(next.to_string()) };
    list::page(&ops.reading, &items)
}

/// Everything from a position to the end.
struct FeedExport {
    feed: Feed,
    after: Position,
}

#[async_trait]
impl List for FeedExport {
    type Row = Event;
    type Place = Position;

    async fn part(&self, store: &dyn Store, page: Behind<Self>) -> Result<Part<Self>, StoreError> {
        let (after, limit) = page;
        match self.feed.read(store, after.unwrap_or(self.after), limit).await? {
            Answer::Page(FeedItems { items, next, is_end }) => {
                Ok((items, Some(next).filter(|_| !is_end)))
            }
            // They were forgotten while they were exported, so slowly was it read.
            Answer::Gone(problem) => Err(StoreError::Unready(problem.diagnostic())),
        }
    }
}
