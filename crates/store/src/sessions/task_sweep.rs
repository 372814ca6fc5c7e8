//! Periodic search for recordings and cloud tasks whose end or files did not come. A step looks through a bounded number of
//! events by an index, and says where to go on.
//!
//! `limit 1 offset 0` changes no result. Without it PostgreSQL may make a join of a subquery, and read the whole table for it.

use uuid::Uuid;

use crate::error::StoreError;
use crate::read::recordings::files::{self, FileMark, Files};
use crate::sessions::queue::SettlerConnection;
use crate::sessions::sweep::SWEEP_ROWS;
use crate::sql::from_row::{from_row, id};
use protocol::UnixMillis;

/// How many events of a recording are read for its files.
const FILE_MARKS_MAX: i64 = 10_000;

/// The place of an event.
pub type MarkPlace = (UnixMillis, Uuid);

/// Which tasks are looked for, and how.
#[derive(Debug)]
pub struct TaskSearch {
    /// The kind of the anomaly.
    pub anomaly: &'static str,
    /// The table of the events.
    table: &'static str,
    /// The events that are looked through, of the table `m`.
    marks: &'static str,
    /// How many of them a step looks through; of files that were left, also how many listed recordings.
    pub scanned: u32,
    /// Whether an event shows that its task is overdue. The parameters 1 and 2 are the times of [`OverdueTasks`].
    condition: &'static str,
    /// The columns of a found task.
    columns: &'static str,
}

/// Times by which tasks become overdue; the beginning of time where the check is off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverdueTasks {
    /// A task is overdue without an event since this time.
    pub quiet_before: UnixMillis,
    /// A relay that does not run, or an ingest that failed, is overdue without a change since this time.
    pub failing_before: UnixMillis,
}

/// Recordings: one that was stopped has an end when its upload ended too.
pub static RECORDINGS: TaskSearch = TaskSearch {
    anomaly: "recording_without_end",
    table: "recording_marks",
    marks: "true",
    scanned: 2000,
    condition: "m.at < @at(1) and m.at < @at(2)
        and not exists (
            select 1 from recording_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id
                and (n.at, n.event_id) > (m.at, m.event_id) limit 1 offset 0)
        and not exists (
            select 1 from recording_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id
                and (n.event_type = 312 or (n.event_type in (301, 801) and n.state = 'failed')) limit 1 offset 0)
        and not (
            exists (select 1 from recording_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id
                        and n.event_type in (302, 802, 804) limit 1 offset 0)
            and exists (select 1 from recording_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id
                            and n.event_type in (305, 310) limit 1 offset 0))",
    columns: "'recording' as kind, m.at as last_at,
        case when exists (select 1 from recording_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id
                              and n.event_type in (302, 802, 804) limit 1 offset 0)
             then 'stopped' else 'recording' end as state",
};

/// Cloud tasks. A relay may push to several addresses, each with a state of its own. An ingest of which three attempts failed is
/// dead, and no event says so; one that runs has no other event to come.
pub static RTC_TASKS: TaskSearch = TaskSearch {
    anomaly: "rtc_task_without_end",
    table: "rtc_task_marks",
    marks: "m.state is not null",
    scanned: 2000,
    condition: "m.state is not null and m.at < @at(2)
        and not exists (
            select 1 from rtc_task_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id and n.state is not null
                and (n.at, n.state_rank, n.event_id) > (m.at, m.state_rank, m.event_id)
                and (m.kind <> 'relay' or coalesce(n.url, '') = coalesce(m.url, '')) limit 1 offset 0)
        and case m.kind
            when 'relay' then m.state in ('started', 'retrying', 'failed')
            when 'ingest' then m.state = 'failed' and 3 <= (
                select count(*) from rtc_task_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id
                    and n.state = 'failed' and not exists (
                        select 1 from rtc_task_marks r where r.sdk_app_id = n.sdk_app_id and r.task_id = n.task_id
                            and r.state = 'running' and r.at >= n.at limit 1 offset 0))
            else m.state not in ('stopped', 'failed') and m.at < @at(1) and not exists (
                select 1 from rtc_task_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id and n.at >= @at(1) limit 1 offset 0)
            end",
    columns: "m.kind, m.state,
        (select max(n.at) from rtc_task_marks n where n.sdk_app_id = m.sdk_app_id and n.task_id = m.task_id) as last_at",
};

/// Files that were not uploaded, without a change since both times. Whether one is still left, the events of its recording tell
/// together: they are read for each.
pub static FILES_LEFT: TaskSearch = TaskSearch {
    anomaly: "recording_file_left",
    table: "recording_marks",
    marks: "m.status = 1 and m.event_type in (305, 310, 311)",
    scanned: 20,
    condition: "m.at < @at(1) and m.at < @at(2)",
    columns: "'recording' as kind, m.at as last_at, 'left' as state",
};

/// A task that is without an end, or may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverdueTask {
    /// The app.
    pub sdk_app_id: i64,
    /// The task.
    pub task_id: String,
    /// `recording`, or as in `rtc_tasks`.
    pub kind: String,
    /// Its state.
    pub state: String,
    /// Its latest event; of a file that was not uploaded, the event that says so.
    pub last_at: UnixMillis,
}

/// The place of an event, as a row.
struct Place {
    at: UnixMillis,
    event_id: Uuid,
}

from_row! {
    OverdueTask: sdk_app_id, task_id, kind, state, last_at;
    Place: at, event_id = id;
}

impl SettlerConnection {
    /// The last of the events behind `after` that a step looks through, before `until`; `None` where there are not so many.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn task_marks_until(
        &mut self,
        search: &TaskSearch,
        after: MarkPlace,
        until: UnixMillis,
    ) -> Result<Option<MarkPlace>, StoreError> {
        let sql = format!(
            "select @ms(m.at) as at, @text(m.event_id) as event_id from {} m
             where {} and m.at < @at(1) and (m.at, m.event_id) > (@at(2), @id(3))
             order by m.at, m.event_id limit 1 offset {}",
            search.table,
            search.marks,
            search.scanned - 1
        );
        let args = [until.0.into(), after.0.0.into(), after.1.to_string().as_str().into()];
        let found: Option<Place> = self.0.row(&sql, &args).await?;
        Ok(found.map(|place| (place.at, place.event_id)))
    }

    /// Overdue tasks of the events behind one place and up to another that are not listed, each once.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn overdue_tasks(
        &mut self,
        search: &TaskSearch,
        (after, until): (MarkPlace, MarkPlace),
        overdue: OverdueTasks,
    ) -> Result<Vec<OverdueTask>, StoreError> {
        let sql = format!(
            "select t.sdk_app_id, t.task_id, t.kind, t.state, @ms(t.last_at) as last_at from (
                 select m.sdk_app_id, m.task_id, {} from {} m
                 where {} and (m.at, m.event_id) > (@at(3), @id(4)) and (m.at, m.event_id) <= (@at(5), @id(6))
                     and not exists (
                         select 1 from anomalies a
                         where a.sdk_app_id = m.sdk_app_id and a.kind = '{}' and a.subject = m.task_id and a.session = 0
                             and a.resolved_at is null limit 1 offset 0)
                     and {}
                 order by m.at, m.event_id limit $7) t",
            search.columns, search.table, search.marks, search.anomaly, search.condition,
        );
        let args = [
            overdue.quiet_before.0.into(),
            overdue.failing_before.0.into(),
            after.0.0.into(),
            after.1.to_string().as_str().into(),
            until.0.0.into(),
            until.1.to_string().as_str().into(),
            i64::from(SWEEP_ROWS).into(),
        ];
        let mut tasks: Vec<OverdueTask> = self.0.rows(&sql, &args).await?;
        tasks.sort_by(|one, other| {
            let key = |task: &OverdueTask| (task.sdk_app_id, task.task_id.clone());
            key(one).cmp(&key(other))
        });
        tasks.dedup_by(|one, other| {
            (one.sdk_app_id, &one.task_id) == (other.sdk_app_id, &other.task_id)
        });
        Ok(tasks)
    }

    /// The next listed tasks, after `after`, and whether each is still overdue.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn listed_overdue_tasks(
        &mut self,
        search: &TaskSearch,
        after: &(i64, String),
        overdue: OverdueTasks,
    ) -> Result<Vec<(i64, String, bool)>, StoreError> {
        let sql = format!(
            "select a.sdk_app_id, a.subject, exists (
                 select 1 from {} m where m.sdk_app_id = a.sdk_app_id and m.task_id = a.subject and {})
             from anomalies a
             where a.kind = '{}' and a.resolved_at is null and (a.sdk_app_id, a.subject) > ($3, $4)
             order by a.sdk_app_id, a.subject limit $5",
            search.table, search.condition, search.anomaly
        );
        let args = [
            overdue.quiet_before.0.into(),
            overdue.failing_before.0.into(),
            after.0.into(),
            after.1.as_str().into(),
            i64::from(SWEEP_ROWS).into(),
        ];
        self.0.rows(&sql, &args).await
    }

    /// The next recordings listed for files that are left, after `after`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn listed_files_left(
        &mut self,
        after: &(i64, String),
    ) -> Result<Vec<(i64, String)>, StoreError> {
        let sql = "select a.sdk_app_id, a.subject from anomalies a
             where a.kind = 'recording_file_left' and a.resolved_at is null and (a.sdk_app_id, a.subject) > ($1, $2)
             order by a.sdk_app_id, a.subject limit $3";
        let limit = i64::from(FILES_LEFT.scanned);
        self.0.rows(sql, &[after.0.into(), after.1.as_str().into(), limit.into()]).await
    }

    /// Whether a file of this recording is left on the recorder.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn is_file_left(&mut self, app: i64, task_id: &str) -> Result<bool, StoreError> {
        let sql = format!("{}sdk_app_id = $1 and task_id = $2{}$3", files::SELECT, files::ORDER);
        let args = [app.into(), task_id.into(), FILE_MARKS_MAX.into()];
        let marks: Vec<FileMark> = self.0.rows(&sql, &args).await?;
        let mut files = Files::default();
        for mark in &marks {
            files.add(mark);
        }
        Ok(files.is_left())
    }
}
