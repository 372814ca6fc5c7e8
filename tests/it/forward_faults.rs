//! Forwarding where its tables are full, changed beside it, or older than the program.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::derived_events::quiet;
use crate::forward_receiver::{Receiver, SECRET};
use crate::forwarding::{destination, exceptions, in_state, known, post, resume, with};
use crate::process::{Serving, failed, program, run};
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, OK, Server, destroy_room, eventually, on_both_stores,
};

/// Makes the tables as the version did that had only so many migrations.
async fn migrate_to(database: &Database, last: i64) {
    let name = if database.is_postgres() { "postgres" } else { "sqlite" };
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/store/migrations").join(name);
    let older = tempfile::tempdir().unwrap();
    for file in all.read_dir().unwrap().map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name[..4].parse::<i64>().unwrap() <= last {
            std::fs::copy(&file, older.path().join(name)).unwrap();
        }
    }
    let migrator = Migrator::new(older.path()).await.unwrap();
    if database.is_postgres() {
        migrator.run(&mut PgConnection::connect(&database.url).await.unwrap()).await.unwrap();
    } else {
        // The store makes the file, with its folder.
        database.store().await.close().await;
        migrator.run(&mut SqliteConnection::connect(&database.url).await.unwrap()).await.unwrap();
    }
}

/// Fills it with so many events of the past.
async fn fill(database: &Database, events: u32) {
    let fill = if database.is_postgres() {
        format!(
            "insert into events (id, sdk_app_id, family, command, event_time, received_at, payload)
             select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || substr(md5(n::text), 1, 20))::uuid,
                 {APP}, 'room', 'c', at, at, '{{}}'
             from generate_series(1, {events}) as n,
                 lateral (select timestamptz 'epoch' + ({} - n) * interval '1 ms' as at) as moment",
            NOW.0
        )
    } else {
        format!(
            "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {events})
             insert into events (id, sdk_app_id, family, command, event_time, received_at, payload)
             select printf('%08x-%04x-8000-8000-%012x', ({0} - n) >> 16, ({0} - n) & 65535, n),
                 {APP}, 'room', 'c', {0} - n, {0} - n, '{{}}' from numbers",
            NOW.0
        )
    };
    database.execute(&fill).await;
}

/// How many events are there before an upgrade.
fn events_before() -> u32 {
    let is_full = std::env::var("FAULTS").is_ok_and(|length| length == "full");
    if is_full { 1_000_000 } else { 10_000 }
}

on_both_stores! {
    async fn an_upgrade_forwards_what_comes_and_not_what_was(database: Database) {
        for (round, last) in [5, 7].into_iter().enumerate() {
            let database = if round == 0 { &database } else if database.is_postgres() {
                &Database::postgres().await
            } else {
                &Database::sqlite()
            };
            migrate_to(database, last).await;
            fill(database, events_before()).await;
            let receiver = Receiver::start().await;
            let server = Server::start_with(with(database, &destination("billing", &receiver.url, ""))).await;
            known(database, "billing").await;
            post(&server, 0..5).await;
            receiver.took(5).await;
            assert_eq!(database.rows().await, i64::from(events_before()) + 5, "from {last}");
            server.stop().await;
            assert_eq!(receiver.received().len(), 5, "from {last}");
        }
    }

    async fn an_older_program_refuses_the_tables_of_forwarding(database: Database) {
        let store = database.store().await;
        store.migrate().await.unwrap();
        store.close().await;
        // To this program it is as migration 12 is to one that has only 11.
        let row = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
            select version + 1, description, success, checksum, execution_time from _sqlx_migrations where version = 12";
        database.execute(row).await;
        let folder = tempfile::tempdir().unwrap();
        let said = failed(folder.path(), &["migrate", "--store", &database.url], 1);
        assert!(said.contains("a newer version of trtc-callbacks has changed the store's tables (migration 13)\nhint: run the newer version"), "{said}");
    }

    async fn a_damaged_row_is_a_dead_letter_and_stops_nothing(database: Database) {
        let receiver = Receiver::start().await;
        let of = |name: &str, more: &str| destination(name, &receiver.url, more);
        let toml = of("billing", "") + &of("other", "commands = ['trtc.*']");
        let server = Server::start_with(with(&database, &toml)).await;
        for name in ["billing", "other"] {
            known(&database, name).await;
        }
        let paused = "update destinations set paused = ";
        let (yes, no) = if database.is_postgres() { ("true", "false") } else { ("1", "0") };
        database.execute(&format!("{paused}{yes}")).await;
        in_state(&database, "billing", "paused").await;
        // The job that derives reads nothing until then, either.
        let (later, now) = if database.is_postgres() { ("now() + interval '1 h'", "now()") } else { ("lease_until + 3600000", "0") };
        database.execute(&format!("update derived_progress set holder = 'other', lease_until = {later}")).await;
        post(&server, 0..3).await;
        eventually("they are stored", || async { database.rows().await == 3 }).await;
        database.execute("update events set sdk_app_id = 0 where room_id = 'room-1'").await;
        database.execute(&format!("update derived_progress set lease_until = {now}")).await;
        database.execute(&format!("{paused}{no}")).await;
        receiver.took(2).await;
        // Nobody knows what it is, so each destination has it.
        eventually("it is given up", || async { exceptions(&database, "dead").await == 2 }).await;
        let said = database.texts("select distinct last_error from delivery_exceptions").await;
        assert_eq!(said, ["its row cannot be read"]);
        post(&server, 3..6).await;
        receiver.took(5).await;
        quiet(&database).await;
        let delivered = "trtc_forward_events_total{destination=\"billing\",result=\"delivered\"}";
        server.shows(delivered, 5).await;
        server.shows("trtc_forward_events_total{destination=\"billing\",result=\"dead\"}", 1).await;
        server.stop().await;
        // Mended, it is sent as any other.
        database.execute(&format!("update events set sdk_app_id = {APP} where room_id = 'room-1'")).await;
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start_with(with(&database, &toml)).await;
        let arguments = ["forward", "retry", "billing", "--dead", "--store", &database.url];
        assert!(run(folder.path(), &arguments).status.success());
        receiver.took(6).await;
        server.stop().await;
    }

    async fn too_many_failed_events_stop_the_cursor_and_lose_nothing(database: Database) {
        let receiver = Receiver::start().await;
        let settings = || with(&database, &destination("billing", &receiver.url, "order_wait_s = 0\nretry_schedule_s = [1]"));
        let server = Server::start_with(settings()).await;
        known(&database, "billing").await;
        server.stop().await;
        // 10,000 that wait for tomorrow, as many as may.
        let (numbers, id, tomorrow, now) = if database.is_postgres() {
            ("generate_series(1, 10000) as numbers (n)", "gen_random_uuid()", "now() + interval '1 day'", "now()")
        } else {
            ("numbers", "printf('01a196fb-120b-8870-bd94-%012x', n)", "(unixepoch() + 86400) * 1000", "unixepoch() * 1000")
        };
        let recursive = "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < 10000)";
        let rows = format!("{} insert into delivery_exceptions (destination, event_id, position, attempts, next_at, state, changed_at)
            select 'billing', {id}, 1, 1, {tomorrow}, 'waiting', {now} from {numbers}",
            if database.is_postgres() { "" } else { recursive });
        database.execute(&rows).await;
        receiver.answer(|one| if one.text.contains("\"room-1\"") { 400 } else { 200 });
        let server = Server::start_with(settings()).await;
        post(&server, 0..8).await;
        let reason = "select count(*) from destinations where reason = 'too_many_waiting'";
        eventually("the breaker opens", || async { database.count(reason).await == 1 }).await;
        assert_eq!(exceptions(&database, "waiting").await, 10_000, "no row more");
        // Somebody mended the receiver, and what waits goes first, or is removed.
        receiver.answer(|_| 200);
        resume(&database, "billing").await;
        receiver.took(8).await;
        in_state(&database, "billing", "running").await;
        assert_eq!(exceptions(&database, "dead").await, 0);
        server.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_forwards_on_after_deletions_vacuum_and_kills() {
    let database = Database::sqlite();
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let start = || {
        let mut command = program(folder.path());
        command.env("TRTC_FORWARD_URL", &receiver.url).env("TRTC_FORWARD_SECRET", SECRET);
        command.env("TRTC_STORE__URL", &database.url);
        Serving::start_as(command, &[]).with_store()
    };
    let client = trtc_callbacks::tencent_api::http_client().build().unwrap();
    let mut serving = start();
    known(&database, "default").await;
    let mut position = database.count("select position from destinations").await;
    for round in 1..=3 {
        for number in 0..20 {
            let url = format!(
                "{}/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&contenttype=json",
                serving.url
            );
            let answer =
                client.post(url).body(destroy_room(100 * round + number)).send().await.unwrap();
            assert_eq!(answer.text().await.unwrap(), OK);
        }
        receiver.took(20 * round).await;
        let before = position;
        eventually("the cursor moves", || async {
            database.count("select position from destinations").await > before
        })
        .await;
        position = database.count("select position from destinations").await;
        drop(serving);
        // All of them, the newest too; then the file is written anew.
        database.execute("delete from events; vacuum").await;
        serving = start();
    }
    // Nothing came twice but what was under way when it was killed: nothing was.
    assert!(receiver.received().len() <= 3 * 20 + 20, "{}", receiver.received().len());
    tokio::time::timeout(Duration::from_secs(30), async { serving.stop() }).await.unwrap();
}
