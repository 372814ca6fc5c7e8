//! What the other tests rely on: that a fault of a page is found.

use std::sync::Mutex;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{Html, Redirect};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::chromium::Chromium;
use crate::page::{Page, Scheme, Screen};
use crate::support::{Database, Server, eventually};

/// A server with one page that has this in its body; returns its address. It ends with the test's runtime.
async fn serve(body: &str) -> String {
    let page = format!(
        "<!doctype html><html lang=en><title>A page</title>
        <meta name=viewport content='width=device-width'><meta name=color-scheme content='light dark'>
        <link rel=icon href=data:,><main><h1>A page</h1>{body}</main></html>"
    );
    let guarded = [(header::CONTENT_SECURITY_POLICY, "script-src 'self'")];
    let strict = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'")];
    let routes = Router::new()
        .route("/", get(async || Html(page)))
        .route("/away", get(async || Redirect::to("http://elsewhere.example/from-a-redirect")))
        .route(
            "/guarded",
            get(async || (guarded, Html("<script src=http://127.0.0.1:1/></script>"))),
        )
        .route("/strict", get(async || (strict, Html("<title>Strict</title><input>"))))
        .route("/other", get(async || Html("<!doctype html><title>Other</title><p>the other page")))
        .fallback(async || (StatusCode::NOT_FOUND, "nothing here"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, routes).await });
    address
}

/// Waits until each of these is part of a fault that is found on a page of these bodies.
async fn assert_found(cases: &[(&str, &str)]) {
    let body = cases.iter().map(|(body, _)| *body).collect::<String>();
    let page = Page::open(&serve(&body).await, "/").await;
    let found = Mutex::new(String::new());
    for (body, part) in cases {
        eventually(&format!("{part}, of {body}"), async || {
            let more = page.take_faults().await.join("\n");
            let mut found = found.lock().unwrap();
            *found += &(more + "\n");
            found.contains(part)
        })
        .await;
    }
    page.close_faulty().await;
}

const SOUND: &str = "
    <p id=said>nothing yet</p>
    <form action=/other><label>Who <input name=who></label> <button id=send>Send</button></form>
    <button id=say type=button>Say</button>
    <script>
        const who = document.querySelector('input');
        document.querySelector('#say').onclick = () => { said.textContent = `hello ${who.value}`; };
        addEventListener('keydown', ({ key }) => { document.title = key; });
    </script>";

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_read_clicked_and_written_into() {
    let page = Page::open(&serve(SOUND).await, "/").await;
    assert_eq!(page.text("h1").await, "A page");
    page.fill("input", "hans").await;
    page.fill("input", "grete").await;
    page.click("#say").await;
    page.wait_for_text("#said", "hello grete").await;
    page.fill("input", "rapunzel").await;
    page.press("Tab").await;
    page.press("Tab").await;
    page.press(" ").await;
    page.wait_for_text("#said", "hello rapunzel").await;
    assert_eq!(page.eval::<String>("document.activeElement.id").await, "say");
    assert_eq!(page.texts("button").await, ["Send", "Say"]);
    page.press("Escape").await;
    page.wait_for("document.title === 'Escape'").await;
    page.follow("#send").await;
    assert!(page.url().await.ends_with("/other?who=rapunzel"));
    assert_eq!(page.text("p").await, "the other page");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_page_passes_every_check() {
    let page = Page::open(&serve(SOUND).await, "/").await;
    page.assert_accessible().await;
    page.assert_good().await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_real_server_is_shown() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let page = Page::open(&server.ops_url, "/readyz").await;
    assert!(page.text("body").await.starts_with("ok"));
    page.close().await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn low_contrast_text_is_found_in_each_colour_scheme() {
    let faint =
        "<p style='color: light-dark(#222, #333); background: light-dark(#fff, #000)'>hard to read";
    let page = Page::open(&serve(faint).await, "/").await;
    page.assert_accessible().await;
    page.look(Screen::Desktop, Scheme::Dark).await;
    let faults = page.accessibility_faults().await;
    assert!(
        faults.len() == 1 && faults[0].starts_with("color-contrast (serious): p:"),
        "{faults:?}"
    );
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_without_a_label_is_found() {
    let page = Page::open(&serve("<input>").await, "/").await;
    let faults = page.accessibility_faults().await;
    assert!(faults.len() == 1 && faults[0].starts_with("label (critical): input:"), "{faults:?}");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strict_content_security_policy_hinders_no_check() {
    let page = Page::open(&serve("").await, "/strict").await;
    let faults = page.accessibility_faults().await.join("\n");
    assert!(faults.contains("label (critical): input:"), "{faults}");
    assert_eq!(page.text("body").await, "");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_wider_than_a_phone_is_found() {
    let wide = "<pre>".to_owned() + &"wide ".repeat(30);
    let page = Page::open(&serve(&wide).await, "/").await;
    assert_eq!(page.too_wide().await, Vec::<String>::new());
    page.look(Screen::Phone, Scheme::Light).await;
    assert_eq!(page.too_wide().await[0], "the page");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_another_host_is_found() {
    assert_found(&[
        ("<img alt='' src=http://elsewhere.example/image>", "elsewhere: http://elsewhere.example/image"),
        ("<img alt='' src=http://198.51.100.7/>", "elsewhere: http://198.51.100.7/"),
        ("<img alt='' src=http://127.0.0.1:1/>", "elsewhere: http://127.0.0.1:1/"),
        ("<img alt='' src=/away>", "elsewhere: http://elsewhere.example/from-a-redirect"),
        ("<style>@import 'http://elsewhere.example/style'</style>", "elsewhere: http://elsewhere.example/style"),
        ("<script src=http://elsewhere.example/script></script>", "elsewhere: http://elsewhere.example/script"),
        ("<iframe title=a src=http://elsewhere.example/frame></iframe>", "elsewhere: http://elsewhere.example/frame"),
        ("<script>fetch('http://elsewhere.example/fetch')</script>", "elsewhere: http://elsewhere.example/fetch"),
        (
            "<script>new Worker(URL.createObjectURL(new Blob(['fetch(`http://elsewhere.example/worker`)'])))</script>",
            "elsewhere: http://elsewhere.example/worker",
        ),
        (
            "<script>navigator.sendBeacon('http://elsewhere.example/beacon')</script>",
            "elsewhere: http://elsewhere.example/beacon",
        ),
        (
            "<script>new EventSource('http://elsewhere.example/stream')</script>",
            "elsewhere: http://elsewhere.example/stream",
        ),
        (
            "<script>new WebSocket('ws://elsewhere.example/socket')</script>",
            "elsewhere: ws://elsewhere.example/socket",
        ),
        (
            "<link rel=preconnect href=http://elsewhere.example/ahead>",
            "elsewhere: http://elsewhere.example/ahead",
        ),
        ("<link rel=icon href=http://elsewhere.example/icon>", "elsewhere: http://elsewhere.example/icon"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_another_host_is_blocked() {
    let page = Page::open(&serve("").await, "/").await;
    for url in ["http://elsewhere.example/", "http://198.51.100.7/", "http://localhost.example/"] {
        let asked =
            format!("fetch('{url}', {{ mode: 'no-cors' }}).then(() => 'there', () => 'failed')");
        assert_eq!(page.eval::<String>(&asked).await, "failed");
        let faults = page.take_faults().await.join("\n");
        assert!(faults.contains("net::ERR_NAME_NOT_RESOLVED"), "{faults}");
    }
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_in_a_page_are_found() {
    let worker = "<script>new Worker(URL.createObjectURL(new Blob(['inAWorker()'])))</script>";
    assert_found(&[
        ("<script>console.error('said', 7)</script>", "console: said 7"),
        ("<script>console.assert(false, 'not so')</script>", "console: not so"),
        ("<script>setTimeout(() => { throw Error('later') })</script>", "exception: Error: later"),
        ("<script>Promise.reject(Error('unseen'))</script>", "exception: Error: unseen"),
        ("<script>syntax error</script>", "exception: SyntaxError"),
        ("<script>alert('look here')</script>", "dialog: look here"),
        ("<script src=/missing.js></script>", "404 (Not Found)"),
        (worker, "exception: ReferenceError: inAWorker"),
        ("<iframe title=a srcdoc='<script>framed()</script>'></iframe>", "ReferenceError: framed"),
        ("<iframe title=a src=/guarded></iframe>", "Content Security Policy"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expected_404_is_no_fault() {
    let page = Page::empty(&serve("").await).await;
    page.goto_status("/nowhere", 404).await;
    assert_eq!(page.text("body").await, "nothing here");
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "console: at the last moment")]
async fn closing_a_page_fails_the_test_of_a_faulty_one() {
    let page = Page::open(&serve("").await, "/").await;
    page.eval::<()>("console.error('at the last moment')").await;
    page.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[should_panic(expected = "close the page")]
async fn a_page_that_is_not_closed_fails_its_test() {
    Page::open(&serve("").await, "/").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_shows_the_window_in_its_colours() {
    let page = Page::open(&serve("").await, "/").await;
    let light = page.png().await;
    assert_eq!(size_of_png(&light), (1280, 800));
    page.look(Screen::Desktop, Scheme::Dark).await;
    assert_ne!(page.png().await, light);
    page.look(Screen::Phone, Scheme::Light).await;
    assert_eq!(size_of_png(&page.png().await), (390, 844));
    page.close().await;
}

/// Width and height, which its header has.
fn size_of_png(png: &[u8]) -> (u32, u32) {
    assert_eq!(&png[1..4], b"PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_ends_with_its_parent_and_leaves_no_file() {
    let chromium = Chromium::launch().unwrap();
    chromium.must(None, "Browser.getVersion", serde_json::json!({})).await;
    let folder = chromium.folder.clone();
    assert!(folder.join("profile").exists());
    // As the end of the process does, whatever ends it.
    drop(chromium);
    eventually("its files are gone", async || !folder.exists()).await;
}
