//! The cloud tasks of the RTC Engine: what each event says of its task, that neither order nor repeats matter, and the list of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use protocol::{AppId, Apps, Event, Query, UnixMillis};
use trtc_callbacks::projections::change::{RtcTaskMark, RtcTaskState};
use trtc_callbacks::projections::{Change, changes};
use trtc_callbacks::store::{List, RtcTask, RtcTaskFilter, Store};

use crate::permutations::{Told, disorder, store_all};
use crate::process::done;
use crate::support::{APP, Database, NOW, fixtures, on_both_stores};

/// Group, type, room or nothing, after how many ms, and the rest of `EventInfo`.
type Step = (u16, u16, &'static str, i64, &'static str);

/// A task of each kind.
const TASKS: [(&str, &[Step]); 9] = [
    (
        "relayed",
        &[
            (
                4,
                401,
                "7",
                0,
                r#""RoomType":0,"UserId":"agent","Payload":{"Url":"rtmp://a.test/x","Status":1}"#,
            ),
            (
                4,
                401,
                "7",
                5000,
                r#""RoomType":0,"UserId":"agent","Payload":{"Url":"rtmp://a.test/x","Status":1}"#,
            ),
            (
                4,
                401,
                "7",
                5400,
                r#""RoomType":0,"UserId":"agent","Payload":{"Url":"rtmp://a.test/x","Status":2}"#,
            ),
            (
                4,
                401,
                "7",
                7000,
                r#""RoomType":0,"UserId":"agent","Payload":{"Url":"rtmp://a.test/x","Status":3,"ErrorCode":-1,"ErrorMsg":"connect timeout"}"#,
            ),
            (
                4,
                401,
                "7",
                7900,
                r#""RoomType":0,"UserId":"agent","Payload":{"Url":"rtmp://b.test/x","Status":2,"ErrorCode":0,"ErrorMsg":""}"#,
            ),
            (
                4,
                401,
                "7",
                9000,
                r#""RoomType":0,"UserId":"agent","Payload":{"Url":"rtmp://b.test/x","Status":5}"#,
            ),
            (
                4,
                401,
                "7",
                9000,
                r#""RoomType":0,"UserId":"agent","Payload":{"Url":"rtmp://b.test/x","Status":0}"#,
            ),
        ],
    ),
    (
        "lost",
        &[
            (
                4,
                401,
                "\"8\"",
                100,
                r#""RoomType":1,"UserId":"agent","Payload":{"Url":"rtmp://a.test/y","Status":2}"#,
            ),
            (
                4,
                401,
                "\"8\"",
                200,
                r#""RoomType":1,"UserId":"agent","Payload":{"Url":"rtmp://a.test/y","Status":3}"#,
            ),
            (
                4,
                401,
                "\"8\"",
                61_000,
                r#""RoomType":1,"UserId":"agent","Payload":{"Url":"rtmp://a.test/y","Status":4,"ErrorCode":-2,"ErrorMsg":"gone"}"#,
            ),
            (
                4,
                401,
                "\"8\"",
                61_001,
                r#""RoomType":1,"UserId":"agent","Payload":{"Url":"rtmp://a.test/y","Status":0}"#,
            ),
        ],
    ),
    (
        "ingested",
        &[
            (7, 701, "", 300, r#""Status":1"#),
            (7, 701, "", 1300, r#""Status":2"#),
            (7, 701, "", 1400, r#""Status":0"#),
        ],
    ),
    (
        "spoken",
        &[
            (9, 901, "\"7\"", 400, r#""RoomIdType":0,"Payload":{"Status":0}"#),
            (9, 909, "\"7\"", 500, r#""RoomIdType":0,"Payload":{"Status":"session_ready"}"#),
            (9, 904, "\"7\"", 600, r#""RoomIdType":0,"Payload":{"UserId":"ann","RoundId":"1"}"#),
            (
                9,
                903,
                "\"7\"",
                700,
                r#""RoomIdType":0,"Payload":{"UserId":"ann","Text":"hello","RoundId":"1"}"#,
            ),
            (
                9,
                903,
                "\"7\"",
                800,
                r#""RoomIdType":0,"Payload":{"UserId":"ai","Text":"good day","RoundId":"1"}"#,
            ),
            (
                9,
                905,
                "\"7\"",
                900,
                r#""RoomIdType":0,"Payload":{"UserId":"ai","Text":"good","RoundId":"1"}"#,
            ),
            (
                9,
                906,
                "\"7\"",
                950,
                r#""RoomIdType":0,"Payload":{"Metric":"llm_first_token","Value":218}"#,
            ),
            (
                9,
                908,
                "\"7\"",
                960,
                r#""RoomIdType":0,"Payload":{"Metric":"llm_error","Tag":{"Code":30200,"Message":""}}"#,
            ),
            (9, 902, "\"7\"", 1000, r#""RoomIdType":0,"Payload":{"LeaveCode":98}"#),
        ],
    ),
    (
        "sliced",
        &[
            (10, 1001, "\"9\"", 410, r#""UserId":"slicer","Payload":{"Status":0}"#),
            (10, 1003, "\"9\"", 420, r#""UserId":"slicer","Payload":{"Status":0}"#),
            (10, 1004, "\"9\"", 430, r#""UserId":"slicer","Payload":{"FileName":"a.png"}"#),
            (10, 1004, "\"9\"", 440, r#""UserId":"slicer","Payload":{"FileName":"b.png"}"#),
            (
                10,
                1006,
                "\"9\"",
                450,
                r#""UserId":"slicer","Payload":{"Code":10002,"Message":"BadRequest"}"#,
            ),
            (10, 1002, "\"9\"", 9900, r#""UserId":"slicer","Payload":{"LeaveCode":99}"#),
        ],
    ),
    (
        "checked",
        &[
            (11, 1101, "9", 510, r#""UserId":"inspect","Payload":{"Status":0}"#),
            (11, 1104, "9", 520, r#""UserId":"inspect","Payload":{"DataId":"1","Suggest":0}"#),
            (11, 1104, "9", 530, r#""UserId":"inspect","Payload":{"DataId":"2","Suggest":1}"#),
            (11, 1104, "9", 540, r#""UserId":"inspect","Payload":{"DataId":"3","Suggest":2}"#),
        ],
    ),
    (
        "written",
        &[
            (
                14,
                1401,
                "\"hall\"",
                610,
                r#""RoomIdType":1,"RobotId":"scribe","Payload":{"Status":0}"#,
            ),
            (
                14,
                1403,
                "\"hall\"",
                620,
                r#""RoomIdType":1,"RobotId":"scribe","Payload":{"UserId":"ann","Text":"hello"}"#,
            ),
            (
                14,
                1404,
                "\"hall\"",
                630,
                r#""RoomIdType":1,"RobotId":"scribe","Payload":{"UserId":"ann","Text":"bonjour"}"#,
            ),
            (
                14,
                1402,
                "\"hall\"",
                640,
                r#""RoomIdType":1,"RobotId":"scribe","Payload":{"LeaveCode":0}"#,
            ),
        ],
    ),
    (
        "conversed",
        &[
            (15, 1501, "\"hall\"", 710, r#""RoomIdType":1,"Payload":{}"#),
            (15, 1502, "\"hall\"", 720, r#""RoomIdType":1,"Payload":{"Text":"hello"}"#),
        ],
    ),
    (
        "refused",
        &[(
            14,
            1401,
            "\"hall\"",
            810,
            r#""RoomIdType":1,"RobotId":"scribe","Payload":{"Status":1}"#,
        )],
    ),
];

/// The events of these tasks, which begin at `start`; the ids of tasks end with `number`.
pub(crate) fn events(number: u64, start: UnixMillis) -> Vec<Event> {
    let app = AppId::parse(APP).unwrap();
    let apps = Apps::new().with(app, Vec::new());
    let mut events = Vec::new();
    for (task, steps) in TASKS {
        for (group, kind, room, after, rest) in steps {
            let at = start.0 + after;
            let room = if room.is_empty() { String::new() } else { format!(r#""RoomId":{room},"#) };
            let body = format!(
                r#"{{"EventGroupId":{group},"EventType":{kind},"CallbackTs":{at},"EventInfo":{{{room}"EventMsTs":{at},"TaskId":"{task}{number}",{rest}}}}}"#
            );
            let verified = apps.verify_rtc(app, [], body.as_bytes(), Query::default()).unwrap();
            let event = Event::decode(&verified, body.as_bytes(), UnixMillis(at + 300));
            assert_eq!(event.decode_error, None, "{body}");
            events.push(event);
        }
    }
    events
}

/// The same with what they change, sorted.
pub(crate) fn told(number: u64, start: UnixMillis) -> Vec<Told> {
    let of = |event: Event| {
        let changes = changes(&event);
        (event, changes)
    };
    let mut told: Vec<Told> = events(number, start).into_iter().map(of).collect();
    told.sort_by_key(|(event, _)| event.id);
    told
}

fn start() -> UnixMillis {
    UnixMillis(NOW.0 - 3_600_000)
}

/// A task in one line.
fn line(task: &RtcTask) -> String {
    let ms = |at: Option<UnixMillis>| {
        at.map_or_else(|| "-".to_owned(), |at| (at.0 - start().0).to_string())
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    format!(
        "{} {} | {}/{} {} {} | {} {}..{} {} {} | {} {} | {}/{}/{}/{} | {}..{}",
        task.task_id,
        task.kind,
        text(&task.room_id),
        text(&task.room_id_kind),
        text(&task.robot),
        text(&task.url),
        task.state,
        ms(task.started_at),
        ms(task.ended_at),
        text(&task.end_reason),
        task.leave_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
        text(&task.error_code),
        text(&task.error_message),
        task.messages,
        task.checks,
        task.hits,
        task.files,
        ms(Some(task.first_at)),
        ms(Some(task.last_at)),
    )
}

/// The tasks, the latest first.
const LINES: [&str; 9] = [
    "refused0 transcription | hall/string scribe - | failed -..810 start_failed - | - - | 0/0/0/0 | 810..810",
    "conversed0 ai_conversation | hall/string - - | running -..- - - | - - | 1/0/0/0 | 710..720",
    "written0 transcription | hall/string scribe - | stopped 610..640 stop_api 0 | - - | 1/0/0/0 | 610..640",
    "checked0 moderation | 9/numeric inspect - | started 510..- - - | - - | 0/3/2/0 | 510..540",
    "sliced0 slicing | 9/string slicer - | stopped 410..9900 room_empty 99 | 10002 BadRequest | 0/0/0/2 | 410..9900",
    "spoken0 ai | 7/numeric ai - | failed 400..1000 internal_error 98 | 30200 llm_error | 2/0/0/0 | 400..1000",
    "ingested0 ingest | -/- - - | running 1400..- - - | - - | 0/0/0/0 | 300..1400",
    "lost0 relay | 8/string agent rtmp://a.test/y | stopped 100..61001 connection_failed - | -2 gone | 0/0/0/0 | 100..61001",
    "relayed0 relay | 7/numeric agent rtmp://b.test/x | stopped 0..9000 removed - | -1 connect timeout | 0/0/0/0 | 0..9000",
];

async fn all(store: &Arc<dyn Store>, filter: &RtcTaskFilter, limit: u32) -> Vec<RtcTask> {
    let (mut tasks, mut after) = (Vec::new(), None);
    loop {
        let (rows, end) = filter.part(&**store, (after, limit)).await.unwrap();
        tasks.extend(rows);
        after = end;
        if after.is_none() {
            return tasks;
        }
    }
}

async fn lines(database: &Database) -> Vec<String> {
    let store = database.store().await;
    let tasks = all(&store, &RtcTaskFilter::default(), 50).await;
    store.close().await;
    tasks.iter().map(line).collect()
}

fn say(mark: &RtcTaskMark) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let room = mark.room_id.as_ref().map_or_else(
        || "-".to_owned(),
        |room| format!("{room}/{}", mark.room_id_kind.unwrap_or("-")),
    );
    format!(
        "{} {room} {} | {} {} {} | {} {} | {}",
        mark.kind,
        text(&mark.robot),
        mark.state.map_or("-", RtcTaskState::as_str),
        mark.end_reason.unwrap_or("-"),
        mark.leave_code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
        text(&mark.error_code),
        text(&mark.error_message),
        mark.counted.unwrap_or("-"),
    )
}

#[test]
fn every_fixture_of_a_task_makes_the_expected_mark() {
    let mut marks = BTreeMap::new();
    for fixture in fixtures() {
        let event = fixture.delivery.event(NOW).unwrap();
        for change in changes(&event) {
            if let Change::RtcTask(mark) = change {
                assert_eq!((mark.at, mark.event_id), (event.event_time, event.id));
                marks.insert(fixture.name.clone(), say(&mark));
            }
        }
    }
    let marks: Vec<String> = marks.iter().map(|(name, mark)| format!("{name}: {mark}")).collect();
    insta::assert_snapshot!(marks.join("\n"));
}

on_both_stores! {
    async fn tasks_are_the_same_in_any_order_and_with_repeats(database: Database) {
        let told = told(0, start());
        for seed in 0..6 {
            let database = if database.is_postgres() { Database::postgres().await } else { Database::sqlite() };
            store_all(&database, &told, &disorder(told.len(), seed)).await;
            assert_eq!(lines(&database).await, LINES, "seed {seed}");
        }
    }

    async fn tasks_are_listed_by_kind_state_room_app_and_time(database: Database) {
        let told = told(0, start());
        store_all(&database, &told, &[(0..told.len()).collect()]).await;
        let store = database.store().await;
        let text = |text: &str| Some(text.to_owned());
        let at = |ms: i64| Some(UnixMillis(start().0 + ms));
        let filter = RtcTaskFilter::default;
        for (filter, expected) in [
            (RtcTaskFilter { kind: text("relay"), ..filter() }, &["lost0", "relayed0"][..]),
            (RtcTaskFilter { state: text("stopped"), ..filter() }, &["written0", "sliced0", "lost0", "relayed0"]),
            (RtcTaskFilter { state: text("running"), ..filter() }, &["conversed0", "ingested0"]),
            (RtcTaskFilter { state: text("retrying"), ..filter() }, &[]),
            (RtcTaskFilter { room_id: text("9"), ..filter() }, &["checked0", "sliced0"]),
            (RtcTaskFilter { room_id: text("9"), state: text("started"), ..filter() }, &["checked0"]),
            (RtcTaskFilter { app: AppId::parse("7"), ..filter() }, &[]),
            (RtcTaskFilter { app: AppId::parse(APP), kind: text("ai"), ..filter() }, &["spoken0"]),
            (RtcTaskFilter { since: at(300), until: at(410), ..filter() }, &["spoken0", "ingested0"]),
        ] {
            for limit in [1, 2, 50] {
                let found: Vec<String> = all(&store, &filter, limit).await.into_iter().map(|task| task.task_id).collect();
                assert_eq!(found, expected, "{filter:?}");
            }
        }
        store.close().await;
    }

    async fn an_erased_account_is_the_robot_of_no_task(database: Database) {
        let told = told(0, start());
        store_all(&database, &told, &[(0..told.len()).collect()]).await;
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["erase-user", "agent", "--yes", "--pseudonym", "gone", "--store", &database.url];
        done(folder.path(), &arguments);
        assert_eq!(lines(&database).await, LINES.map(|line| line.replace(" agent ", " gone ")));
        let told = done(folder.path(), &["rtc-tasks", "--kind", "relay", "--store", &database.url]);
        assert!(told.contains("connection_failed") && told.contains("gone") && !told.contains("agent"), "{told}");
        let rows = done(folder.path(), &["export", "rtc-tasks", "--state", "started", "--store", &database.url]);
        assert!(rows.contains("checked0") && rows.lines().count() == 2, "{rows}");
    }

    async fn a_list_of_tasks_with_many_events_goes_on(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        let rows = |task: &str, count: i64, first: i64| {
            let (at, id) = if database.is_postgres() {
                ("timestamptz 'epoch' + (@0 + n) * interval '1 millisecond'", "md5('@1' || n)::uuid")
            } else {
                ("@0 + n", "printf('%08x-0000-0000-0000-0000000@1', n)")
            };
            let mark = if database.is_postgres() { task.to_owned() } else { format!("{:05x}", first % 0xfffff) };
            format!(
                "insert into rtc_task_marks (sdk_app_id, task_id, at, event_id, kind, counted)
                 with recursive numbers (n) as (select 0 union all select n + 1 from numbers where n < {count} - 1)
                 select {APP}, '{task}', {}, {}, 'ai', 'message' from numbers",
                at.replace("@0", &(start().0 + first).to_string()), id.replace("@1", &mark)
            )
        };
        database.execute(&rows("long", 25_000, 1000)).await;
        database.execute(&rows("short", 1, 0)).await;
        let page = store.rtc_tasks(&RtcTaskFilter { limit: 5, ..RtcTaskFilter::default() }).await.unwrap();
        assert!(page.tasks.is_empty() && page.next.is_some(), "{page:?}");
        let tasks = all(&store, &RtcTaskFilter::default(), 5).await;
        let counts: Vec<_> = tasks.iter().map(|task| (task.task_id.as_str(), task.messages)).collect();
        assert_eq!(counts, [("long", 25_000), ("short", 1)]);
        store.close().await;
    }
}
