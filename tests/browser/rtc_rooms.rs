//! Rooms of the RTC Engine in a real browser: beside a call, as a list, and one of them.

use protocol::simulate::{Dialects, Kind, Options};

use crate::page::Page;
use crate::played::{field_of, play};
use crate::support::{APP, Database, Server, eventually};

/// Where the bars of the lanes stand: left and right of their lane, and how large they are.
const BARS: &str = "[...document.querySelectorAll('#lanes svg rect')].map(bar => {
    const [box, lane] = [bar, bar.closest('svg')].map(one => one.getBoundingClientRect());
    return [box.left - lane.left, lane.right - box.right, box.width, box.height, lane.bottom - box.bottom];
})";

async fn assert_bars_are_inside(page: &Page) {
    let bars: Vec<[f64; 5]> = page.eval(BARS).await;
    assert!(!bars.is_empty());
    for [left, right, width, height, below] in &bars {
        let is_inside = *left > -1.0 && *right > -1.0 && *below > -1.0;
        assert!(is_inside && *width > 0.0 && *height > 1.0, "{bars:?}");
    }
}

/// A call in which one is lost, told by the kit and by the media server.
async fn dropped_call(database: &Database, server: &Server) -> String {
    let options = Options { dialects: Dialects::Both, ..Options::tiny() };
    let scenario = play(server, Kind::DroppedCall, options).await;
    let ended = "select count(*) from rtc_room_sessions where state = 'ended'";
    eventually("its room is settled", async || database.count(ended).await == 1).await;
    scenario.deliveries.iter().find_map(|sent| field_of(sent, "CallId")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_explained_on_the_page_of_a_call() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let call = dropped_call(&database, &server).await;
    let page = Page::open(&server.ops_url, &format!("/calls/{APP}/{call}")).await;
    let rows = page.texts("#compared tbody tr").await;
    let lost: Vec<_> = rows.iter().filter(|row| row.contains("connection lost")).collect();
    assert_eq!(lost.len(), 1, "{rows:?}");
    let text = "connection lost; the media server noticed after about 90 s";
    assert!(lost[0].contains(text) && lost[0].contains("timed out, probably lost at"), "{rows:?}");
    let bars: Vec<u64> = page
        .eval("['.stay', '.lost', '.talk'].map(name => document.querySelectorAll(`#lanes ${name}`).length)")
        .await;
    assert!(bars.iter().all(|count| *count > 0), "{bars:?}");
    assert_bars_are_inside(&page).await;
    page.assert_good().await;

    page.follow(".rtc-rooms a[href^='/rtc-room-sessions/']").await;
    assert!(page.text("h1").await.contains("RTC room"));
    assert!(page.text("#ran-calls").await.contains(&call));
    assert!(page.text("#lanes").await.contains("probably lost at"));
    assert!(page.text("#stays").await.contains("timed out"));
    assert_bars_are_inside(&page).await;
    page.assert_good().await;
    page.follow("#rtc-room-events").await;
    assert!(page.text("#events").await.contains("EVENT_TYPE_EXIT_ROOM"));
    page.follow("#events a[href^='/rtc-room-sessions/']").await;
    assert!(page.text("h1").await.contains("RTC room"));
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_comm_id_leads_to_its_rtc_room() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    dropped_call(&database, &server).await;
    let comm_id = database.texts("select comm_id from rtc_room_sessions").await.remove(0);
    let page = Page::open(&server.ops_url, "/rtc-room-sessions?state=ended").await;
    assert_eq!(page.texts(".rtc-rooms tbody tr").await.len(), 1);
    page.fill("#q", &comm_id).await;
    page.follow(".find button").await;
    assert!(page.text("h1").await.contains("RTC room"));
    assert!(page.text(".facts").await.contains(&comm_id));
    page.follow("#lanes a[href^='/users/']").await;
    assert!(!page.texts("#user-stays tbody tr").await.is_empty());
    page.assert_good().await;
    page.close().await;
    server.stop().await;
}
