//! Silence: no callback of an app, where callbacks are usual.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use crate::settings::{GapsSettings, seconds};
use crate::store::{Finding, SettlerConnection, StoreError};
use crate::telemetry::Metrics;
use protocol::AppId;
use protocol::UnixMillis;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How many days are looked back for what is usual, and of how many at least something must be known.
const DAYS: i64 = 7;
const DAYS_MIN: usize = 4;
/// Longer silences are as long as this one.
const LONG: Duration = Duration::from_hours(24);

/// Events of each hour, by its beginning in ms.
type Hours = BTreeMap<i64, i64>;

/// Shows how long an app has been silent, and lists it where that is unusual.
pub(crate) async fn sweep(
    store: &mut SettlerConnection,
    app: AppId,
    gaps: &GapsSettings,
    now: UnixMillis,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let Some(minute) = store.last_minute(app.as_i64(), now).await? else { return Ok(()) };
    // It happened within that minute.
    let last = minute.plus(Duration::from_mins(1)).min(now);
    let quiet = now.since(last);
    metrics.silence(app, quiet);
    let listed = store.silences(app.as_i64()).await?;
    for began in listed.iter().filter(|began| **began < last) {
        store.resolve(app.as_i64(), "silence", ALL, began.0, now).await?;
        info!(%app, "callbacks come again");
    }
    let Some(after) = seconds(gaps.silence_after_s) else { return Ok(()) };
    if quiet < after || listed.contains(&last) {
        return Ok(());
    }
    let hour = now.0 - now.0.rem_euclid(HOUR_MS);
    let from = UnixMillis(hour - (DAYS + 1) * DAY_MS);
    let hours = store.hours(app.as_i64(), from, UnixMillis(hour)).await?;
    let hours = hours.into_iter().map(|(at, events)| (at.0, events)).collect();
    let usual = usual(&hours, last.max(now.minus(LONG)), now);
    if usual < f64::from(gaps.silence_events_min) {
        return Ok(());
    }
    let minutes = quiet.as_secs() / 60;
    warn!(%app, minutes, usual = usual.round(), "no callbacks come, though they are usual at this time");
    let detail = format!(
        "no callback came for {minutes} minutes, in which {usual:.0} are usual at this time, \
             by the median of the last {DAYS} days"
    );
    let subject = ALL.to_owned();
    let (app, session) = (app.as_i64(), last.0);
    let found = Finding { app, kind: "silence", subject, session, happened_at: last, detail };
    store.put(&found, now).await?;
    metrics.anomaly_found("silence");
    Ok(())
}

/// The subject where nothing at all comes.
const ALL: &str = "all";

/// How many events are usual from one time to another: of each hour the median of the same hour of the days before, and
/// none where too little is known.
#[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
fn usual(hours: &Hours, from: UnixMillis, until: UnixMillis) -> f64 {
    let Some(known_from) = hours.keys().next() else { return 0.0 };
    let mut sum = 0.0;
    let mut hour = from.0 - from.0.rem_euclid(HOUR_MS);
    while hour < until.0 {
        let before = (1..=DAYS).map(|days| hour - days * DAY_MS).filter(|at| at >= known_from);
        let mut events: Vec<i64> = before.map(|at| hours.get(&at).copied().unwrap_or(0)).collect();
        events.sort_unstable();
        if events.len() >= DAYS_MIN {
            let part = until.0.min(hour + HOUR_MS) - from.0.max(hour);
            sum += events[(events.len() - 1) / 2] as f64 * part as f64 / HOUR_MS as f64;
        }
        hour += HOUR_MS;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many events each day at 9 and 10 o'clock, of the days before the tenth.
    fn days(events: &[i64]) -> Hours {
        let first = 10 - i64::try_from(events.len()).unwrap();
        (first..10)
            .zip(events)
            .flat_map(|(day, events)| [(day * 24 + 9, *events), (day * 24 + 10, *events)])
            .map(|(hour, events)| (hour * HOUR_MS, events))
            .collect()
    }

    fn at(hour: i64, minute: i64) -> UnixMillis {
        UnixMillis(((10 * 24 + hour) * 60 + minute) * 60_000)
    }

    #[expect(clippy::cast_possible_truncation, reason = "the numbers of these tests are small")]
    fn rounded(hours: &Hours, from: UnixMillis, until: UnixMillis) -> i64 {
        usual(hours, from, until).round() as i64
    }

    #[test]
    fn the_usual_rate_is_the_median_of_the_same_hours() {
        let hours = days(&[60, 60, 0, 6000, 60, 60, 60]);
        assert_eq!(rounded(&hours, at(9, 30), at(10, 0)), 30);
        assert_eq!(rounded(&hours, at(9, 45), at(10, 15)), 30);
        assert_eq!(rounded(&hours, at(8, 0), at(9, 0)), 0);
        // A night without events says nothing of the morning's first minute.
        assert_eq!(rounded(&hours, at(0, 0), at(9, 1)), 1);
    }

    #[test]
    fn no_rate_is_usual_without_enough_history() {
        assert_eq!(rounded(&days(&[60, 60, 60]), at(9, 0), at(10, 0)), 0);
        assert_eq!(rounded(&days(&[60, 60, 60, 60]), at(9, 30), at(10, 30)), 60);
        assert_eq!(rounded(&Hours::new(), at(9, 0), at(10, 0)), 0);
    }
}
