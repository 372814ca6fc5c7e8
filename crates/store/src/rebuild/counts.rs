//! Compares the counts of events with the events, by hour, and corrects them.
//!
//! A count is a sum and is never replaced: the difference, taken at one moment, is added to it. So concurrent
//! counting does not matter.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::StoreError;
use crate::rebuild::tables::{HOUR_MS, PREFIX, Progress, Rebuilding, Scope, Stage};
use crate::sessions::counts::add;
use crate::sql::connection::Arg;
use projections::table::Value;
use projections::{Batch, changes};

/// Number of events read at once.
const PAGE_EVENTS: usize = 500;

/// App, width in s, time in ms, command and result.
type Key = (i64, i64, i64, String, String);

/// The figures under one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Count {
    family: String,
    events: i64,
    lag_ms: i64,
    lag_ms_max: i64,
}

/// A count as it is read.
type CountRow = (i64, i64, i64, String, String, String, i64, i64, i64);

/// The view with the current counts.
const IS: &str = "event_counts";

/// The sums of the events that were read, in the hour.
fn said() -> String {
    let rows = |width: &str, at: &str| {
        format!(
            "select sdk_app_id, {width} as width_s, {at} as at, command, result, family, events, lag_ms, lag_ms_max
             from {PREFIX}new_event_counts where at >= @at(1) and at < @at(2)"
        )
    };
    format!("({} union all {}) as said", rows("60", "at"), rows("3600", "@hour(at)"))
}

/// The sums of an hour, from the first parameter to the second, with minutes from the third on.
fn sums(rows: &str) -> String {
    format!(
        "select sdk_app_id, cast(width_s as bigint) as width_s, at, command, result, max(family) as family,
             @sum(events) as events, @sum(lag_ms) as lag_ms,
             cast(max(lag_ms_max) as bigint) as lag_ms_max
         from {rows}
         where width_s in (60, 3600) and at >= @at(1) and at < @at(2) and (width_s = 3600 or at >= @at(3))
         group by sdk_app_id, width_s, at, command, result"
    )
}

const READ: &str =
    "select sdk_app_id, width_s, @ms(at), command, result, family, events, lag_ms, lag_ms_max";

impl Rebuilding {
    /// Compares the counts of the next hour, and corrects them unless it is a dry run.
    ///
    /// # Errors
    /// When the store does not answer or refuses a row.
    pub async fn compare_counts(
        &mut self,
        progress: &mut Progress,
        scope: Scope,
    ) -> Result<(), StoreError> {
        let from = progress.hour.map_or(scope.hours_from, |hour| hour + HOUR_MS);
        let Some(hour) = self.next_hour(from.max(scope.hours_from)).await? else {
            progress.stage = Stage::Settle;
            self.connection.begin().await?;
            self.queue_settled(scope).await?;
            self.save(progress).await?;
            return self.connection.commit().await;
        };
        self.connection.add_counts().await?;
        let span = [hour.into(), (hour + HOUR_MS).into(), scope.minutes_from.into()];
        let (real, beside) = (sums(IS), sums(&said()));
        let sql = format!(
            "with one as ({real}), other as ({beside})
             select (select count(*) from one), (select count(*) from other),
                 (select count(*) from (select * from one intersect select * from other) as agreed)"
        );
        let counts: Option<(i64, i64, i64)> = self.connection.row(&sql, &span).await?;
        let (there, said, same) = counts.unwrap_or_default();
        progress.hour = Some(hour);
        if (there, said) == (same, same) {
            progress.tally("event_counts").right += same.unsigned_abs();
            self.connection.begin().await?;
        } else {
            self.compare_hour(progress, hour, &span).await?;
        }
        self.save(progress).await?;
        self.connection.commit().await
    }

    /// The next hour with current or expected counts.
    async fn next_hour(&mut self, from: i64) -> Result<Option<i64>, StoreError> {
        let first = |rows: &str| format!("select @ms(min(at)) as at from {rows} and at >= @at(1)");
        let all = [
            first("summed_event_counts where width_s = 3600"),
            first("summed_event_counts where width_s = 60"),
            first("new_event_counts where true"),
            first(&format!("{PREFIX}new_event_counts where true")),
        ];
        let sql = format!("select min(at) from ({}) as firsts", all.join(" union all "));
        let found: Option<(Option<i64>,)> = self.connection.row(&sql, &[from.into()]).await?;
        Ok(found.and_then(|found| found.0).map(|at| at - at.rem_euclid(HOUR_MS)))
    }

    /// Counts the events of an hour and reads its current counts in one snapshot, and begins the transaction that
    /// adds the difference.
    async fn compare_hour(
        &mut self,
        progress: &mut Progress,
        hour: i64,
        span: &[Arg; 3],
    ) -> Result<(), StoreError> {
        let snapshot = if self.connection.is_postgres() {
            "begin isolation level repeatable read read only"
        } else {
            "begin"
        };
        self.connection.execute(snapshot, &[]).await?;
        let there = self.counted(span).await?;
        let mut said = self.count_again(hour).await?;
        self.connection.commit().await?;
        let Arg::Int(Some(minutes_from)) = span[2] else { return self.connection.begin().await };
        said.retain(|key, _| key.1 == 3600 || key.2 >= minutes_from);
        self.connection.begin().await?;
        let nothing = Count::default();
        let all: std::collections::BTreeSet<&Key> = there.keys().chain(said.keys()).collect();
        for key in all {
            let (is, should) = (there.get(key), said.get(key));
            let tally = progress.tally("event_counts");
            match (is, should) {
                _ if is == should => tally.right += 1,
                (None, _) => tally.missing += 1,
                (_, None) => tally.too_many += 1,
                _ => tally.wrong += 1,
            }
            if is != should && !progress.dry_run {
                self.make_up(key, is.unwrap_or(&nothing), should.unwrap_or(&nothing)).await?;
            }
        }
        Ok(())
    }

    async fn counted(&mut self, span: &[Arg; 3]) -> Result<BTreeMap<Key, Count>, StoreError> {
        let sql = format!("{READ} from ({}) as sums", sums(IS));
        let rows: Vec<CountRow> = self.connection.rows(&sql, span).await?;
        let count = |(app, width, at, command, result, family, events, lag_ms, lag_ms_max)| {
            ((app, width, at, command, result), Count { family, events, lag_ms, lag_ms_max })
        };
        Ok(rows.into_iter().map(count).collect())
    }

    /// The expected counts of an hour.
    async fn count_again(&mut self, hour: i64) -> Result<BTreeMap<Key, Count>, StoreError> {
        let sql = format!(
            "{} where event_time >= @at(1) and event_time < @at(3) and (event_time, id) > (@at(1), @id(2))
             order by events.event_time, events.id limit {PAGE_EVENTS}",
            self.connection.dialect().select_events
        );
        let mut counts: BTreeMap<Key, Count> = BTreeMap::new();
        let mut after = (hour, Uuid::nil().to_string());
        loop {
            let args = [after.0.into(), after.1.as_str().into(), (hour + HOUR_MS).into()];
            let events = self.decoded(&sql, &args).await?;
            let all: Vec<_> = events.iter().map(changes).collect();
            let batch = Batch::of(all.iter().flatten());
            let rows = batch.tables().iter().filter(|(table, _)| table.is_log());
            for row in rows.flat_map(|(_, rows)| rows) {
                count(&mut counts, row);
            }
            let Some(last) = events.last().filter(|_| events.len() == PAGE_EVENTS) else {
                return Ok(counts);
            };
            after = (last.event_time.0, last.id.to_string());
        }
    }

    /// Adds the difference to a count.
    async fn make_up(&mut self, key: &Key, is: &Count, should: &Count) -> Result<(), StoreError> {
        let (app, width, at, command, result) = key;
        let mut args: Vec<Arg> = vec![
            (*app).into(),
            (*width).into(),
            (*at).into(),
            command.as_str().into(),
            result.as_str().into(),
        ];
        let of =
            "sdk_app_id = $1 and width_s = $2 and at = @at(3) and command = $4 and result = $5";
        let lock = self.connection.dialect().for_update;
        let sql = format!(
            "select family, events, lag_ms, lag_ms_max from summed_event_counts where {of}{lock}"
        );
        let found: Option<(String, i64, i64, i64)> = self.connection.row(&sql, &args).await?;
        // A missing row has no lock and may have been inserted meanwhile: then the insert adds to it.
        let is_locked = found.is_some();
        let (family, events, lag_ms, lag_ms_max) = found.unwrap_or_default();
        let family = if should.family.is_empty() { family } else { should.family.clone() };
        let mut sum = Count { family, events, lag_ms, lag_ms_max };
        sum.events = sum.events.saturating_add(should.events - is.events);
        sum.lag_ms = sum.lag_ms.saturating_add(should.lag_ms - is.lag_ms);
        // A concurrent event may have raised the maximum.
        sum.lag_ms_max = if sum.lag_ms_max == is.lag_ms_max {
            should.lag_ms_max
        } else {
            sum.lag_ms_max.max(should.lag_ms_max)
        };
        if is_locked {
            let delete = format!("delete from summed_event_counts where {of}");
            self.connection.execute(&delete, &args).await?;
        }
        // A negative sum is kept: rows of `new_event_counts` that are not aggregated yet balance it.
        if sum.events != 0 {
            args.extend([
                sum.family.as_str().into(),
                sum.events.into(),
                sum.lag_ms.into(),
                sum.lag_ms_max.into(),
            ]);
            let values = "values ($1, $2, @at(3), $4, $5, $6, $7, $8, $9)";
            self.connection.execute(&add(values), &args).await?;
        }
        Ok(())
    }

    /// Queues also the room sessions and live sessions that no event explains.
    async fn queue_settled(&mut self, scope: Scope) -> Result<(), StoreError> {
        let day = 24 * HOUR_MS;
        let rooms = format!(
            "insert into {PREFIX}settle_queue (sdk_app_id, room_id, day, slot)
             select distinct sdk_app_id, room_id, @ms(started_at) / {day}, 0 from room_sessions where last_at >= @at(1)
             on conflict do nothing"
        );
        self.connection.execute(&rooms, &[scope.from.into()]).await?;
        let sessions = format!(
            "insert into {PREFIX}settle_queue (sdk_app_id, room_id, day, slot)
             select distinct sdk_app_id, room_id, session / {day}, 0 from live_sessions
             where not exists (
                 select 1 from room_sessions
                 where room_sessions.sdk_app_id = live_sessions.sdk_app_id and room_sessions.room_id = live_sessions.room_id
                     and room_sessions.session = live_sessions.session)
             on conflict do nothing"
        );
        self.connection.execute(&sessions, &[]).await?;
        let rtc_rooms = format!(
            "insert into {PREFIX}rtc_settle_queue (sdk_app_id, room_id, at, slot)
             select distinct sdk_app_id, room_id, @ms(started_at) / {HOUR_MS}, 0 from rtc_room_sessions where last_at >= @at(1)
             on conflict do nothing"
        );
        self.connection.execute(&rtc_rooms, &[scope.from.into()]).await.map(|_| ())
    }
}

/// Adds the row of an event in `new_event_counts` to its minute and its hour.
fn count(counts: &mut BTreeMap<Key, Count>, row: &[Value<'_>]) {
    let &[
        Value::Number(app),
        Value::Time(at),
        Value::Text(command),
        Value::Text(result),
        Value::Text(family),
        Value::Number(events),
        Value::Number(lag_ms),
        Value::Number(lag_ms_max),
    ] = row
    else {
        return;
    };
    for (width, at) in [(60, at.0), (3600, at.0 - at.0.rem_euclid(HOUR_MS))] {
        let key = (app, width, at, command.to_owned(), result.to_owned());
        let count = counts.entry(key).or_default();
        family.clone_into(&mut count.family);
        count.events = count.events.saturating_add(events);
        count.lag_ms = count.lag_ms.saturating_add(lag_ms);
        count.lag_ms_max = count.lag_ms_max.max(lag_ms_max);
    }
}
