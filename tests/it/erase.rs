//! `erase-user`: the account is nowhere, everybody else is where they were.

use std::path::Path;

use protocol::event::Payload;
use serde_json::Value;
use trtc_callbacks::store::{Spool, StoredEvent};

use crate::models::{dump_all, settled};
use crate::process::{done, program};
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, on_both_stores, settings, stored,
};

const BIG: &str = "144327509918264371";

fn erase(folder: &Path, database: &Database, account: &str, more: &[&str]) -> String {
    let arguments = ["erase-user", account, "--yes", "--store", &database.url];
    done(folder, &[&arguments[..], more].concat())
}

fn text(event: &StoredEvent) -> String {
    String::from_utf8_lossy(event.payload.as_bytes()).into_owned()
}

fn body(members: &str, number: usize) -> String {
    let time = 1_793_534_000_000_usize + number;
    format!(
        r#"{{"CallbackCommand":"{DESTROY_ROOM}","RoomId":"r{number}",{members},"EventTime":{time} }}"#
    )
}

on_both_stores! {
    async fn an_account_is_erased_from_every_row(database: Database) {
        let server = Server::start(&database).await;
        let bodies = [
            body(r#""Operator_Account":"bob","n":1e400"#, 0),
            body(r#""Operator_Account":"alice","MemberList":[{"Member_Account":"bob"},{"Member_Account":"bobby"}]"#, 1),
            body(r#""Operator_Account":"bobby","Data":"{\"UserId\":\"bob\"}","Text":"bob is here""#, 2),
            body(r#""Operator_Account":"\u0062ob""#, 3),
            body(r#""Operator_Account":"carol""#, 4),
        ];
        for body in &bodies {
            let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&ClientIP=203.0.113.9&OptPlatform=Web");
            server.post_raw(&path, body.clone().into_bytes()).await;
        }
        server.post_body("", "bob,bobby").await;
        let before = stored(&database).await;
        assert_eq!(before.len(), 6);

        let folder = tempfile::tempdir().unwrap();
        let said = erase(folder.path(), &database, "bob", &["--dry-run"]);
        assert!(said.starts_with("would have changed 5 events and 0 parked ones\n"), "{said}");
        assert_eq!(stored(&database).await, before);

        let said = erase(folder.path(), &database, "bob", &[]);
        assert!(said.starts_with("changed 5 events and 0 parked ones\n"), "{said}");
        let pseudonym = said.trim_end().rsplit(' ').next().unwrap();
        assert!(pseudonym.starts_with("erased-") && pseudonym.len() == 7 + 12, "{said}");
        let after = stored(&database).await;
        let expected: Vec<String> = before
            .iter()
            .map(|event| {
                text(event)
                    .replace(r#""bob""#, &format!("\"{pseudonym}\""))
                    .replace(r#"\"bob\""#, &format!("\\\"{pseudonym}\\\""))
                    .replace(r#""\u0062ob""#, &format!("\"{pseudonym}\""))
                    .replace("bob,", &format!("{pseudonym},"))
            })
            .collect();
        assert_eq!(after.iter().map(text).collect::<Vec<_>>(), expected);
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((before.id, before.event_time), (after.id, after.event_time));
            let acted = before.operator.as_deref() == Some("bob");
            let wanted = if acted { Some(pseudonym.to_owned()) } else { before.operator.clone() };
            assert_eq!(after.operator, wanted);
            assert_eq!(after.client_ip.is_some(), before.client_ip.is_some() && !acted);
            assert_eq!(after.platform.is_some(), before.platform.is_some() && !acted);
        }

        // Nothing is left to do, and the vendor's repeat is still known.
        let said = erase(folder.path(), &database, "bob", &[]);
        assert!(said.starts_with("changed 0 events"), "{said}");
        server.post_body(DESTROY_ROOM, bodies[0].clone()).await;
        assert_eq!(stored(&database).await, after);
    }

    async fn an_erasure_changes_only_the_account_in_read_models(database: Database) {
        let server = Server::start(&database).await;
        for fixture in crate::support::fixtures() {
            server.post(&fixture.delivery).await;
        }
        // The settler of a running server would write, too.
        server.stop().await;
        settled(&database, "show", "alice", NOW).await;
        settled(&database, "alice", "bob", NOW).await;
        let before = dump_all(&database).await;
        let folder = tempfile::tempdir().unwrap();
        let counted = erase(folder.path(), &database, "alice", &["--dry-run"]);
        assert_eq!(dump_all(&database).await, before);
        let said = erase(folder.path(), &database, "alice", &["--pseudonym", "gone"]);
        let rows = |said: &str| {
            let line = said.lines().find(|line| line.ends_with(" rows of calls, room sessions and live sessions"));
            line.unwrap().split(' ').find_map(|word| word.parse::<u64>().ok()).unwrap()
        };
        assert_eq!(rows(&counted), rows(&said), "{counted}{said}");

        let renamed = |row: &String| {
            let values = row.split(" | ").map(|value| match value {
                "alice" => "gone".to_owned(),
                value => value.replace("\"alice\"", "\"gone\""),
            });
            values.collect::<Vec<_>>().join(" | ")
        };
        let mut changed = 0;
        for ((table, before), (_, after)) in before.iter().zip(&dump_all(&database).await) {
            if *table == "settle_queue" {
                continue;
            }
            let mut expected: Vec<String> = before.iter().map(renamed).collect();
            expected.sort();
            assert_eq!(&expected, after, "{table}");
            changed += usize::from(before != after);
        }
        assert!(changed >= 5, "only {changed} tables named the account");
        let settled = "select count(*) from room_sessions join live_sessions using (room_id) where room_id = 'show' and owner = 'gone'
            and created_by = 'gone' and cast(top_senders as text) like '%\"gone\"%' and cast(admins as text) = '[\"gone\"]'";
        assert_eq!(database.count(settled).await, 1);
        // The room that has the account's name is settled anew, under its other one.
        let named = "select count(*) from room_sessions where room_id = 'alice'";
        assert_eq!(database.count(named).await, 0);
        let said = erase(folder.path(), &database, "alice", &["--pseudonym", "gone"]);
        assert_eq!(rows(&said), 0, "{said}");
    }

    async fn accounts_with_special_characters_are_erased(database: Database) {
        let server = Server::start(&database).await;
        let quoted = r#"a"b\c"#;
        for (number, operator) in [
            serde_json::to_string(quoted).unwrap(),
            r#""\u00e9\ud83d\ude00""#.to_owned(),
            r#""é😀""#.to_owned(),
            BIG.to_owned(),
            format!("\"{BIG}\""),
            format!("{BIG}0"),
        ]
        .iter()
        .enumerate()
        {
            server.post_body(DESTROY_ROOM, body(&format!(r#""Operator_Account":{operator},"n":{BIG}"#), number)).await;
        }
        let folder = tempfile::tempdir().unwrap();
        for (account, rows) in [(quoted, 1), ("é😀", 2), (BIG, 2), ("%", 0), ("a", 0)] {
            let said = erase(folder.path(), &database, account, &["--pseudonym", "gone"]);
            assert!(said.starts_with(&format!("changed {rows} events")), "{account}: {said}");
        }
        let after = stored(&database).await;
        let operators: Vec<_> = after.iter().map(|event| event.operator.clone().unwrap()).collect();
        assert_eq!(operators, ["gone", "gone", "gone", "gone", "gone", &format!("{BIG}0")]);
        for event in &after[..5] {
            assert!(text(event).contains(&format!(r#""Operator_Account":"gone","n":{BIG}"#)), "{}", text(event));
        }
    }

    async fn with_delete_the_events_of_the_account_are_deleted(database: Database) {
        let server = Server::start(&database).await;
        server.post_body(DESTROY_ROOM, body(r#""Operator_Account":"bob""#, 0)).await;
        server.post_body(DESTROY_ROOM, body(r#""Operator_Account":"al","To_Account":"bob""#, 1)).await;
        server.post_body(DESTROY_ROOM, body(r#""Operator_Account":"bobby""#, 2)).await;
        let folder = tempfile::tempdir().unwrap();
        let said = erase(folder.path(), &database, "bob", &["--delete", "--dry-run"]);
        assert!(said.contains("would have deleted 1 events"), "{said}");
        assert_eq!(database.rows().await, 3);
        let said = erase(folder.path(), &database, "bob", &["--delete", "--pseudonym", "gone"]);
        assert!(said.starts_with("changed 1 events and 0 parked ones\ndeleted 1 events"), "{said}");
        let after = stored(&database).await;
        let operators: Vec<_> = after.iter().map(|event| event.operator.as_deref().unwrap()).collect();
        assert_eq!(operators, ["al", "bobby"]);
        assert!(text(&after[0]).contains(r#""To_Account":"gone""#));
    }

    async fn the_user_of_another_app_stays(database: Database) {
        let mut both = settings(&database, &[]);
        both.apps.push(both.apps[0].clone());
        both.apps[1].sdk_app_id = "7".into();
        let server = Server::start_with(both).await;
        for app in [APP, "7"] {
            let path = format!("/?SdkAppid={app}&CallbackCommand={DESTROY_ROOM}");
            let body = body(r#""Operator_Account":"bob""#, app.len());
            server.post_raw(&path, body.into_bytes()).await;
        }
        let folder = tempfile::tempdir().unwrap();
        let said = erase(folder.path(), &database, "bob", &["--app", "7", "--pseudonym", "gone"]);
        assert!(said.starts_with("changed 1 events"), "{said}");
        for event in stored(&database).await {
            let wanted = if event.app.to_string() == "7" { "gone" } else { "bob" };
            assert_eq!(event.operator.as_deref(), Some(wanted));
        }
    }

    async fn an_account_is_erased_from_dead_letters_too(database: Database) {
        let server = Server::start(&database).await;
        database.execute(if database.is_postgres() {
            "alter table events add check (room_id not like 'r%')"
        } else {
            "create trigger poison before insert on events begin select raise(abort, 'no'); end"
        })
        .await;
        for (number, operator) in ["bob", "bobby"].iter().enumerate() {
            let path = format!("/?SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&ClientIP=203.0.113.9");
            let body = body(&format!(r#""Operator_Account":"{operator}""#), number);
            server.post_raw(&path, body.into_bytes()).await;
        }
        let count = |like: &str| {
            let sql = format!("select count(*) from dead_letter_events where delivery like '{like}'");
            let database = &database;
            async move { database.count(&sql).await }
        };
        assert_eq!(count("%\"bob%203.0%").await + count("%203.0%\"bob%").await, 2);
        let folder = tempfile::tempdir().unwrap();
        let said = erase(folder.path(), &database, "bob", &["--pseudonym", "gone"]);
        assert!(said.starts_with("changed 0 events and 1 parked ones\n"), "{said}");
        assert_eq!(count("%\"bob\"%").await, 0);
        assert_eq!(count("%\"Operator_Account\":\"gone\"%").await, 1);
        assert_eq!(count("%203.0%\"bobby\"%").await, 1);
        assert_eq!(count("%203.0%").await, 1);
        let said = erase(folder.path(), &database, "bobby", &["--delete"]);
        assert!(said.contains("deleted 0 events and 1 parked ones\n"), "{said}");
    }

    async fn events_are_taken_while_an_account_is_erased(database: Database) {
        let server = std::sync::Arc::new(Server::start(&database).await);
        let mut posts = tokio::task::JoinSet::new();
        for client in 0..8 {
            let server = server.clone();
            posts.spawn(async move {
                for number in 0..200 {
                    let number = client * 1000 + number;
                    server.post_body(DESTROY_ROOM, body(r#""Operator_Account":"bob""#, number)).await;
                }
            });
        }
        posts.join_all().await;
        let folder = tempfile::tempdir().unwrap();
        let mut erasing = program(folder.path())
            .args(["erase-user", "bob", "--yes", "--store", &database.url])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut sent = 0;
        let done = loop {
            server.post_body(DESTROY_ROOM, destroy_room(sent)).await;
            sent += 1;
            if let Some(done) = erasing.try_wait().unwrap() {
                break done;
            }
        };
        assert!(done.success());
        assert_eq!(server.figures().await.outcome("stored"), 1600 + sent as u64);
        let left = stored(&database).await;
        assert_eq!(left.iter().filter(|event| event.operator.as_deref() == Some("bob")).count(), 0);
        assert_eq!(left.len(), 1600 + sent);
    }
}

/// Two that take the same rows in opposite orders: PostgreSQL ends one of them, which is to try again.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_retries_after_a_deadlock() {
    let database = Database::postgres().await;
    let server = Server::start(&database).await;
    settled(&database, "r", "bob", NOW).await;
    server.stop().await;
    database
        .execute(
            "create sequence updates;
             create function deadlocks_once() returns trigger language plpgsql as $$ begin
                 if nextval('updates') = 1 then raise exception 'deadlock detected' using errcode = '40P01'; end if;
                 return new;
             end $$;
             create trigger deadlocks before update on room_sessions for each row execute function deadlocks_once()",
        )
        .await;
    let folder = tempfile::tempdir().unwrap();
    erase(folder.path(), &database, "bob", &["--pseudonym", "gone"]);
    let names = "select created_by || ' ' || (select last_value from updates) from room_sessions";
    assert_eq!(database.texts(names).await, ["gone 2"]);
}

#[tokio::test]
async fn an_erasure_needs_confirmation() {
    let folder = tempfile::tempdir().unwrap();
    done(folder.path(), &["migrate"]);
    let output = program(folder.path()).args(["erase-user", "bob"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("nothing was changed\nhint: give `--yes`"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    for wrong in
        [&["erase-user", "", "--yes"][..], &["erase-user", "b", "--yes", "--pseudonym", "a b"]]
    {
        let output = program(folder.path()).args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong:?}");
    }
    let path = folder.path().join("data/spool.db");
    let (spool, _) = Spool::open(&path, 1 << 20, std::time::Duration::ZERO, NOW).await.unwrap();
    spool.append(&[&crate::spool::numbered(1)]).await.unwrap();
    let output = program(folder.path()).args(["erase-user", "bob", "--yes"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("not covered: events in a server's spool, damaged"), "{said}");
    assert!(said.contains("\n1 events wait in the spool data/spool.db: "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fixture_loses_an_account_and_nothing_else() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    for fixture in crate::support::fixtures() {
        server.post(&fixture.delivery).await;
    }
    let before = stored(&database).await;
    let folder = tempfile::tempdir().unwrap();
    erase(folder.path(), &database, "alice", &["--pseudonym", "gone"]);
    let after = stored(&database).await;
    let mut changed = 0;
    for (before, after) in before.iter().zip(&after) {
        if let (Payload::Json(old), Payload::Json(new)) = (&before.payload, &after.payload) {
            assert_eq!(
                &old.replace("\"alice\"", "\"gone\"").replace("\\\"alice\\\"", "\\\"gone\\\""),
                new
            );
            let whole: Result<Value, _> = serde_json::from_str(&new.replace("1e999", "1e99"));
            assert_eq!(
                whole.is_ok(),
                serde_json::from_str::<Value>(&old.replace("1e999", "1e99")).is_ok()
            );
        }
        changed += usize::from(before.payload != after.payload);
        assert_ne!(after.operator.as_deref(), Some("alice"));
    }
    assert!(changed > 30, "{changed}");
}
