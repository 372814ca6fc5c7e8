//! Calls whose start or end did not come.

use std::time::Duration;

use tracing::info;

use crate::settings::{GapsSettings, seconds};
use crate::store::{Finding, OpenCall, Overdue, SettlerConnection, StoreError};
use crate::telemetry::Metrics;
use protocol::UnixMillis;

/// How long the start of a call may come after something else of it.
const START_WAIT: Duration = Duration::from_mins(1);
/// How far back calls without a start are looked for.
const START_BACK: Duration = Duration::from_hours(25);

/// What is remembered between sweeps.
#[derive(Default)]
pub(crate) struct Calls {
    /// Up to where those listed as without a start were looked at.
    looked_at: (i64, String),
}

impl Calls {
    pub(crate) async fn sweep(
        &mut self,
        store: &mut SettlerConnection,
        gaps: &GapsSettings,
        now: UnixMillis,
        metrics: &Metrics,
    ) -> Result<(), StoreError> {
        let before = |setting| seconds(setting).map_or(UnixMillis(0), |max| now.minus(max));
        let overdue = Overdue {
            ringing_before: before(gaps.call_ringing_overdue_s),
            active_before: before(gaps.call_active_overdue_s),
        };
        for call in store.not_overdue_calls(overdue).await? {
            store.unmark_overdue(&call, now).await?;
        }
        let calls = store.overdue_calls(overdue).await?;
        let mut marked = 0_u32;
        for call in calls {
            if store.mark_overdue(&call, &without_end(&call, now), now).await? {
                metrics.anomaly_found("call_without_end");
                marked += 1;
            }
        }
        if marked > 0 {
            info!(calls = marked, "calls are overdue: their end did not come");
        }
        self.starts(store, now, metrics).await
    }

    /// Lists calls without a start, and looks whether that of those listed has come.
    async fn starts(
        &mut self,
        store: &mut SettlerConnection,
        now: UnixMillis,
        metrics: &Metrics,
    ) -> Result<(), StoreError> {
        let (from, until) = (now.minus(START_BACK), now.minus(START_WAIT));
        for call in store.calls_without_start(from, until).await? {
            store.put(&without_start(&call), now).await?;
            metrics.anomaly_found("call_without_start");
        }
        let listed = store.listed_without_start(&self.looked_at).await?;
        self.looked_at =
            listed.last().map_or_else(Default::default, |(app, call, _)| (*app, call.clone()));
        for (app, call, _) in listed.iter().filter(|(.., is_so)| !is_so) {
            store.resolve(*app, "call_without_start", call, 0, now).await?;
        }
        Ok(())
    }
}

fn without_end(call: &OpenCall, now: UnixMillis) -> Finding {
    let what = if call.accepted { "accepted" } else { "ringing" };
    let quiet = now.since(call.last_at).as_secs();
    Finding {
        app: call.sdk_app_id,
        kind: "call_without_end",
        subject: call.call_id.clone(),
        session: 0,
        happened_at: call.last_at,
        detail: format!("it was {what}, and no event came for {quiet} s; no end event came"),
    }
}

fn without_start(call: &OpenCall) -> Finding {
    Finding {
        app: call.sdk_app_id,
        kind: "call_without_start",
        subject: call.call_id.clone(),
        session: 0,
        happened_at: call.first_at,
        detail: "no start event came; the first that is known of it is another".to_owned(),
    }
}
