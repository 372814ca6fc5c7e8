//! Recordings with a file that was left on the recorder.

use tracing::info;

use crate::sessions::tasks::progress::Progress;
use crate::store::{FILES_LEFT, Finding, OverdueTask, OverdueTasks, SettlerConnection, StoreError};
use crate::telemetry::Metrics;
use protocol::UnixMillis;

/// Lists recordings with a file that was not uploaded before that time, and takes back the listed ones whose files all are. The
/// vendor may recover a file days later.
pub(crate) async fn sweep(
    store: &mut SettlerConnection,
    progress: &mut Progress,
    before: UnixMillis,
    now: UnixMillis,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let kind = FILES_LEFT.anomaly;
    let listed = store.listed_files_left(&progress.listed).await?;
    progress.looked_at(
        listed.len(),
        FILES_LEFT.scanned,
        listed.last().map(|(app, task)| (*app, task.as_str())),
    );
    for (app, task) in &listed {
        if !store.is_file_left(*app, task).await? {
            store.resolve(*app, kind, task, 0, now).await?;
        }
    }
    let part = progress.next(store, &FILES_LEFT, (UnixMillis(0), before)).await?;
    let overdue = OverdueTasks { quiet_before: before, failing_before: before };
    let mut found = 0_u32;
    for task in store.overdue_tasks(&FILES_LEFT, part, overdue).await? {
        if store.is_file_left(task.sdk_app_id, &task.task_id).await? {
            store.put(&finding(&task), now).await?;
            metrics.anomaly_found(kind);
            found += 1;
        }
    }
    if found > 0 {
        info!(recordings = found, "files of recordings were not uploaded");
    }
    Ok(())
}

fn finding(task: &OverdueTask) -> Finding {
    Finding {
        app: task.sdk_app_id,
        kind: FILES_LEFT.anomaly,
        subject: task.task_id.clone(),
        session: 0,
        happened_at: task.last_at,
        detail: "a file was left on the recorder or its backup, and no event says that it was uploaded since"
            .to_owned(),
    }
}
