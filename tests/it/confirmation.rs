//! What `send`, `simulate` and `replay` say of what they sent, and where they send to without being told.

use std::path::Path;
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

use crate::process::{Serving, program};
use crate::support::{APP, on_both_stores};

const START: &str = "Call.CallbackAfterStartCall";
/// Whose bodies are events of their own each time they are sent.
const UNIQUE: [&str; 2] = ["Live.CallbackBeforeSendGift", "Group.CallbackBeforeSendMsg"];

/// A folder with a configuration whose app has a token.
fn configured(more: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = format!("{more}\n[[apps]]\nsdk_app_id = {APP}\ncallback_tokens = [\"t0ken\"]\n");
    std::fs::write(folder.path().join("my.toml"), config).unwrap();
    folder
}

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap()
}

/// Runs it with these variables; gives its exit code, and all that it said.
fn said(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String) {
    let mut command = program(folder);
    command.args(arguments).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
    (status.code().unwrap(), text)
}

#[test]
fn what_the_server_rejected_is_counted_by_its_reason() {
    let folder = configured("");
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let ops = [("TRTC_OPS__LISTEN", address(&serving.ops_url))];
    let send = ["send", START, "--count", "3", "--to", &serving.url];
    for (more, expected) in [
        (&[][..], "error: 3 sent: 0 stored, 3 rejected (not signed)\nhint: "),
        (&["--token", "other"], "error: 3 sent: 0 stored, 3 rejected (wrong token)\nhint: "),
        (
            &["--sdk-app-id", "1400000009"],
            "error: 3 sent: 0 stored, 3 rejected (not an app of the server)\nhint: ",
        ),
    ] {
        let (code, text) = said(folder.path(), &[&send[..], more].concat(), &ops);
        assert!(code == 1 && text.starts_with(expected), "{code}: {text}");
    }
    let right = said(folder.path(), &[&send[..], &["--token", "t0ken"]].concat(), &ops);
    assert_eq!(right, (0, "3 sent: 3 stored\n".to_owned()));
    let again = ["send", START, "--as-is", "--count", "2", "--config", "my.toml"];
    let again = said(folder.path(), &[&again[..], &["--to", &serving.url]].concat(), &ops);
    assert_eq!(again, (0, "2 sent: 1 stored, 1 stored before\n".to_owned()));
    let play = ["simulate", "--duration", "1s", "--rate", "50", "--to", &serving.url];
    let (code, text) = said(folder.path(), &play, &ops);
    assert!(code == 1 && text.contains(" answered OK, 0 failed"), "{code}: {text}");
    assert!(text.contains(" sent: 0 stored, ") && text.contains("rejected (not signed)"), "{text}");
    serving.stop();
}

on_both_stores! {
    async fn without_metrics_the_store_is_read(database: Database) {
        let folder = configured("");
        let store = database.url.as_str();
        let serving = Serving::start(folder.path(), &["--config", "my.toml", "--store", store]);
        // Nobody listens there.
        let none = [("TRTC_OPS__LISTEN", "127.0.0.1:1")];
        let send = ["send", START, UNIQUE[0], UNIQUE[1], "--store", store, "--to", &serving.url];
        let token = ["--token", "t0ken"];
        let right = said(folder.path(), &[&send[..], &token].concat(), &none);
        assert_eq!(right, (0, "3 sent: 3 stored\n".to_owned()));
        // Also what has the same bodies: those that are there came before.
        let as_is = ["--as-is", "--count", "2"];
        let twice = said(folder.path(), &[&send[..], &token, &as_is].concat(), &none);
        assert_eq!(twice, (0, "6 sent: 5 stored, 1 repeated\n".to_owned()));
        let (code, text) = said(folder.path(), &send, &none);
        let missing = text.starts_with("error: 3 sent: 0 stored, 3 not in ");
        assert!(code == 1 && missing && text.contains("hint: check that this is the server's store"), "{text}");
        let play = ["simulate", "--duration", "1s", "--rate", "100", "--duplicates", "0.2"];
        let play = [&play[..], &["--store", store, "--to", &serving.url]].concat();
        let (code, text) = said(folder.path(), &play, &none);
        assert!(code == 1 && text.contains(" sent: 0 stored, "), "{code}: {text}");
        let (code, text) = said(folder.path(), &[&play[..], &token].concat(), &none);
        assert!(code == 0 && text.contains(" stored, ") && text.contains(" repeated"), "{text}");
        serving.stop();
    }
}

#[test]
fn unverifiable_deliveries_are_reported_as_such() {
    let (folder, elsewhere) = (configured(""), tempfile::tempdir().unwrap());
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let none = [("TRTC_OPS__LISTEN", "127.0.0.1:1")];
    let send = ["send", START, "--to", &serving.url];
    let (code, text) = said(elsewhere.path(), &send, &none);
    let unknown = "1 sent: 1 answered OK; whether they are stored could not be checked: sqlite://";
    assert!(code == 0 && text.starts_with(unknown), "{code}: {text}");
    assert!(text.contains("http://127.0.0.1:1 does not answer"), "{text}");
    // A replay says the same of what a log holds.
    let event =
        format!("{{\"query\":\"SdkAppid={APP}\",\"body\":{{\"CallbackCommand\":\"{START}\"}}}}");
    std::fs::write(folder.path().join("one.json"), event).unwrap();
    let replay = ["replay", "one.json", "--to", &serving.url];
    let (code, text) = said(folder.path(), &replay, &none);
    assert!(code == 1 && text.starts_with("error: 1 sent: 0 stored, 1 not in sqlite://"), "{text}");
    serving.stop();
}

#[test]
fn without_a_target_the_configured_server_is_used() {
    let folder = configured("[server]\ncallback_paths = [\"/callback/s3cret\"]");
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let places = [
        ("TRTC_SERVER__LISTEN", address(&serving.url)),
        ("TRTC_OPS__LISTEN", address(&serving.ops_url)),
        ("TRTC_CONFIG", "my.toml"),
    ];
    let sent = said(folder.path(), &["send", START], &places);
    assert_eq!(sent, (0, "1 sent: 1 stored\n".to_owned()));
    let (code, text) = said(folder.path(), &["simulate", "--duration", "1s"], &places);
    assert!(code == 0 && text.contains(" stored\n"), "{code}: {text}");
    let sent = said(folder.path(), &["replay", "--stored", "--until", "7d"], &places);
    assert!(sent.1.contains("no event was found"), "{sent:?}");
    serving.stop();
}

#[test]
fn without_a_target_https_is_used_where_the_server_has_tls() {
    let folder = configured(
        "[server]\ntls_certificate = \"c.pem\"\ntls_key = \"k.pem\"\ncallback_paths = [\"/x\"]",
    );
    // As `openssl req -x509` makes it: its own CA, and for another name.
    let issue = || {
        let mut params = CertificateParams::new(vec!["rtc.example.com".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let (certificate, key) = issue();
    std::fs::write(folder.path().join("c.pem"), certificate).unwrap();
    std::fs::write(folder.path().join("k.pem"), key).unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let places = [
        ("TRTC_SERVER__LISTEN", address(&serving.url)),
        ("TRTC_OPS__LISTEN", address(&serving.ops_url)),
        ("TRTC_CONFIG", "my.toml"),
    ];
    let sent = said(folder.path(), &["send", START], &places);
    assert_eq!(sent, (0, "1 sent: 1 stored\n".to_owned()));
    // Whoever shows another certificate is not that server.
    std::fs::write(folder.path().join("other.pem"), issue().0).unwrap();
    let other = [&places[..], &[("TRTC_SERVER__TLS_CERTIFICATE", "other.pem")]].concat();
    let (code, text) = said(folder.path(), &["send", START], &other);
    assert!(
        code == 1 && text.contains("the server presented another certificate"),
        "{code}: {text}"
    );
    serving.stop();
}
