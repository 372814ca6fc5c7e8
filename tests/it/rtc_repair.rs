//! `rtc-repair`: the real program against a stand-in for the vendor's cloud API.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use protocol::AppId;
use protocol::diagnostic::Hint;
use serde_json::Value;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::tencent_api::{CloudClient, CloudKey, Endpoint, Limits, Span};

use crate::cloud_stub::{CloudStub, Fault, ID, KEY, Room};
use crate::process::program;
use crate::support::{APP, Database, Server, eventually, on_both_stores};

const NUMBER: i64 = 1_400_000_001;
/// The sessions of these tests begin so long ago, in s.
const AGO: i64 = 7200;

/// What one run of the program left.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn report(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap()
    }
}

fn begin() -> i64 {
    Clock::system().now().as_secs() - AGO
}

/// A session of so many s, with users who came and went so many s after its begin.
fn room(id: &str, lasts: Option<i64>, users: &[(&str, i64, Option<i64>)]) -> Room {
    let created = begin();
    let user = |(name, joined, left): &(&str, i64, Option<i64>)| {
        ((*name).to_owned(), created + joined, left.map(|left| created + left))
    };
    Room {
        app: NUMBER,
        id: id.to_owned(),
        created,
        destroyed: lasts.map(|lasts| created + lasts),
        users: users.iter().map(user).collect(),
    }
}

/// Runs `rtc-repair` with the key of the tests, without a terminal.
fn run(database: &Database, stub: &CloudStub, arguments: &str) -> Ran {
    run_with(database, stub, arguments, &[("TENCENTCLOUD_SECRET_ID", ID)])
}

fn run_with(database: &Database, stub: &CloudStub, arguments: &str, env: &[(&str, &str)]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(folder.path(), database, stub, arguments);
    let output = command.envs(env.iter().copied()).output().unwrap();
    let ran = Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    };
    for secret in [KEY, ID, "Signature="] {
        let is_shown = ran.out.contains(secret) || ran.err.contains(secret);
        assert!(!is_shown, "`{secret}` is shown: {ran:?}");
    }
    ran
}

/// The program with all but the id of its key.
fn command(folder: &Path, database: &Database, stub: &CloudStub, arguments: &str) -> Command {
    std::fs::write(folder.join("key"), format!("{KEY}\n")).unwrap();
    let mut command = program(folder);
    command
        .arg("rtc-repair")
        .args(arguments.split_whitespace())
        .env("TRTC_SDK_APP_ID", APP)
        .env("TRTC_STORE__URL", &database.url)
        .env("TRTC_RTC_REPAIR__HOST", stub.origin())
        .env("TRTC_LOG__FILTER", "trace")
        .env("TENCENTCLOUD_SECRET_KEY_FILE", "key");
    command
}

/// Stores a mark as an event would.
async fn mark(database: &Database, kind: &str, room: &str, id_kind: &str, user: &str, at_ms: i64) {
    let at = if database.is_postgres() {
        format!("timestamptz 'epoch' + {at_ms} * interval '1 millisecond'")
    } else {
        at_ms.to_string()
    };
    let user = if user.is_empty() { "null".to_owned() } else { format!("'{user}'") };
    let id = uuid::Uuid::now_v7();
    let sql = format!(
        "insert into rtc_room_marks (sdk_app_id, room_id, at, event_id, room_id_kind, kind, precision, account)
         values ({NUMBER}, '{room}', {at}, '{id}', '{id_kind}', '{kind}', 'millis', {user})"
    );
    database.execute(&sql).await;
}

/// The repaired marks, each with its time in s after the begin of the sessions.
async fn repaired(database: &Database, begin: i64) -> Vec<String> {
    let (at, text) = if database.is_postgres() {
        (format!("(extract(epoch from at) - {begin})::bigint"), "::text")
    } else {
        (format!("(at / 1000 - {begin})"), "")
    };
    let sql = format!(
        "select room_id || ' ' || room_id_kind || ' ' || kind || ' ' || coalesce(account, '-') || ' ' || {at}{text}
         from rtc_repaired_marks"
    );
    let mut rows = database.texts(&sql).await;
    rows.sort();
    rows
}

async fn queued(database: &Database) -> BTreeSet<String> {
    database.texts("select room_id from rtc_settle_queue").await.into_iter().collect()
}

on_both_stores! {
    async fn lost_sessions_and_stays_are_added_once(database: Database) {
        let server = Server::start(&database).await;
        let users = [("alice", 2, Some(600)), ("bob", 300, Some(590))];
        let lost = room("12345", Some(600), &users);
        let lasting = room("777", None, &[("carol", 0, None), ("dave", 10, Some(700))]);
        let whole = room("888", Some(100), &[("erin", 1, Some(100))]);
        let begin = lost.created;
        // A room named by a text of digits, without the exit of one and the enter of the other.
        mark(&database, "create", "777", "string", "carol", lasting.created * 1000 + 160).await;
        mark(&database, "enter", "777", "string", "carol", lasting.created * 1000 + 1700).await;
        mark(&database, "exit", "777", "string", "dave", lasting.created * 1000 + 790_000).await;
        for (kind, user, after_ms) in
            [("create", "erin", 0), ("enter", "erin", 900), ("exit", "erin", 100_100), ("dismiss", "", 100_200)]
        {
            mark(&database, kind, "888", "numeric", user, whole.created * 1000 + after_ms).await;
        }
        let stub = CloudStub::start(vec![lost, lasting, whole]).await;

        let dry = run(&database, &stub, "--since 3h --dry-run --json").report();
        assert_eq!((&dry["added"], &dry["sessions_asked"]), (&0.into(), &2.into()), "{dry}");
        assert_eq!(repaired(&database, begin).await, [] as [String; 0]);

        let report = run(&database, &stub, "--since 3h --yes --json").report();
        assert_eq!(report["added"], 7, "{report}");
        assert_eq!(report["creates"]["found"], 3);
        assert_eq!(report["creates"]["missing"], 1);
        assert_eq!(report["exits"]["missing"], 2);
        assert_eq!(report["requests"], 3);
        let rows = repaired(&database, begin).await;
        let expected = [
            "12345 numeric create alice 0",
            "12345 numeric dismiss - 600",
            "12345 numeric enter alice 2",
            "12345 numeric enter bob 300",
            "12345 numeric exit alice 600",
            "12345 numeric exit bob 590",
            // The exit by timeout, 90 s after the loss, is the vendor's end of the stay.
            "777 string enter dave 10",
        ];
        assert_eq!(rows, expected);

        let again = run(&database, &stub, "--since 3h --yes --all-stays --json").report();
        assert_eq!((&again["added"], &again["sessions_asked"]), (&0.into(), &3.into()), "{again}");
        assert_eq!(repaired(&database, begin).await, expected);
        let ran = run(&database, &stub, "--since 3h --yes");
        assert!(ran.out.contains("; nothing is missing\n"), "{ran:?}");
        assert_eq!(stub.too_fast(), 0);
        server.stop().await;
    }

    async fn a_repaired_session_is_settled_by_the_running_server(database: Database) {
        let server = Server::start(&database).await;
        let lost = room("12345", Some(600), &[("alice", 2, Some(600)), ("bob", 300, Some(590))]);
        let comm_id = format!("{APP}_12345_{}", lost.created);
        let stub = CloudStub::start(vec![lost]).await;
        assert_eq!(run(&database, &stub, "--since 3h --yes --json").report()["added"], 6);
        let settled = format!(
            "select count(*) from rtc_room_sessions
             where comm_id = '{comm_id}' and is_repaired and state = 'ended' and people = 2"
        );
        let is_settled = || async { database.count(&settled).await == 1 };
        eventually("the session is settled", is_settled).await;
        let flags = database.texts("select cast(flags as text) from rtc_stays").await;
        assert_eq!(flags.len(), 2);
        assert!(flags.iter().all(|flags| flags.contains("repaired")), "{flags:?}");
        server.stop().await;
    }

    async fn a_repaired_room_is_queued_as_by_an_event(database: Database) {
        database.store().await.migrate().await.unwrap();
        let lost = room("r", Some(60), &[("alice", 0, Some(60))]);
        let hour = lost.created / 3600;
        let stub = CloudStub::start(vec![lost]).await;
        assert_eq!(run(&database, &stub, "--since 3h --yes --json").report()["added"], 4);
        assert_eq!(queued(&database).await, BTreeSet::from(["r".to_owned()]));
        let first = database.count("select cast(min(at) as bigint) from rtc_settle_queue").await;
        assert_eq!(first, hour);
        // By the database's clock, in units of 2 s.
        let slot = database.count("select cast(max(slot) as bigint) from rtc_settle_queue").await;
        assert!((Clock::system().now().as_secs() / 2).abs_diff(slot) < 60, "{slot}");
        database.execute("delete from rtc_settle_queue").await;
        run(&database, &stub, "--since 3h --yes --all-stays --json").report();
        assert!(queued(&database).await.is_empty(), "nothing was added");
    }

    async fn lists_are_read_to_their_end_within_the_limits(database: Database) {
        database.store().await.migrate().await.unwrap();
        let viewers: Vec<String> = (0..130).map(|nth| format!("viewer{nth}")).collect();
        let viewers: Vec<_> =
            viewers.iter().map(|name| (name.as_str(), 5, Some(3000))).collect();
        let mut large = room("large", Some(3600), &viewers);
        // It began nine hours before: its users are in three spans.
        large.created -= 9 * 3600;
        large.users.iter_mut().for_each(|(_, joined, _)| *joined -= 9 * 3600);
        let mut rooms = vec![large];
        let mut values = Vec::new();
        for nth in 0..205 {
            let one = Room { id: format!("room{nth}"), ..room("", Some(60), &[]) };
            for kind in ["create", "enter", "exit", "dismiss"] {
                let at = if database.is_postgres() {
                    format!("to_timestamp({})", one.created)
                } else {
                    (one.created * 1000).to_string()
                };
                let id = uuid::Uuid::now_v7();
                values.push(format!(
                    "({NUMBER}, '{}', {at}, '{id}', 'string', '{kind}', 'millis', 'u')", one.id
                ));
            }
            rooms.push(one);
        }
        let columns = "sdk_app_id, room_id, at, event_id, room_id_kind, kind, precision, account";
        let sql = format!("insert into rtc_room_marks ({columns}) values {}", values.join(", "));
        database.execute(&sql).await;
        let stub = CloudStub::start(rooms).await;
        let report = run(&database, &stub, "--since 30h --yes --json").report();
        assert_eq!(report["creates"]["found"], 206, "{report}");
        assert_eq!(report["sessions_asked"], 1);
        // Its create and dismissal, and those who are inside.
        assert_eq!(report["added"], 2 + 2 * 130);
        let pages = |action: &str| -> Vec<i64> {
            stub.seen(action).iter().map(|seen| seen.body["PageNumber"].as_i64().unwrap()).collect()
        };
        // The first day has the large one alone, at most.
        assert_eq!(pages("DescribeRoomInfo"), [0, 0, 1, 2]);
        assert_eq!(pages("DescribeUserInfo"), [0, 1, 0, 1, 0, 1]);
        let regions: BTreeSet<String> =
            stub.seen("DescribeRoomInfo").into_iter().map(|seen| seen.region).collect();
        assert_eq!(regions, BTreeSet::from(["ap-guangzhou".to_owned()]));
        assert_eq!((stub.too_fast(), report["requests"].as_u64()), (0, Some(10)));
    }
}

async fn place() -> (Database, CloudStub) {
    let database = Database::sqlite();
    database.store().await.migrate().await.unwrap();
    let lost = room("r", Some(60), &[("alice", 0, Some(60))]);
    (database, CloudStub::start(vec![lost]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_with_a_hint() {
    let (database, stub) = place().await;
    for (fault, problem, hint) in [
        (
            Fault::Refuse("AuthFailure.SecretIdNotFound"),
            "DescribeRoomInfo at 127.0.0.1:",
            "hint: check SecretId and SecretKey",
        ),
        (
            Fault::Refuse("UnauthorizedOperation.NotPaid"),
            "code UnauthorizedOperation.NotPaid (`no [31m xxx",
            "hint: the call needs a paid edition",
        ),
        (Fault::Answer(200, "{".to_owned()), "the answer is not the vendor's", "`rtc_repair.host`"),
        (
            Fault::Answer(200, r#"{"Response":{"RoomList":7,"RequestId":"r"}}"#.to_owned()),
            "the answer is not the vendor's: invalid type",
            "`rtc_repair.host`",
        ),
        (Fault::Answer(403, String::new()), "answered with HTTP status 403", "hint: a proxy"),
    ] {
        let before = stub.requests();
        stub.fail([fault]);
        let ran = run(&database, &stub, "--since 3h --yes");
        assert_eq!((ran.code, ran.out.as_str()), (1, ""), "{ran:?}");
        assert!(ran.err.contains(problem) && ran.err.contains(hint), "{ran:?}");
        assert!(ran.err.len() < 2000 && !ran.err.contains('\u{1b}'), "{ran:?}");
        assert_eq!(stub.requests() - before, 1, "no second try: {ran:?}");
    }
    assert_eq!(repaired(&database, 0).await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_passes_is_tried_again() {
    let (database, stub) = place().await;
    stub.fail([
        Fault::Refuse("RequestLimitExceeded"),
        Fault::Answer(500, "oops".to_owned()),
        Fault::Refuse("InternalError.DBError"),
    ]);
    let report = run(&database, &stub, "--since 3h --yes --json").report();
    assert_eq!((&report["added"], &report["requests"]), (&4.into(), &5.into()), "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_added_before_a_failure_stays() {
    let (database, stub) = place().await;
    let rooms = ["a", "b"].map(|id| room(id, Some(60), &[("alice", 0, Some(60))]));
    let begin = rooms[0].created;
    let stub_of_two = CloudStub::start(rooms.to_vec()).await;
    drop(stub);
    // The list and the users of the first room go well.
    let sound =
        |stub: &CloudStub| run(&database, stub, "--since 3h --yes --dry-run --json").report();
    assert_eq!(sound(&stub_of_two)["requests"], 3);
    let users = r#"{"Response":{"UserList":[],"RequestId":"r"}}"#;
    let list =
        |id: &str| format!(r#"{{"CommId":"{id}","RoomString":"{id}","CreateTime":{begin}}}"#);
    let rooms = format!(r#"{{"Response":{{"RoomList":[{},{}]}}}}"#, list("a"), list("b"));
    let answer = |text: &str| Fault::Answer(200, text.to_owned());
    stub_of_two.fail([answer(&rooms), answer(users), Fault::Refuse("AuthFailure.TokenFailure")]);
    let ran = run(&database, &stub_of_two, "--since 3h --yes");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("added 1 to sqlite:"), "{ran:?}");
    assert!(ran.err.contains("run it again to go on: DescribeUserInfo"), "{ran:?}");
    let rest = run(&database, &stub_of_two, "--since 3h --yes --json").report();
    assert_eq!(rest["added"], 7, "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_refused_keeps_no_other() {
    let database = Database::sqlite();
    database.store().await.migrate().await.unwrap();
    let rooms = ["a", "b"].map(|id| room(id, Some(60), &[("alice", 0, Some(60))]));
    let stub = CloudStub::start(rooms.to_vec()).await;
    let list = |id: &str, of: &Room| {
        let (created, app) = (of.created, of.app);
        format!(
            r#"{{"CommId":"{app}_{id}_{created}","RoomString":"{}","CreateTime":{created}}}"#,
            of.id
        )
    };
    // The vendor's own name of the first is one that it does not know.
    let rooms = [list("gone", &rooms[0]), list("b", &rooms[1])].join(",");
    stub.fail([Fault::Answer(200, format!(r#"{{"Response":{{"RoomList":[{rooms}]}}}}"#))]);
    let ran = run(&database, &stub, "--since 3h --yes");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("code InvalidParameter.CommID"), "{ran:?}");
    assert!(ran.err.contains("error: the users of 1 sessions could not be asked for"), "{ran:?}");
    assert!(ran.out.contains("; added 4\n"), "{ran:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn without_a_yes_at_the_terminal_nothing_is_added() {
    use std::io::Write;

    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

    let (database, stub) = place().await;
    let at_terminal = |answer: &'static [u8]| {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let ours = openpt(flags).unwrap();
        unlockpt(&ours).unwrap();
        let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
        std::fs::File::from(ours.try_clone().unwrap()).write_all(answer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut command = command(folder.path(), &database, &stub, "--since 3h");
        command.env("TENCENTCLOUD_SECRET_ID", ID).stdin(theirs);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (done, said) = at_terminal(b"no\n");
    assert!(!done && said.contains("error: nothing was changed"), "{said}");
    let expected = "127.0.0.1:";
    assert!(said.starts_with(expected), "{said}");
    let expected = "knows 1 sessions; asking for the users of 1 of them takes 1 requests or more";
    assert!(said.contains(expected) && !said.contains(KEY), "{said}");
    assert_eq!(repaired(&database, 0).await, [] as [String; 0]);
    let (done, said) = at_terminal(b"yes\n");
    assert!(done, "{said}");
    assert_eq!(repaired(&database, 0).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused_by_signature() {
    let (database, stub) = place().await;
    let env = [("TRTC_RTC_REPAIR__SECRET_ID", ID), ("TRTC_RTC_REPAIR__SECRET_KEY", "an0ther-k3y")];
    let ran = run_with(&database, &stub, "--since 3h --yes", &env);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("code AuthFailure.SignatureFailure"), "{ran:?}");
    assert!(ran.err.contains("the SecretKey does not belong to this SecretId"), "{ran:?}");
    assert!(!ran.err.contains("an0ther-k3y"), "{ran:?}");
    assert!(ran.err.contains("RequestId id-of-the-request"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_before_all_is_in_order() {
    let (database, stub) = place().await;
    for (arguments, code, said) in [
        ("--since 3h", 1, "cannot ask for confirmation without a terminal"),
        ("--since 15d --yes", 1, "hint: the vendor knows the last 14 days"),
        ("--since 1h --until 2h --yes", 1, "`--since` is not before `--until`"),
        ("--since yesterday --yes", 2, "neither a moment nor an age"),
        ("--yes", 2, "--since <TIME>"),
        ("--since 3h --app none --yes", 1, "`--app none` is not a valid SDKAppID"),
    ] {
        let ran = run(&database, &stub, arguments);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "{arguments}: {ran:?}");
        assert!(ran.err.contains(said), "{arguments}: {ran:?}");
    }
    for (env, said) in [
        (&[][..], "there is no API key of the cloud account"),
        (&[("TENCENTCLOUD_SECRET_ID", "an id")], "the SecretId is empty, or has letters"),
        (
            &[("TENCENTCLOUD_SECRET_ID", ID), ("TENCENTCLOUD_SECRET_KEY_FILE", "/nowhere/key")],
            "the file that TENCENTCLOUD_SECRET_KEY_FILE names: `/nowhere/key`",
        ),
        (
            &[("TRTC_RTC_REPAIR__HOST", "http://trtc.tencentcloudapi.com")],
            "key `rtc_repair.host`: plain HTTP",
        ),
        (&[("TRTC_RTC_REPAIR__REGION", "a b")], "key `rtc_repair.region`: `a b`"),
    ] {
        let ran = run_with(&database, &stub, "--since 3h --yes", env);
        assert_eq!(ran.code, 1, "{env:?}: {ran:?}");
        assert!(ran.err.contains(said) && ran.err.contains("hint: "), "{env:?}: {ran:?}");
    }
    assert_eq!(stub.requests(), 0);
    let none = run(&Database::sqlite(), &stub, "--since 3h --yes");
    assert!(none.err.contains("there is no SQLite file"), "{none:?}");
}

fn client(stub: &CloudStub, limits: Limits) -> CloudClient {
    let key = CloudKey::new(ID.into(), KEY.into()).unwrap();
    let endpoint = Endpoint::parse(&stub.origin()).unwrap();
    CloudClient::new(endpoint, "ap-singapore", key, limits, || Clock::system().now()).unwrap()
}

fn last_hour() -> Span {
    let until_s = Clock::system().now().as_secs();
    Span { from_s: until_s - 3600, until_s }
}

#[tokio::test]
async fn requests_at_once_keep_the_rate() {
    let stub = CloudStub::start(Vec::new()).await;
    let client = client(&stub, Limits::default());
    let app = AppId::parse(APP).unwrap();
    let calls = (0..25).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.rooms(app, last_hour(), 0).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert!(call.await.unwrap().unwrap().is_last);
    }
    assert_eq!((stub.too_fast(), client.requests()), (0, 25));
}

#[tokio::test]
async fn a_vendor_that_hangs_is_given_up() {
    let stub = CloudStub::start(Vec::new()).await;
    stub.fail([Fault::Hang, Fault::Hang]);
    let one_try = Duration::from_millis(200);
    let limits =
        Limits { one_try, tries_max: 2, pause: Duration::from_millis(1), ..Limits::default() };
    let client = client(&stub, limits);
    let error = client.rooms(AppId::parse(APP).unwrap(), last_hour(), 0).await.unwrap_err();
    assert!(error.to_string().ends_with("no answer within 200.0ms [2 tries]"), "{error}");
    assert!(error.hint().unwrap().contains("try again later"));
    let shown = format!("{client:?} {error:?}");
    assert!(!shown.contains(ID) && !shown.contains(KEY), "{shown}");
}
