//! Whether what was posted is kept: a server answers OK to everything, also to what it rejects.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::access::Scope;
use crate::cli::healthcheck;
use crate::cli::traffic::target::{Distance, Target};
use crate::clock::Clock;
use crate::settings::Settings;
use crate::store::{self, EventFilter, EventPage, Order, Store, StoreError, StoreOptions};
use crate::telemetry::Figures;
use protocol::UnixMillis;
use protocol::diagnostic::{Diagnostic, Hint};
use protocol::{AppId, Delivery};

/// How many events are looked for in a store at most.
const LOOKED_MAX: usize = 20_000;
/// How many rows are read at once where an event is looked for by its body.
const PAGE: u32 = 500;
/// How long is waited for what the spool holds, and for figures that are behind their answers.
const WAIT: Duration = Duration::from_secs(3);
/// The pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How far the clock of a server elsewhere may be from ours.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);
/// What is asked of a server that one can reach.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);

/// Counts what was answered OK, and then says what was kept of it: by the server's own figures where nobody else sent
/// anything meanwhile, otherwise by looking into the store.
pub(crate) struct Confirmation {
    store: Result<StoreOptions, String>,
    url: String,
    ops: Ops,
    before: Result<Counts, String>,
    /// From when on an event of ours may have arrived, by the server's clock.
    since: UnixMillis,
    clock: Clock,
    answered: u64,
    looked: u64,
    sent: HashMap<SentEvent, u64>,
}

/// What became of all that was answered OK.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// In one line.
    pub(crate) text: String,
    /// Of something that was not kept: what to do.
    pub(crate) hint: Option<&'static str>,
}

impl Verdict {
    /// # Errors
    /// The text, where something was not kept.
    pub(crate) fn into_result(self) -> Result<String> {
        match self.hint {
            None => Ok(self.text + "\n"),
            Some(hint) => bail!(Diagnostic::new(self.text, hint)),
        }
    }
}

/// How one event that was sent is found again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum SentEvent {
    /// SentEvent again it is the same event, with this id.
    Repeatable(Uuid),
    /// The server gives it an id of its own.
    Unique(Group, [u8; 32]),
    /// It names no app: nobody takes it.
    Nameless,
}

/// Events that are looked for together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    app: AppId,
    command: String,
    /// When they happened; `None` where their bodies do not say.
    at: Option<UnixMillis>,
}

impl SentEvent {
    pub(crate) fn of(delivery: &Delivery, now: UnixMillis) -> Self {
        let Some(event) = delivery.event(now) else { return Self::Nameless };
        if event.timed && event.id.get_version_num() == 8 {
            return Self::Repeatable(event.id);
        }
        let at = event.timed.then_some(event.event_time);
        let group = Group { app: event.app, command: event.command.into_owned(), at };
        Self::Unique(group, Sha256::digest(event.payload.as_bytes()).into())
    }
}

/// The operations listener of the server.
struct Ops {
    url: String,
    token: SecretString,
}

/// What a server has counted since its start.
struct Counts {
    requests: u64,
    outcomes: HashMap<String, u64>,
}

impl Ops {
    async fn counts(&self) -> Result<Counts> {
        let Self { url, token } = self;
        let client = healthcheck::client(ASK_TIMEOUT)?;
        let request = client.get(format!("{url}/metrics"));
        let token = token.expose_secret();
        let request = if token.is_empty() { request } else { request.bearer_auth(token) };
        let answer = request.send().await.map_err(|_| anyhow!("{url} does not answer"))?;
        match answer.status().as_u16() {
            200 => {}
            401 => bail!("{url} asks for a token: `ops.token`, or one of `ops.tokens`"),
            403 => bail!("{url} refuses the token: it lacks the scope `metrics`"),
            status => bail!("{url} answers {status}"),
        }
        let text = answer.text().await.map_err(|_| anyhow!("{url} does not answer"))?;
        Counts::read(text).with_context(|| format!("{url} has no metrics of a server"))
    }
}

impl Counts {
    fn read(text: String) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "what is counted is a whole number"
        )]
        let whole = |value: f64| value as u64;
        let figures = Figures::read(text);
        let requests = whole(figures.value("trtc_requests_total")?);
        let outcomes = figures.by_label("trtc_request_outcomes_total", "outcome");
        let outcomes = outcomes.into_iter().map(|(name, count)| (name.to_owned(), whole(count)));
        Some(Self { requests, outcomes: outcomes.collect() })
    }

    /// What was counted since `before`.
    fn since(&self, before: &Self) -> Self {
        let outcomes = self.outcomes.iter().map(|(name, count)| {
            let before = before.outcomes.get(name).copied().unwrap_or(0);
            (name.clone(), count.saturating_sub(before))
        });
        Self {
            requests: self.requests.saturating_sub(before.requests),
            outcomes: outcomes.collect(),
        }
    }

    fn all_outcomes(&self) -> u64 {
        self.outcomes.values().sum()
    }

    fn of(&self, outcome: &str) -> u64 {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }

    /// Of how many requests that were answered OK it is known what became of them.
    fn accounted_for(&self) -> u64 {
        let taken = ["stored", "duplicate", "spooled", "parked", "not_stored", "shed"];
        taken.iter().map(|outcome| self.of(outcome)).sum::<u64>() + self.rejected().0
    }

    /// What was rejected, in words, the most first; and how many.
    fn rejected(&self) -> (u64, String) {
        let mut all: Vec<(u64, &str)> = REJECTIONS
            .iter()
            .map(|(outcome, words)| (self.of(outcome), *words))
            .filter(|(count, _)| *count > 0)
            .collect();
        all.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        let count = all.iter().map(|(count, _)| count).sum();
        let words = match all.as_slice() {
            [(_, words)] => (*words).to_owned(),
            several => {
                let each = several.iter().map(|(count, words)| format!("{count} {words}"));
                each.collect::<Vec<_>>().join(", ")
            }
        };
        (count, words)
    }
}

/// Why requests are rejected, as the figures name it and in words.
const REJECTIONS: [(&str, &str); 10] = [
    ("rejected_sign_missing", "not signed"),
    ("rejected_sign_wrong", "wrong token"),
    ("rejected_request_time_stale", "RequestTime too far from the server's clock"),
    ("rejected_app_foreign", "not an app of the server"),
    ("rejected_app_missing", "no SdkAppid in the query"),
    ("rejected_app_malformed", "SdkAppid is not a number"),
    ("rejected_address_foreign", "from an address that is not allowed"),
    ("rejected_app_conflicting", "header, path and query name different apps"),
    ("rejected_rtc_sign_missing", "RTC Engine events not signed"),
    ("rejected_rtc_sign_wrong", "wrong RTC Engine key"),
];
const HINT_REJECTED: &str = "run it with the server's configuration, which has its apps and their tokens, or give \
                             `--token` or `--rtc-key`, and `--sdk-app-id`";
const HINT_MISSING: &str = "check that this is the server's store (`--store` names another), and that the server has the \
                            app and its token; its log and `/metrics` show what it rejected";
const HINT_LOST: &str = "the server's error log holds them, and `replay` reads it";

impl Confirmation {
    /// To be made before anything is sent.
    pub(crate) async fn begin(settings: &Settings, target: &Target, clock: &Clock) -> Self {
        let distance = target.distance();
        let url = store::display_url(&settings.store.url);
        let token = settings.token_for(Scope::Metrics).map_err(|error| error.to_string());
        let (token, unread) = token
            .map_or_else(|error| (SecretString::default(), Some(error)), |token| (token, None));
        let ops = Ops { url: healthcheck::base(settings), token };
        let before = match unread {
            _ if distance == Distance::Far => {
                Err("the operations listener of that server is not known".to_owned())
            }
            Some(error) => Err(error),
            None => ops.counts().await.map_err(|error| format!("{error:#}")),
        };
        let store = if distance == Distance::Far && store::file(&settings.store.url).is_some() {
            Err(format!("{url} is a file on this machine, not on {}", target.origin()))
        } else {
            Ok(settings.store_options().to_read())
        };
        let differ = if distance == Distance::Far { CLOCKS_DIFFER } else { Duration::ZERO };
        Self {
            store,
            url,
            ops,
            before,
            since: clock.now().minus(differ),
            clock: clock.clone(),
            answered: 0,
            looked: 0,
            sent: HashMap::new(),
        }
    }

    /// Never looks into the store, for this reason.
    pub(crate) fn without_store(self, reason: &str) -> Self {
        Self { store: Err(reason.to_owned()), ..self }
    }

    /// One more was answered OK.
    pub(crate) fn answered_ok(&mut self, sent: SentEvent) {
        self.answered += 1;
        if self.sent.len() < LOOKED_MAX || self.sent.contains_key(&sent) {
            self.looked += 1;
            *self.sent.entry(sent).or_default() += 1;
        }
    }

    /// The same, of a delivery that was sent as it is.
    pub(crate) fn answered_ok_to(&mut self, delivery: &Delivery) {
        self.answered_ok(SentEvent::of(delivery, self.clock.now()));
    }

    /// What became of all of them.
    pub(crate) async fn verdict(&self) -> Verdict {
        let sent = self.answered;
        if sent == 0 {
            return Verdict { text: "0 sent".to_owned(), hint: None };
        }
        let counted = self.counted().await;
        if let Ok(counted) = &counted
            && counted.requests == sent
            && counted.accounted_for() == sent
        {
            return metrics_verdict(sent, counted);
        }
        let looked = match &self.store {
            Ok(options) => self.look(options, counted.as_ref().ok()).await,
            Err(reason) => Err(reason.clone()),
        };
        match looked {
            Ok(found) => self.store_verdict(&found, counted.as_ref().ok()),
            Err(reason) => {
                let other = counted.err().unwrap_or_else(|| {
                    format!(
                        "the server of {} received requests from others at the same time",
                        self.ops.url
                    )
                });
                let text = format!(
                    "{sent} sent: {sent} answered OK; whether they are stored could not be checked: {reason}; {other}"
                );
                Verdict { text, hint: None }
            }
        }
    }

    /// What the server counted since the begin.
    async fn counted(&self) -> Result<Counts, String> {
        let before = self.before.as_ref().map_err(Clone::clone)?;
        let deadline = Instant::now() + WAIT;
        loop {
            let now = self.ops.counts().await.map_err(|error| format!("{error:#}"))?;
            let counted = now.since(before);
            if counted.requests < self.answered {
                return Err(format!("{} belongs to another server", self.ops.url));
            }
            if counted.all_outcomes() >= self.answered || Instant::now() >= deadline {
                return Ok(counted);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Looks for all of them in the store, and again for a while where some may be in the spool.
    async fn look(
        &self,
        options: &StoreOptions,
        counted: Option<&Counts>,
    ) -> Result<StoredCounts, String> {
        let failed =
            |error: StoreError| format!("{}: {}", self.url, error.diagnostic()).replace('\n', "; ");
        let store = store::open(options).await.map_err(failed)?;
        let deadline = Instant::now() + WAIT;
        loop {
            let found = self.find(&*store).await.map_err(failed)?;
            let missing = self.looked - found.stored - found.repeats;
            let explained = counted.is_some_and(|counted| counted.rejected().0 >= missing);
            if missing == 0 || explained || Instant::now() >= deadline {
                return Ok(found);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn find(&self, store: &dyn Store) -> Result<StoredCounts, StoreError> {
        let mut found = StoredCounts::default();
        let mut groups: HashMap<&Group, HashMap<[u8; 32], u64>> = HashMap::new();
        for (sent, times) in &self.sent {
            match sent {
                SentEvent::Repeatable(id) if store.contains(*id).await? => {
                    found.stored += 1;
                    found.repeats += times - 1;
                }
                SentEvent::Repeatable(_) | SentEvent::Nameless => {}
                SentEvent::Unique(group, body) => {
                    groups.entry(group).or_default().insert(*body, *times);
                }
            }
        }
        for (group, bodies) in groups {
            found.stored += self.find_group(store, group, bodies).await?;
        }
        Ok(found)
    }

    /// How many of these are among the events of the group that arrived since the begin.
    async fn find_group(
        &self,
        store: &dyn Store,
        group: &Group,
        mut bodies: HashMap<[u8; 32], u64>,
    ) -> Result<u64, StoreError> {
        let mut filter = EventFilter {
            app: Some(group.app),
            command: Some(group.command.clone()),
            since: Some(group.at.unwrap_or(self.since)),
            until: group.at.map(|at| at.plus(Duration::from_millis(1))),
            received_since: Some(self.since),
            order: Order::Oldest { after: None },
            limit: PAGE,
            ..EventFilter::default()
        };
        let mut found = 0;
        loop {
            let EventPage { events, next } = store.event_page(&filter).await?;
            for event in events {
                let body: [u8; 32] = Sha256::digest(event.payload.as_bytes()).into();
                if let Some(left) = bodies.get_mut(&body).filter(|left| **left > 0) {
                    *left -= 1;
                    found += 1;
                }
            }
            if next.is_none() || bodies.values().all(|left| *left == 0) {
                return Ok(found);
            }
            filter.order = Order::Oldest { after: next };
        }
    }

    fn store_verdict(&self, found: &StoredCounts, counted: Option<&Counts>) -> Verdict {
        let mut parts = vec![format!("{} stored", found.stored)];
        if found.repeats > 0 {
            parts.push(format!("{} repeated", found.repeats));
        }
        let missing = self.looked - found.stored - found.repeats;
        let mut hint = None;
        if missing > 0 {
            let (rejected, why) = counted.map(Counts::rejected).unwrap_or_default();
            let waiting = counted.map_or(0, |counted| counted.of("spooled") + counted.of("parked"));
            if rejected > 0 {
                parts.push(format!("{missing} not in {}", self.url));
                parts.push(format!("{rejected} rejected at the same time ({why})"));
                hint = Some(HINT_REJECTED);
            } else if waiting >= missing {
                parts.push(format!("{missing} in the spool or refused by the store"));
            } else {
                parts.push(format!("{missing} not in {}", self.url));
                hint = Some(HINT_MISSING);
            }
        }
        if self.looked < self.answered {
            parts.push(format!("{} not checked", self.answered - self.looked));
        }
        Verdict { text: format!("{} sent: {}", self.answered, parts.join(", ")), hint }
    }
}

/// What a look into the store found.
#[derive(Default)]
struct StoredCounts {
    /// How many rows.
    stored: u64,
    /// How many were the same event as one of those.
    repeats: u64,
}

/// What the server says that it did with what nobody but we sent.
fn metrics_verdict(sent: u64, counted: &Counts) -> Verdict {
    let (rejected, why) = counted.rejected();
    let mut parts = vec![format!("{} stored", counted.of("stored"))];
    let lost = ["not_stored", "shed"].map(|outcome| counted.of(outcome)).iter().sum::<u64>();
    for (count, words) in [
        (counted.of("duplicate"), "stored before"),
        (counted.of("spooled"), "in the spool until the store is available"),
        (counted.of("parked"), "refused by the store and kept as dead letters"),
        (lost, "not stored"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {words}"));
        }
    }
    if rejected > 0 {
        parts.push(format!("{rejected} rejected ({why})"));
    }
    let hint = if rejected > 0 { Some(HINT_REJECTED) } else { (lost > 0).then_some(HINT_LOST) };
    Verdict { text: format!("{sent} sent: {}", parts.join(", ")), hint }
}

#[cfg(test)]
mod tests {
    use crate::cli::traffic::confirmation::*;

    fn counts(requests: u64, outcomes: &[(&str, u64)]) -> Counts {
        let outcomes = outcomes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Counts { requests, outcomes }
    }

    #[test]
    fn the_servers_counts_are_printed_with_reasons() {
        let said = |outcomes: &[(&str, u64)]| {
            let verdict = metrics_verdict(82, &counts(82, outcomes));
            (verdict.text, verdict.hint.is_some())
        };
        let all = said(&[("stored", 80), ("duplicate", 2), ("rejected_sign_wrong", 0)]);
        assert_eq!(all, ("82 sent: 80 stored, 2 stored before".into(), false));
        let none = said(&[("rejected_sign_wrong", 82)]);
        assert_eq!(none, ("82 sent: 0 stored, 82 rejected (wrong token)".into(), true));
        let several = said(&[("rejected_app_foreign", 2), ("rejected_sign_missing", 80)]);
        let text = "82 sent: 0 stored, 82 rejected (80 not signed, 2 not an app of the server)";
        assert_eq!(several, (text.into(), true));
        let (text, hint) = said(&[("spooled", 81), ("not_stored", 1)]);
        assert_eq!(
            text,
            "82 sent: 0 stored, 81 in the spool until the store is available, 1 not stored"
        );
        assert!(hint);
    }

    #[test]
    fn only_counts_since_the_start_are_reported() {
        let before = counts(5, &[("stored", 4), ("rejected_sign_wrong", 1)]);
        let now = counts(7, &[("stored", 5), ("rejected_sign_wrong", 2)]).since(&before);
        assert_eq!((now.requests, now.all_outcomes()), (2, 2));
        assert_eq!(now.rejected(), (1, "wrong token".to_owned()));
    }
}
