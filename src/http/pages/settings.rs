//! What this server is set to, and what the vendor has of it. Needs no store, and shows no secret.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};

use crate::failure_report::FailureReport;
use crate::http::ops::setup::AppSetup;
use crate::http::ops::state::Ops;
use crate::http::query::Query;
use crate::http::ui::html::{Html, badge, id, nothing, number, span, time, time_or, visible};
use crate::http::ui::page::{Paged, done};
use crate::http::ui::section::Section;
use crate::http::ui::shell::Shell;
use crate::ip_list::refresh::AddressBook;
use crate::registration::{ProductStatus, RegistrationState, shown};
use protocol::UnixMillis;

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage<'a> {
    shell: Shell,
    apps: Vec<(Html, &'static str, String, &'static str)>,
    /// How often is checked; absent where it never is.
    every: Option<String>,
    repairs: bool,
    rows: Vec<Row>,
    given: Option<String>,
    proxies: Option<String>,
    list: Option<List>,
    sections: &'a [(&'static str, Vec<(&'static str, String)>)],
}

/// A registration, as a row of a table.
struct Row {
    app: Html,
    product: &'static str,
    host: Html,
    state: Html,
    since: Html,
    wanted: Html,
    commands: usize,
    registered: Html,
    detail: String,
    checked: Html,
    repaired: Option<Html>,
    trouble: Option<FailureText>,
}

/// What went wrong.
struct FailureText {
    text: String,
    hint: String,
    request_id: Option<Html>,
    since: Html,
}

/// How the vendor's list stands.
struct List {
    networks: Option<String>,
    fetched: Html,
    trouble: Option<FailureText>,
}

fn told(trouble: &FailureReport, now: UnixMillis) -> FailureText {
    FailureText {
        text: visible(&trouble.diagnostic.problem).into_owned(),
        hint: visible(trouble.diagnostic.hint.as_deref().unwrap_or_default()).into_owned(),
        request_id: trouble.request_id.as_deref().map(id),
        since: time(trouble.since, now),
    }
}

fn row(entry: &ProductStatus, now: UnixMillis) -> Row {
    let (state, since, detail) = match &entry.standing {
        RegistrationState::Unknown => ("unknown", nothing(), ""),
        RegistrationState::Right(since) => ("right", time(*since, now), ""),
        RegistrationState::Differs(since, detail) => {
            ("differs", time(*since, now), detail.as_str())
        }
    };
    let is_known = entry.standing != RegistrationState::Unknown;
    let registered = match &entry.registered {
        Some(url) => id(&shown(url)),
        None if is_known => badge("nothing"),
        None => nothing(),
    };
    Row {
        app: id(&entry.app.to_string()),
        product: entry.product.as_str(),
        host: if entry.host.is_empty() { nothing() } else { id(&entry.host) },
        state: badge(state),
        since,
        wanted: id(&shown(&entry.wanted.url)),
        commands: entry.wanted.commands.len(),
        registered,
        detail: visible(detail).into_owned(),
        checked: time_or(entry.checked_at, now),
        repaired: entry.repaired_at.map(|at| time(at, now)),
        trouble: entry.trouble.as_ref().map(|trouble| told(trouble, now)),
    }
}

fn list(book: &AddressBook, now: UnixMillis) -> List {
    let state = book.state();
    let networks = i64::try_from(state.networks).unwrap_or(i64::MAX);
    List {
        networks: (networks > 0).then(|| number(networks)),
        fetched: time_or(state.fetched_at, now),
        trouble: state.trouble.as_ref().map(|trouble| told(trouble, now)),
    }
}

fn ms(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

/// `GET /settings`
pub(crate) async fn page(State(ops): State<Arc<Ops>>, RawQuery(query): RawQuery) -> Paged {
    Query::read(query.as_deref()).only(&["app"])?;
    let (now, setup) = (ops.clock.now(), &ops.setup);
    let app = |app: &AppSetup| {
        let tokens = match app.tokens {
            0 => "none: unsigned requests are taken".to_owned(),
            1 => "one is set".to_owned(),
            tokens => format!("{tokens} are set"),
        };
        let signed = if app.tokens == 0 { "no" } else { "yes" };
        let key = if app.has_key { "is set" } else { "none" };
        (id(&app.id.to_string()), signed, tokens, key)
    };
    let joined =
        |words: &[String]| (!words.is_empty()).then(|| visible(&words.join(", ")).into_owned());
    let sources = &setup.sources;
    done(&SettingsPage {
        shell: Shell::new("Settings", Section::Settings, now),
        apps: setup.apps.iter().map(app).collect(),
        every: setup.book.interval().map(|every| span(ms(every))),
        repairs: setup.book.repairs(),
        rows: setup.book.entries().iter().map(|entry| row(entry, now)).collect(),
        given: joined(&sources.given),
        proxies: joined(&sources.proxies),
        list: sources.vendor.as_ref().map(|book| list(book, now)),
        sections: &setup.sections,
    })
}
