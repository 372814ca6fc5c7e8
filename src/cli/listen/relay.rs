//! Takes events from their source to the receiver: in order, without a gap, and with a word where there was one.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use tokio::time::sleep;
use uuid::Uuid;

use crate::cli::listen::receiver::Receiver;
use crate::cli::listen::report::Outcome;
use crate::cli::listen::source::{Bodies, Source, SourceError};
use crate::cli::listen::suspension::Suspension;
use crate::cli::output::{say, seconds};
use crate::clock::Clock;
use crate::store::Position;
use forward::event_columns::EventColumns;
use forward::filter::Filter;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How long the source is asked to wait for an event.
const WAIT: Duration = Duration::from_secs(20);
/// How long to wait before a source that is away is asked again: at first, and at most.
const BACKOFF_MIN: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// How many pages are read to count what was missed.
const COUNT_PAGES_MAX: u32 = 50;
/// How many events that were sent again are remembered, as the latest of them may come once more by their positions.
const REMEMBERED_MAX: usize = 10_000;
/// How far the clocks may differ, and how late an event may be stored after it arrived.
const CLOCK_MARGIN: Duration = Duration::from_mins(1);

pub(super) struct Relay {
    pub(super) source: Box<dyn Source>,
    pub(super) receiver: Receiver,
    pub(super) filter: Filter,
    pub(super) suspension: Arc<Suspension>,
    pub(super) clock: Clock,
    /// The command that goes on, without `--since`.
    pub(super) command: String,
    pub(super) tally: Tally,
}

/// How many events were sent, by result.
#[derive(Debug, Default)]
pub(super) struct Tally {
    taken: u64,
    rejected: u64,
    unanswered: u64,
    /// How many were read and are not settled, and when the first of them arrived.
    unsettled: usize,
    unsettled_since: Option<UnixMillis>,
}

/// Why the source was not heard of for a while.
struct Interruption {
    began: UnixMillis,
    cause: Cause,
}

enum Cause {
    Away,
    Asleep(Duration),
}

/// Events that were sent again; the oldest are forgotten.
#[derive(Default)]
struct Remembered {
    ids: HashSet<Uuid>,
    order: VecDeque<Uuid>,
}

impl Remembered {
    fn add(&mut self, id: Uuid) {
        if self.ids.insert(id) {
            self.order.push_back(id);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

impl Tally {
    /// In one line; and a second one where something is left.
    pub(super) fn summary(&self, command: &str) -> String {
        let Self { taken, rejected, unanswered, unsettled, unsettled_since } = self;
        let all = taken + rejected + unanswered;
        let text = format!(
            "{all} events: {taken} answered 2xx, {rejected} otherwise, {unanswered} not answered"
        );
        match (unsettled, unsettled_since) {
            (1.., Some(since)) => format!(
                "{text}\n{unsettled} more were read and not answered yet; `{command} --since {since}` sends them"
            ),
            _ => text,
        }
    }

    fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Taken => self.taken += 1,
            Outcome::Rejected => self.rejected += 1,
            Outcome::Unanswered | Outcome::Waiting => self.unanswered += 1,
        }
    }
}

impl Relay {
    /// Sends these events again, one after the other.
    ///
    /// # Errors
    /// One is not stored, or was not answered 2xx.
    pub(super) async fn send_again(&mut self, ids: &[Uuid]) -> Result<()> {
        for id in ids {
            let event = self.source.event(*id).await;
            let event = event.map_err(|error| error.at_first(&*self.source))?;
            let Some(event) = event else {
                bail!(Diagnostic::new(
                    format!("there is no event {id} in {}", self.source.name()),
                    "`events --json` shows the ids of events; retention may have deleted it"
                ));
            };
            self.deliver(vec![event], true).await?;
        }
        match self.tally.rejected + self.tally.unanswered {
            0 => Ok(()),
            failed => bail!("{failed} of {} events were not answered 2xx", ids.len()),
        }
    }

    /// Sends what arrived since then, and whatever is stored from now on. Ends by an error only.
    pub(super) async fn run(&mut self, since: Option<UnixMillis>) -> Result<()> {
        let first = self.source.end().await;
        let after = first.map_err(|error| error.at_first(&*self.source))?;
        let origin = self.receiver.client.origin();
        say(&format!("events of {} go to {origin}; Ctrl-C ends", self.source.name()));
        let sent = match since {
            Some(since) => self.replay(since).await?,
            None => Remembered::default(),
        };
        self.follow(after, sent).await
    }

    async fn replay(&mut self, since: UnixMillis) -> Result<Remembered> {
        let (mut sent, mut place, mut backoff) = (Remembered::default(), None, BACKOFF_MIN);
        let mut is_away = false;
        loop {
            let page = match self.source.arrivals(since, place.as_deref()).await {
                Ok(page) => page,
                Err(SourceError::Away(problem)) => {
                    if !std::mem::replace(&mut is_away, true) {
                        say(&format!("{problem}; trying again"));
                    }
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                    continue;
                }
                Err(error) => return Err(error.at_first(&*self.source)),
            };
            if std::mem::take(&mut is_away) {
                say("connected again");
            }
            backoff = BACKOFF_MIN;
            page.events.iter().for_each(|event| sent.add(event.id));
            self.deliver(page.events, true).await?;
            place = page.next;
            if place.is_none() {
                let Tally { taken, rejected, unanswered, .. } = self.tally;
                let count = taken + rejected + unanswered;
                say(&format!("{count} events that arrived since {since} were sent again"));
                return Ok(sent);
            }
        }
    }

    async fn follow(&mut self, mut after: Position, sent: Remembered) -> Result<()> {
        let mut interruption = None::<Interruption>;
        let mut in_touch_at = self.clock.now();
        let mut backoff = BACKOFF_MIN;
        loop {
            let suspension = self.suspension.clone();
            let read = async {
                if let Some(interruption) = &interruption {
                    self.tell(interruption, after).await?;
                }
                self.source.page(after, WAIT, Bodies::Included).await
            };
            let read = tokio::select! {
                biased;
                slept = suspension.noticed() => Err(slept),
                read = read => suspension.look().map_or(Ok(read), Err),
            };
            let read = match read {
                Ok(read) => read,
                // What was asked before the sleep may be answered, and is asked again.
                Err(slept) => {
                    let began = self.clock.now().minus(slept);
                    let cause = Cause::Asleep(slept);
                    interruption.get_or_insert(Interruption { began, cause });
                    continue;
                }
            };
            match read {
                Ok(page) => {
                    (interruption, backoff) = (None, BACKOFF_MIN);
                    // Up to when all is sent, should the positions be lost.
                    in_touch_at = match page.events.last() {
                        Some(event) => event.received_at,
                        None if page.is_end => self.clock.now(),
                        None => in_touch_at,
                    };
                    let events = page.events.into_iter();
                    let new = events.filter(|event| !sent.ids.contains(&event.id));
                    self.deliver(new.collect(), false).await?;
                    after = page.next;
                }
                Err(SourceError::Away(problem)) => {
                    let is_new = interruption.as_ref().is_none_or(Interruption::is_sleep);
                    if is_new {
                        say(&format!("{problem}; trying again"));
                        let began = interruption.map_or(in_touch_at, |sleep| sleep.began);
                        interruption = Some(Interruption { began, cause: Cause::Away });
                    }
                    sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
                Err(SourceError::Outside(problem)) => bail!(self.lost(&problem, in_touch_at)),
                Err(SourceError::Final(diagnostic)) => return Err(anyhow!(diagnostic)),
            }
        }
    }

    /// Says how many events were stored while the source was not heard of.
    async fn tell(
        &self,
        interruption: &Interruption,
        mut after: Position,
    ) -> Result<(), SourceError> {
        let (mut count, mut is_all) = (0_usize, false);
        for _ in 0..COUNT_PAGES_MAX {
            let page = self.source.page(after, Duration::ZERO, Bodies::Omitted).await?;
            count += page.events.iter().filter(|event| self.filter.fits(event)).count();
            after = page.next;
            is_all = page.is_end;
            if is_all {
                break;
            }
        }
        let for_s = |length: Duration| seconds(i64::try_from(length.as_secs()).unwrap_or(i64::MAX));
        let what = match interruption.cause {
            Cause::Away => {
                let away = self.clock.now().since(interruption.began);
                format!("connected again after {}", for_s(away))
            }
            Cause::Asleep(slept) => format!("this machine was asleep for {}", for_s(slept)),
        };
        let how_many = if is_all { "" } else { "more than " };
        say(&format!("{what}: {how_many}{count} events were stored meanwhile"));
        Ok(())
    }

    /// Sends events, the earliest first, and counts the results.
    async fn deliver(&mut self, events: Vec<EventColumns>, replay: bool) -> Result<()> {
        let fitting: Vec<_> = events.into_iter().filter(|event| self.filter.fits(event)).collect();
        for (place, event) in fitting.iter().enumerate() {
            self.tally.unsettled = fitting.len() - place;
            self.tally.unsettled_since = Some(event.received_at);
            let outcome = self.receiver.deliver(event, replay).await?;
            self.tally.count(outcome);
        }
        self.tally.unsettled = 0;
        Ok(())
    }

    /// Events were stored meanwhile, and nobody knows which by their positions.
    fn lost(&self, problem: &str, in_touch_at: UnixMillis) -> Diagnostic {
        let (now, since) = (self.clock.now(), in_touch_at.minus(CLOCK_MARGIN));
        Diagnostic::new(
            format!("events stored between {in_touch_at} and {now} were missed: {problem}"),
            format!("`{} --since {since}` sends them, and goes on from there", self.command),
        )
    }
}

impl Interruption {
    fn is_sleep(&self) -> bool {
        matches!(self.cause, Cause::Asleep(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_the_remembered_is_forgotten() {
        let mut remembered = Remembered::default();
        let id = |number: usize| Uuid::from_u128(number as u128);
        for number in 0..=REMEMBERED_MAX {
            remembered.add(id(number));
            remembered.add(id(number));
        }
        assert_eq!(remembered.ids.len(), REMEMBERED_MAX);
        assert!(!remembered.ids.contains(&id(0)) && remembered.ids.contains(&id(1)));
    }

    #[test]
    fn the_summary_names_what_is_left() {
        let mut tally = Tally { taken: 3, rejected: 1, ..Tally::default() };
        assert_eq!(
            tally.summary("listen"),
            "4 events: 3 answered 2xx, 1 otherwise, 0 not answered"
        );
        (tally.unsettled, tally.unsettled_since) = (2, Some(UnixMillis(0)));
        let summary = tally.summary("listen --forward http://localhost");
        let left = "2 more were read and not answered yet; \
                    `listen --forward http://localhost --since 1970-01-01T00:00:00.000Z` sends them";
        assert!(summary.ends_with(left), "{summary}");
    }
}
