//! The pages of destinations of forwarding.

use std::path::Path;

use crate::page::{Page, Scheme, Screen};
use crate::support::{DESTROY_ROOM, Database, Server, destroy_room, eventually, settings};

/// A destination that nobody answers at, with an event that waits, one that was given up and one to be sent again. What it
/// answered means harm.
async fn with_trouble(database: &Database) -> Server {
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let to = [("TRTC_FORWARD_URL", "http://127.0.0.1:1/hook"), ("TRTC_FORWARD_SECRET", secret)];
    let server = Server::start_with(settings(database, &to)).await;
    let known = "select count(*) from destinations where holder is not null";
    eventually("it is known", || async { database.count(known).await == 1 }).await;
    for number in 0..6 {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    let failing = "select count(*) from destinations where state = 'failing'";
    eventually("it fails", || async { database.count(failing).await == 1 }).await;
    let answer = "answered 500: <script>alert(1)</script><img src=x onerror=alert(2)> and so on, for a line or two of what it says";
    for (number, state) in [(0, "dead"), (1, "waiting"), (2, "replay")] {
        let sql = format!(
            "insert into delivery_exceptions (destination, event_id, position, attempts, next_at, state, last_status, last_error,
                 first_failed_at, changed_at)
             select 'default', id, 1, 3, received_at + 60000, '{state}', 500, '{answer}', received_at, received_at
             from events where room_id = 'room-{number}'"
        );
        database.execute(&sql).await;
    }
    let skipped = "update destinations set skipped = 12345, skipped_from = 1793530800000, skipped_until = 1793534000000";
    database.execute(skipped).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_in_trouble_says_what_to_do() {
    let database = Database::sqlite();
    let server = with_trouble(&database).await;
    let page = Page::open(&server.ops_url, "/").await;
    assert_eq!(page.text("#tile-forwarding b").await, "failing");
    page.follow("#tile-forwarding a").await;
    assert_eq!(page.text("h1").await, "Forwarding");
    assert!(page.text("#destinations tbody").await.contains("http://127.0.0.1:1"));
    assert!(page.text("main").await.contains("12,345 events were skipped"));
    keep(&page, "forward").await;
    page.assert_good().await;
    page.follow("#destinations a").await;
    let rows = page.texts("#exceptions tbody tr").await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.iter().all(|row| row.contains("<script>alert(1)</script>")), "{rows:?}");
    assert!(page.text("#tries").await.contains("connect"));
    keep(&page, "destination").await;
    page.assert_good().await;
    page.eval::<()>("void (document.querySelector('#f-state').value = 'dead')").await;
    page.follow(".filters button").await;
    assert_eq!(page.texts("#exceptions tbody tr").await.len(), 1);
    page.follow("#exceptions a[href^='/events/']").await;
    assert!(page.text("#ways").await.contains("a dead letter, 3 attempts failed"));
    keep(&page, "ways").await;
    page.assert_good().await;
    page.close().await;
    server.stop().await;
}

/// Keeps pictures where `PICTURES` names a folder, for whoever changes these pages.
async fn keep(page: &Page, name: &str) {
    let Ok(folder) = std::env::var("PICTURES") else { return };
    for (screen, scheme) in [(Screen::Phone, Scheme::Dark), (Screen::Desktop, Scheme::Light)] {
        page.look(screen, scheme).await;
        let file = Path::new(&folder).join(format!("{name}-{screen:?}-{scheme:?}.png"));
        std::fs::write(file, page.png().await).unwrap();
    }
}
