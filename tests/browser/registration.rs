//! The page of settings where registrations at the vendor are watched: the real server, the stand-in for the vendor.

use trtc_callbacks::clock::Clock;
use trtc_callbacks::tencent_api::Product;

use crate::page::{Page, Scheme, Screen};
use crate::support::{APP, Database, NOW, Server, eventually, settings};
use crate::vendor_stub::{App, Config, Options, Stub};

const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const URL: &str = "https://rtc.example.com/callback/2f1c8a0e9b7d4c63";

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_page_says_what_is_registered_and_what_is_wrong() {
    let app: i64 = APP.parse().unwrap();
    let options = Options { apps: vec![App::new(app, KEY)], ..Options::new(Clock::manual(NOW)) };
    let stub = Stub::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
    let config = |url: &str, product: Product| Config {
        url: url.to_owned(),
        commands: product.usual_commands().map(str::to_owned).collect(),
    };
    stub.put(app, Product::Call.service(), Some(config(URL, Product::Call)));
    let other = config("https://others.example.com/s3cret", Product::Room);
    stub.put(app, Product::Room.service(), Some(other));
    let database = Database::sqlite();
    let watching = [
        ("TRTC_SECRET_KEY", KEY),
        ("TRTC_CALLBACK_URL", URL),
        ("TRTC_REGISTRATION__CHECK_INTERVAL_S", "1"),
    ];
    let mut watching = settings(&database, &watching);
    watching.apps[0].host = Some(stub.origin());
    let server = Server::start_with(watching).await;
    let page = Page::empty(&server.ops_url).await;
    let states = async || {
        page.goto("/settings").await;
        page.texts("#registrations tbody tr td:nth-child(3)").await
    };
    eventually("all products were compared", async || {
        states().await == ["right", "differs", "differs"]
    })
    .await;
    let text = page.text("#registrations").await;
    assert!(text.contains("callbacks go to https://others.example.com/…"), "{text}");
    assert!(text.contains("nothing is registered, so no callback comes"), "{text}");
    assert!(!text.contains("s3cret") && !text.contains("2f1c8a0e9b7d4c63"), "{text}");
    for (screen, scheme) in [(Screen::Desktop, Scheme::Light), (Screen::Phone, Scheme::Dark)] {
        page.look(screen, scheme).await;
        page.goto("/settings").await;
        page.assert_good().await;
    }
    page.close().await;
    server.stop().await;
}
