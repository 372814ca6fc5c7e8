//! The commands that call the vendor: the real program against the stand-in.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use trtc_callbacks::clock::Clock;
use trtc_callbacks::tencent_api::Product;

use crate::process::{Serving, done, program};
use crate::support::APP;
use crate::vendor::KEY;
use crate::vendor_stub::{App, Config, Fault, Options, Stub};

const ID: i64 = 1_400_000_001;
const URL: &str = "https://callbacks.example.com/a-secret-path";
const TOKEN: &str = "t0ken-of-the-app";

/// A folder with a configuration, and the vendor that it names.
struct Place {
    folder: tempfile::TempDir,
    stub: Stub,
}

/// What one run of the program left.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    async fn new() -> Self {
        Self::with(App::new(ID, KEY), &format!("[apps.callbacks]\nurl = '{URL}'\n")).await
    }

    /// One whose app's table ends with `more`.
    async fn with(app: App, more: &str) -> Self {
        let options = Options { apps: vec![app], ..Options::new(Clock::system()) };
        let stub = Stub::start("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
        let text = format!(
            "[log]\nfilter = 'trace'\n[[apps]]\nsdk_app_id = {APP}\nsecret_key_file = 'key'\n\
             host = '{}'\ncallback_tokens = ['{TOKEN}']\n{more}",
            stub.origin()
        );
        std::fs::write(folder.path().join("my.toml"), text).unwrap();
        Self { folder, stub }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `callback-config apply --product all`, for example, without a terminal.
    fn run(&self, arguments: &str) -> Ran {
        self.run_with(arguments, &[("TRTC_CONFIG", "my.toml")])
    }

    fn run_with(&self, arguments: &str, env: &[(&str, &str)]) -> Ran {
        let mut command = program(self.path());
        command.args(arguments.split_whitespace()).envs(env.iter().copied());
        let output = command.output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs it, expects success, and returns what it printed.
    fn done(&self, arguments: &str) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments}: {ran:?}");
        ran.out
    }

    /// Runs it, expects this exit code, and returns what it said.
    fn failed(&self, arguments: &str, code: i32) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, code, "{arguments}: {ran:?}");
        ran.err
    }

    fn registered(&self, product: Product) -> Option<Config> {
        self.stub.config(ID, product.service())
    }

    /// Whether every request only looked.
    fn only_looked(&self) -> bool {
        self.stub.seen().iter().all(|seen| seen.action() == "get_callback")
    }
}

fn wanted(product: Product) -> Config {
    let commands = product.usual_commands().map(str::to_owned).collect();
    Config { url: URL.to_owned(), commands }
}

/// As somebody in the vendor's console would have it.
fn other() -> Config {
    let commands = ["Room.CallbackAfterCreateRoom", "Room.CallbackAfterSomethingElse"];
    Config {
        url: "https://elsewhere.example.com/".to_owned(),
        commands: commands.map(str::to_owned).to_vec(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_registers_all_products_and_is_idempotent() {
    let place = Place::new().await;
    let ran = place.run("callback-config apply --product all");
    assert_eq!(ran.code, 0, "{ran:?}");
    for product in Product::ALL {
        assert_eq!(place.registered(product), Some(wanted(product)));
        assert!(ran.out.contains(&format!("{product}: nothing is registered\n+ {URL}\n+ ")));
        assert!(ran.out.contains(&format!("\n{product}: registered (RequestId Id-")), "{ran:?}");
    }
    assert!(ran.err.ends_with("a change takes effect at the vendor within 2 minutes\n"), "{ran:?}");

    let before = place.stub.seen().len();
    let ran = place.run("callback-config apply --product all");
    assert_eq!(ran.code, 0, "{ran:?}");
    let nothing = Product::ALL.map(|product| format!("{product}: as wanted, nothing changed\n"));
    assert_eq!(ran.out, nothing.concat());
    assert_eq!(ran.err, "");
    let seen: Vec<_> = place.stub.seen().split_off(before);
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.action() == "get_callback"));
    assert_eq!(
        place.done("callback-config check"),
        "call: as wanted\nroom: as wanted\nlive: as wanted\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_drift_and_apply_needs_consent_to_correct_it() {
    let place = Place::new().await;
    place.done("callback-config apply --product all");
    place.stub.put(ID, "room_config", Some(other()));
    let ran = place.run("callback-config check");
    assert_eq!(ran.code, 3, "{ran:?}");
    let diff = format!(
        "room: is registered otherwise\n- https://elsewhere.example.com/\n+ {URL}\n\
         - Room.CallbackAfterSomethingElse\n+ Room.CallbackAfterDestroyRoom\n"
    );
    assert!(ran.out.starts_with("call: as wanted\n") && ran.out.contains(&diff), "{ran:?}");
    assert!(ran.err.starts_with(
        "error: the registered configuration differs from the wanted one: room\nhint: "
    ));

    // There is no terminal to ask on.
    let ran = place.run("callback-config apply --product room");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains(&diff), "{ran:?}");
    assert!(ran.err.contains("events of the room commands marked `-`"), "{ran:?}");
    assert!(
        ran.err.contains("error: room: cannot ask for confirmation without a terminal"),
        "{ran:?}"
    );
    assert!(ran.err.contains("\nhint: give `--yes`"), "{ran:?}");
    let out = place.done("callback-config apply --product room --dry-run");
    assert!(out.contains(&diff) && out.ends_with("room: a dry run, nothing changed\n"), "{out}");
    assert_eq!(place.registered(Product::Room), Some(other()));

    let out = place.done("callback-config apply --product room --yes");
    assert!(out.contains("\nroom: updated (RequestId "), "{out}");
    assert_eq!(place.registered(Product::Room), Some(wanted(Product::Room)));
    place.done("callback-config check --product room");
    place.stub.put(ID, "room_config", None);
    assert_eq!(place.run("callback-config check --product room").code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_concurrent_change_is_shown_before_it_is_overwritten() {
    // Nothing was there when it looked, and something when it wrote.
    for (yes, code) in [("", 1), ("--yes", 0)] {
        let place = Place::new().await;
        place.stub.fail("room_config/set_callback", 1, Fault::OthersSet(other()));
        let ran = place.run(&format!("callback-config apply --product room {yes}"));
        assert_eq!(ran.code, code, "{ran:?}");
        assert!(ran.err.contains("room: somebody else changed it meanwhile; looking again"));
        assert!(ran.out.contains("room: is registered otherwise\n- https://elsewhere"), "{ran:?}");
        let left = if code == 0 { wanted(Product::Room) } else { other() };
        assert_eq!(place.registered(Product::Room), Some(left));
    }
    // Something was there, and went.
    let place = Place::new().await;
    let config = Config { url: "https://elsewhere.example.com".into(), ..wanted(Product::Live) };
    place.stub.put(ID, "live_config", Some(config));
    place.stub.fail("live_config/update_callback", 1, Fault::OthersDelete);
    let out = place.done("callback-config apply --product live");
    assert!(out.contains("live: nothing is registered\n+ https"), "{out}");
    assert!(out.contains("\nlive: registered (RequestId"), "{out}");
    // It was done, and the answer lost.
    place.stub.put(ID, "live_config", None);
    place.stub.fail("live_config/set_callback", 1, Fault::DoAndDrop);
    let out = place.done("callback-config apply --product live");
    assert!(out.contains("live: as wanted now, though the vendor refused the call"), "{out}");
    assert_eq!(place.registered(Product::Live), Some(wanted(Product::Live)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_products_failure_does_not_stop_the_others() {
    let place = Place::new().await;
    place.stub.fail("room_config/get_callback", 1, Fault::Code(60016));
    let said = place.failed("callback-config apply --product all", 1);
    assert!(said.contains("error: room get_callback at 127.0.0.1:"), "{said}");
    assert!(said.contains("code 60016"), "{said}");
    assert!(said.contains("error: 1 of 3 products failed\nhint: "), "{said}");
    let registered = Product::ALL.map(|product| place.registered(product).is_some());
    assert_eq!(registered, [true, false, true]);
    // What cannot be told outweighs what differs.
    place.stub.put(ID, "live_config", None);
    place.stub.fail("call_config/get_callback", 1, Fault::Code(60016));
    let ran = place.run("callback-config check");
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("live: nothing is registered\n+ "), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_configuration_is_refused_without_a_request() {
    let place = Place::new().await;
    for (flags, text, hint) in [
        ("--url https://rtc.example.com/?a=b", "has a query", "puts a query of its own"),
        (
            "--url ftp://rtc.example.com/",
            "not an http:// or https:// URL",
            "give one such as https://",
        ),
        ("--url https://rtc.example.com/a$b", "does not take: '$'", "use letters"),
        ("--command Room.CallbackAfterCreateRoom", "of room, not of call", "register it for room"),
        (
            "--command Call.CallbackAfterEndCal",
            "not a known command",
            "`Call.CallbackAfterEndCall`",
        ),
    ] {
        let said = place.failed(&format!("callback-config apply --product call {flags}"), 1);
        assert!(said.starts_with("error: call: "), "{said}");
        assert!(said.contains(text) && said.contains("\nhint: ") && said.contains(hint), "{said}");
    }
    let said = place.failed("callback-config apply --product all --command Call.X,Room.Y", 1);
    assert!(said.contains("`--product` is all\nhint: name the product"), "{said}");
    assert!(place.stub.seen().is_empty());

    let new = "--command Call.CallbackAfterEndCall,Call.CallbackAfterTomorrow";
    let said = place.failed(&format!("callback-config apply --product call {new}"), 1);
    assert!(said.contains("`--allow-unknown` lets it pass"), "{said}");
    let ran = place.run(&format!("callback-config apply --product call {new} --allow-unknown"));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("warning: call: `Call.CallbackAfterTomorrow`"), "{ran:?}");
    assert_eq!(place.registered(Product::Call).unwrap().commands.len(), 2);
    let ran =
        place.run("callback-config apply --product call --url http://rtc.example.com:8443 --yes");
    assert!(ran.err.contains("warning: call: the callback URL is plain HTTP"), "{ran:?}");
    let ran = place.run("callback-config apply --product call --url http://rtc.example.com:844");
    assert!(ran.err.contains("warning: call: the port changes from 8443 to 844"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_product_may_have_its_own_commands_or_none() {
    let text = format!(
        "[apps.callbacks]\nurl = '{URL}'\ncall = ['Call.CallbackAfterEndCall']\nlive = []\n"
    );
    let place = Place::with(App::new(ID, KEY), &text).await;
    let out = place.done("callback-config apply --product all");
    assert!(out.contains("live: left as it is"), "{out}");
    assert_eq!(place.registered(Product::Call).unwrap().commands, ["Call.CallbackAfterEndCall"]);
    assert_eq!(place.registered(Product::Room), Some(wanted(Product::Room)));
    assert_eq!(place.registered(Product::Live), None);
    place.done("callback-config check");
    let said = place.failed("callback-config apply --product live", 1);
    assert!(said.contains("`apps.callbacks.live` of app 1400000001 is empty"), "{said}");
    place.done("callback-config apply --product live --command all");
    assert_eq!(place.registered(Product::Live), Some(wanted(Product::Live)));

    let place = Place::with(App::new(ID, KEY), "").await;
    let said = place.failed("callback-config check --product call", 1);
    assert!(said.contains("no callback URL is wanted for call"), "{said}");
    assert!(said.contains("hint: give `--url https://…`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_region_or_identifier_is_an_error_with_a_hint() {
    let place = Place::new().await;
    let apply = "callback-config apply --product call";
    std::fs::write(place.path().join("foreign"), "f".repeat(64)).unwrap();
    let said = place.failed(&format!("{apply} --secret-key-file foreign"), 1);
    assert!(said.starts_with("error: call get_callback at 127.0.0.1:"), "{said}");
    assert!(said.contains("code 70009: ") && said.contains("\nhint: "), "{said}");
    assert!(said.contains("key"), "{said}");
    let said = place.failed(&format!("{apply} --identifier alice"), 1);
    assert!(said.contains("code 60010: the identifier is not an admin"), "{said}");
    assert!(said.contains("hint: name an admin of the app with `--identifier`"), "{said}");
    let said = place.failed(&format!("{apply} --app 1400000002 --region usa"), 1);
    assert!(said.contains("error: there is no secret key of app 1400000002\nhint: "), "{said}");
    let said = place.failed(&format!("{apply} --secret-key-file nowhere/key"), 1);
    assert!(said.contains("of app 1400000001: `nowhere/key`: No such file"), "{said}");
    let said = place.failed(&format!("{apply} --region mars"), 2);
    assert!(said.contains("`mars` is not a region\nhint: give `china`, `singapore`"), "{said}");
    let said = place.failed(&format!("{apply} --host http://api.example.com"), 1);
    assert!(said.contains("plain HTTP to `api.example.com`\nhint: "), "{said}");
    assert_eq!(place.registered(Product::Call), None);

    let elsewhere = Place::with(App { site: "china", ..App::new(ID, KEY) }, "").await;
    let said = elsewhere.failed(&format!("{apply} --url {URL}"), 1);
    assert!(said.contains("code 60026: ") && said.contains("--region"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_is_the_named_one_or_the_only_configured_one() {
    let place = Place::new().await;
    let host = place.stub.origin();
    let show = |more: &str, env: &[(&str, &str)]| {
        place.run_with(&format!("callback-config show --product call --host {host} {more}"), env)
    };
    let nothing = "call: nothing is registered\n";
    let said = show("", &[]).err;
    assert!(said.contains("error: no app is configured\nhint: name one with `--app`"), "{said}");
    // Named, it need not be configured.
    assert_eq!(show("--app 1400000001 --secret-key-file key", &[]).out, nothing);
    assert_eq!(show("--app 1400000001", &[("TRTC_SECRET_KEY", KEY)]).out, nothing);
    let env = [("TRTC_SDK_APP_ID", APP), ("TRTC_SECRET_KEY_FILE", "key")];
    assert_eq!(show("", &env).out, nothing);
    // What the environment says of one app is not used for another.
    let said = show("--app 1400000002", &env).err;
    assert!(said.contains("there is no secret key of app 1400000002"), "{said}");
    let said = show("--app x", &[]).err;
    assert!(said.contains("`--app x` is not a valid SDKAppID\nhint: "), "{said}");
    let two = "[[apps]]\nsdk_app_id = 1\n[[apps]]\nsdk_app_id = 2\n";
    std::fs::write(place.path().join("two.toml"), two).unwrap();
    let said = show("", &[("TRTC_CONFIG", "two.toml")]).err;
    assert!(said.contains("several apps are configured: 1, 2\nhint: name one"), "{said}");
    let env = [("TRTC_SDK_APP_ID", APP), ("TRTC_SECRET_KEY_FILE", "key")];
    let said = place.run_with("callback-config show", &env).err;
    assert!(said.contains("it is not said where app 1400000001 was made\nhint: give `--region"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_sample_is_stored_and_creates_no_call() {
    let place = Place::new().await;
    let serving = Serving::start(place.path(), &["--config", "my.toml"]);
    let apply =
        format!("callback-config apply --product all --verify --url {}/callback", serving.url);
    for _ in 0..2 {
        let ran = place.run(&apply);
        assert_eq!(ran.code, 0, "{ran:?}");
        for product in Product::ALL {
            let verified = format!("{product}: verified, the sample was stored ");
            assert!(ran.out.contains(&verified), "{ran:?}");
        }
    }
    let events = done(place.path(), &["events", "--json"]);
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 6);
    let commands: BTreeSet<&str> =
        events.iter().map(|event| event["command"].as_str().unwrap()).collect();
    let own = ["Call", "Live", "Room"].map(|family| format!("{family}.CallbackAfterVerify"));
    assert_eq!(commands, own.iter().map(String::as_str).collect());
    assert_eq!(done(place.path(), &["calls", "--json"]), "");
    assert_eq!(done(place.path(), &["rooms", "--json"]), "");
    serving.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_does_not_arrive_is_an_error_with_a_hint() {
    let place = Place::new().await;
    let apply = "callback-config apply --product call --verify --wait 1 --url";
    let said = place.failed(&format!("{apply} {URL}"), 1);
    assert!(said.contains("`--verify` reads the server's store, sqlite://"), "{said}");
    assert!(place.stub.seen().is_empty(), "it was changed before that was known");
    let serving = Serving::start(place.path(), &["--config", "my.toml"]);
    // Nobody listens there.
    let said = place.failed(&format!("{apply} http://127.0.0.1:1/"), 1);
    assert!(said.contains("error: verify call: post to http://127.0.0.1:1: "), "{said}");
    assert!(said.contains("hint: check that the server is running"), "{said}");
    // The server answers OK, and rejects what is signed with another token.
    let text = std::fs::read_to_string(place.path().join("my.toml")).unwrap();
    std::fs::write(place.path().join("my.toml"), text.replace(TOKEN, "another")).unwrap();
    let said = place.failed(&format!("{apply} {}/", serving.url), 1);
    assert!(said.contains("error: verify call: the sample was answered OK but is not in sqlite"));
    assert!(said.contains("\nhint: check that this is the server's store"), "{said}");
    serving.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn show_prints_text_or_json() {
    let place = Place::new().await;
    place.stub.put(ID, "room_config", Some(other()));
    let steers = Config { url: "https://e.example.com/\u{1b}[31m".into(), commands: vec![] };
    place.stub.put(ID, "live_config", Some(steers));
    let out = place.done("callback-config show");
    let text = "call: nothing is registered\nroom: https://elsewhere.example.com/\n  \
                Room.CallbackAfterCreateRoom\n  Room.CallbackAfterSomethingElse\n\
                live: https://e.example.com/\u{fffd}[31m\n";
    assert_eq!(out, text);
    place.stub.fail("call_config/get_callback", 1, Fault::Code(60016));
    let ran = place.run("callback-config show --json");
    assert_eq!(ran.code, 1, "{ran:?}");
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["app"], ID);
    assert_eq!(shown["products"][0]["registered"], Value::Null);
    assert!(shown["products"][0]["error"].as_str().unwrap().contains("60016"));
    let room = json!({ "product": "room", "registered": true, "url": other().url,
        "commands": other().commands, "error": null });
    assert_eq!(shown["products"][1], room);
    let shown: Value = serde_json::from_str(&place.done("callback-config show --json")).unwrap();
    let call = json!({ "product": "call", "registered": false, "url": null, "commands": [],
        "error": null });
    assert_eq!(shown["products"][0], call);
    assert!(place.only_looked());
}

#[tokio::test(flavor = "multi_thread")]
async fn delete_asks_for_confirmation() {
    let place = Place::new().await;
    place.done("callback-config apply --product all");
    let said = place.failed("callback-config delete --product call", 1);
    assert!(said.contains("no more callbacks of call are sent"), "{said}");
    assert!(
        said.contains("cannot ask for confirmation without a terminal; nothing was changed"),
        "{said}"
    );
    assert!(place.registered(Product::Call).is_some());
    let out = place.done("callback-config delete --product all --yes");
    assert!(out.contains(&format!("call: {URL}\n  Call.")), "{out}");
    assert!(out.contains("\ncall: deleted\n"), "{out}");
    assert!(Product::ALL.iter().all(|product| place.registered(*product).is_none()));
    let out = place.done("callback-config delete --product call");
    assert_eq!(out, "call: nothing is registered\n");
    assert_eq!(place.run("callback-config delete").code, 2);
}

/// Runs it on a terminal where somebody types `answer`.
#[cfg(target_os = "linux")]
fn answered(place: &Place, arguments: &str, answer: &str) -> (bool, String) {
    use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let ours = openpt(flags).unwrap();
    unlockpt(&ours).unwrap();
    let theirs = ioctl_tiocgptpeer(&ours, flags).unwrap();
    std::fs::File::from(ours.try_clone().unwrap()).write_all(answer.as_bytes()).unwrap();
    let mut command = program(place.path());
    command.args(arguments.split_whitespace()).env("TRTC_CONFIG", "my.toml").stdin(theirs);
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8(output.stderr).unwrap())
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn on_a_terminal_removing_commands_needs_confirmation() {
    let place = Place::new().await;
    place.stub.put(ID, "room_config", Some(other()));
    let apply = "callback-config apply --product room";
    let (done, said) = answered(&place, apply, "no\n");
    assert!(!done && said.contains("type yes to continue: "), "{said}");
    assert!(said.contains("error: room: nothing was changed"), "{said}");
    assert_eq!(place.registered(Product::Room), Some(other()));
    // Somebody else writes while one reads: what they wrote is shown, and one is asked once more.
    let more = Config { url: "https://third.example.com".into(), ..other() };
    place.stub.put(ID, "room_config", None);
    place.stub.fail("room_config/set_callback", 1, Fault::OthersSet(more));
    let (done, said) = answered(&place, apply, "yes\n");
    assert!(done && said.contains("looking again"), "{said}");
    assert_eq!(said.matches("type yes to continue: ").count(), 1);
    assert_eq!(place.registered(Product::Room), Some(wanted(Product::Room)));
    let (done, said) = answered(&place, "callback-config delete --product room", "yes\n");
    assert!(done, "{said}");
    assert_eq!(place.registered(Product::Room), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_live_is_set_in_part_shown_masked_and_deleted() {
    let place = Place::new().await;
    let token = || place.stub.token(ID);
    assert!(place.done("callback-token show").contains("no token was ever set"));
    // The first time both are sent: the app's own token, and that it is used.
    place.done("callback-token set");
    assert_eq!(token(), Some((TOKEN.to_owned(), true)));
    assert_eq!(place.done("callback-token set"), "live: as wanted, nothing changed\n");
    let out = place.done("callback-token show");
    assert!(out.contains("16 characters (****), one of the app's configured tokens"), "{out}");
    place.done("callback-token set --disable");
    assert_eq!(token(), Some((TOKEN.to_owned(), false)));

    std::fs::write(place.path().join("other"), "another-token\n").unwrap();
    let ran = place.run("callback-token set --token-file other");
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(token(), Some(("another-token".to_owned(), false)));
    let ran = place.run("callback-token set --enable");
    assert_eq!(token(), Some(("another-token".to_owned(), true)));
    assert!(ran.err.contains("warning: ") && ran.err.contains("rejects them"), "{ran:?}");
    let shown: Value = serde_json::from_str(&place.done("callback-token show --json")).unwrap();
    assert_eq!(
        (&shown["enabled"], &shown["token_characters"], &shown["configured"]),
        (&json!(true), &json!(13), &json!(false))
    );
    place.done("callback-token set --configured --enable");
    assert_eq!(token(), Some((TOKEN.to_owned(), true)));

    let said = place.failed("callback-token delete", 1);
    assert!(said.contains("hint: give `--yes`"), "{said}");
    place.done("callback-token delete --yes");
    assert_eq!(token(), None);
    assert_eq!(place.done("callback-token delete"), "live: there is no token\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_token_goes_to_a_new_private_file() {
    let place = Place::new().await;
    let ran = place.run("callback-token set --generate --out new --disable");
    assert_eq!(ran.code, 0, "{ran:?}");
    let file = place.path().join("new");
    let text = std::fs::read_to_string(&file).unwrap();
    let token = text.trim_end();
    assert_eq!((token.len(), text.len()), (64, 65));
    assert_eq!(place.stub.token(ID), Some((token.to_owned(), false)));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!format!("{ran:?}").contains(token));
    let said = place.failed("callback-token set --generate --out new", 1);
    assert!(said.contains("write the new token to `new`: File exists"), "{said}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    assert_eq!(place.run("callback-token set --generate").code, 2);
    // Whether the vendor has it cannot be told: then it must not be lost.
    place.stub.fail("set_callback_token", 9, Fault::Status(400));
    let said = place.failed("callback-token set --generate --out newer", 1);
    assert!(said.contains("the new token is in `newer`"), "{said}");
    assert!(place.path().join("newer").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usersig_is_made_and_read() {
    let place = Place::new().await;
    let made = place.done("usersig make --identifier alice --expire 10m");
    std::fs::write(place.path().join("ticket.txt"), &made).unwrap();
    let out = place.done("usersig inspect ticket.txt");
    for line in ["identifier  alice\n", "sdk_app_id  1400000001\n", "expire      600 s\n"] {
        assert!(out.contains(line), "{out}");
    }
    assert!(out.contains(", valid\n") && out.ends_with("signature   right, made with this key\n"));
    let inspect = |more: &str, env: &[(&str, &str)]| -> Value {
        let ran = place.run_with(&format!("usersig inspect --json {} {more}", made.trim()), env);
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}"))
    };
    assert_eq!(inspect("", &[])["signature_right"], Value::Null);
    assert_eq!(inspect("--secret-key-file key", &[])["signature_right"], true);
    let wrong = inspect("", &[("TRTC_SECRET_KEY", "another")]);
    assert_eq!((&wrong["signature_right"], &wrong["expired"]), (&json!(false), &json!(false)));
    // A vector of the vendor's own maker, long expired and of another app.
    let old = "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkElNyM-NgUsUp2YkFBZkpQAkLKIDKpFYUZBal\
               gsTNTAwMoIIlmbkgIUNzAyiAGZOZDjI6NcUp3dk4J9GlwDLXP8LUIsww2D*yJMM53CAgLCsozCesPDyzxMK\
               5zNC73FapFgDATDGu";
    let out = place.done(&format!("usersig inspect {old}"));
    assert!(out.contains("ends        2023-11-15T22:13:20.000Z, expired\n"), "{out}");
    assert!(out.contains("signature   not checked"), "{out}");
    let said = place.failed("usersig inspect eJyr+/=", 1);
    assert!(said.contains("left out the last step"), "{said}");
    assert!(!said.contains("eJyr"), "{said}");
    let said = place.failed(&format!("usersig inspect {KEY}"), 1);
    assert!(said.contains("there is no file") && !said.contains(KEY), "{said}");
    let said = place.failed("usersig inspect missing.txt", 1);
    assert!(said.contains("there is no file `missing.txt`"), "{said}");
    let said = place.failed("usersig inspect -", 1);
    assert!(said.contains("no UserSig was given\nhint: "), "{said}");
    assert_eq!(place.run("usersig make --expire never").code, 2);
    let said = place.failed("usersig make --app 1400000002", 1);
    assert!(said.contains("there is no secret key of app 1400000002"), "{said}");
}

/// Every word of `text` that could be a signature, as the stand-in remembers one.
fn hashes(text: &str) -> BTreeSet<String> {
    let other = |letter: char| !letter.is_ascii_alphanumeric() && !"*-_".contains(letter);
    let words = text.split(other).filter(|word| word.len() > 40);
    words.map(|word| hex::encode(Sha256::digest(word))).collect()
}

/// Runs every command, and returns all that was said. A fault of the vendor meets the calls of `action`.
async fn everything_said(fault: Option<(&str, Fault)>, sent: &mut BTreeSet<String>) -> String {
    let place = Place::new().await;
    let serving = Serving::start(place.path(), &["--config", "my.toml"]);
    std::fs::write(place.path().join("other"), "an0ther-token\n").unwrap();
    if let Some((action, fault)) = fault {
        place.stub.fail(action, 1000, fault.clone());
        place.stub.fail(&format!("{action}_token"), 1000, fault);
    }
    let verify = format!("callback-config apply --product call --verify --url {}/", serving.url);
    let mut said = String::new();
    for run in [
        "callback-config apply --product all",
        verify.as_str(),
        "callback-config show",
        "callback-config show --json",
        "callback-config check",
        "callback-config apply --product call",
        "callback-token set --generate --out new",
        "callback-token show",
        "callback-token set --token-file other",
        "callback-token show --json",
        "callback-token set",
        "callback-config delete --product all --yes",
        "callback-token delete --yes",
        "check-config",
        // Secrets in the wrong place.
        &format!("callback-config show --secret-key-file {KEY}"),
        "usersig inspect key",
    ] {
        let ran = place.run_with(run, &[("TRTC_CONFIG", "my.toml"), ("TRTC_LOG__FILTER", "trace")]);
        said += &(ran.out + &ran.err);
    }
    serving.stop();
    if let Ok(generated) = std::fs::read_to_string(place.path().join("new")) {
        assert!(!said.contains(generated.trim()), "{said}");
    }
    sent.extend(place.stub.seen().into_iter().map(|seen| seen.usersig));
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_token_or_signature_is_printed() {
    let faults =
        [Fault::Echo(60004), Fault::Echo(100_002), Fault::Status(403), Fault::Text("no".into())];
    let met = faults.into_iter().flat_map(|fault| {
        ["get_callback", "set_callback"].map(|action| Some((action, fault.clone())))
    });
    let (mut said, mut sent) = (String::new(), BTreeSet::new());
    for fault in met.chain([None]) {
        said += &everything_said(fault, &mut sent).await;
    }
    // What the vendor was sent was said back by it, too.
    assert!(said.contains("IsTokenEnable") && said.contains("verified, the sample"), "{said}");
    for secret in [KEY, TOKEN, "an0ther-token", "Sign="] {
        assert!(!said.contains(secret), "{secret} stands in {said}");
    }
    // Within a second they are all alike.
    assert!(sent.len() >= 3, "{} signatures", sent.len());
    assert!(hashes(&said).is_disjoint(&sent));
    // Were one there, it would be found.
    let made = Place::new().await.done("usersig make");
    assert_eq!(hashes(&made).len(), 1);
}

#[test]
fn the_help_is_readable() {
    let folder = tempfile::tempdir().unwrap();
    let mut help = String::new();
    for page in [
        "callback-config",
        "callback-config show",
        "callback-config apply",
        "callback-config check",
        "callback-config delete",
        "callback-token",
        "callback-token show",
        "callback-token set",
        "callback-token delete",
        "usersig",
        "usersig make",
        "usersig inspect",
        "rtc-repair",
    ] {
        let arguments: Vec<&str> = page.split(' ').chain(["-h"]).collect();
        help = format!("{help}--- {page} -h\n{}\n", done(folder.path(), &arguments));
    }
    let wide: Vec<&str> = help.lines().filter(|line| line.chars().count() > 80).collect();
    assert_eq!(wide, Vec::<&str>::new());
    insta::assert_snapshot!(help);
}

/// The blocks of `kind` within a page.
fn blocks(page: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let rest = page.split(fence.as_str()).skip(1);
    let unindent = |block: &str| -> String {
        block.lines().flat_map(|line| [line.trim_start(), "\n"]).collect()
    };
    rest.map(|block| unindent(block.split("```").next().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_page_do_what_it_says() {
    let page = include_str!("../../docs/guide/tencent-console.md");
    let place = Place::new().await;
    let config = &blocks(page, "toml")[0];
    let host = format!("host = '{}'", place.stub.origin());
    let config =
        config.replace("region = \"singapore\"", &host).replace("/etc/trtc/secret-key", "key");
    assert!(config.contains(&host) && config.contains("\"key\""), "{config}");
    std::fs::write(place.path().join("my.toml"), config).unwrap();

    let console = blocks(page, "console").concat();
    let commands: Vec<&str> = console
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.contains("callback-") || line.contains("usersig"))
        .collect();
    assert!(commands.len() >= 9, "{commands:?}");
    let program_path = Path::new(env!("CARGO_BIN_EXE_trtc-callbacks")).parent().unwrap();
    let path = format!("{}:{}", program_path.display(), std::env::var("PATH").unwrap());
    let mut printed = String::new();
    for command in &commands {
        let output = std::process::Command::new("sh")
            .args(["-c", command])
            .current_dir(place.path())
            .env_clear()
            .envs([("PATH", path.as_str()), ("TRTC_CONFIG", "my.toml")])
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{command}: {errors}");
        printed += &String::from_utf8_lossy(&output.stdout);
    }
    // What the page shows of their output is what they print.
    for line in console.lines().filter(|line| !line.starts_with("$ ") && *line != "…") {
        let shown = printed.lines().any(|printed| printed.starts_with(line));
        assert!(shown, "`{line}` is not in {printed}");
    }
}
