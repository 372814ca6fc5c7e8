//! The read models: written with the events, once, whatever their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use protocol::UnixMillis;
use protocol::{AppId, Apps, Event, Query};
use sqlx::{Connection, Executor, PgConnection};
use trtc_callbacks::projections::table::{Kind, Table, Value};
use trtc_callbacks::projections::{Batch, Change, TABLES, changes};
use trtc_callbacks::store::{EventInsert, Store};

use crate::support::{APP, Database, NOW, Server, eventually, on_both_stores, settings};

/// The rows of a table as text, in the order of its key, without what differs from run to run.
pub(crate) async fn dump(database: &Database, table: &Table) -> Vec<String> {
    let columns = table.columns.iter().filter(|column| is_fixed(column.kind)).map(|column| {
        let name = column.name;
        let text = match column.kind {
            Kind::Time if database.is_postgres() => {
                format!("(extract(epoch from {name}) * 1000)::bigint::text")
            }
            Kind::Truth if database.is_postgres() => format!("{name}::int::text"),
            _ => format!("cast({name} as text)"),
        };
        format!("coalesce({text}, '-')")
    });
    let columns: Vec<String> = columns.collect();
    let row = columns.join(" || ' | ' || ");
    let sql = if table.is_log() {
        // However far it is added up.
        let time =
            if database.is_postgres() { "(extract(epoch from at) * 1000)::bigint" } else { "at" };
        format!(
            "select width_s || ' | ' || sdk_app_id || ' | ' || {time} || ' | ' || command || ' | ' || result || ' | ' ||
                 max(family) || ' | ' || cast(sum(events) as text) || ' | ' || cast(sum(lag_ms) as text) || ' | ' ||
                 max(lag_ms_max)
             from event_counts group by sdk_app_id, width_s, at, command, result"
        )
    } else {
        format!("select distinct {row} from {}", table.name)
    };
    let mut rows = database.texts(&sql).await;
    rows.sort();
    rows
}

fn is_fixed(kind: Kind) -> bool {
    kind != Kind::Slot
}

/// The same of rows in memory.
pub(crate) fn folded(batch: &Batch<'_>, table: &Table) -> Vec<String> {
    let rows = batch.tables().iter().filter(|(of, _)| of.name == table.name);
    let rows = rows.flat_map(|(_, rows)| rows);
    if table.is_log() {
        return counted(rows);
    }
    let text = |value: &Value<'_>| match value {
        Value::Null => "-".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Truth(truth) => i32::from(*truth).to_string(),
        Value::Time(time) => time.0.to_string(),
        Value::Id(id) => id.to_string(),
        Value::Text(text) => (*text).to_owned(),
    };
    let mut rows: Vec<String> = rows
        .map(|row| {
            let values = table.columns.iter().zip(row);
            let fixed = values.filter(|(column, _)| is_fixed(column.kind));
            fixed.map(|(_, value)| text(value)).collect::<Vec<_>>().join(" | ")
        })
        .collect();
    rows.sort();
    rows
}

/// What is counted in all, by minutes and by hours.
fn counted<'a>(rows: impl Iterator<Item = &'a Vec<Value<'a>>>) -> Vec<String> {
    let mut sums: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for row in rows {
        let &[
            Value::Number(app),
            Value::Time(at),
            Value::Text(command),
            Value::Text(result),
            Value::Text(family),
            Value::Number(events),
            Value::Number(lag_ms),
            Value::Number(lag_ms_max),
        ] = row.as_slice()
        else {
            panic!("no count: {row:?}");
        };
        for width in [60, 3600] {
            let at = at.0 - at.0.rem_euclid(width * 1000);
            let key = format!("{width} | {app} | {at} | {command} | {result} | {family}");
            let sum = sums.entry(key).or_default();
            *sum = [sum[0] + events, sum[1] + lag_ms, sum[2].max(lag_ms_max)];
        }
    }
    let row =
        |(key, sum): (String, [i64; 3])| format!("{key} | {} | {} | {}", sum[0], sum[1], sum[2]);
    let mut rows: Vec<String> = sums.into_iter().map(row).collect();
    rows.sort();
    rows
}

/// A session of a room, as it would be settled.
pub(crate) async fn settled(
    database: &Database,
    room_id: &str,
    account: &str,
    last_at: UnixMillis,
) {
    let time = |millis: i64| {
        if database.is_postgres() {
            format!("timestamptz 'epoch' + {millis} * interval '1 millisecond'")
        } else {
            millis.to_string()
        }
    };
    let (from_at, last_at) = (time(0), time(last_at.0));
    database
        .execute(&format!(
            r#"insert into room_sessions (sdk_app_id, room_id, session, family, owner, started_at, created_by, from_at, last_at,
                 state, inferred, members, members_peak, visitors, entries, leaves_missing, enters_missing, properties,
                 occupancy)
             values ({APP}, '{room_id}', 0, 'live', '{account}', {from_at}, '{account}', {from_at}, {last_at}, 'open',
                 cast(0 as {truth}), 0, 0, 0, 0, 0, 0, '{{"Ext":"{account}"}}', '[]');
             insert into live_sessions (sdk_app_id, room_id, session, gifts, gift_coins, gift_senders, top_senders, top_receivers,
                 battles, admins, metadata)
             values ({APP}, '{room_id}', 0, 0, 0, 0, '[{{"account":"{account}","coins":1}}]', '[]', 0,
                 '["{account}"]', '{{}}');
             insert into anomalies (sdk_app_id, kind, subject, session, happened_at, found_at, detail)
             values ({APP}, 'leaves_missing', '{room_id}', 0, {last_at}, {last_at}, 'of {account}')"#,
            truth = if database.is_postgres() { "boolean" } else { "integer" },
        ))
        .await;
}

pub(crate) async fn dump_all(database: &Database) -> Vec<(&'static str, Vec<String>)> {
    let mut tables = Vec::new();
    for table in TABLES {
        tables.push((table.name, dump(database, table).await));
    }
    tables
}

fn event(command: &str, body: &str) -> Event {
    let query = format!("SdkAppid={APP}&CallbackCommand={command}");
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let verified = apps.verify(Query::parse(&query), NOW).unwrap();
    Event::decode(&verified, body.as_bytes(), NOW)
}

const T: i64 = 1_793_534_000_000;

/// The events of a call between two: rung, taken, ended.
fn call(number: usize) -> Vec<(&'static str, String)> {
    let (id, at) = (format!("call-{number}"), |seconds: i64| T + seconds * 1000);
    vec![
        (
            "Call.CallbackAfterStartCall",
            format!(
                r#"{{"CallbackCommand":"Call.CallbackAfterStartCall","CallInfo":{{"CallId":"{id}","CallMediaType":"Video","RoomId":"r-{number}","RoomIdType":2}},"UserList":[{{"User_Account":"alice","Status":"Calling"}},{{"User_Account":"bob","Status":"Waiting"}}],"EventTime":{}}}"#,
                at(0)
            ),
        ),
        (
            "Call.CallbackAfterMemberChanged",
            format!(
                r#"{{"CallbackCommand":"Call.CallbackAfterMemberChanged","CallId":"{id}","UserList":[{{"User_Account":"alice","Status":"Calling"}},{{"User_Account":"bob","Status":"Calling"}}],"ChangedUserList":[{{"User_Account":"bob","ActionType":"Accept"}}],"EventTime":{}}}"#,
                at(5)
            ),
        ),
        (
            "Call.CallbackAfterMemberChanged",
            format!(
                r#"{{"CallbackCommand":"Call.CallbackAfterMemberChanged","CallId":"{id}","UserList":[{{"User_Account":"alice","Status":"Calling"}}],"ChangedUserList":[{{"User_Account":"bob","ActionType":"Hangup"}}],"EventTime":{}}}"#,
                at(65)
            ),
        ),
        (
            "Call.CallbackAfterEndCall",
            format!(
                r#"{{"CallbackCommand":"Call.CallbackAfterEndCall","CallRecord":{{"CallId":"{id}","Caller_Account":"alice","MediaType":"Video","CallType":"SingleCall","StartTime":{0},"AcceptTime":{1},"EndTime":{2},"CallResult":"NormalEnd","CalleeList_Account":["alice","bob"],"RoomId":"r-{number}","RoomIdType":2}},"EventTime":{3}}}"#,
                at(0) / 1000,
                at(5) / 1000,
                at(65) / 1000,
                at(66)
            ),
        ),
    ]
}

/// Every order of so many things.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for order in orders(count - 1) {
        for place in 0..count {
            let mut longer = order.clone();
            longer.insert(place, count - 1);
            all.push(longer);
        }
    }
    all
}

on_both_stores! {
    async fn a_call_is_the_same_whatever_the_order_of_its_events(database: Database) {
        let server = Server::start(&database).await;
        let orders = orders(4);
        for (number, order) in orders.iter().enumerate() {
            let events = call(number);
            for place in order.iter().chain(order.iter().rev()) {
                let (command, body) = &events[*place];
                server.post_body(command, body.clone()).await;
            }
        }
        let calls = database.texts("select distinct media || call_type || caller || result || state || talk_seconds from calls").await;
        assert_eq!(calls, ["videosinglealicenormal_endended60"]);
        let count = i64::try_from(orders.len()).unwrap();
        assert_eq!(database.count("select count(*) from calls").await, count);
        let members = "select distinct account || ' ' || state || ' ' || ending || ' ' || coalesce(last_action, '-') from call_members order by 1";
        assert_eq!(database.texts(members).await, ["alice left hung_up -", "bob left hung_up hangup"]);
        assert_eq!(database.count("select count(*) from call_members").await, 2 * count);

        // Each event counts once, in its minute and its hour.
        for width in [60, 3600] {
            let events = format!("select cast(sum(events) as bigint) from event_counts where width_s = {width}");
            assert_eq!(database.count(&events).await, 4 * count);
        }
        assert_eq!(database.rows().await, 4 * count);
    }

    async fn an_event_and_its_changes_are_stored_atomically(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.upkeep(NOW).await.unwrap();
        let mut events: Vec<Event> = call(1).iter().map(|(command, body)| event(command, body)).collect();
        events.sort_by_key(|event| event.id);
        let changes: Vec<Vec<Change>> = events.iter().map(changes).collect();
        let entries: Vec<EventInsert> = events.iter().zip(&changes).map(|(event, changes)| EventInsert::copied(event, changes)).collect();
        refuse_members(&database).await;
        assert!(!store.insert(&entries).await.unwrap_err().is_unavailable());
        assert_eq!(database.rows().await, 0);
        for table in TABLES {
            assert_eq!(dump(&database, table).await, [""; 0], "{}", table.name);
        }
        allow_members(&database).await;
        store.insert(&entries).await.unwrap();
        let whole = dump_all(&database).await;
        store.insert(&entries).await.unwrap();
        assert_eq!(dump_all(&database).await, whole);
        assert_eq!(database.count("select count(*) from call_members").await, 2);
        store.close().await;
    }

    async fn a_refused_change_does_not_lose_the_event(database: Database) {
        let server = Server::start(&database).await;
        refuse_members(&database).await;
        for (command, body) in call(1) {
            server.post_body(command, body).await;
        }
        assert_eq!(database.rows().await, 4);
        assert_eq!(database.count("select count(*) from dead_letter_events").await, 0);
        assert_eq!(server.figures().await.outcome("stored"), 4);
        assert_eq!(database.count("select count(*) from call_members").await, 0);
    }

    async fn without_read_models_only_events_are_stored(database: Database) {
        let server = Server::start_with(settings(&database, &[("TRTC_INGEST__READ_MODELS", "false")])).await;
        for (command, body) in call(1) {
            server.post_body(command, body).await;
        }
        assert_eq!(database.rows().await, 4);
        for table in TABLES {
            assert_eq!(dump(&database, table).await, [""; 0], "{}", table.name);
        }
    }

    async fn spooled_events_change_the_read_models_the_same(database: Database) {
        let direct = if database.is_postgres() { Database::postgres().await } else { Database::sqlite() };
        let server = Server::start(&direct).await;
        for (command, body) in call(1) {
            server.post_body(command, body).await;
        }
        let settings = settings(&database, &[]);
        let (spool, _) = trtc_callbacks::store::Spool::open(&settings.spool.path, 1 << 20, std::time::Duration::ZERO, NOW).await.unwrap();
        let events: Vec<Event> = call(1).iter().map(|(command, body)| event(command, body)).collect();
        spool.append(&events.iter().collect::<Vec<_>>()).await.unwrap();
        spool.close().await;
        let drained = Server::start_with(settings).await;
        let done = || async { database.rows().await == 4 };
        eventually("the spool is drained", done).await;
        assert_eq!(dump_all(&database).await, dump_all(&direct).await);
        drop((server, drained));
    }

    async fn the_tables_have_the_columns_that_are_written(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.close().await;
        for table in TABLES {
            let sql = if database.is_postgres() {
                format!("select column_name::text from information_schema.columns where table_name = '{}'", table.name)
            } else {
                format!("select name from pragma_table_info('{}')", table.name)
            };
            let mut there: BTreeSet<String> = database.texts(&sql).await.into_iter().collect();
            // It is set by who looks for calls without an end.
            if table.name == "merged_calls" {
                there.remove("overdue_at");
            }
            // It is taken back by who settles the rooms of a new robot.
            if table.name == "rtc_robots" {
                there.remove("is_new");
            }
            let written: BTreeSet<String> = table.columns.iter().map(|column| column.name.to_owned()).collect();
            assert_eq!(written, there, "{}", table.name);
            // Rows are told apart, and sorted, by what stands first.
            let keys = table.keys().count();
            assert!(table.keys().map(|key| key.name).eq(table.columns[..keys].iter().map(|column| column.name)));
        }
    }
}

async fn refuse_members(database: &Database) {
    database
        .execute(if database.is_postgres() {
            "alter table merged_call_members add constraint poison check (account <> 'bob')"
        } else {
            "create trigger poison before insert on merged_call_members when new.account = 'bob'
             begin select raise(abort, 'no'); end"
        })
        .await;
}

async fn allow_members(database: &Database) {
    database
        .execute(if database.is_postgres() {
            "alter table merged_call_members drop constraint poison"
        } else {
            "drop trigger poison"
        })
        .await;
}

/// Whether a statement waits for a lock that somebody else has in the database.
async fn waits(database: &Database) -> bool {
    let sql = "select count(*) from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock'";
    database.count(sql).await == 1
}

async fn insert(store: Arc<dyn Store>, event: Event) {
    let changes = changes(&event);
    store.insert(&[EventInsert::copied(&event, &changes)]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_locks_the_rows_of_a_call_before_those_of_its_members() {
    let database = Database::postgres().await;
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.upkeep(NOW).await.unwrap();
    let events: Vec<Event> = call(1).iter().map(|(command, body)| event(command, body)).collect();
    insert(store.clone(), events[0].clone()).await;
    let orders = [
        ("merged_calls", "merged_call_members", true),
        ("merged_call_members", "merged_calls", false),
    ];
    for ((held, other, is_free), event) in orders.into_iter().zip(&events[1..]) {
        let mut holder = PgConnection::connect(&database.url).await.unwrap();
        let hold = format!("begin; select from {held} for update");
        holder.execute(sqlx::AssertSqlSafe(hold)).await.unwrap();
        let inserting = tokio::spawn(insert(store.clone(), event.clone()));
        eventually("the batch waits for it", || waits(&database)).await;
        let mut asker = PgConnection::connect(&database.url).await.unwrap();
        let ask = format!("select from {other} for update nowait");
        let answer = asker.execute(sqlx::AssertSqlSafe(ask)).await;
        assert_eq!(answer.is_ok(), is_free, "{other} while {held} is held: {answer:?}");
        asker.close().await.unwrap();
        holder.execute("commit").await.unwrap();
        inserting.await.unwrap();
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_write_the_same_calls_without_a_deadlock() {
    let database = Database::postgres().await;
    let (one, two) = tokio::join!(Server::start(&database), Server::start(&database));
    let servers = [Arc::new(one), Arc::new(two)];
    let calls = 40;
    let mut posts = tokio::task::JoinSet::new();
    for (place, server) in servers.iter().enumerate() {
        for client in 0..16 {
            let server = server.clone();
            posts.spawn(async move {
                for step in 0..calls {
                    // The one forwards, the other backwards.
                    let number = if place == 0 { step } else { calls - 1 - step };
                    let events = call(number);
                    let (command, body) = &events[(client + step + place) % 4];
                    server.post_body(command, body.clone()).await;
                }
            });
        }
    }
    posts.join_all().await;
    let all = i64::try_from(calls).unwrap();
    assert_eq!(database.rows().await, 4 * all);
    assert_eq!(database.count("select count(*) from calls where state = 'ended'").await, all);
    let counted = "select sum(events)::bigint from event_counts where width_s = 60";
    assert_eq!(database.count(counted).await, 4 * all);
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    assert_eq!(database.count(deadlocks).await, 0);
    for server in &servers {
        assert_eq!(server.figures().await.outcome("spooled"), 0);
    }
}
