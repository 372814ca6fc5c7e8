//! The simulator's second side: what the RTC Engine tells of the same calls, conferences and shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocol::body::rtc::event::RtcBody;
use protocol::simulate::{
    Dialects, Disturbance, Generator, Kind, Options, Scenario, TimedDelivery, disturbed,
};
use protocol::{AppId, Body, Dialect, Event};
use serde_json::Value;

use crate::process::{Serving, done, lines, program};
use crate::support::{APP, NOW};

/// The types that the scenarios play.
const PLAYED: [i64; 26] = [
    101, 102, 103, 104, 105, 201, 202, 203, 204, 205, 206, 301, 302, 303, 304, 305, 307, 310, 311,
    401, 1101, 1102, 1104, 1401, 1402, 1403,
];

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

fn options(dialects: Dialects) -> Options {
    Options { viewers: 12, recorded: 0.5, dialects, ..Options::tiny() }
}

/// So many scenarios of every kind that has a room.
fn scenarios(each: usize, options: &Options) -> Vec<Scenario> {
    let mut generator = Generator::new(11, app(), NOW, options.clone());
    let mut start = NOW;
    let mut all = Vec::new();
    for _ in 0..each {
        for kind in Kind::ALL.into_iter().filter(|kind| kind.has_room()) {
            all.push(generator.scenario(kind, start));
            // Later than what came before, whose rooms are free by then.
            start = start.plus(Duration::from_hours(1));
        }
    }
    all
}

fn is_rtc(delivery: &TimedDelivery) -> bool {
    delivery.dialect == Dialect::RtcEngine
}

/// One event of the RTC Engine, read without the crate's types.
#[derive(Debug)]
struct Told {
    number: i64,
    at: i64,
    room: Value,
    user: String,
    reason: i64,
    role: i64,
    info: Value,
}

fn told(scenario: &Scenario) -> Vec<Told> {
    let of = |delivery: &TimedDelivery| {
        let body: Value = serde_json::from_str(&delivery.body).unwrap();
        let info = body["EventInfo"].clone();
        Told {
            number: body["EventType"].as_i64().unwrap(),
            at: info["EventMsTs"].as_i64().unwrap(),
            room: info["RoomId"].clone(),
            user: info["UserId"].as_str().unwrap_or_default().to_owned(),
            reason: info["Reason"].as_i64().unwrap_or(0),
            role: info["Role"].as_i64().unwrap_or(0),
            info,
        }
    };
    scenario.deliveries.iter().filter(|delivery| is_rtc(delivery)).map(of).collect()
}

/// A room's id as text.
fn text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn event(delivery: &TimedDelivery) -> Event {
    delivery.delivery(app()).event(delivery.at).unwrap()
}

#[test]
fn each_side_is_the_same_alone_and_with_the_other() {
    let [kit, rtc, both] = [Dialects::Im, Dialects::RtcEngine, Dialects::Both]
        .map(|dialects| scenarios(12, &options(dialects)));
    assert_eq!(both, scenarios(12, &options(Dialects::Both)), "the same seed");
    for (place, both) in both.iter().enumerate() {
        let (one, other): (Vec<_>, Vec<_>) = both.deliveries.iter().cloned().partition(is_rtc);
        assert_eq!(one, rtc[place].deliveries, "{:?}", both.kind);
        assert_eq!(other, kit[place].deliveries, "{:?}", both.kind);
        assert!(!one.is_empty() && !other.is_empty(), "{:?}", both.kind);
    }
    let alone = Generator::new(3, app(), NOW, options(Dialects::RtcEngine));
    assert!(alone.take(200).all(|scenario| !scenario.deliveries.is_empty()));
}

#[test]
fn every_rtc_body_decodes_with_its_type_and_times() {
    for compress in [1.0, 60.0] {
        for scenario in scenarios(12, &Options { compress, ..options(Dialects::RtcEngine) }) {
            let mut ids = BTreeSet::new();
            for delivery in &scenario.deliveries {
                let request = delivery.delivery(app());
                assert_eq!(request.app(), Some(app()));
                assert_eq!(request.bytes().unwrap(), delivery.body.as_bytes());
                let event = event(delivery);
                assert_eq!(event.command, delivery.command);
                assert_eq!(event.decode_error, None, "{}", delivery.body);
                assert!(matches!(event.body, Body::Rtc(_)), "{}", delivery.body);
                assert!(ids.insert(event.id), "two events are one: {}", delivery.body);
                let body: Value = serde_json::from_str(&delivery.body).unwrap();
                let info = &body["EventInfo"];
                let happened = info["EventMsTs"].as_i64().unwrap();
                assert!(event.timed);
                assert_eq!(event.event_time.0, happened, "{body}");
                assert_eq!(text(&info["EventTs"]), (happened / 1000).to_string(), "{body}");
                assert_eq!(body["CallbackTs"], delivery.at.0);
                assert!((3..2_000).contains(&(delivery.at.0 - happened)), "{body}");
            }
        }
    }
}

#[test]
fn every_claimed_rtc_type_and_reason_is_played() {
    let (mut types, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for scenario in scenarios(60, &options(Dialects::RtcEngine)) {
        for told in told(&scenario) {
            types.insert(told.number);
            if [103, 104].contains(&told.number) {
                reasons.insert((told.number, told.reason));
            }
        }
    }
    let expected: BTreeSet<i64> = PLAYED.into_iter().chain([312]).collect();
    assert_eq!(types, expected);
    let all = [103, 104].into_iter().flat_map(|number| (1..=4).map(move |one| (number, one)));
    assert_eq!(reasons, all.collect());
}

#[test]
fn the_times_of_both_dialects_rise() {
    for compress in [1.0, 50.0, 1e6] {
        for scenario in scenarios(8, &Options { compress, ..options(Dialects::Both) }) {
            let times = scenario.deliveries.iter().map(|delivery| delivery.at);
            assert!(times.is_sorted_by(|one, next| one < next), "{:?}", scenario.kind);
            assert!(told(&scenario).is_sorted_by_key(|told| told.at), "{:?}", scenario.kind);
        }
    }
}

/// Every text and number in a value.
fn words(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| words(value, found)),
        Value::Object(members) => members.values().for_each(|value| words(value, found)),
        Value::Null | Value::Bool(_) => {}
        scalar => _ = found.insert(text(scalar)),
    }
}

#[test]
fn rooms_users_and_tasks_have_the_same_ids_in_both_dialects() {
    let (mut tasks, mut digits_as_text) = (0, 0);
    for scenario in scenarios(30, &options(Dialects::Both)) {
        let mut of_kit = BTreeSet::new();
        for delivery in scenario.deliveries.iter().filter(|delivery| !is_rtc(delivery)) {
            words(&serde_json::from_str(&delivery.body).unwrap(), &mut of_kit);
        }
        let is_call = !matches!(scenario.kind, Kind::Conference | Kind::Show);
        for told in told(&scenario) {
            let room = text(&told.room);
            assert!(of_kit.contains(&room), "{room}");
            // Those of recordings have a text in all samples, and that of a closed room in the vendor's.
            if told.number < 300 && told.number != 102 {
                assert_eq!(told.room.is_number(), is_call, "{told:?}");
                digits_as_text += usize::from(!is_call && room.parse::<u32>().is_ok());
            }
            // Other tasks than recordings are of the RTC Engine alone.
            if told.number >= 400 {
                continue;
            }
            let kit = if is_call { "callkit" } else { "livekit" };
            let robot = format!("{kit}_{APP}_record_{room}");
            let known = told.number == 102 || told.user == robot || of_kit.contains(&told.user);
            assert!(known, "{told:?}");
            if told.number >= 300 {
                assert_eq!(told.user, robot);
                assert!(of_kit.contains(told.info["TaskId"].as_str().unwrap()), "{told:?}");
                tasks += 1;
            }
        }
    }
    assert!(tasks > 100 && digits_as_text > 20, "{tasks} {digits_as_text}");
}

#[test]
fn a_recording_told_twice_is_the_same_event_twice() {
    let mut seen = 0;
    for scenario in scenarios(20, &options(Dialects::Both)) {
        let plain: Vec<Value> = (scenario.deliveries.iter().filter(|delivery| is_rtc(delivery)))
            .map(|delivery| serde_json::from_str(&delivery.body).unwrap())
            .collect();
        for delivery in scenario.deliveries.iter().filter(|delivery| !is_rtc(delivery)) {
            let body: Value = serde_json::from_str(&delivery.body).unwrap();
            let embedded = if body["Callback"].is_object() { &body["Callback"] } else { &body };
            if embedded["EventInfo"].is_object() {
                let same = |plain: &&Value| {
                    plain["EventInfo"] == embedded["EventInfo"]
                        && plain["EventType"] == embedded["EventType"]
                };
                assert_eq!(plain.iter().filter(same).count(), 1, "{body}");
                seen += 1;
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

/// A user's time in a room, as far as it was told.
#[derive(Debug, Default)]
struct Inside {
    /// When a second device came.
    replaced: Option<i64>,
    on: BTreeSet<i64>,
}

#[test]
fn every_enter_has_an_exit_and_every_room_its_close() {
    let mut publishing = 0;
    for scenario in scenarios(60, &options(Dialects::RtcEngine)) {
        let mut rooms: BTreeMap<String, BTreeMap<String, Inside>> = BTreeMap::new();
        for told in told(&scenario).into_iter().filter(|told| told.number < 300) {
            let room = text(&told.room);
            if told.number == 101 {
                assert!(rooms.insert(room, BTreeMap::new()).is_none(), "{told:?}");
                continue;
            }
            let inside = rooms.get_mut(&room).unwrap_or_else(|| panic!("no room: {told:?}"));
            match told.number {
                102 => {
                    assert!(inside.is_empty(), "{told:?}: {inside:?}");
                    rooms.remove(&room);
                }
                103 => {
                    let again = inside.contains_key(&told.user);
                    let user = inside.entry(told.user.clone()).or_default();
                    if again && told.reason == 1 {
                        *user = Inside { replaced: Some(told.at), on: BTreeSet::new() };
                    }
                }
                104 => {
                    let user = inside.get_mut(&told.user);
                    let user = user.unwrap_or_else(|| panic!("nobody left: {told:?}"));
                    // That of the first device, which was put out by the second.
                    let first =
                        told.reason == 3 && user.replaced.is_some_and(|at| told.at - at < 1_000);
                    if first {
                        user.replaced = None;
                    } else {
                        inside.remove(&told.user);
                    }
                }
                105 => assert!(inside.contains_key(&told.user), "{told:?}"),
                media => {
                    let user = inside.get_mut(&told.user);
                    let user = user.unwrap_or_else(|| panic!("nobody publishes: {told:?}"));
                    publishing += 1;
                    match media {
                        201 | 203 | 205 => _ = user.on.insert(media),
                        _ => assert!(user.on.remove(&(media - 1)), "{told:?} {user:?}"),
                    }
                }
            }
        }
        assert!(rooms.is_empty(), "{:?} leaves {rooms:?} open", scenario.kind);
    }
    assert!(publishing > 1000, "{publishing}");
}

#[test]
fn a_lost_caller_is_told_90_s_after_the_kit() {
    let mut generator = Generator::new(5, app(), NOW, options(Dialects::Both));
    for number in 0..20 {
        let start = NOW.plus(Duration::from_hours(number));
        let scenario = generator.scenario(Kind::DroppedCall, start);
        let of_kit = scenario.deliveries.iter().find_map(|delivery| {
            let body: Value = serde_json::from_str(&delivery.body).unwrap();
            let changed = &body["ChangedUserList"][0];
            let lost = changed["ActionType"] == "Offline";
            lost.then(|| (delivery.at.0, changed["User_Account"].as_str().unwrap().to_owned()))
        });
        let (lost, account) = of_kit.unwrap();
        let told = told(&scenario);
        let is_exit = |told: &&Told| told.number == 104 && told.user == account;
        let exit = told.iter().rfind(is_exit).unwrap();
        assert_eq!(exit.reason, 2);
        assert!((90_000..=93_010).contains(&(exit.at - lost)), "{}", exit.at - lost);
        let closed = told.iter().find(|told| told.number == 102).unwrap();
        assert!(closed.at - exit.at < 100, "the room goes with the last");
    }
}

#[test]
fn a_live_room_is_kept_10_min_where_the_audience_left_last() {
    let (mut seen, mut whole) = (BTreeSet::new(), 0);
    for scenario in scenarios(40, &options(Dialects::RtcEngine)) {
        let told = told(&scenario);
        for closed in told.iter().filter(|told| told.number == 102) {
            let of_room = |other: &&Told| {
                other.number == 104
                    && other.at < closed.at
                    && text(&other.room) == text(&closed.room)
            };
            let last = told.iter().rfind(of_room).unwrap();
            let kept = closed.at - last.at;
            let is_kept = scenario.kind == Kind::Show && last.role == 21 && last.reason != 3;
            seen.insert((scenario.kind == Kind::Show, is_kept));
            // Or somebody dismissed it meanwhile.
            let longest = if is_kept { 600_000 } else { 300 };
            assert!(kept <= longest, "{kept}: {closed:?}");
            whole += usize::from(kept == 600_000);
        }
    }
    assert!(seen.contains(&(true, true)) && seen.contains(&(true, false)), "{seen:?}");
    assert!(whole > 5, "{whole}");
}

#[test]
fn a_room_created_again_was_closed_before() {
    let options = Options {
        kinds: vec![(Kind::Conference, 1), (Kind::Show, 1)],
        compress: 100.0,
        rate: 20.0,
        ..options(Dialects::Both)
    };
    let generator = Generator::new(3, app(), NOW, options);
    let mut lives: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for scenario in generator.take(150) {
        for told in told(&scenario).iter().filter(|told| [101, 102].contains(&told.number)) {
            lives.entry(text(&told.room)).or_default().push((told.at, told.number));
        }
    }
    for (room, mut lives) in lives {
        lives.sort_unstable();
        let numbers: Vec<i64> = lives.iter().map(|(_, number)| *number).collect();
        assert!(numbers.chunks(2).all(|life| life == [101, 102]), "{room}: {lives:?}");
    }
}

#[test]
fn an_rtc_duplicate_is_the_same_event_at_another_try() {
    let mut seen = 0;
    for scenario in scenarios(6, &options(Dialects::RtcEngine)) {
        let sent = scenario.deliveries.len();
        let twice = Disturbance { duplicates: 1.0, ..Disturbance::default() };
        let twice = disturbed(scenario.deliveries, twice, 4);
        assert_eq!(twice.len(), 2 * sent);
        let mut by_id: BTreeMap<_, Vec<&TimedDelivery>> = BTreeMap::new();
        for delivery in &twice {
            let body: Value = serde_json::from_str(&delivery.body).unwrap();
            assert_eq!(body["CallbackTs"], delivery.at.0);
            by_id.entry(event(delivery).id).or_default().push(delivery);
        }
        assert_eq!(by_id.len(), sent);
        for tries in by_id.values() {
            assert_ne!(tries[0].body, tries[1].body);
            seen += 1;
        }
    }
    assert!(seen > 500, "{seen}");
}

#[test]
fn a_late_rtc_event_keeps_its_body() {
    for scenario in scenarios(3, &options(Dialects::RtcEngine)) {
        let bodies = |deliveries: &[TimedDelivery]| -> BTreeSet<String> {
            deliveries.iter().map(|delivery| delivery.body.clone()).collect()
        };
        let before = bodies(&scenario.deliveries);
        let late = Disturbance { disorder: 0.5, ..Disturbance::default() };
        assert_eq!(bodies(&disturbed(scenario.deliveries, late, 4)), before);
    }
}

#[test]
fn audience_and_anchors_have_their_roles() {
    let mut changes = 0;
    for scenario in scenarios(60, &options(Dialects::RtcEngine)) {
        for delivery in &scenario.deliveries {
            let Body::Rtc(body) = event(delivery).body else { panic!("{}", delivery.body) };
            let RtcBody::Room(room) = *body else { continue };
            let Some(role) = room.event_info.unwrap().role else { continue };
            assert!(role.0 == 20 || (role.0 == 21 && scenario.kind == Kind::Show), "{role:?}");
        }
        changes += told(&scenario).iter().filter(|told| told.number == 105).count();
    }
    assert!(changes > 20, "{changes}");
}

#[test]
fn both_dialects_are_signed_and_stored_together() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[[apps]]\nsdk_app_id = {APP}\nrtc_keys = [\"k3y\"]");
    std::fs::write(folder.path().join("my.toml"), config).unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let play = ["simulate", "--dialect", "both", "--duration", "2s", "--rate", "200", "--to"];
    let play = [&play[..], &[&serving.url, "--seed", "1"]].concat();
    let unsigned = program(folder.path()).args(&play).output().unwrap();
    assert_eq!(unsigned.status.code(), Some(1), "unsigned");
    let rows = || lines(&done(folder.path(), &["events", "--json", "--limit", "10000"]));
    let is_rtc = |event: &&Value| event["family"].as_str().unwrap().starts_with("rtc_");
    assert_eq!(rows().iter().filter(is_rtc).count(), 0, "unsigned");

    let twice = ["--rtc-key", "k3y", "--duplicates", "0.5"];
    let said = done(folder.path(), &[&play[..], &twice].concat());
    let rows = rows();
    let rtc: Vec<&Value> = rows.iter().filter(is_rtc).collect();
    assert!(rtc.len() > 50 && rows.len() > rtc.len(), "{said}");
    for event in &rtc {
        assert_eq!(event["decode_error"], Value::Null, "{event}");
    }
    // A second try has another body, and is the same event.
    let ids: BTreeSet<String> = rtc.iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), rtc.len());
    assert!(said.contains(" repeated"), "{said}");
    serving.stop();
}
