//! Tests of the settings as a whole, and what the tests of their files share.

use std::io::Write;

use secrecy::ExposeSecret;

use crate::settings::{DEFAULTS, Settings, Sources};
use protocol::Admission;
use protocol::diagnostic::Hint;
use protocol::source_filter::VendorNetworks;

pub(crate) fn env(variables: &[(&str, &str)]) -> Sources {
    let pairs = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Sources { env: pairs.collect(), ..Sources::default() }
}

pub(crate) fn file(text: &str) -> (tempfile::NamedTempFile, Sources) {
    let mut file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let sources = Sources { file: Some(file.path().into()), ..Sources::default() };
    (file, sources)
}

pub(crate) fn error(sources: &Sources) -> String {
    Settings::load(sources).unwrap_err().diagnostic().to_string()
}

#[test]
fn the_defaults_stand_alone_and_each_key_is_explained() {
    let settings = Settings::load(&Sources::default()).unwrap();
    assert_eq!(settings.server.listen.port(), 8080);
    assert_eq!(settings.store.url.expose_secret(), "sqlite://data/trtc-callbacks.db");
    let lines: Vec<&str> = DEFAULTS.lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].contains(" = ")) {
        assert!(pair[0].starts_with('#'), "no comment above: {}", pair[1]);
    }
}

#[test]
fn a_file_that_is_no_toml_names_the_line() {
    for (text, said) in [
        ("[ingest]\nlanes = [1\n", "line 2, column "),
        ("[ingest]\n\nlanes 3\n", "line 3, column "),
        ("[ingest\n", "line 1, column "),
        ("[ingest]\nlanes = 1\nlanes = 2", "line 3, column "),
        ("[[apps]]\ncallback_tokens = [s3cret]", "line 2, column "),
    ] {
        let (file, sources) = file(text);
        let message = error(&sources);
        let name = file.path().file_name().unwrap().to_str().unwrap().to_owned();
        assert!(message.contains(said) && message.contains(&name), "{message}");
        assert!(!message.contains("s3cret") && !message.contains("lanes"), "{message}");
    }
}

#[test]
fn an_address_to_listen_on_says_which_form_it_must_have() {
    for (given, port) in
        [(":24081", 24081), ("localhost:24081", 24081), ("nowhere", 8080), ("81", 81)]
    {
        let message = error(&env(&[("TRTC_SERVER__LISTEN", given)]));
        assert!(message.contains("key `server.listen`: no IP address with a port"), "{message}");
        let forms =
            format!("give 0.0.0.0:{port} for every address of this machine, or 127.0.0.1:{port}");
        assert!(message.contains(&forms), "{message}");
    }
    let message = error(&env(&[("TRTC_OPS__LISTEN", "localhost")]));
    assert!(
        message.contains("key `ops.listen`") && message.contains("127.0.0.1:9090"),
        "{message}"
    );
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key() {
    let message = error(&env(&[("TRTC_INGEST__LANES", "many")]));
    assert!(message.contains("ingest.lanes"), "{message}");
    let message = error(&env(&[("TRTC_ANSWER__REJECTED", "no")]));
    assert!(message.contains("forbidden"), "{message}");
    let message = error(&env(&[("TRTC_STORE__PARTITION_SPAN", "week")]));
    assert!(message.contains("expected month or day, found `week`"), "{message}");
    assert!(message.contains("\nhint: "), "{message}");
    let message = error(&env(&[("TRTC_INGEST__ACK_DEADLINE_MS", "5000")]));
    assert!(message.contains("`ingest.ack_deadline_ms`: 5000"), "{message}");
    assert!(message.contains("hint: give 10 to 1899"), "{message}");
    let message = error(&env(&[("TRTC_INGEST__ANSWER_DEADLINE_MS", "1600")]));
    assert!(message.contains("`ingest.ack_deadline_ms`: 1600 is not below"), "{message}");
}

#[test]
fn unsafe_settings_are_refused() {
    let message = error(&env(&[("TRTC_OPS__LISTEN", "0.0.0.0:9090")]));
    assert!(message.contains("hint: set `ops.token`"), "{message}");
    let open = |token| env(&[("TRTC_OPS__LISTEN", "0.0.0.0:9090"), ("TRTC_OPS__TOKEN", token)]);
    let message = error(&open("0123456789abcde"));
    assert!(message.contains("`ops.token` has fewer than 16 characters"), "{message}");
    assert!(message.contains("\nhint: make a longer one with `openssl rand -hex 24`"), "{message}");
    assert!(!message.contains("0123456789"), "{message}");
    assert!(Settings::load(&open("0123456789abcdef")).is_ok());
    assert!(Settings::load(&env(&[("TRTC_OPS__TOKEN", "t")])).is_ok());
    assert!(error(&env(&[("TRTC_STORE__URL", "mysql://x")])).contains("`store.url`"));
    let direct = |url| error(&env(&[("TRTC_STORE__DIRECT_URL", url)]));
    // Beside SQLite it is of no use.
    assert!(direct("postgres://u:s3cret@h/d").contains("`store.direct_url`: it is of use with"));
    assert!(direct("s3cret").contains("`store.direct_url`: it names no kind of store"));
    let same = env(&[("TRTC_SPOOL__PATH", "./data/trtc-callbacks.db")]);
    assert!(error(&same).contains("the same file"));
    assert!(error(&env(&[("TRTC_LOG__FILTER", "=,=x")])).contains("`log.filter`"));
    for key in ["callback_tokens", "rtc_keys"] {
        let (_file, sources) = file(&format!("[[apps]]\nsdk_app_id = 1\n{key} = [\"\"]"));
        assert!(error(&sources).contains(&format!("`apps.{key}` of app 1: one is empty")));
    }
    let shared = "[[apps]]\nsdk_app_id = 1\nrtc_keys = [\"s3cret\"]\n\
        [[apps]]\nsdk_app_id = 2\nrtc_keys = [\"other\", \"s3cret\"]";
    let (_file, sources) = file(shared);
    let message = error(&sources);
    assert!(message.contains("apps 1 and 2 have the same key"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
    let paths = |paths| env(&[("TRTC_SERVER__CALLBACK_PATHS", paths)]);
    for path in ["/rtc/{sdk_app_id}", "/{sdk_app_id}/in"] {
        assert!(Settings::load(&paths(path)).is_ok(), "{path}");
    }
    for path in ["/rtc/x{sdk_app_id}", "/rtc/{sdk_app_id}x", "/{app}", "/{sdk_app_id}/{sdk_app_id}"]
    {
        assert!(error(&paths(path)).contains("not a plain path"), "{path}");
    }
    let (_file, sources) = file("[[apps]]\nsdk_app_id = 1\n[[apps]]\nsdk_app_id = 1");
    assert!(error(&sources).contains("stands twice"));
    assert!(error(&env(&[("TRTC_SDK_APP_ID", "x")])).contains("not a valid SDKAppID"));
    assert!(error(&env(&[("TRTC_SERVER__CALLBACK_PATHS", "/a,b")])).contains("`b`"));
    assert!(error(&env(&[("TRTC_SERVER__CALLBACK_PATHS", "/a,/a")])).contains("twice"));
    assert!(Settings::load(&Sources::default()).unwrap().apps_to_serve().is_err());
    let message = error(&env(&[("TRTC_SERVER__TLS_KEY", "key.pem")]));
    assert!(message.contains("hint: set both for HTTPS"), "{message}");
    let message = error(&env(&[("TRTC_AUTH__SOURCE_ADDRESSES", "10.0.0.1, vender")]));
    assert!(message.contains("`auth.source_addresses`: `vender` is not an address"), "{message}");
    let message = error(&env(&[("TRTC_AUTH__TRUSTED_PROXIES", "10.0.0.1,0.0.0.0/0")]));
    assert!(message.contains("trusts whoever asks"), "{message}");
}

#[test]
fn a_list_in_a_variable_may_be_empty() {
    let empty = [("TRTC_AUTH__SOURCE_ADDRESSES", ""), ("TRTC_AUTH__TRUSTED_PROXIES", " ")];
    let settings = Settings::load(&env(&empty)).unwrap();
    assert_eq!(settings.admission().unwrap(), Admission::default());
}

#[test]
fn the_vendors_list_may_stand_alone_or_beside_addresses() {
    let of = |sources: &Sources| Settings::load(sources).unwrap();
    let (_file, alone) = file("[auth]\nsource_addresses = \"vendor\"");
    let (_file, listed) = file("[auth]\nsource_addresses = [\"vendor\"]");
    let variable = env(&[("TRTC_AUTH__SOURCE_ADDRESSES", "vendor")]);
    for sources in [alone, listed, variable] {
        let settings = of(&sources);
        assert!(settings.auth.takes_vendors_list());
        let expected = Admission::default().with_vendor(VendorNetworks::default());
        assert_eq!(settings.admission().unwrap(), expected);
    }
    let both = of(&env(&[("TRTC_AUTH__SOURCE_ADDRESSES", "10.0.0.1, vendor")]));
    assert!(both.auth.takes_vendors_list());
    assert_eq!(both.auth.given_addresses().collect::<Vec<_>>(), ["10.0.0.1"]);
    let (_file, wrong) = file("[auth]\nsource_addresses = 7");
    let message = error(&wrong);
    assert!(message.contains("expected a list of addresses, or \"vendor\""), "{message}");
}

#[test]
fn calls_to_the_vendor_require_credentials_at_start() {
    let serve = |changes: &[(&str, &str)]| {
        let all = [&[("TRTC_SDK_APP_ID", "1400000001")], changes].concat();
        Settings::load(&env(&all)).unwrap().apps_to_serve().map(|_| ())
    };
    let list = ("TRTC_AUTH__SOURCE_ADDRESSES", "vendor");
    let check = ("TRTC_REGISTRATION__CHECK_INTERVAL_S", "600");
    let url = ("TRTC_CALLBACK_URL", "https://callbacks.example.com/callback");
    let (key, region) = (("TRTC_SECRET_KEY", "k"), ("TRTC_REGION", "singapore"));
    for (changes, said) in [
        (&[list][..], "`vendor` needs an app"),
        (&[list, key], "hint: give an app its secret key (TRTC_SECRET_KEY_FILE) and region"),
        (&[check], "no app says what is to be registered"),
        (&[check, url], "app 1400000001 has no `secret_key_file`"),
        (&[check, url, key], "app 1400000001 has no `region`"),
        (&[("TRTC_REGISTRATION__REPAIR", "true")], "and nothing is checked"),
    ] {
        let message = serve(changes).unwrap_err().diagnostic().to_string();
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(serve(&[list, check, url, key, region]), Ok(()));
    assert_eq!(serve(&[url, key, region]), Ok(()));
    // Commands that serve nothing run in the environment of the server, too.
    assert!(Settings::load(&env(&[list, check])).is_ok());
}

#[test]
fn a_private_key_in_the_place_of_its_path_is_not_repeated() {
    let (key, _) = file("-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n");
    let path = key.path().to_str().unwrap();
    let message = error(&env(&[("TRTC_SERVER__TLS_KEY_FILE", path)]));
    assert!(message.contains("does not end in _FILE"), "{message}");
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated() {
    for text in ["callback_tokens = \"s3cret\"", "callback_tokens = [s3cret]", "s3cret"] {
        let (_file, sources) = file(&format!("[[apps]]\nsdk_app_id = 1\n{text}"));
        let message = error(&sources);
        assert!(!message.contains("s3cret"), "{message}");
        assert!(message.contains("\nhint: "), "{message}");
    }
}

#[test]
fn the_production_example_is_valid() {
    let (_file, mut sources) = file(include_str!("../../config/production.example.toml"));
    sources.env.insert("TRTC_OPS__TOKEN".into(), "0123456789abcdef".into());
    assert!(Settings::load(&sources).unwrap().apps_to_serve().is_ok());
}

#[test]
fn tokens_are_named_scoped_and_never_repeated() {
    let wrong = |table: &str| {
        let (_file, sources) =
            file(&format!("[ops]\nlisten = \"0.0.0.0:1\"\n[[ops.tokens]]\n{table}"));
        let message = error(&sources);
        assert!(!message.contains("s3cret"), "{message}");
        message
    };
    let token = "token = \"0123456789abcdef-s3cret\"";
    for (table, said) in [
        (format!("name = \"a\"\n{token}"), "key `ops.tokens.scopes` of `a` is empty"),
        (
            format!("name = \"a\"\n{token}\nscopes = [\"s3cret\"]"),
            "a scope is metrics, read, export or admin",
        ),
        (format!("name = \"a s3cret\"\n{token}\nscopes = [\"read\"]"), "one is not a name"),
        (format!("name = \"ops.token\"\n{token}\nscopes = [\"read\"]"), "give it another one"),
        ("name = \"a\"\nscopes = [\"read\"]".to_owned(), "`a` has no token"),
        (
            format!("name = \"a\"\n{token}\ntoken_file = \"t\"\nscopes = [\"read\"]"),
            "`token` is set too",
        ),
        (
            "name = \"a\"\ntoken = \"s3cret\"\nscopes = [\"read\"]".to_owned(),
            "key `ops.tokens.token` of `a` has fewer than 16 characters",
        ),
        (
            format!(
                "name = \"a\"\n{token}\nscopes = [\"read\"]\n[[ops.tokens]]\nname = \"a\"\n{token}\nscopes = [\"read\"]"
            ),
            "`a` stands twice",
        ),
        (format!("nam = \"a\"\n{token}"), "did you mean `ops.tokens.name`?"),
    ] {
        let message = wrong(&table);
        assert!(message.contains(said), "{table}: {message}");
    }
    let reachable = ("TRTC_OPS__LISTEN", "0.0.0.0:1");
    let read = ("TRTC_OPS_READ_TOKEN", "0123456789abcdef\nfedcba9876543210");
    let settings = Settings::load(&env(&[reachable, read])).unwrap();
    let [token] = settings.ops.tokens.as_slice() else { panic!("one token") };
    assert_eq!(token.name, "read");
    assert!(!format!("{settings:?}").contains("0123456789"), "{settings:?}");
    let (_file, sources) =
        file("[[ops.tokens]]\nname = \"a\"\ntoken_file = \"/nowhere/token\"\nscopes = [\"admin\"]");
    let settings = Settings::load(&sources).unwrap();
    let message = settings.access_tokens().unwrap_err().diagnostic().to_string();
    assert!(message.contains("`ops.tokens.token_file` of `a`: `/nowhere/token`"), "{message}");
}
