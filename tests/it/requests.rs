//! What is kept of a request beside its body: the vendor's name for it, and its query.

use std::time::Duration;

use futures_util::future::join_all;
use protocol::verify::sign;
use secrecy::SecretString;
use serde_json::Value;

use crate::process::done;
use crate::support::{
    APP, DESTROY_ROOM, NOW, OK, Server, destroy_room, eventually, on_both_stores, settings, stored,
};

const UNTIMED: &str = "Sns.CallbackFriendDelete";
const BODY: &str = r#"{"CallbackCommand":"Sns.CallbackFriendDelete","PairList":[{"From_Account":"ann","To_Account":"bob"}]}"#;

async fn post(server: &Server, command: &str, more: &str, body: &str) {
    let path = format!("/?SdkAppid={APP}&CallbackCommand={command}&contenttype=json{more}");
    let (status, _, text) = server.post_raw(&path, body.into()).await;
    assert_eq!((status, text.as_str()), (200, OK), "{more}");
}

on_both_stores! {
    async fn a_body_without_a_time_is_a_repeat_by_its_request(database: Database) {
        let server = Server::start(&database).await;
        for (seconds, rows, command, more, body) in [
            (0, 1, UNTIMED, "&RequestId=one", BODY),
            (5, 1, UNTIMED, "&RequestId=one", BODY),
            // Another spelling, and a body that is no JSON object.
            (9, 1, UNTIMED, "&RequestID=one", BODY),
            (9, 2, UNTIMED, "&RequestId=two", BODY),
            (9, 3, UNTIMED, "&RequestId=one", "{}"),
            (9, 4, UNTIMED, "&RequestId=one", "no JSON"),
            (99, 4, UNTIMED, "&RequestId=one", "no JSON"),
            // Without the request's name, and where the vendor asks, two are two.
            (99, 5, UNTIMED, "", BODY),
            (99, 6, UNTIMED, "&RequestId=", BODY),
            (99, 7, "Sns.CallbackPrevFriendAdd", "&RequestId=one", "{}"),
            (99, 8, "Sns.CallbackPrevFriendAdd", "&RequestId=one", "{}"),
        ] {
            server.clock.set(NOW.plus(Duration::from_secs(seconds)));
            post(&server, command, more, body).await;
            assert_eq!(database.rows().await, rows, "{seconds} {more} {body}");
        }
        let figures = server.figures().await;
        assert_eq!((figures.outcome("stored"), figures.outcome("duplicate")), (8, 3));
        // An event with a time is told by that, whatever its request is called.
        for request in ["&RequestId=x", "&RequestId=y", ""] {
            post(&server, DESTROY_ROOM, request, &destroy_room(1)).await;
        }
        assert_eq!(database.rows().await, 9);
        let versions: Vec<usize> =
            stored(&database).await.iter().map(|row| row.id.get_version_num()).collect();
        assert_eq!(versions.iter().filter(|version| **version == 8).count(), 5, "{versions:?}");
        // Counted once too.
        eventually("the counts are those of the rows", || async {
            database.count("select cast(sum(events) as bigint) from event_counts where width_s = 60").await == 9
        }).await;
    }

    async fn servers_that_get_one_request_at_once_store_it_once(database: Database) {
        let one = Server::start(&database).await;
        let two = Server::start(&database).await;
        for round in 0..8 {
            two.clock.set(NOW.plus(Duration::from_millis(7 * round)));
            let more = format!("&RequestId=r{round}");
            let posts = (0..8).map(|copy| {
                let server = if copy % 2 == 0 { &one } else { &two };
                post(server, UNTIMED, &more, BODY)
            });
            join_all(posts).await;
        }
        assert_eq!(database.rows().await, 8);
        assert_eq!(database.count("select count(*) from request_keys").await, 8);
    }

    async fn a_repeat_is_recognised_after_the_spool(database: Database) {
        let server = Server::start(&database).await;
        post(&server, UNTIMED, "&RequestId=one", BODY).await;
        database.execute("alter table events rename to gone").await;
        for (seconds, request) in [(2, "one"), (4, "two"), (6, "two")] {
            server.clock.set(NOW.plus(Duration::from_secs(seconds)));
            post(&server, UNTIMED, &format!("&RequestId={request}&tenant=7"), BODY).await;
        }
        let figures = server.figures().await;
        assert_eq!(figures.outcome("spooled") + figures.outcome("duplicate"), 3);
        database.execute("alter table gone rename to events").await;
        eventually("the spool is drained", || async { database.rows().await == 2 }).await;
        let drained = || async { server.figures().await.value("trtc_spool_events") == 0 };
        eventually("the spool is empty", drained).await;
        assert_eq!(database.rows().await, 2);
        let queries = database.texts("select coalesce(query, 'usual') from events order by received_at").await;
        assert_eq!(queries[0], "usual");
        assert!(queries[1].ends_with("&RequestId=two&tenant=7"), "{queries:?}");
    }

    async fn a_request_is_found_by_the_vendors_request_id(database: Database) {
        let server = Server::start(&database).await;
        post(&server, UNTIMED, "&RequestId=Id-7f-O-Seq-1", BODY).await;
        post(&server, UNTIMED, "", BODY).await;
        let (_, text) = server.get_ops("/api/v1/events?request=Id-7f-O-Seq-1").await;
        let list: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{text}");
        assert_eq!(list["items"][0]["request_id"], "Id-7f-O-Seq-1");
        let id = list["items"][0]["id"].as_str().unwrap();
        let (_, page) = server.get_ops(&format!("/events/{id}")).await;
        assert!(page.contains("Id-7f-O-Seq-1"), "{page}");
        let folder = tempfile::tempdir().unwrap();
        let arguments = ["events", "--json", "--store", &database.url];
        let lines = done(folder.path(), &[&arguments[..], &["--request", "Id-7f-O-Seq-1"]].concat());
        let line: Value = serde_json::from_str(lines.trim()).unwrap();
        assert_eq!(line["request_id"], "Id-7f-O-Seq-1");
        let query = format!("SdkAppid={APP}&CallbackCommand={UNTIMED}&contenttype=json&RequestId=Id-7f-O-Seq-1");
        assert_eq!(line["query"], query);
        assert_eq!(done(folder.path(), &arguments).lines().count(), 2);
    }

    async fn a_query_is_shown_as_it_came_without_its_signature(database: Database) {
        let server = Server::start_with(settings(&database, &[("TRTC_CALLBACK_TOKEN", "t")])).await;
        let time = NOW.as_secs().to_string();
        let signature = format!("Sign={}&RequestTime={time}", sign(&SecretString::from("t"), &time));
        let usual = format!("SdkAppid={APP}&CallbackCommand={DESTROY_ROOM}&contenttype=json&ClientIP=203.0.113.7&OptPlatform=Web&RequestId=r");
        let sorted = format!("CallbackCommand={DESTROY_ROOM}&ClientIP=203.0.113.7&OptPlatform=Web&RequestId=r&SdkAppid={APP}&contenttype=json");
        let own = format!("tenant=a%20b&{usual}");
        let first = format!("tenant=7?{usual}");
        let loose = format!("sdkappid={APP}&CallbackCommand={DESTROY_ROOM}&ClientIP=2001:db8::1");
        for (number, (query, shown)) in
            [(&usual, &usual), (&sorted, &usual), (&own, &own), (&first, &first), (&loose, &loose)].into_iter().enumerate()
        {
            server.clock.set(NOW.plus(Duration::from_secs(u64::try_from(number).unwrap())));
            let body = destroy_room(number);
            let (status, ..) = server.post_raw(&format!("/?{query}&{signature}"), body.clone().into_bytes()).await;
            assert_eq!(status, 200);
            let room = format!("room-{number}");
            let rows = stored(&database).await;
            let row = rows.iter().find(|row| row.room_id.as_deref() == Some(&room)).unwrap();
            assert_eq!(&row.delivery().query, shown);
            assert_eq!(row.query.is_some(), number > 1, "normal traffic pays nothing");
            let (_, text) = server.get_ops(&format!("/api/v1/events/{}", row.id)).await;
            let event: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(&event["query"], shown);
            assert!(!text.contains("Sign") && !text.contains("RequestTime"), "{text}");
        }
        // Longer than is kept: what the columns say of it.
        let long = format!("tenant={}&{usual}", "x".repeat(5000));
        server.post_raw(&format!("/?{long}&{signature}"), destroy_room(9).into_bytes()).await;
        let rows = stored(&database).await;
        let row = rows.iter().find(|row| row.room_id.as_deref() == Some("room-9")).unwrap();
        assert_eq!(row.delivery().query, usual);
    }

    async fn an_operator_is_erased_from_the_query_too(database: Database) {
        let server = Server::start(&database).await;
        let more = "&tenant=7&ClientIP=203.0.113.77&OptPlatform=Web";
        post(&server, DESTROY_ROOM, more, &destroy_room(1)).await;
        let folder = tempfile::tempdir().unwrap();
        done(folder.path(), &["erase-user", "u1", "--yes", "--store", &database.url]);
        let rows = stored(&database).await;
        let query = rows[0].query.as_deref().unwrap();
        assert!(query.contains("tenant=7") && !query.contains("203.0.113.77"), "{query}");
        assert!(!rows[0].delivery().query.contains("OptPlatform"), "{query}");
    }

    async fn request_keys_expire(database: Database) {
        let server = Server::start(&database).await;
        for (seconds, request) in [(0, "old"), (100, "new")] {
            server.clock.set(NOW.plus(Duration::from_secs(seconds)));
            post(&server, UNTIMED, &format!("&RequestId={request}"), BODY).await;
        }
        server.stop().await;
        let store = database.store().await;
        store.delete_expired(NOW.plus(Duration::from_secs(50)), 100).await.unwrap();
        store.close().await;
        assert_eq!(database.count("select count(*) from request_keys").await, 1);
    }
}
