//! What the parts of an event's way cost, each alone: the query, its check, the decoding of each command, the id, what it
//! changes, and how a batch's changes are put together.
//!
//! `cargo bench --bench parts` gives times. `./scripts/instructions` gives instructions, which do not depend on what else the
//! machine does.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]

use std::collections::BTreeMap;
use std::hint::black_box;

use divan::Bencher;
use protocol::UnixMillis;
use protocol::simulate::{Generator, Options};
use protocol::{AppId, Apps, Event, Query, Verified, event_id, verify};
use trtc_callbacks::projections;
use trtc_callbacks::projections::Batch;

const APP: &str = "1400000001";
/// When all of it happens: 2026-11-01 12:00 UTC.
const NOW: UnixMillis = UnixMillis(1_793_534_400_000);
/// How many events a batch has.
const BATCH: usize = 32;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["parts"] => names().iter().for_each(|name| println!("{name}")),
        ["repeat", name, times] => repeat(name, times.parse().unwrap()),
        _ => divan::main(),
    }
}

/// Something that is measured, again and again with the same input.
struct Part {
    name: String,
    work: Box<dyn Fn() + Sync>,
}

fn part(name: impl Into<String>, work: impl Fn() + Sync + 'static) -> Part {
    Part { name: name.into(), work: Box::new(work) }
}

fn names() -> Vec<String> {
    parts().into_iter().map(|part| part.name).collect()
}

/// Does one part so many times, for whoever counts what that takes.
fn repeat(name: &str, times: usize) {
    let parts = parts();
    let part = parts.iter().find(|part| part.name == name).unwrap();
    (0..times).for_each(|_| (part.work)());
}

#[divan::bench(args = names())]
fn each(bencher: Bencher<'_, '_>, name: &str) {
    let parts = parts();
    let part = parts.iter().find(|part| part.name == name).unwrap();
    bencher.bench(|| (part.work)());
}

/// A request: its query and its body.
#[derive(Clone)]
struct Request {
    query: String,
    body: String,
}

impl Request {
    fn verified(&self) -> Verified {
        apps("").verify(Query::parse(&self.query), NOW).unwrap()
    }

    fn event(&self) -> Event {
        Event::decode(&self.verified(), self.body.as_bytes(), NOW)
    }
}

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

/// Our app, with a token where one is given.
fn apps(token: &str) -> Apps {
    let tokens = if token.is_empty() { Vec::new() } else { vec![token.into()] };
    Apps::new().with(app(), tokens)
}

/// Believable requests, the same each time.
fn requests() -> Vec<Request> {
    let start = UnixMillis(NOW.0 - 86_400_000);
    let scenarios = Generator::new(7, app(), start, Options::default());
    let deliveries = scenarios.flat_map(|scenario| scenario.deliveries).take(4_000);
    let request = |timed: protocol::simulate::TimedDelivery| Request {
        query: timed.delivery(app()).query,
        body: timed.body,
    };
    deliveries.map(request).collect()
}

/// A call's end whose list of callees fills the largest body that is taken: with accounts that begin so, or with what is
/// no account.
fn large(account: Option<&str>) -> Request {
    let mut callees = Vec::new();
    let mut bytes = 0;
    while bytes < 250_000 {
        let callee = account.map_or_else(|| "{}".to_owned(), |name| format!("\"{name}{bytes}\""));
        bytes += callee.len() + 1;
        callees.push(callee);
    }
    let command = "Call.CallbackAfterEndCall";
    let body = format!(
        r#"{{"CallbackCommand":"{command}","CallRecord":{{"CallId":"c","CallType":"MultiCall","CalleeList_Account":[{}]}},"EventTime":{}}}"#,
        callees.join(","),
        NOW.0
    );
    Request { query: format!("SdkAppid={APP}&CallbackCommand={command}"), body }
}

fn parts() -> Vec<Part> {
    let requests = requests();
    let first = requests.first().cloned().unwrap();
    let (query, body) = (first.query.clone(), first.body.clone());
    let seconds = NOW.as_secs().to_string();
    let sign = verify::sign(&"token".into(), &seconds);
    let signed = Query::parse(&format!("{query}&Sign={sign}&RequestTime={seconds}"));
    let unsigned = Query::parse(&query);
    let (open, closed) = (apps(""), apps("token"));
    let mut parts = vec![
        part("query", move || drop(black_box(Query::parse(black_box(&query))))),
        part("verify", move || drop(black_box(open.verify(unsigned.clone(), NOW)))),
        part("verify signed", move || drop(black_box(closed.verify(signed.clone(), NOW)))),
        part("id", move || {
            black_box(event_id::repeatable(NOW, app(), "Call.C", black_box(body.as_bytes())));
        }),
    ];
    let mut commands = BTreeMap::new();
    for request in &requests {
        commands.entry(request.event().command.into_owned()).or_insert(request);
    }
    for (command, request) in commands {
        let (verified, body, event) = (request.verified(), request.body.clone(), request.event());
        parts.push(part(format!("decode {command}"), move || {
            drop(black_box(Event::decode(&verified, black_box(body.as_bytes()), NOW)));
        }));
        parts.push(part(format!("changes {command}"), move || {
            drop(black_box(projections::changes(black_box(&event))));
        }));
    }
    for (what, member) in [("members", Some("member-")), ("misfits", None)] {
        let large = large(member);
        let (verified, event) = (large.verified(), large.event());
        parts.push(part(format!("decode 250 KB of {what}"), move || {
            drop(black_box(Event::decode(&verified, black_box(large.body.as_bytes()), NOW)));
        }));
        parts.push(part(format!("changes 250 KB of {what}"), move || {
            drop(black_box(projections::changes(black_box(&event))));
        }));
    }
    let changes: Vec<_> = requests
        .iter()
        .take(BATCH)
        .flat_map(|request| projections::changes(&request.event()))
        .collect();
    parts.push(part(format!("batch of {BATCH}"), move || {
        drop(black_box(Batch::of(black_box(&changes))));
    }));
    parts
}
