//! Tasks whose end did not come: what is listed, and whether what is listed is still so.

use tracing::info;

use crate::sessions::tasks::progress::Progress;
use crate::store::{
    Finding, OverdueTask, OverdueTasks, SWEEP_ROWS, SettlerConnection, StoreError, TaskSearch,
};
use crate::telemetry::Metrics;
use protocol::UnixMillis;

/// Lists overdue tasks of the next part of the events within a window, and takes back the listed ones that have an end or had
/// another event.
pub(crate) async fn sweep(
    store: &mut SettlerConnection,
    (search, progress): (&TaskSearch, &mut Progress),
    window: (UnixMillis, UnixMillis),
    overdue: OverdueTasks,
    now: UnixMillis,
    metrics: &Metrics,
) -> Result<(), StoreError> {
    let kind = search.anomaly;
    let listed = store.listed_overdue_tasks(search, &progress.listed, overdue).await?;
    progress.looked_at(
        listed.len(),
        SWEEP_ROWS,
        listed.last().map(|(app, task, _)| (*app, task.as_str())),
    );
    for (app, task, _) in listed.iter().filter(|(.., is_so)| !is_so) {
        store.resolve(*app, kind, task, 0, now).await?;
    }
    let part = progress.next(store, search, window).await?;
    let tasks = store.overdue_tasks(search, part, overdue).await?;
    for task in &tasks {
        store.put(&finding(kind, task, now), now).await?;
        metrics.anomaly_found(kind);
    }
    if !tasks.is_empty() {
        info!(kind, tasks = tasks.len(), "tasks are overdue: their end did not come");
    }
    Ok(())
}

fn finding(kind: &'static str, task: &OverdueTask, now: UnixMillis) -> Finding {
    Finding {
        app: task.sdk_app_id,
        kind,
        subject: task.task_id.clone(),
        session: 0,
        happened_at: task.last_at,
        detail: detail(task, now.since(task.last_at).as_secs()),
    }
}

fn detail(task: &OverdueTask, quiet_s: u64) -> String {
    let silence = format!("no event came for {quiet_s} s");
    match (task.kind.as_str(), task.state.as_str()) {
        ("recording", "stopped") => {
            format!("it was stopped, and {silence}; no event ended the upload of its files")
        }
        ("recording", _) => format!("it was recording, and {silence}; no stop event came"),
        ("relay", "failed") => format!("pushing the stream failed, and {silence}"),
        ("relay", "retrying") => format!("it was connecting again, and {silence}"),
        ("relay", _) => format!("it was connecting, and {silence}"),
        ("ingest", _) => {
            "three attempts to pull the stream failed, and none has succeeded since".to_owned()
        }
        (kind, state) => format!("{} was {state}, and {silence}; no end event came", words(kind)),
    }
}

fn words(kind: &str) -> &str {
    match kind {
        "ai" => "AI",
        "ai_conversation" => "AI conversation",
        kind => kind,
    }
}
