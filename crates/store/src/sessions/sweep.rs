//! Periodic search for anomalies that no new event reveals. Each step reads a bounded number of rows by an index.

use crate::error::StoreError;
use crate::sessions::counts::SUM_KEY;
use crate::sessions::queue::SettlerConnection;
use crate::sessions::write::{Finding, put, resolve};
use crate::sql::connection::Arg;
use crate::sql::from_row::from_row;
use protocol::UnixMillis;

/// Number of rows of one step.
pub const SWEEP_ROWS: u32 = 200;
/// Number of counts deleted at once.
const COUNTS_ROWS: i64 = 2000;

const NOT_ENDED: &str = "end_event_at is null and end_record_at is null";
const ACCEPTED: &str = "coalesce(accept_event_at, accept_record_at) is not null";

/// A call without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCall {
    /// The app.
    pub sdk_app_id: i64,
    /// The call.
    pub call_id: String,
    /// Whether it was accepted.
    pub accepted: bool,
    /// The earliest known time.
    pub first_at: UnixMillis,
    /// The latest known time.
    pub last_at: UnixMillis,
}

from_row! { OpenCall: sdk_app_id, call_id, accepted, first_at, last_at; }

/// Times by which calls become overdue, in ms since 1970; the beginning of time where the check is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    /// A ringing call is overdue without an event since this time.
    pub ringing_before: UnixMillis,
    /// An accepted call is overdue without an event since this time.
    pub active_before: UnixMillis,
}

impl Overdue {
    fn args(self) -> [Arg; 4] {
        let (ringing, active) = (self.ringing_before.0, self.active_before.0);
        let limit = i64::from(SWEEP_ROWS);
        [ringing.into(), active.into(), ringing.max(active).into(), limit.into()]
    }
}

/// The columns of an open call.
fn open_calls(condition: &str) -> String {
    format!(
        "select sdk_app_id, call_id, {ACCEPTED} as accepted, @ms(first_at) as first_at, @ms(last_at) as last_at
         from merged_calls as calls where {condition}"
    )
}

/// An open anomaly that is of no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOutage {
    /// The app.
    pub sdk_app_id: i64,
    /// What it is of, such as a product or a destination.
    pub subject: String,
    /// When it was found, in ms since 1970.
    pub session: i64,
    /// A description.
    pub detail: String,
}

from_row! { OpenOutage: sdk_app_id, subject, session, detail; }

impl SettlerConnection {
    /// Calls that have become overdue, the longest silent first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn overdue_calls(&mut self, overdue: Overdue) -> Result<Vec<OpenCall>, StoreError> {
        let sql = open_calls(&format!(
            "overdue_at is null and {NOT_ENDED} and calls.first_at < @at(3) and calls.last_at < @at(3)
                 and calls.last_at < case when {ACCEPTED} then @at(2) else @at(1) end
             order by calls.last_at limit $4"
        ));
        self.0.rows(&sql, &overdue.args()).await
    }

    /// Marks a call as overdue and lists the anomaly, unless it had an event meanwhile: then `false`.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn mark_overdue(
        &mut self,
        call: &OpenCall,
        finding: &Finding,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let db = &mut self.0;
        db.begin().await?;
        let sql = format!(
            "update merged_calls set overdue_at = @at(3)
             where sdk_app_id = $1 and call_id = $2 and overdue_at is null and {NOT_ENDED} and last_at = @at(4)"
        );
        let args = [
            call.sdk_app_id.into(),
            call.call_id.as_str().into(),
            now.0.into(),
            call.last_at.0.into(),
        ];
        let marked = db.execute(&sql, &args).await? > 0;
        if marked {
            put(db, [finding], now).await?;
        }
        db.commit().await?;
        Ok(marked)
    }

    /// Calls marked as overdue that have ended or had another event since.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn not_overdue_calls(
        &mut self,
        overdue: Overdue,
    ) -> Result<Vec<OpenCall>, StoreError> {
        let ended = open_calls(
            "overdue_at is not null and (end_event_at is not null or end_record_at is not null)
             order by calls.last_at limit $1",
        );
        let mut calls: Vec<OpenCall> = self.0.rows(&ended, &[i64::from(SWEEP_ROWS).into()]).await?;
        let heard = open_calls(&format!(
            "overdue_at is not null and {NOT_ENDED} and calls.last_at >= @at(3)
                 and calls.last_at >= case when {ACCEPTED} then @at(2) else @at(1) end
             order by calls.last_at limit $4"
        ));
        let [ringing, active, _, limit] = overdue.args();
        let earliest = overdue.ringing_before.min(overdue.active_before);
        let args = [ringing, active, earliest.0.into(), limit];
        calls.extend(self.0.rows::<OpenCall>(&heard, &args).await?);
        Ok(calls)
    }

    /// Unmarks a call and resolves its anomaly.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn unmark_overdue(
        &mut self,
        call: &OpenCall,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        let db = &mut self.0;
        db.begin().await?;
        let key = [call.sdk_app_id.into(), call.call_id.as_str().into()];
        let sql =
            "update merged_calls set overdue_at = null where sdk_app_id = $1 and call_id = $2";
        db.execute(sql, &key).await?;
        resolve(db, call.sdk_app_id, "call_without_end", &call.call_id, 0, now).await?;
        db.commit().await
    }

    /// Calls first known within the range that have no start and are not listed.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn calls_without_start(
        &mut self,
        from: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<OpenCall>, StoreError> {
        let sql = open_calls(
            "start_event_at is null and start_record_at is null
                 and calls.first_at >= @at(1) and calls.first_at < @at(2)
                 and not exists (
                     select 1 from anomalies a
                     where a.sdk_app_id = calls.sdk_app_id and a.kind = 'call_without_start'
                         and a.subject = calls.call_id and a.session = 0 and a.resolved_at is null)
             order by calls.first_at limit $3",
        );
        self.0.rows(&sql, &[from.0.into(), until.0.into(), i64::from(SWEEP_ROWS).into()]).await
    }

    /// Reads the next listed calls without a start, after `after`, and whether each still lacks it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn listed_without_start(
        &mut self,
        after: &(i64, String),
    ) -> Result<Vec<(i64, String, bool)>, StoreError> {
        let sql = "select a.sdk_app_id, a.subject, c.call_id is not null
             from anomalies a
             left join calls c on c.sdk_app_id = a.sdk_app_id and c.call_id = a.subject
                 and c.start_event_at is null and c.start_record_at is null
             where a.kind = 'call_without_start' and a.resolved_at is null
                 and (a.sdk_app_id, a.subject) > ($1, $2)
             order by a.sdk_app_id, a.subject limit $3";
        let args = [after.0.into(), after.1.as_str().into(), i64::from(SWEEP_ROWS).into()];
        self.0.rows(sql, &args).await
    }

    /// Lists an anomaly, in a transaction of its own.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn put(&mut self, finding: &Finding, now: UnixMillis) -> Result<(), StoreError> {
        put(&mut self.0, [finding], now).await
    }

    /// Resolves an anomaly.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn resolve(
        &mut self,
        app: i64,
        kind: &str,
        subject: &str,
        session: i64,
        now: UnixMillis,
    ) -> Result<(), StoreError> {
        resolve(&mut self.0, app, kind, subject, session, now).await
    }

    /// Queues open rooms without an event since `before`. Returns their number.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn queue_idle_rooms(&mut self, before: UnixMillis) -> Result<u64, StoreError> {
        let sql = "insert into settle_queue (sdk_app_id, room_id, day, slot)
             select sdk_app_id, room_id, cast(@ms(last_at) / 86400000 as integer), 0 from room_sessions
             where state = 'open' and last_at < @at(1) order by last_at limit $2
             on conflict do nothing";
        self.0.execute(sql, &[before.0.into(), i64::from(SWEEP_ROWS).into()]).await
    }

    /// Number of open anomalies of each kind.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn listed(&mut self) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "select kind, count(*) from anomalies where resolved_at is null group by kind";
        self.0.rows(sql, &[]).await
    }

    /// The last minute with an event of the app, not later than `until`; `None` where there is none within the two
    /// days for which minutes are kept.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn last_minute(
        &mut self,
        app: i64,
        until: UnixMillis,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let sql = "select @ms(at) from event_counts
             where sdk_app_id = $1 and width_s = 60 and at <= @at(2) order by at desc limit 1";
        let found: Option<(i64,)> = self.0.row(sql, &[app.into(), until.0.into()]).await?;
        Ok(found.map(|found| UnixMillis(found.0)))
    }

    /// Number of events of the app in each hour of a range, by the hour's start.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn hours(
        &mut self,
        app: i64,
        from: UnixMillis,
        until: UnixMillis,
    ) -> Result<Vec<(UnixMillis, i64)>, StoreError> {
        let sql = "select @ms(at), @sum(events) from event_counts
             where sdk_app_id = $1 and width_s = 3600 and at >= @at(2) and at < @at(3)
             group by at order by at";
        let rows: Vec<(i64, i64)> =
            self.0.rows(sql, &[app.into(), from.0.into(), until.0.into()]).await?;
        Ok(rows.into_iter().map(|(at, events)| (UnixMillis(at), events)).collect())
    }

    /// Open silence anomalies of an app, by their start.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn silences(&mut self, app: i64) -> Result<Vec<UnixMillis>, StoreError> {
        let sql = "select session from anomalies
             where kind = 'silence' and sdk_app_id = $1 and resolved_at is null order by session";
        let rows: Vec<(i64,)> = self.0.rows(sql, &[app.into()]).await?;
        Ok(rows.into_iter().map(|row| UnixMillis(row.0)).collect())
    }

    /// Deletes counts of minutes before a time, a few at a time; hourly counts stay. Returns their number.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn delete_minutes(&mut self, before: UnixMillis) -> Result<u64, StoreError> {
        // A very late event may be writing such a count, which the next run deletes.
        let lock = if self.0.is_postgres() { "for update skip locked" } else { "" };
        let sql = format!(
            "delete from summed_event_counts where ({SUM_KEY}) in (
                 select {SUM_KEY} from summed_event_counts where width_s = 60 and at < @at(1) order by at limit $2 {lock})"
        );
        self.0.execute(&sql, &[before.0.into(), COUNTS_ROWS.into()]).await
    }
}
