//! The simulator: what it plays, and that it plays it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{self, Stdio};
use std::time::Duration;

use protocol::UnixMillis;
use protocol::body::call::CallBody;
use protocol::body::live::LiveBody;
use protocol::simulate::{
    Disturbance, Due, Generator, Kind, Options, Scenario, TimedDelivery, Traffic, disturbed,
};
use protocol::{AppId, Apps, Body, Command, Event, Query};
use serde_json::Value;

use crate::process::{Serving, done, failed, lines, program};
use crate::support::{APP, NOW, eventually};

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

fn generator(seed: u64, options: Options) -> Generator {
    Generator::new(seed, app(), NOW, options)
}

/// The event a server makes of it when it arrives in time.
fn decoded(delivery: &TimedDelivery) -> Event {
    let request = delivery.delivery(app());
    let apps = Apps::new().with(app(), Vec::new());
    let verified = apps.verify(Query::parse(&request.query), delivery.at).unwrap();
    Event::decode(&verified, &request.bytes().unwrap(), delivery.at)
}

/// So many scenarios of every kind.
fn scenarios(each: usize, options: &Options) -> Vec<Scenario> {
    let mut generator = generator(11, options.clone());
    let mut start = NOW;
    let mut all = Vec::new();
    for _ in 0..each {
        for kind in Kind::ALL {
            all.push(generator.scenario(kind, start));
            start = UnixMillis(start.0 + 1000);
        }
    }
    all
}

#[test]
fn a_seed_determines_the_traffic() {
    let play = |seed| -> Vec<Scenario> { generator(seed, Options::tiny()).take(60).collect() };
    assert_eq!(play(1), play(1));
    assert_ne!(play(1), play(2));
}

#[test]
fn a_seed_at_another_time_repeats_commands_with_new_call_ids() {
    let calls = |start| {
        let mut generator = Generator::new(5, app(), start, Options::tiny());
        let scenario = generator.scenario(Kind::AnsweredCall, start);
        let commands: Vec<_> = scenario.deliveries.iter().map(|sent| sent.command).collect();
        (commands, decoded(&scenario.deliveries[0]).call_id.unwrap())
    };
    let ((first, one), (second, other)) = (calls(NOW), calls(UnixMillis(NOW.0 + 1)));
    assert_eq!(first, second);
    assert_ne!(one, other);
}

#[test]
fn every_simulated_body_decodes_with_its_type_and_time() {
    for options in [Options::tiny(), Options { compress: 60.0, ..Options::default() }] {
        for scenario in scenarios(12, &options) {
            for delivery in &scenario.deliveries {
                let event = decoded(delivery);
                assert_eq!(event.decode_error, None, "{}", delivery.body);
                assert!(!matches!(event.body, Body::Untyped), "{}", delivery.body);
                assert!(!format!("{:?}", event.body).contains("Other("), "{:?}", event.body);
                assert!(event.timed, "{}", delivery.body);
                let gift = event.command == "Live.CallbackBeforeSendGift";
                let told = if gift { delivery.at.0 / 1000 * 1000 } else { delivery.at.0 };
                assert_eq!(event.event_time.0, told, "{}", delivery.body);
                assert_eq!(event.platform.as_deref(), Some(delivery.platform));
                assert_eq!(event.client_ip.as_deref(), Some(delivery.client_ip.as_str()));
                let body: Value = serde_json::from_str(&delivery.body).unwrap();
                assert_eq!(body["CallbackCommand"], delivery.command);
            }
        }
    }
}

#[test]
fn every_typed_command_and_every_alias_is_played() {
    let scenarios = scenarios(80, &Options { viewers: 30, ..Options::tiny() });
    let played: BTreeSet<&str> = (scenarios.iter())
        .flat_map(|scenario| scenario.deliveries.iter().map(|delivery| delivery.command))
        .collect();
    // What the RTC Engine tells is played in its own dialect only.
    let of_kits = |command: &&Command| command.is_typed() && command.event_type.is_none();
    for command in Command::all().filter(of_kits) {
        for name in command.aliases.iter().chain([&command.name]) {
            assert!(played.contains(name), "{name} is never played");
        }
    }
}

#[test]
fn the_times_of_a_scenario_rise() {
    for compress in [1.0, 50.0, 1e6] {
        for scenario in scenarios(10, &Options { compress, ..Options::tiny() }) {
            assert!(!scenario.deliveries.is_empty());
            let times = scenario.deliveries.iter().map(|delivery| delivery.at);
            assert!(times.is_sorted_by(|one, next| one < next), "{:?}", scenario.kind);
        }
    }
}

#[test]
fn calls_end_as_their_kind_with_consistent_times() {
    let results = BTreeMap::from([
        (Kind::AnsweredCall, &["NormalEnd"][..]),
        (Kind::RejectedCall, &["Reject"]),
        (Kind::MissedCall, &["NotAnswer"]),
        (Kind::CancelledCall, &["Cancel"]),
        (Kind::BusyCall, &["CallBusy"]),
        (Kind::DroppedCall, &["Interrupt", "Offline"]),
        (Kind::GroupCall, &["NormalEnd", "Offline", "Reject", "NotAnswer", "Cancel"]),
    ]);
    for scenario in scenarios(30, &Options::tiny()) {
        let Some(results) = results.get(&scenario.kind) else { continue };
        let events: Vec<Event> = scenario.deliveries.iter().map(decoded).collect();
        let ids: BTreeSet<_> = events.iter().map(|event| event.call_id.as_deref()).collect();
        assert_eq!(ids.len(), 1, "one call");
        let mut ends = events.iter().filter_map(|event| match &event.body {
            Body::Call(CallBody::EndCall(end)) => Some((event, end.call_record.clone().unwrap())),
            _ => None,
        });
        let (end, record) = ends.next().unwrap();
        assert!(ends.next().is_none(), "it ends once");
        let seconds = |seconds: Option<_>| serde_json::to_value(seconds).unwrap().as_i64().unwrap();
        let result = serde_json::to_value(&record.call_result).unwrap();
        let result = result.as_str().unwrap();
        assert!(results.contains(&result), "{:?} ended as {result}", scenario.kind);
        assert_eq!(seconds(record.start_time), events[0].event_time.as_secs());
        assert_eq!(seconds(record.end_time), end.event_time.as_secs());
        let accepted = seconds(record.accept_time);
        let talked = ["NormalEnd", "Interrupt", "Offline"].contains(&result);
        assert_eq!(accepted > 0, talked, "{result}");
        if talked {
            assert!((seconds(record.start_time)..=seconds(record.end_time)).contains(&accepted));
        }
    }
}

/// The sessions of the rooms in some scenarios: id, create and destroy.
fn sessions(scenarios: &[Scenario]) -> Vec<(String, UnixMillis, UnixMillis)> {
    let mut sessions = Vec::new();
    for scenario in scenarios {
        let mut open: BTreeMap<String, UnixMillis> = BTreeMap::new();
        for delivery in &scenario.deliveries {
            let event = decoded(delivery);
            let Some(room) = event.room_id else { continue };
            if event.command.ends_with("AfterCreateRoom") {
                assert!(open.insert(room, delivery.at).is_none(), "created twice");
            } else if event.command.ends_with("AfterDestroyRoom") {
                let created = open.remove(&room).unwrap();
                sessions.push((room, created, delivery.at));
            }
        }
        assert!(open.is_empty(), "every room is dissolved in the end");
    }
    sessions
}

#[test]
fn a_room_id_has_several_sessions_and_never_two_at_once() {
    let options = Options {
        kinds: vec![(Kind::Conference, 1), (Kind::Show, 1)],
        compress: 100.0,
        rate: 5.0,
        ..Options::tiny()
    };
    let scenarios: Vec<Scenario> = generator(3, options).take(200).collect();
    let mut by_room: BTreeMap<String, Vec<(UnixMillis, UnixMillis)>> = BTreeMap::new();
    for (room, created, destroyed) in sessions(&scenarios) {
        by_room.entry(room).or_default().push((created, destroyed));
    }
    assert!(by_room.values().any(|sessions| sessions.len() > 5), "{by_room:?}");
    for (room, mut sessions) in by_room {
        sessions.sort();
        for pair in sessions.windows(2) {
            assert!(pair[0].1 < pair[1].0, "{room} lives twice at once: {pair:?}");
            assert!(pair[0].0.as_secs() < pair[1].0.as_secs(), "{room}: the same second");
        }
    }
}

#[test]
fn no_leave_lacks_an_enter_and_statistics_match_the_traffic() {
    let options = Options { viewers: 40, ..Options::tiny() };
    let mut generator = generator(9, options);
    let mut seen = 0;
    for _ in 0..40 {
        let scenario = generator.scenario(Kind::Show, generator.next_start());
        let mut online: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut counts: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for event in scenario.deliveries.iter().map(decoded) {
            let room = event.room_id.clone().unwrap_or_default();
            let body: Value = serde_json::from_slice(event.payload.as_bytes()).unwrap();
            match &event.body {
                Body::Live(LiveBody::CreateRoom(_)) => {
                    online.insert(room.clone(), BTreeSet::new());
                    counts.insert(room, (0, 0));
                }
                Body::Live(LiveBody::MemberStateChanged(change)) => {
                    let here = online.get_mut(&room).unwrap();
                    for member in change.member_list.iter().flatten() {
                        let account = member.member_account.as_ref().unwrap().as_str().to_owned();
                        let fits = match body["EventType"].as_str() {
                            Some("Online") => here.insert(account),
                            _ => here.remove(&account),
                        };
                        assert!(fits, "{body}");
                        counts.get_mut(&room).unwrap().0 +=
                            u64::from(body["EventCause"] == "Enter");
                    }
                }
                Body::Live(LiveBody::BeforeSendGift(_)) => {
                    let coins = body["GiftWater"]["Coins"].as_u64().unwrap();
                    let count = body["GiftWater"]["Count"].as_u64().unwrap();
                    counts.get_mut(&room).unwrap().1 += count * coins;
                }
                Body::Live(LiveBody::DestroyRoom(_)) => {
                    let statistic = &body["Statistic"];
                    let (viewers, coins) = counts[&room];
                    assert_eq!(statistic["TotalViewers"], viewers);
                    assert_eq!(statistic["TotalGiftCoins"], coins);
                    seen += 1;
                }
                _ => {}
            }
        }
    }
    assert!(seen >= 40);
}

#[test]
fn a_conference_counts_its_members() {
    let mut generator = generator(4, Options { conference_members_max: 15, ..Options::tiny() });
    let (mut left_behind, mut counted) = (0, 0);
    for _ in 0..60 {
        let scenario = generator.scenario(Kind::Conference, generator.next_start());
        let mut inside = BTreeSet::new();
        for delivery in &scenario.deliveries {
            let body: Value = serde_json::from_str(&delivery.body).unwrap();
            let fits = |account: &Value| match body["Type"].as_str() {
                Some("Enter") => inside.insert(account.to_string()),
                _ => inside.remove(&account.to_string()),
            };
            if let Some(members) = body["MemberList_Account"].as_array() {
                assert!(members.iter().all(fits), "{body}");
                assert_eq!(body["MemberCount"], inside.len(), "{body}");
                counted += 1;
            } else if delivery.command == "Room.CallbackAfterDestroyRoom" {
                left_behind += usize::from(!inside.is_empty());
                inside.clear();
            }
        }
    }
    assert!(counted > 500 && left_behind > 10, "{counted} changes, {left_behind} left behind");
}

#[test]
fn a_battle_has_live_rooms_and_its_stated_length() {
    let mut generator = generator(12, Options { viewers: 20, ..Options::tiny() });
    let mut ends: BTreeMap<u64, usize> = BTreeMap::new();
    for _ in 0..80 {
        let scenario = generator.scenario(Kind::Show, generator.next_start());
        let mut live = BTreeSet::new();
        let mut fought = BTreeSet::new();
        for delivery in &scenario.deliveries {
            let body: Value = serde_json::from_str(&delivery.body).unwrap();
            let (id, from) = (&body["BattleId"], &body["FromRoomInfo"]["RoomId"]);
            match delivery.command {
                "Live.CallbackAfterCreateRoom" => {
                    live.insert(body["RoomInfo"]["RoomId"].to_string());
                }
                "Live.CallbackAfterDestroyRoom" => {
                    live.remove(&body["RoomId"].to_string());
                }
                "Live.CallbackAfterCreateBattle" => {
                    let rivals = body["ToRoomIdList"].as_array().unwrap();
                    assert!(!rivals.is_empty() && !rivals.contains(&body["FromRoomId"]), "{body}");
                    let all = rivals.iter().chain([&body["FromRoomId"]]);
                    assert!(all.into_iter().all(|room| live.contains(&room.to_string())), "{body}");
                }
                "Live.CallbackAfterStartBattle" => {
                    assert!(live.contains(&from.to_string()) && fought.insert(id.to_string()));
                }
                "Live.CallbackAfterEndBattle" => {
                    let number = |key: &str| body[key].as_u64().unwrap();
                    let took = number("EndTime").abs_diff(number("StartTime"));
                    *ends.entry(number("OpType")).or_default() += 1;
                    match number("OpType") {
                        0 => assert!(took.abs_diff(number("Duration") / 1000) <= 1, "{body}"),
                        1 => assert!(took < number("Duration") / 1000, "{body}"),
                        _ => assert_eq!(
                            (number("StartTime"), fought.contains(&id.to_string())),
                            (0, false)
                        ),
                    }
                }
                _ => {}
            }
        }
    }
    assert_eq!(ends.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{ends:?}");
}

#[test]
fn losses_duplicates_and_disorder_apply_as_configured() {
    let deliveries: Vec<TimedDelivery> = Traffic::new(
        generator(2, Options { compress: 60.0, rate: 100.0, ..Options::tiny() }),
        NOW.plus(Duration::from_mins(1)),
        Disturbance::default(),
        2,
    )
    .map(|due| due.delivery)
    .collect();
    let sent = deliveries.len();
    assert!(sent > 2000, "{sent}");
    let bodies = |deliveries: &[TimedDelivery]| -> Vec<String> {
        deliveries.iter().map(|delivery| delivery.body.clone()).collect()
    };
    let all = bodies(&deliveries);
    let run = |disturbance| {
        let one = disturbed(deliveries.clone(), disturbance, 4);
        assert_eq!(one, disturbed(deliveries.clone(), disturbance, 4), "the same seed");
        assert!(one.is_sorted_by_key(|delivery| delivery.at));
        bodies(&one)
    };
    let share = |part: usize| f64::from(u32::try_from(part * 1000 / sent).unwrap()) / 1000.0;

    assert_eq!(run(Disturbance::default()), all);

    let lost = run(Disturbance { losses: 0.2, ..Disturbance::default() });
    assert!((0.15..0.25).contains(&share(sent - lost.len())), "{}", lost.len());
    assert!(run(Disturbance { losses: 1.0, ..Disturbance::default() }).is_empty());

    let twice = run(Disturbance { duplicates: 0.2, ..Disturbance::default() });
    assert!((0.1..0.25).contains(&share(twice.len() - sent)), "{}", twice.len());
    let unique = |bodies: &[String]| bodies.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(unique(&twice), unique(&all), "the bodies are the same");

    let late = run(Disturbance { disorder: 0.2, ..Disturbance::default() });
    assert_eq!(unique(&late), unique(&all));
    assert_eq!(late.len(), sent);
    let moved = late.iter().zip(&all).filter(|(one, other)| one != other).count();
    assert!(share(moved) > 0.2, "{moved} moved");
}

#[test]
fn traffic_is_in_order_at_its_rate_and_ends_in_time() {
    let end = NOW.plus(Duration::from_mins(2));
    let options = Options {
        compress: 60.0,
        rate: 50.0,
        show_length: Duration::from_mins(20),
        ..Options::default()
    };
    let traffic = Traffic::new(generator(6, options), end, Disturbance::default(), 6);
    let all: Vec<Due> = traffic.collect();
    assert!(all.is_sorted_by_key(|due| due.delivery.at));
    assert!(all.iter().all(|due| (NOW..end).contains(&due.delivery.at)));
    let rate = all.len() / 120;
    assert!((35..=60).contains(&rate), "{rate} events a second");
    let kinds: BTreeSet<Kind> = all.iter().map(|due| due.kind).collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
    let count = |command: &str| {
        let name = |delivery: &TimedDelivery| Command::find(delivery.command).unwrap().name;
        all.iter().filter(|due| name(&due.delivery) == command).count()
    };
    assert_eq!(count("Call.CallbackAfterStartCall"), count("Call.CallbackAfterEndCall"));
    assert_eq!(count("Live.CallbackAfterCreateRoom"), count("Live.CallbackAfterDestroyRoom"));
}

#[test]
fn senseless_options_do_no_harm() {
    let options = Options {
        compress: f64::NAN,
        rate: -1.0,
        accounts: 0,
        group_members_max: 0,
        conference_members_max: 0,
        viewers: 0,
        sessions_max: 0,
        recorded: 7.0,
        talk_median: Duration::ZERO,
        show_length: Duration::ZERO,
        conference_length: Duration::ZERO,
        ..Options::default()
    };
    assert_eq!(scenarios(20, &options).len(), 20 * Kind::ALL.len());
    let long = Options {
        kinds: vec![(Kind::Show, u64::MAX), (Kind::AnsweredCall, u64::MAX)],
        talk_median: Duration::MAX,
        show_length: Duration::MAX,
        compress: f64::INFINITY,
        ..Options::tiny()
    };
    assert_eq!(generator(1, long).take(9).count(), 9);
    let none = Options { kinds: vec![(Kind::Show, 0)], ..Options::default() };
    assert_eq!(generator(1, none).next(), None);
    assert_eq!(generator(1, Options { kinds: Vec::new(), ..Options::default() }).next(), None);
}

/// How many were sent and how many answered OK, as `simulate` says.
fn figures(said: &str) -> (usize, usize) {
    let words: Vec<&str> = said.split_whitespace().collect();
    let before = |word: &str| {
        let place = words.iter().position(|here| *here == word).unwrap();
        words[place - 1].parse().unwrap()
    };
    (words[1].parse().unwrap(), before("answered"))
}

fn stored(folder: &Path) -> Vec<Value> {
    lines(&done(folder, &["events", "--json", "--limit", "10000"]))
}

#[test]
fn simulated_events_are_stored_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let play = ["simulate", "--duration", "2s", "--rate", "200", "--to", &serving.url];
    let said = done(folder.path(), &[&play[..], &["--seed", "1"]].concat());
    let (sent, ok) = figures(&said);
    assert!(sent > 200, "{said}");
    assert_eq!(sent, ok, "{said}");
    assert!(said.contains("seed 1: ") && said.contains("live show"), "{said}");
    let events = stored(folder.path());
    assert_eq!(events.len(), ok);
    for event in &events {
        assert_eq!(event["decode_error"], Value::Null, "{event}");
        let time = |key: &str| event[key].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let lag = time("received_at").duration_since(time("event_time"));
        assert!(lag.abs() < jiff::SignedDuration::from_secs(30), "{event}");
    }

    let trouble = ["--duplicates", "1", "--disorder", "0.5", "--losses", "0.1"];
    let said = done(folder.path(), &[&play[..], &trouble].concat());
    let (sent, ok) = figures(&said);
    assert_eq!(sent, ok, "{said}");
    let rows = stored(folder.path()).len() - events.len();
    assert!((ok / 2..ok).contains(&rows), "of {ok} with their repeats, {rows} are rows");
    serving.stop();
}

#[test]
fn simulated_events_are_signed_where_there_is_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("[[apps]]\nsdk_app_id = {APP}\ncallback_tokens = [\"t0ken\"]");
    std::fs::write(folder.path().join("my.toml"), config).unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let play = ["simulate", "--duration", "1s", "--rate", "100", "--to", &serving.url];
    let played = program(folder.path()).args(play).output().unwrap();
    assert_eq!(played.status.code(), Some(1), "unsigned");
    assert_eq!(stored(folder.path()).len(), 0, "unsigned");
    let (_, given) = figures(&done(folder.path(), &[&play[..], &["--token", "t0ken"]].concat()));
    let (_, found) = figures(&done(folder.path(), &[&play[..], &["--config", "my.toml"]].concat()));
    assert_eq!(stored(folder.path()).len(), given + found);
    serving.stop();
}

#[test]
fn simulate_failures_are_errors_with_hints() {
    let folder = tempfile::tempdir().unwrap();
    let said = failed(folder.path(), &["simulate", "--to", "http://127.0.0.1:1/"], 1);
    assert!(said.contains("post to http://127.0.0.1:1"), "{said}");
    assert!(said.contains("hint: check that the server is running"), "{said}");

    std::fs::write(folder.path().join("my.toml"), "[answer]\nrejected = \"forbidden\"\n").unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let foreign = ["simulate", "--sdk-app-id", "1400000009", "--to", &serving.url];
    let said = failed(folder.path(), &foreign, 1);
    assert!(
        said.contains("answered 403")
            && said.contains("hint: check that the server is configured with"),
        "{said}"
    );
    serving.stop();

    let said = failed(folder.path(), &["simulate", "--viewers", "5000", "--duration", "10s"], 1);
    assert!(said.contains("hint: give at most `--viewers 20`, a higher `--rate`"), "{said}");
    for wrong in [["--duration", "0"], ["--rate", "0"], ["--losses", "1.5"], ["--rate", "NaN"]] {
        failed(folder.path(), &[&["simulate"][..], &wrong].concat(), 2);
    }
}

#[tokio::test]
async fn a_signal_ends_simulate_with_its_summary() {
    let folder = tempfile::tempdir().unwrap();
    let serving = Serving::start(folder.path(), &[]);
    let mut playing = program(folder.path());
    playing.args(["simulate", "--duration", "1h", "--rate", "100", "--to", &serving.url]);
    let playing = playing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let some = || async { stored(folder.path()).len() > 20 };
    eventually("some events are stored", some).await;
    let id = playing.id().to_string();
    assert!(process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let output = playing.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("stopped before its time"), "{errors}");
    let (sent, ok) = figures(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(sent, ok);
    assert_eq!(stored(folder.path()).len(), ok);
    serving.stop();
}
