use std::fmt::Write;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::json;

use crate::cli::args::app_id;
use crate::cli::output::{self, cell, say, seconds, time_or_dash};
use crate::cli::read::lists::{Source, cut, timeline};
use crate::store::{
    Call, DETAILS_MAX, EventFilter, EventPage, Member, SearchHit, Store, StoreError, Subject,
    call_summary,
};
use protocol::AppId;
use protocol::letters;

/// Show one call: its members, recordings and events.
///
/// Events are listed in the order they happened; ARRIVED is their order of arrival. What no event reported is marked as
/// inferred.
#[derive(Debug, Args)]
pub(crate) struct OneCall {
    /// ID of the call
    id: String,
    /// SDKAppID, if several apps have a call with this ID
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    app: Option<String>,
    /// Print one JSON object: the call, its members, recordings and events
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    source: Source,
}

impl OneCall {
    pub(crate) async fn run(self) -> Result<()> {
        let opened = self.source.open().await?;
        let (store, url) = (&opened.store, &opened.url);
        let app = app_id(self.app.as_deref())?;
        let found = opened.read(self.find(store, app)).await?;
        let call = match found.as_slice() {
            [call] => call,
            [] => {
                let hint = "`trtc-callbacks calls` lists the stored calls";
                return Err(anyhow!("there is no call `{}` in {url}\nhint: {hint}", self.id));
            }
            several => {
                let apps: Vec<_> = several.iter().map(|call| call.sdk_app_id.to_string()).collect();
                let apps = apps.join(", ");
                return Err(anyhow!(
                    "several apps have a call `{}`\nhint: choose one with `--app`: {apps}",
                    self.id
                ));
            }
        };
        let owner = app_of(call)?;
        let members = opened.read(store.call_members(owner, &call.call_id)).await?;
        let (members, members_cut) = (members.rows, members.is_cut);
        let subject = Subject::Call(owner, call.call_id.clone());
        let recordings = opened.read(store.recordings(&subject)).await?;
        let (recordings, recordings_cut) = (recordings.rows, recordings.is_cut);
        for what in cut(&[("members", members_cut), ("recordings", recordings_cut)]) {
            say(&format!("there are more {what} than are shown; the events have all of them"));
        }
        let filter = EventFilter::of_call(call, DETAILS_MAX);
        let EventPage { events, next } = opened.read(store.event_page(&filter)).await?;
        if next.is_some() {
            let shown = events.len();
            say(&format!(
                "only the first {shown} events are shown; `export events --call` has all"
            ));
        }
        if self.json {
            let all = json!({
                "call": call, "members": members, "recordings": recordings, "events": events,
            });
            return output::print_json(&format!("{all}\n"));
        }
        let mut text = head(call);
        text.push_str(&table(&members));
        for recording in &recordings {
            let state = cell(recording.state.as_deref());
            let (task, files) = (cell(Some(&recording.task_id)), recording.files.len());
            let _ = writeln!(text, "\nrecording {task}: {state}, files: {files}");
        }
        let _ = write!(text, "\n{}", timeline(events));
        output::print(&text)
    }

    /// The calls of this id: one in each app that has it.
    async fn find(
        &self,
        store: &Arc<dyn Store>,
        app: Option<AppId>,
    ) -> Result<Vec<Call>, StoreError> {
        let apps = match app {
            Some(app) => vec![app],
            None => store.find(&self.id).await?.iter().filter_map(app_of_found).collect(),
        };
        let mut calls = Vec::new();
        for app in apps {
            calls.extend(store.call(app, &self.id).await?);
        }
        Ok(calls)
    }
}

fn app_of_found(found: &SearchHit) -> Option<AppId> {
    match found {
        SearchHit::Call { sdk_app_id, .. } => AppId::parse(&sdk_app_id.to_string()),
        _ => None,
    }
}

fn app_of(call: &Call) -> Result<AppId> {
    let app = AppId::parse(&call.sdk_app_id.to_string());
    app.with_context(|| format!("the call's app {} is not a valid SDKAppID", call.sdk_app_id))
}

fn head(call: &Call) -> String {
    let summary = letters::spelled_in_lines(&call_summary(call)).into_owned();
    let mut text = format!("{summary}\n\ncall      {}\n", cell(Some(&call.call_id)));
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("app", call.sdk_app_id.to_string());
    let inferred = if call.inferred { " (inferred: no end event came)" } else { "" };
    let result = call
        .result
        .as_deref()
        .map_or_else(String::new, |result| format!(": {}", cell(Some(result))));
    line("state", format!("{}{result}{inferred}", call.state));
    let kind = [call.media.as_deref(), call.call_type.as_deref()];
    let kind: Vec<_> = kind.into_iter().flatten().map(|word| cell(Some(word))).collect();
    line("kind", if kind.is_empty() { "-".to_owned() } else { kind.join(", ") });
    line("caller", cell(call.caller.as_deref()));
    line("hung up", cell(call.hung_up_by.as_deref()));
    line("room", cell(call.room_id.as_deref()));
    if let Some(group) = &call.chat_group_id {
        line("group", cell(Some(group)));
    }
    line("started", time_or_dash(call.started_at));
    line("accepted", time_or_dash(call.accepted_at));
    line("ended", time_or_dash(call.ended_at));
    line("rang", call.ring_seconds.map_or_else(|| "-".to_owned(), seconds));
    line("talk", call.talk_seconds.map_or_else(|| "-".to_owned(), seconds));
    text
}

fn table(members: &[Member]) -> String {
    let mut table = output::table(&["MEMBER", "ROLE", "STATE", "RUNG", "JOINED", "LEFT", "ENDING"]);
    for member in members {
        let left = time_or_dash(member.left_at);
        table.add_row([
            cell(Some(&member.account)),
            if member.is_caller { "caller".to_owned() } else { "callee".to_owned() },
            member.state.clone(),
            time_or_dash(member.invited_at),
            time_or_dash(member.joined_at),
            if member.inferred { format!("{left} (inferred)") } else { left },
            member.ending.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    format!("\n{}\n", table.trim_fmt())
}
