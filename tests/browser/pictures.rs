//! Pictures of the main pages, of a real server to which an hour was played: `scripts/screenshots` keeps them.

use std::path::{Path, PathBuf};

use protocol::simulate::{Kind, Options};

use crate::page::{Page, Scheme, Screen};
use crate::played::Played;
use crate::support::Database;

/// One picture: its file's name, the page, and how it is looked at.
struct Picture(&'static str, Shown, Screen, Scheme);

/// How much of a page is shown, in pixels from its top: all pictures together are to stay small.
const HEIGHT: u32 = 640;

/// Which page is shown.
enum Shown {
    /// The one at this path.
    At(&'static str),
    /// A call that was played.
    Call(Kind),
    /// A room that was played.
    Room(Kind),
    /// The one that the first such link on the page at this path leads to.
    Behind(&'static str, &'static str),
}

use Scheme::{Dark, Light};
use Screen::{Desktop, Phone};
use Shown::{At, Behind, Call, Room};

/// Every picture there is.
const PICTURES: &[Picture] = &[
    Picture("overview", At("/"), Desktop, Light),
    Picture("overview-dark", At("/"), Desktop, Dark),
    Picture("tail", At("/tail"), Desktop, Light),
    Picture("calls", At("/calls"), Desktop, Light),
    Picture("call", Call(Kind::GroupCall), Desktop, Light),
    Picture("call-phone", Call(Kind::GroupCall), Phone, Light),
    Picture("rooms", At("/room-sessions"), Desktop, Light),
    Picture("room", Room(Kind::Conference), Desktop, Light),
    Picture("live-sessions", At("/live-sessions"), Desktop, Light),
    Picture("live", Room(Kind::Show), Desktop, Light),
    Picture("events", At("/events"), Desktop, Light),
    Picture("event", Behind("/events?family=call", "#events a[href^='/events/']"), Desktop, Light),
    Picture("anomalies", At("/anomalies"), Desktop, Light),
    Picture("settings", At("/settings"), Desktop, Light),
];

/// `SCREENSHOTS=write` keeps them in `docs/screenshots/`, and plays more.
#[tokio::test(flavor = "multi_thread")]
async fn the_main_pages_are_shown_with_an_hour_that_was_played() {
    let keep = std::env::var("SCREENSHOTS").is_ok_and(|wish| wish == "write");
    let (rate, options) = if keep { (1.0, Options::default()) } else { (0.08, Options::tiny()) };
    let played = Played::hour(Database::sqlite(), rate, options).await;
    for Picture(name, shown, screen, scheme) in PICTURES {
        let page = Page::empty(&played.server.ops_url).await;
        page.look(*screen, *scheme).await;
        match shown {
            At(path) => page.goto(path).await,
            Call(kind) => page.goto(&played.call(*kind)).await,
            Room(kind) => page.goto(&played.room(*kind)).await,
            Behind(path, link) => {
                page.goto(path).await;
                page.follow(link).await;
            }
        }
        let png = page.png_of_the_top(HEIGHT).await;
        page.close().await;
        assert!(png.len() < 400_000, "{name} has {} bytes", png.len());
        if keep {
            std::fs::write(folder().join(format!("{name}.png")), png).unwrap();
        }
    }
    played.server.stop().await;
}

/// Those that are no longer made are gone, and none is missing.
#[test]
fn the_committed_pictures_are_those_that_are_made() {
    let mut kept: Vec<String> = folder()
        .read_dir()
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut made: Vec<String> =
        PICTURES.iter().map(|Picture(name, ..)| format!("{name}.png")).collect();
    kept.sort();
    made.sort();
    assert_eq!(kept, made, "`./scripts/screenshots` makes them");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/screenshots")
}
