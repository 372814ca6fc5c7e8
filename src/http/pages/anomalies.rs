//! What should not be: a list, with what each kind means.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};

use crate::http::ops::state::Ops;
use crate::http::ui::filters::Form;
use crate::http::ui::html::{
    Html, call_href, destination_href, id, link, recording_href, room_href, rtc_room_at_href,
    rtc_session_href, rtc_task_href, time, time_or, words,
};
use crate::http::ui::page::{Listed, Paged, answered, listed};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::store::{ANOMALY_KINDS, Anomaly, AnomalyFilter};
use protocol::UnixMillis;

/// Kinds, and what they mean.
fn kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    ANOMALY_KINDS.iter().map(|kind| (*kind, meaning(kind)))
}

fn meaning(kind: &str) -> &'static str {
    match kind {
        "call_without_end" => {
            "No end event came for a call. Its state is overdue, and its end is its last event."
        }
        "call_without_start" => "Events of a call came, and its start did not.",
        "room_without_destroy" => {
            "A room was created again, or fell silent, and no destroy event came."
        }
        "room_without_create" => "Events of a room came, and its create event did not.",
        "leaves_missing" => {
            "Accounts were inside when the room ended, and no event says that they left."
        }
        "enters_missing" => "Accounts left a room that no event says they had entered.",
        "rtc_room_without_create" => {
            "Events of a room of the RTC Engine came, and its create event did not."
        }
        "rtc_room_without_dismiss" => {
            "A room of the RTC Engine was created again, or nobody was inside for a quarter of an hour, and no \
             dismissal came."
        }
        "rtc_exits_missing" => {
            "Accounts were inside when a room of the RTC Engine ended, and no event says that they left."
        }
        "rtc_stops_missing" => {
            "Camera, microphone or screen was published in a room of the RTC Engine, and no event says until when."
        }
        "rtc_dismiss_unattached" => {
            "A dismissal came of a room of the RTC Engine, and which room it is of cannot be told."
        }
        "recording_without_end" => {
            "A recording began, and no event came that ends it, or the upload of its files."
        }
        "recording_file_left" => {
            "A file of a recording was left on the recorder, and no event says that it was uploaded since."
        }
        "rtc_task_without_end" => {
            "A relay has no connection, an ingest failed three times, or another cloud task had no event for long and no end."
        }
        "silence" => "No event came for a while, at an hour that usually has some.",
        "forwarding_failing" => {
            "A destination of forwarding has not run for a while: it fails, is paused or cannot be called as it is configured."
        }
        "registration_drift" => {
            "What is registered at the vendor for a product was not what is wanted: its callbacks may not come."
        }
        _ => "",
    }
}

#[derive(Template)]
#[template(path = "anomalies.html")]
struct List {
    shell: Shell,
    form: Form,
    rows: Vec<AnomalyRow>,
    kinds: Vec<(&'static str, &'static str)>,
    older: Option<String>,
    is_later: bool,
}

/// An anomaly, as a row of a table.
pub(crate) struct AnomalyRow {
    pub(crate) kind: String,
    pub(crate) subject: Html,
    pub(crate) happened: Html,
    pub(crate) resolved: Html,
    pub(crate) is_open: bool,
    pub(crate) detail: String,
}

pub(crate) fn row(anomaly: &Anomaly, now: UnixMillis) -> AnomalyRow {
    let app = anomaly.sdk_app_id;
    let subject = match anomaly.kind.as_str() {
        "silence" => id(&anomaly.subject),
        "registration_drift" => words("/settings", &anomaly.subject),
        "forwarding_failing" => link(&destination_href(&anomaly.subject), &anomaly.subject),
        kind if kind.starts_with("recording_") => {
            link(&recording_href(app, &anomaly.subject), &anomaly.subject)
        }
        kind if kind.starts_with("rtc_task_") => {
            link(&rtc_task_href(app, &anomaly.subject), &anomaly.subject)
        }
        kind if kind.starts_with("call_") => {
            link(&call_href(app, &anomaly.subject), &anomaly.subject)
        }
        // It is of no session.
        "rtc_dismiss_unattached" => {
            link(&rtc_room_at_href(app, &anomaly.subject, anomaly.happened_at), &anomaly.subject)
        }
        kind if kind.starts_with("rtc_") => {
            link(&rtc_session_href(app, &anomaly.subject, anomaly.session), &anomaly.subject)
        }
        _ => link(&room_href(app, &anomaly.subject, anomaly.session), &anomaly.subject),
    };
    AnomalyRow {
        kind: anomaly.kind.replace('_', " "),
        subject,
        happened: time(anomaly.happened_at, now),
        resolved: time_or(anomaly.resolved_at, now),
        is_open: anomaly.resolved_at.is_none(),
        detail: anomaly.detail.clone(),
    }
}

/// `GET /anomalies`
pub(crate) async fn list(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    let Listed { filter, form, rows, older, is_later, now } =
        listed::<AnomalyFilter>(&ops, "/anomalies", query.as_deref()).await?;
    let rows = rows.iter().map(|anomaly| row(anomaly, now)).collect();
    let shell = Shell::new("Anomalies", Section::Anomalies, now).within(&ops, filter.app);
    answered(form.is_good(), &List { shell, form, rows, kinds: kinds().collect(), older, is_later })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_leads_to_the_page_of_its_subject() {
        let href = |kind: &str| {
            let at = UnixMillis(1_793_534_400_000);
            let anomaly = Anomaly {
                sdk_app_id: 1,
                kind: kind.to_owned(),
                subject: "x".to_owned(),
                session: 7,
                happened_at: at,
                found_at: at,
                resolved_at: None,
                detail: String::new(),
            };
            let subject = row(&anomaly, at).subject.to_string();
            let found = subject.split_once("href=\"").and_then(|(_, rest)| rest.split_once('"'));
            found.map(|(href, _)| href.to_owned())
        };
        for (kind, page) in [
            ("call_without_end", "/calls/1/x"),
            ("leaves_missing", "/room-sessions/1/x/7"),
            ("rtc_exits_missing", "/rtc-room-sessions/1/x?session=7"),
            ("rtc_task_without_end", "/rtc-tasks/1/x"),
            ("recording_file_left", "/recordings/1/x"),
            ("forwarding_failing", "/forward/x"),
            ("registration_drift", "/settings"),
        ] {
            assert_eq!(href(kind).as_deref(), Some(page), "{kind}");
        }
        let unattached = href("rtc_dismiss_unattached").unwrap();
        assert!(unattached.starts_with("/rtc-room-sessions/1/x?at=2026-11-01"), "{unattached}");
        assert_eq!(href("silence"), None);
    }
}
