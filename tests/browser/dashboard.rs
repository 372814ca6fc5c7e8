//! The dashboard in a real browser: what one sees, and what one can do. What pages hold, `tests/it/dashboard.rs` says.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protocol::simulate::{Dialects, Kind, Options};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::page::{Page, Scheme, Screen};
use crate::played::{Played, end, field_of, play};
use crate::support::{
    APP, DESTROY_ROOM, Database, NOW, Server, destroy_room, eventually, fixtures, settings,
};

/// The main pages, in the order of the navigation.
const MAIN: [&str; 11] = [
    "/",
    "/tail",
    "/calls",
    "/room-sessions",
    "/live-sessions",
    "/rtc-room-sessions",
    "/recordings",
    "/rtc-tasks",
    "/events",
    "/forward",
    "/anomalies",
];
/// An id as somebody might choose it who means harm, or nothing by it: markup, quotes, letters that turn the others round.
const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;\u{202e}\u{7}ü";

/// A body that starts a call between two.
fn start_call(call: &str, caller: &str) -> String {
    json!({
        "CallbackCommand": "Call.CallbackAfterStartCall",
        "Operator_Account": caller,
        "CallInfo": { "CallId": call, "CallMediaType": "Video", "RoomId": "77" },
        "UserList": [
            { "User_Account": caller, "Status": "Calling" },
            { "User_Account": "bob", "Status": "Waiting" },
        ],
        "EventTime": NOW.0 - 1000,
    })
    .to_string()
}

async fn post_call(server: &Server, call: &str, caller: &str) {
    server.post_body("Call.CallbackAfterStartCall", start_call(call, caller)).await;
}

/// Waits until what is settled soon after its events can be read.
async fn settled(server: &Server, path: &str, text: &str) {
    let is_there = async || {
        let (status, html) = server.get_ops(path).await;
        status == 200 && html.contains(text)
    };
    eventually(&format!("{text} on {path}"), is_there).await;
}

/// The first row of the tail that holds this text, in JavaScript.
fn row_with(text: &str) -> String {
    let text = json!(text);
    format!(
        "[...document.querySelectorAll('#tail-rows tr')].find(row => row.innerText.includes({text}))"
    )
}

async fn wait_for_row(page: &Page, text: &str) {
    page.wait_for(&format!("{} !== undefined", row_with(text))).await;
}

async fn wait_until_live(page: &Page) {
    page.wait_for_text("#tail-state", "Live.").await;
}

/// A small hour, of which the RTC Engine tells, too.
async fn small_hour(database: Database) -> Played {
    let options = Options { dialects: Dialects::Both, ..Options::tiny() };
    Played::hour(database, 0.16, options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_page_says_what_to_do_next() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let page = Page::empty(&server.ops_url).await;
    for path in MAIN {
        page.goto(path).await;
        if !["/forward", "/anomalies", "/recordings", "/rtc-tasks"].contains(&path) {
            assert!(page.text("main").await.contains("Nothing has come yet"), "{path}");
            assert!(page.text("main").await.contains("trtc-callbacks simulate"), "{path}");
        }
        let here = page
            .eval::<String>("document.querySelector('nav [aria-current]').getAttribute('href')");
        assert_eq!(here.await, path);
        page.assert_good().await;
    }
    for path in ["/search", "/search?id=nobody", &format!("/users/{APP}/nobody"), "/settings"] {
        page.goto(path).await;
        page.assert_good().await;
    }
    page.goto_status("/calls/1400000001/none", 404).await;
    assert_eq!(page.text("h1").await, "Not found");
    page.assert_good().await;
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_passes_all_checks_on_every_screen_and_scheme() {
    let played = small_hour(Database::sqlite()).await;
    let page = Page::empty(&played.server.ops_url).await;
    let mut paths: Vec<String> = MAIN.iter().map(|path| (*path).to_owned()).collect();
    let caller = field_of_first(&played, Kind::AnsweredCall, "Caller_Account");
    paths.extend([
        "/?span=day".to_owned(),
        "/settings".to_owned(),
        played.call(Kind::GroupCall),
        played.room(Kind::Conference),
        played.room(Kind::Show),
        format!("/users/{APP}/{caller}"),
        "/calls?since=soon&state=ended".to_owned(),
        "/events?account=x&command=EndCall".to_owned(),
    ]);
    for path in paths {
        let is_refused = path.contains("soon") || path.contains("account=x");
        page.goto_status(&path, if is_refused { 400 } else { 200 }).await;
        assert!(!page.text("main").await.contains("Nothing has come yet"), "{path}");
        page.assert_good().await;
    }
    page.goto("/events").await;
    page.follow("#events a[href^='/events/']").await;
    page.assert_good().await;
    page.goto("/rtc-room-sessions").await;
    page.follow(".rtc-rooms a[href^='/rtc-room-sessions/']").await;
    page.assert_good().await;
    page.close().await;
    played.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recordings_and_tasks_lead_to_their_files_and_steps() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let of_tasks = |name: &str| name.starts_with("rtc/") || name.contains("record");
    for fixture in fixtures().iter().filter(|fixture| of_tasks(&fixture.name)) {
        server.post(&fixture.delivery).await;
    }
    let page = Page::empty(&server.ops_url).await;
    for (list, rows, heading) in
        [("/recordings", "#recordings", "Recording "), ("/rtc-tasks", "#rtc-tasks", "Task ")]
    {
        page.goto(list).await;
        page.assert_good().await;
        let link = format!("{rows} a[href^='{list}/']");
        let paths: Vec<String> = page
            .eval(&format!(
                "[...document.querySelectorAll({})].map(link => link.getAttribute('href'))",
                json!(link)
            ))
            .await;
        assert!(paths.len() > 2, "{paths:?}");
        for path in paths {
            page.goto(&path).await;
            assert!(page.text("h1").await.starts_with(heading), "{path}");
            assert!(!page.texts("#steps tbody tr").await.is_empty() || list == "/rtc-tasks");
            page.assert_good().await;
        }
    }
    page.goto("/rtc-tasks?kind=ai&state=failed").await;
    page.assert_good().await;
    page.close().await;
    server.stop().await;
}

fn field_of_first(played: &Played, kind: Kind, name: &str) -> String {
    let deliveries = &played.largest(kind).deliveries;
    deliveries.iter().find_map(|sent| field_of(sent, name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_are_the_same_over_postgres() {
    let played = small_hour(Database::postgres().await).await;
    let page = Page::empty(&played.server.ops_url).await;
    // No destination is configured.
    for path in MAIN.into_iter().filter(|path| *path != "/forward") {
        page.goto(path).await;
        assert!(
            page.eval::<u64>("document.querySelectorAll('main tbody tr').length").await > 0,
            "{path}"
        );
        assert_eq!(page.too_wide().await, Vec::<String>::new(), "{path}");
    }
    page.goto(&played.call(Kind::GroupCall)).await;
    assert!(page.texts("#lanes tbody tr").await.len() >= 3);
    page.goto("/tail").await;
    wait_until_live(&page).await;
    post_call(&played.server, "call-on-postgres", "alice").await;
    wait_for_row(&page, "call-on-postgres").await;
    page.close().await;
    played.server.stop().await;
}

/// Each event is posted when the one before has just been seen, so that it waits as long as one can wait for the next look
/// of the server. The quickest of them counts: what the machine does besides can only make it longer.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_in_the_tail_within_a_second() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let page = Page::open(&server.ops_url, "/tail").await;
    wait_until_live(&page).await;
    page.eval::<()>(
        "void (window.shownAt = {}, new MutationObserver(changes => {
            for (const { addedNodes } of changes) for (const row of addedNodes) {
                window.shownAt[row.innerText.match(/room-\\d+/)] = performance.now();
            }
        }).observe(document.querySelector('#tail-rows'), { childList: true }))",
    )
    .await;
    let mut took = Vec::new();
    for number in 0..6 {
        let posted: f64 = page.eval("performance.now()").await;
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
        let shown = format!("window.shownAt['room-{number}']");
        page.wait_for(&format!("{shown} > 0")).await;
        took.push(page.eval::<f64>(&shown).await - posted);
    }
    assert!(took.iter().any(|ms| *ms < 1000.0), "it took so many ms: {took:?}");
    assert_eq!(page.texts("#tail-rows tr").await.len(), 6);
    assert!(page.text("#tail-rows tr").await.contains("room-5"), "the newest comes first");
    page.assert_good().await;
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_applies_its_filter_and_can_be_paused() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let page = Page::open(&server.ops_url, "/tail").await;
    page.eval::<()>("void (document.querySelector('#f-family').value = 'call')").await;
    page.follow(".filters button").await;
    assert!(page.url().await.ends_with("/tail?family=call"), "{}", page.url().await);
    wait_until_live(&page).await;
    server.post_body(DESTROY_ROOM, destroy_room(1)).await;
    post_call(&server, "call-1", "alice").await;
    wait_for_row(&page, "call-1").await;
    assert_eq!(page.texts("#tail-rows tr").await.len(), 1, "the room's event is kept back");

    page.click("#tail-pause").await;
    assert_eq!(page.text("#tail-pause").await, "Resume");
    post_call(&server, "call-2", "alice").await;
    page.wait_for_text("#tail-waiting", "1 new").await;
    assert_eq!(page.texts("#tail-rows tr").await.len(), 1);
    page.assert_good().await;
    page.click("#tail-pause").await;
    wait_for_row(&page, "call-2").await;
    assert_eq!(page.text("#tail-waiting").await, "");
    page.follow("#tail-rows a[href^='/events/']").await;
    assert_eq!(page.text("h1").await, "Call.CallbackAfterStartCall");
    page.close().await;
    server.stop().await;
}

/// An address that stays while the server behind it comes and goes.
struct Door {
    url: String,
    /// Where it leads; nowhere while there is no server.
    to: Arc<Mutex<Option<SocketAddr>>>,
}

impl Door {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = Arc::<Mutex<Option<SocketAddr>>>::default();
        let leads_to = to.clone();
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let to = *leads_to.lock().unwrap();
                tokio::spawn(async move {
                    if let Some(to) = to {
                        let mut to = TcpStream::connect(to).await?;
                        copy_bidirectional(&mut from, &mut to).await?;
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        Self { url, to }
    }

    fn leads_to(&self, server: Option<&Server>) {
        let address = |server: &Server| server.ops_url.strip_prefix("http://").unwrap().parse();
        *self.to.lock().unwrap() = server.map(|server| address(server).unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_shows_a_lost_connection_and_reconnects() {
    let database = Database::sqlite();
    let door = Door::open().await;
    let server = Server::start(&database).await;
    door.leads_to(Some(&server));
    let page = Page::open(&door.url, "/tail").await;
    wait_until_live(&page).await;
    post_call(&server, "before", "alice").await;
    wait_for_row(&page, "before").await;

    door.leads_to(None);
    server.stop().await;
    page.wait_for_text("#tail-state", "The connection is lost; trying again.").await;
    page.assert_good().await;

    let server = Server::start(&database).await;
    post_call(&server, "meanwhile", "alice").await;
    door.leads_to(Some(&server));
    wait_until_live(&page).await;
    wait_for_row(&page, "meanwhile").await;
    post_call(&server, "after", "alice").await;
    wait_for_row(&page, "after").await;
    assert_eq!(page.texts("#tail-rows tr").await.len(), 3, "each event once");
    let faults = page.close_faulty().await;
    let only = |fault: &String| fault.contains("/api/v1/events/stream");
    assert!(faults.iter().all(only), "{faults:?}");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn search_leads_to_calls_rooms_accounts_and_events() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let scenario = play(&server, Kind::Conference, Options::tiny()).await;
    let room = field_of(&scenario.deliveries[0], "RoomId").unwrap();
    settled(&server, &format!("/room-sessions/{APP}/{room}"), "id=\"room-state\"").await;
    post_call(&server, "the-call", "only-alice").await;
    let page = Page::open(&server.ops_url, "/").await;
    let search = async |text: &str| {
        page.fill("#q", text).await;
        page.follow(".find button").await;
        page.text("main").await
    };
    assert!(search("the-call").await.contains("Call the-call"));
    let event: String =
        page.eval("document.querySelector('#events [data-event]').dataset.event").await;
    let main = search(&event).await;
    assert!(main.contains("Call.CallbackAfterStartCall") && main.contains(&event), "{main}");
    assert!(search("only-alice").await.contains("Account only-alice"));
    let main = search(&room).await;
    assert!(
        main.contains(&format!("Room {room}")) || page.texts("#found tbody tr").await.len() > 1
    );
    page.assert_good().await;
    let main = search("  no such thing ").await;
    assert!(main.contains("Nothing has the id no such thing"), "{main}");
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_page_has_a_lane_per_member_and_a_row_per_event() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let scenario = play(&server, Kind::GroupCall, Options::tiny()).await;
    let call = field_of(&scenario.deliveries[0], "CallId").unwrap();
    let page = Page::open(&server.ops_url, "/calls").await;
    page.follow("#calls a[href^='/calls/']").await;
    assert!(page.text("h1").await.contains(&call));
    let about_call = scenario.deliveries.iter().filter(|sent| sent.body.contains(&call));
    let rows = page.texts("#events tbody tr").await;
    assert_eq!(rows.len(), about_call.count(), "{rows:?}");
    let lanes = page.texts("#lanes tbody tr").await;
    assert!(lanes.len() >= 3 && lanes[0].contains("caller"), "{lanes:?}");
    // Every bar is inside its lane, and can be seen.
    let bars: Vec<(f64, f64, f64, f64)> = page
        .eval(
            "[...document.querySelectorAll('#lanes svg .ring, #lanes svg .talk')].map(bar => {
                const [box, lane] = [bar, bar.closest('svg')].map(one => one.getBoundingClientRect());
                return [box.left - lane.left, lane.right - box.right, box.width, box.height];
            })",
        )
        .await;
    assert!(bars.len() > lanes.len(), "{bars:?}");
    for bar in &bars {
        assert!(bar.0 > -1.0 && bar.1 > -1.0 && bar.2 > 0.0 && bar.3 > 4.0, "{bar:?} of {bars:?}");
    }
    assert!(page.text("#talk").await != "–");
    page.assert_good().await;
    page.follow("#events a[href^='/events/']").await;
    assert!(page.text("#payload").await.contains(&call));
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_page_shows_the_body_and_each_columns_source() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    server
        .post_body(
            DESTROY_ROOM,
            r#"{"CallbackCommand":"Room.CallbackAfterDestroyRoom","Operator_Account":12345678901234567890123,"RoomId":"r","New":1.10,"EventTime":1793534399000}"#,
        )
        .await;
    server.post_body("Call.CallbackAfterEndCall", "{\"CallRecord\":7,").await;
    let page = Page::open(&server.ops_url, "/events?family=room").await;
    page.follow("#events a[href^='/events/']").await;
    let columns = page.texts("#columns tbody tr").await.join("\n");
    assert!(
        columns.contains("EventTime") && columns.contains("2026-11-01 11:59:59.000"),
        "{columns}"
    );
    let body = page.text("#payload").await;
    assert!(body.contains("12345678901234567890123") && body.contains("1.10"), "{body}");
    assert!(page.texts("#fields tbody tr").await.len() >= 4);
    page.goto("/events?undecoded=true").await;
    page.follow("#events a[href^='/events/']").await;
    assert!(page.text("#decode-error").await.contains("did not fit its type"));
    page.assert_good().await;
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_room_page_shows_occupancy_and_every_visit() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let scenario = play(&server, Kind::Conference, Options::tiny()).await;
    let path =
        format!("/room-sessions/{APP}/{}", field_of(&scenario.deliveries[0], "RoomId").unwrap());
    let last = end(&scenario).to_string();
    settled(&server, &path, ">ended<").await;
    let page = Page::open(&server.ops_url, "/room-sessions").await;
    page.follow(".rooms a[href^='/room-sessions/']").await;
    assert!(page.text("#room-state").await.contains("ended"), "at {last}");
    assert!(!page.texts("#visits tbody tr").await.is_empty());
    let size: (f64, f64) = page
        .eval(
            "(box => [box.width, box.height])(document.querySelector('#occupancy .line').getBoundingClientRect())",
        )
        .await;
    assert!(size.0 > 300.0 && size.1 > 40.0, "the line is {size:?} large");
    // What is drawn can be read as well.
    page.click("#occupancy summary").await;
    let steps = page.texts("#occupancy tbody tr").await;
    assert!(steps.len() >= 2, "{steps:?}");
    page.assert_good().await;
    let visitor = page.text("#visits tbody .id").await;
    page.follow("#visits tbody a").await;
    assert!(page.text("h1").await.contains(&visitor));
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_page_shows_gifts_and_battles() {
    let played = small_hour(Database::sqlite()).await;
    let page = Page::open(&played.server.ops_url, "/live-sessions").await;
    let sessions = page.texts("#live-sessions tbody tr").await;
    assert!(!sessions.is_empty());
    let links = "[...document.querySelectorAll('#live-sessions td:first-child a')].map(link => link.getAttribute('href'))";
    let mut seen = BTreeSet::new();
    for path in page.eval::<Vec<String>>(links).await {
        page.goto(&path).await;
        for id in ["statistic", "gifts", "senders", "receivers", "battles", "visits"] {
            if page
                .eval::<bool>(&format!("document.querySelector('#{id} tbody tr') !== null"))
                .await
            {
                seen.insert(id);
            }
        }
    }
    assert_eq!(seen.len(), 6, "of a live's tables only these were filled: {seen:?}");
    page.close().await;
    played.server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_an_anomaly_that_links_to_its_subject() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    server.post_body(DESTROY_ROOM, destroy_room(7)).await;
    settled(&server, "/room-sessions", "room-7").await;
    // What is missing is waited for a little.
    server.clock.set(NOW.plus(Duration::from_mins(1)));
    settled(&server, "/anomalies", "room-7").await;
    let page = Page::open(&server.ops_url, "/anomalies").await;
    page.eval::<()>("void (document.querySelector('#f-kind').value = 'room_without_create')").await;
    page.follow(".filters button").await;
    let rows = page.texts(".anomalies tbody tr").await;
    assert!(rows.len() == 1 && rows[0].contains("room-7") && rows[0].contains("open"), "{rows:?}");
    page.assert_good().await;
    page.goto("/").await;
    assert_eq!(page.text("#tile-anomalies b").await, "1");
    page.follow(".anomalies a").await;
    assert!(page.text("h1").await.contains("room-7"));
    assert!(page.text(".anomalies").await.contains("room without create"));
    page.assert_good().await;
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_by_its_form_and_goes_on_page_by_page() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    for number in 0..60 {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    post_call(&server, "the-call", "alice").await;
    let page = Page::open(&server.ops_url, "/events").await;
    page.fill("#f-command", DESTROY_ROOM).await;
    page.follow(".filters button").await;
    assert!(page.url().await.ends_with("/events?command=Room.CallbackAfterDestroyRoom"));
    assert_eq!(page.texts("#events tbody tr").await.len(), 50);
    page.follow("#older").await;
    assert_eq!(page.texts("#events tbody tr").await.len(), 10);
    page.follow(".pager a[rel='first']").await;
    assert_eq!(page.texts("#events tbody tr").await.len(), 50);
    page.fill("#f-room", "room-59").await;
    // As one does with the keyboard.
    page.press("Enter").await;
    page.wait_for("document.querySelectorAll('#events tbody tr').length === 1").await;
    page.follow(".filters .act a").await;
    assert!(page.text("#events").await.contains("the-call"));
    page.close().await;
    server.stop().await;
}

/// Where the focus is: a path through the document, empty where it is nowhere.
const FOCUS: &str = "(() => {
    const path = [];
    for (let at = document.activeElement; at && at !== document.body; at = at.parentElement) {
        path.unshift([...at.parentElement.children].indexOf(at));
    }
    return path.join('.');
})()";

/// The same of everything that can be used.
const USABLE: &str =
    "[...document.querySelectorAll('a[href], button, input, select, summary, [tabindex=\"0\"]')]
    .filter(element => element.checkVisibility() && !element.disabled)
    .map(element => {
        const path = [];
        for (let at = element; at !== document.body; at = at.parentElement) {
            path.unshift([...at.parentElement.children].indexOf(at));
        }
        return path.join('.');
    })";

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_with_the_keyboard_alone() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    play(&server, Kind::GroupCall, Options::tiny()).await;
    let page = Page::open(&server.ops_url, "/calls").await;
    let call = page.text("#calls tbody a[href^='/calls/'] .id").await;
    for path in ["/", "/tail", "/calls", &format!("/calls/{APP}/{call}")] {
        page.goto(path).await;
        let mut usable: BTreeSet<String> =
            page.eval::<Vec<String>>(USABLE).await.into_iter().collect();
        let mut unseen = Vec::new();
        for _ in 0..400 {
            if usable.is_empty() {
                break;
            }
            page.press("Tab").await;
            let at: String = page.eval(FOCUS).await;
            if usable.remove(&at) {
                let shown = "(style => style.outlineStyle !== 'none' && style.outlineWidth !== '0px')(getComputedStyle(document.activeElement))";
                if !page.eval::<bool>(shown).await {
                    unseen.push(
                        page.eval::<String>("document.activeElement.outerHTML.slice(0, 120)").await,
                    );
                }
            }
        }
        assert!(usable.is_empty(), "{path}: the keyboard does not reach {usable:?}");
        assert!(unseen.is_empty(), "{path}: one does not see where one is: {unseen:?}");
    }

    page.goto("/calls").await;
    page.press("Tab").await;
    assert_eq!(page.eval::<String>("document.activeElement.className").await, "skip");
    page.press("Enter").await;
    page.wait_for("document.activeElement.id === 'main'").await;
    // The next stop is in the content, and not in the navigation.
    page.press("Tab").await;
    assert!(
        page.eval::<bool>("document.querySelector('main').contains(document.activeElement)").await
    );

    page.goto("/").await;
    for _ in 0..30 {
        page.press("Tab").await;
        if page.eval::<String>("document.activeElement.id").await == "q" {
            break;
        }
    }
    for key in call.chars() {
        page.press(&key.to_string()).await;
    }
    page.press("Enter").await;
    page.wait_for_text("h1", &call).await;
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn user_chosen_text_runs_no_script_in_a_browser() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let page = Page::open(&server.ops_url, "/tail").await;
    wait_until_live(&page).await;
    post_call(&server, HOSTILE, HOSTILE).await;
    let room = json!({
        "CallbackCommand": DESTROY_ROOM, "Operator_Account": HOSTILE, "RoomId": HOSTILE, "EventTime": NOW.0 - 1000,
    });
    server.post_body(DESTROY_ROOM, room.to_string()).await;
    settled(&server, "/room-sessions", "href=\"/room-sessions/").await;
    let harmless = async |what: &str| {
        let made = "document.querySelectorAll('main script, main img, main [onerror]').length";
        assert_eq!(page.eval::<u64>(made).await, 0, "{what}");
        let main = page.text("main").await;
        assert!(!main.contains(['\u{202e}', '\u{7}']), "{what}: {main}");
        assert!(
            main.contains("<script>alert(1)</script>") && main.contains("\\u{202e}\\u{7}ü"),
            "{what}: {main}"
        );
        assert_eq!(page.eval::<String>("document.title").await.matches('\u{202e}').count(), 0);
    };
    // Made by the script as it arrived.
    page.wait_for("document.querySelectorAll('#tail-rows tr').length === 2").await;
    harmless("the row that arrived").await;
    let live = page.eval::<String>("document.querySelector('#tail-rows').innerText").await;
    for path in ["/tail", "/calls", "/room-sessions", "/events", "/"] {
        page.goto(path).await;
        harmless(path).await;
        if path == "/tail" {
            let drawn = page.eval::<String>("document.querySelector('#tail-rows').innerText").await;
            let first = |text: &str| text.split('\t').nth(3).unwrap().to_owned();
            assert_eq!(first(&live), first(&drawn), "as the server draws it");
        }
    }
    for (list, link) in [
        ("/calls", "#calls a[href^='/calls/']"),
        ("/calls", "#calls a[href^='/users/']"),
        ("/room-sessions", ".rooms a[href^='/room-sessions/']"),
        ("/events?family=call", "#events a[href^='/events/']"),
        ("/events?family=room", "#events a[href^='/room-sessions/']"),
    ] {
        page.goto(list).await;
        page.follow(link).await;
        harmless(link).await;
        page.assert_good().await;
    }
    page.fill("#q", "<img src=x onerror=alert(3)>").await;
    page.press("Enter").await;
    page.wait_for_text("main", "Nothing has the id <img").await;
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_signs_in_with_the_token_and_out_again() {
    let database = Database::sqlite();
    let token = "a-long-enough-token";
    let server = Server::start_with(settings(&database, &[("TRTC_OPS__TOKEN", token)])).await;
    let page = Page::open(&server.ops_url, "/calls?state=ended").await;
    assert_eq!(page.text("h1").await, "Sign in");
    // A browser focuses it with the first frame that it draws, which may come after `load`.
    page.wait_for("document.activeElement.id === 'token'").await;
    page.assert_good().await;

    page.fill("#token", "a-wrong-token").await;
    page.click("main button").await;
    page.wait_for_text("[role=alert]", "Wrong token").await;
    page.assert_good().await;
    let faults = page.take_faults().await;
    assert!(faults.len() == 1 && faults[0].contains("403 (Forbidden)"), "{faults:?}");

    page.fill("#token", token).await;
    page.follow("main button").await;
    assert!(page.url().await.ends_with("/calls?state=ended"), "{}", page.url().await);
    assert_eq!(page.text("h1").await, "Calls");
    assert_eq!(page.text("#signed-in").await, "ops.token");
    assert_eq!(page.eval::<String>("document.cookie").await, "", "no script sees the cookie");
    page.goto("/tail").await;
    wait_until_live(&page).await;
    post_call(&server, "seen-by-who-signed-in", "alice").await;
    wait_for_row(&page, "seen-by-who-signed-in").await;

    page.follow("#sign-out").await;
    assert_eq!(page.text("h1").await, "Sign in");
    page.goto("/tail").await;
    assert_eq!(page.text("h1").await, "Sign in");
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_ops_token_there_is_no_sign_out() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let page = Page::open(&server.ops_url, "/").await;
    assert!(page.eval::<bool>("document.querySelector('#sign-out') === null").await);
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_overview_refreshes_and_keeps_open_details() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    post_call(&server, "call-1", "alice").await;
    let page = Page::open(&server.ops_url, "/").await;
    assert!(page.text("#calls-now").await.contains("call-1"));
    page.click("#chart-table summary").await;
    post_call(&server, "call-2", "alice").await;
    page.wait_for_text("#calls-now", "call-2").await;
    assert!(page.eval::<bool>("document.querySelector('#chart-table').open").await);
    assert_eq!(page.eval::<String>("document.activeElement.tagName").await, "SUMMARY");
    page.assert_good().await;
    page.look(Screen::Phone, Scheme::Dark).await;
    page.follow("#calls-now a[href^='/calls/']").await;
    page.close().await;
    server.stop().await;
}

/// What the API says of itself is linked from every page, and a browser shows it.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_of_the_api_is_a_click_away() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let page = Page::open(&server.ops_url, "/").await;
    page.follow("footer a").await;
    let text = page.text("body").await;
    let api: Value = serde_json::from_str(&text).unwrap();
    assert!(api["paths"]["/api/v1/calls"].is_object(), "{text:.200}");
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_navigation_fits_one_line_and_has_a_menu() {
    let database = Database::sqlite();
    let server =
        Server::start_with(settings(&database, &[("TRTC_OPS__TOKEN", "a-long-enough-token")]))
            .await;
    let page = Page::open(&server.ops_url, "/").await;
    page.wait_for("document.activeElement.id === 'token'").await;
    page.fill("#token", "a-long-enough-token").await;
    page.follow("main button").await;
    // Also with the button to sign out.
    let lines = "(() => {
        const boxes = [...document.querySelectorAll('.brand, .top nav > ul > li, .find, #sign-out')].map(box => box.getBoundingClientRect());
        return Math.max(...boxes.map(box => box.top)) < Math.min(...boxes.map(box => box.bottom));
    })()";
    assert!(page.eval::<bool>(lines).await, "it stands in one line");
    let is_open = "document.querySelector('.menu').open";
    assert!(!page.eval::<bool>(is_open).await);
    page.eval::<()>("document.querySelector('.menu summary').focus()").await;
    page.press("Enter").await;
    page.wait_for(is_open).await;
    page.assert_good().await;
    page.press("Tab").await;
    page.press("Tab").await;
    assert_eq!(page.eval::<String>("document.activeElement.textContent").await, "Recordings");
    page.press("Escape").await;
    page.wait_for(&format!("!{is_open}")).await;
    page.press("Enter").await;
    page.wait_for(is_open).await;
    page.follow(".menu a[href^='/recordings']").await;
    assert_eq!(page.text("h1").await, "Recordings");
    assert_eq!(page.text(".menu summary.here").await, "Media");
    page.close().await;
    server.stop().await;
}
