//! Rooms of the RTC Engine: events sent to the server become sessions, stays and publish intervals.

use crate::settle::comes;
use crate::support::{APP, Database, NOW, Server, on_both_stores};

/// An hour before the servers' present.
const T: i64 = NOW.0 - 3_600_000;

/// An event of group 1 or 2: the room as JSON, and the rest of `EventInfo`.
pub(crate) fn event(number: u16, room: &str, user: &str, at: i64, more: &str) -> String {
    let (group, time) = (number / 100, T + at);
    let user = if user.is_empty() { String::new() } else { format!(r#","UserId":"{user}""#) };
    format!(
        r#"{{"EventGroupId":{group},"EventType":{number},"CallbackTs":{},"EventInfo":{{"RoomId":{room},"EventTs":{},"EventMsTs":{time}{user}{more}}}}}"#,
        time + 90,
        time.div_euclid(1000)
    )
}

pub(crate) async fn post(server: &Server, bodies: &[String]) {
    for body in bodies {
        let request = server.client.post(&server.url).header("SdkAppId", APP).body(body.clone());
        assert_eq!(request.send().await.unwrap().status(), 200);
    }
}

/// A time as ms after `T`, in SQL.
fn after(database: &Database, column: &str) -> String {
    let ms = if database.is_postgres() {
        format!("(extract(epoch from {column}) * 1000)::bigint")
    } else {
        column.to_owned()
    };
    format!("coalesce(cast({ms} - {T} as text), '-')")
}

/// Columns of a table, row by row: those of times as ms after `T`.
fn lines(database: &Database, table: &str, columns: &str, order: &str) -> String {
    let text = |column: &str| match column {
        _ if column.ends_with("_at") || column.starts_with("occupied") => after(database, column),
        _ if column.starts_with("is_") => format!("case when {column} then 'yes' else 'no' end"),
        _ => format!("coalesce(cast({column} as text), '-')"),
    };
    let columns: Vec<String> = columns.split(' ').map(text).collect();
    format!("select {} from {table} order by {order}", columns.join(" || ' ' || "))
}

pub(crate) fn sessions(database: &Database) -> String {
    let columns = "room_id room_id_kind state started_at created_at ended_at dismissed_at people people_inside robots \
                   occupied_from occupied_until";
    lines(database, "rtc_room_sessions", columns, "room_id, room_id_kind, session")
}

pub(crate) fn stays(database: &Database) -> String {
    let columns = "room_id account is_robot started_at ended_at presumed_end_at enter_reason exit_reason enters flags";
    lines(database, "rtc_stays", columns, "room_id, started_at, account")
}

pub(crate) fn intervals(database: &Database) -> String {
    let columns = "room_id account track started_at ended_at ended_by";
    lines(database, "rtc_publish_intervals", columns, "room_id, started_at, track")
}

/// A call of two, of whom one loses the connection and comes back.
fn crashed_call(room: &str) -> Vec<String> {
    vec![
        event(101, room, "ann", 0, ""),
        event(103, room, "ann", 200, r#","Role":20,"TerminalType":2,"UserType":3,"Reason":1"#),
        event(103, room, "bob", 3000, r#","Role":20,"TerminalType":3,"UserType":3,"Reason":1"#),
        event(203, room, "ann", 3100, ""),
        event(201, room, "bob", 3200, ""),
        event(104, room, "bob", 150_000, r#","Role":20,"Reason":2"#),
        event(103, room, "bob", 160_000, r#","Role":20,"TerminalType":3,"UserType":3,"Reason":3"#),
        event(104, room, "bob", 200_000, r#","Role":20,"Reason":1"#),
        event(104, room, "ann", 201_000, r#","Role":20,"Reason":1"#),
        event(102, &format!("\"{}\"", room.trim_matches('"')), "", 201_005, ""),
    ]
}

on_both_stores! {
    async fn a_call_with_a_crash_and_a_reconnect_is_one_session(database: Database) {
        let server = Server::start(&database).await;
        post(&server, &crashed_call("77")).await;
        comes(&database, &sessions(&database), &["77 numeric ended 0 0 201005 201005 2 0 0 200 201000"]).await;
        comes(&database, &stays(&database), &[
            "77 ann no 200 201000 - 1 1 1 []",
            "77 bob no 3000 150000 60000 1 2 1 []",
            "77 bob no 160000 200000 - 3 1 1 [\"reentry\"]",
        ]).await;
        comes(&database, &intervals(&database), &[
            "77 ann audio 3100 201000 exit",
            "77 bob camera 3200 150000 exit",
        ]).await;
        comes(&database, "select cast(count(*) as text) from rtc_settle_queue", &["0"]).await;
        assert_eq!(database.count("select count(*) from anomalies").await, 0);
    }
}
