//! Pictures of the main pages, of a real server to which `simulate` played: `scripts/screenshots` keeps them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::page::{Page, Scheme, Screen};
use crate::support::APP;

const PROGRAM: &str = env!("CARGO_BIN_EXE_trtc-callbacks");

/// One picture: its file's name, the page, and how it is looked at.
struct Picture(&'static str, Shown, Screen, Scheme);

/// Which page is shown.
enum Shown {
    /// The one at this path.
    At(&'static str),
    /// The one that the first such link on the page at this path leads to.
    Behind(&'static str, &'static str),
}

use Scheme::{Dark, Light};
use Screen::{Desktop, Phone};
use Shown::{At, Behind};

/// Every picture there is.
const PICTURES: &[Picture] = &[
    Picture("overview", At("/"), Desktop, Light),
    Picture("overview-dark", At("/"), Desktop, Dark),
    Picture("overview-phone", At("/"), Phone, Light),
    Picture("tail", At("/tail"), Desktop, Light),
    Picture("calls", At("/calls"), Desktop, Light),
    Picture("call", Behind("/calls", "main a[href^='/calls/']"), Desktop, Light),
    Picture("call-phone", Behind("/calls", "main a[href^='/calls/']"), Phone, Dark),
    Picture("rooms", At("/rooms"), Desktop, Light),
    Picture("room", Behind("/rooms", "main a[href^='/rooms/']"), Desktop, Light),
    Picture("lives", At("/lives"), Desktop, Light),
    Picture("live", Behind("/lives", "main a[href^='/lives/']"), Desktop, Light),
    Picture("events", At("/events"), Desktop, Light),
    Picture("event", Behind("/events", "main a[href^='/events/']"), Desktop, Light),
    Picture("anomalies", At("/anomalies"), Desktop, Light),
];

/// `SCREENSHOTS=write` keeps them in `docs/screenshots/`, and plays for longer.
#[tokio::test(flavor = "multi_thread")]
async fn the_main_pages_are_shown_with_what_simulate_played() {
    let keep = std::env::var("SCREENSHOTS").is_ok_and(|wish| wish == "write");
    let demo = Demo::start();
    demo.play(if keep { "20s" } else { "3s" });
    for Picture(name, shown, screen, scheme) in PICTURES {
        let page = Page::empty(&demo.ops_url).await;
        page.look(*screen, *scheme).await;
        match shown {
            At(path) => page.goto(path).await,
            Behind(path, link) => {
                page.goto(path).await;
                page.follow(link).await;
            }
        }
        let png = page.png().await;
        page.close().await;
        assert!(png.len() < 400_000, "{name} has {} bytes", png.len());
        if keep {
            std::fs::write(folder().join(format!("{name}.png")), png).unwrap();
        }
    }
}

/// Those that are no longer made are gone, and none is missing.
#[test]
fn the_pictures_that_are_kept_are_those_that_are_made() {
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

/// The real program on a file of its own, gone with this value.
struct Demo {
    child: Child,
    url: String,
    ops_url: String,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = program(&folder)
            .args(["serve", "--sdk-app-id", APP, "--listen", "127.0.0.1:0"])
            .args(["--ops-listen", "127.0.0.1:0"])
            .env("TRTC_LOG__FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let ready = lines
            .find_map(|line| {
                let said: Value = serde_json::from_str(&line).ok()?;
                (said["message"] == "ready for callbacks").then_some(said)
            })
            .expect("the server says that it is ready");
        // Read on, so that it may write on.
        std::thread::spawn(|| lines.for_each(drop));
        let address = |key: &str| format!("http://{}", ready[key].as_str().unwrap());
        let (url, ops_url) = (address("listen"), address("ops.listen"));
        Self { child, url, ops_url, folder }
    }

    fn play(&self, duration: &str) {
        let played = program(&self.folder)
            .args(["simulate", "--to", &self.url, "--sdk-app-id", APP])
            .args(["--seed", "1", "--rate", "100", "--duration", duration])
            .output()
            .unwrap();
        assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn program(folder: &tempfile::TempDir) -> Command {
    let mut command = Command::new(PROGRAM);
    // Nothing of the machine's own environment reaches the program.
    let kept = std::env::vars_os().filter(|(name, _)| name == "PATH");
    command.current_dir(folder).env_clear().envs(kept).stdin(Stdio::null());
    command
}
