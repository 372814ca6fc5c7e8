//! The searches for tasks without an end and for files that were left.

use std::time::Duration;

use crate::sessions::tasks::progress::Progress;
use crate::sessions::tasks::{endless, files_left};
use crate::settings::{GapsSettings, seconds};
use crate::store::{OverdueTasks, RECORDINGS, RTC_TASKS, SettlerConnection, StoreError};
use crate::telemetry::Metrics;
use protocol::UnixMillis;

/// How long a relay may be without connection, and how long another event may come after one: the vendor tries to connect for a
/// minute.
const FAILING: Duration = Duration::from_mins(1);
/// How far back tasks are looked for that had no event for too long.
const RECORDINGS_BACK: Duration = Duration::from_hours(48);
/// How far back changes of the state of cloud tasks are looked for.
const CHANGES_BACK: Duration = Duration::from_hours(8 * 24);

/// What is remembered between sweeps.
#[derive(Default)]
pub(crate) struct Tasks {
    recordings: Progress,
    files: Progress,
    cloud: Progress,
}

impl Tasks {
    pub(crate) async fn sweep(
        &mut self,
        store: &mut SettlerConnection,
        gaps: &GapsSettings,
        now: UnixMillis,
        metrics: &Metrics,
    ) -> Result<(), StoreError> {
        let quiet_max = seconds(gaps.task_idle_overdue_s);
        let quiet_before = quiet_max.map_or(UnixMillis(0), |max| now.minus(max));
        let failing_before = now.minus(FAILING);
        let overdue = OverdueTasks { quiet_before, failing_before };
        let window = (quiet_before.minus(RECORDINGS_BACK), quiet_before);
        let recordings = (&RECORDINGS, &mut self.recordings);
        endless::sweep(store, recordings, window, overdue, now, metrics).await?;
        let window = (now.minus(CHANGES_BACK), failing_before);
        let rtc_tasks = (&RTC_TASKS, &mut self.cloud);
        endless::sweep(store, rtc_tasks, window, overdue, now, metrics).await?;
        files_left::sweep(store, &mut self.files, failing_before, now, metrics).await
    }
}
