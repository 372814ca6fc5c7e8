//! A server to which the last hour of a believable day was played, as fast as it takes it.

use std::time::Duration;

use protocol::AppId;
use protocol::UnixMillis;
use protocol::simulate::{
    Disturbance, Generator, Kind, Options, Scenario, TimedDelivery, disturbed,
};
use serde_json::Value;

use crate::support::{APP, Database, NOW, Server, eventually};

const HOUR: Duration = Duration::from_hours(1);

/// A server and what was played to it. What had not happened by [`NOW`] was not: calls ring, and rooms are open.
pub(crate) struct Played {
    pub(crate) server: Server,
    scenarios: Vec<Scenario>,
    /// Gone last.
    database: Database,
}

impl Played {
    /// Plays so many events per second, some of which come twice or never.
    pub(crate) async fn hour(database: Database, rate: f64, options: Options) -> Self {
        let server = Server::start(&database).await;
        let start = NOW.minus(HOUR);
        let mut generator = Generator::new(1, app(), start, Options { rate, ..options });
        let mut scenarios = Vec::new();
        while generator.next_start() < NOW {
            scenarios.extend(generator.next());
        }
        let trouble = Disturbance { disorder: 0.0, duplicates: 0.01, losses: 0.01 };
        let sent = scenarios.iter().zip(0..).flat_map(|(scenario, seed)| {
            // The first of each are whole, so that there is one to look at.
            let trouble = if seed < 20 { Disturbance::default() } else { trouble };
            disturbed(scenario.deliveries.clone(), trouble, seed)
        });
        let mut sent: Vec<TimedDelivery> = sent.filter(|sent| sent.at < NOW).collect();
        sent.sort_by_key(|sent| sent.at);
        let played = Self { server, scenarios, database };
        for (place, sent) in sent.iter().enumerate() {
            played.server.clock.set(sent.at.plus(way(place)));
            played.server.post(&sent.delivery(app())).await;
        }
        played.server.clock.set(NOW);
        played.settled(&sent).await;
        played
    }

    /// The one with the most events of those that play this, came whole, and are over.
    pub(crate) fn largest(&self, kind: Kind) -> &Scenario {
        let over = |scenario: &&Scenario| {
            scenario.kind == kind && scenario.deliveries.iter().all(|sent| sent.at < NOW)
        };
        let whole = self.scenarios.iter().take(20).filter(over);
        let largest = whole.max_by_key(|scenario| scenario.deliveries.len());
        largest.unwrap_or_else(|| panic!("no {} is over", kind.as_str()))
    }

    fn id(&self, kind: Kind, field: &str) -> String {
        field_of(&self.largest(kind).deliveries[0], field).unwrap()
    }

    /// The path of the first session of the room of the largest such scenario.
    pub(crate) fn room(&self, kind: Kind) -> String {
        let first = &self.largest(kind).deliveries[0];
        format!("/room-sessions/{APP}/{}?at={}", self.id(kind, "RoomId"), first.at.0)
    }

    /// The path of the largest such call.
    pub(crate) fn call(&self, kind: Kind) -> String {
        format!("/calls/{APP}/{}", self.id(kind, "CallId"))
    }

    async fn settled(&self, sent: &[TimedDelivery]) {
        let created = sent.iter().filter(|sent| sent.command.ends_with("CallbackAfterCreateRoom"));
        for room in created.filter_map(|sent| field_of(sent, "RoomId")) {
            let path = format!("/room-sessions/{APP}/{room}");
            let is_there = async || self.server.get_ops(&path).await.0 == 200;
            eventually(&format!("{path} is settled"), is_there).await;
        }
        let all = async || self.database.count("select count(*) from settle_queue").await == 0;
        eventually("all rooms are settled", all).await;
        let all = async || self.database.count("select count(*) from rtc_settle_queue").await == 0;
        eventually("all rooms of the RTC Engine are settled", all).await;
    }
}

/// How long an event was on its way.
fn way(place: usize) -> Duration {
    Duration::from_millis(40 + (place as u64 * 7919) % 260)
}

pub(crate) fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

/// One scenario that ends about now, with each event posted when it happens.
pub(crate) async fn play(server: &Server, kind: Kind, options: Options) -> Scenario {
    let scenario = (1..).find_map(|seed| {
        let start = NOW.minus(HOUR);
        let scenario = Generator::new(seed, app(), start, options.clone()).scenario(kind, start);
        scenario.deliveries.last().is_some_and(|last| last.at < NOW).then_some(scenario)
    });
    let scenario = scenario.unwrap();
    for (place, sent) in scenario.deliveries.iter().enumerate() {
        server.clock.set(sent.at.plus(way(place)));
        server.post(&sent.delivery(app())).await;
    }
    server.clock.set(NOW);
    scenario
}

/// A text field of a delivery's body, at whatever depth.
pub(crate) fn field_of(sent: &TimedDelivery, name: &str) -> Option<String> {
    fn find(value: &Value, name: &str) -> Option<String> {
        match value {
            Value::Object(fields) => match fields.get(name).and_then(Value::as_str) {
                Some(text) => Some(text.to_owned()),
                None => fields.values().find_map(|value| find(value, name)),
            },
            Value::Array(values) => values.iter().find_map(|value| find(value, name)),
            _ => None,
        }
    }
    find(&serde_json::from_str(&sent.body).unwrap(), name)
}

/// When the last of it happened.
pub(crate) fn end(scenario: &Scenario) -> UnixMillis {
    scenario.deliveries.last().unwrap().at
}
