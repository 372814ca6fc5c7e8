//! Whole tables, as they are written.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use protocol::diagnostic::{Diagnostic, Hint};

use super::checked::check_together;
use super::settings::{DestinationSettings, ForwardingSettings, OrderRule};
use super::target::TargetKind;
use super::{Destination, DestinationError};
use crate::envelope::ClientIp;
use crate::schedule::Schedule;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// What a file of settings holds of forwarding.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    forward: Vec<DestinationSettings>,
    #[serde(default)]
    forwarding: ForwardingSettings,
}

fn no_file(_: &Path) -> Result<SecretString, Diagnostic> {
    panic!("no file is to be read")
}

/// The destination of a table with these keys beside its name.
fn check(keys: &str) -> Result<Destination, DestinationError> {
    let text = format!("[[forward]]\nname = 'billing'\n{keys}");
    let file: File = toml::from_str(&text).unwrap();
    let [settings] = <[DestinationSettings; 1]>::try_from(file.forward).unwrap();
    Destination::check(settings, no_file)
}

/// The same of a table that has a URL and a secret.
fn check_usual(keys: &str) -> Result<Destination, DestinationError> {
    check(&format!("url = 'https://a.example/hook'\nsecrets = ['{SECRET}']\n{keys}"))
}

/// The key that is refused, with problem and hint.
fn refused(found: Result<Destination, DestinationError>) -> (&'static str, String) {
    let error = found.unwrap_err();
    assert!(error.hint().is_some(), "{error}");
    let text = error.diagnostic().to_string();
    assert!(text.contains(error.key) && text.contains("`billing`"), "{text}");
    (error.key, text)
}

#[test]
fn a_table_may_have_every_key() {
    let text = format!(
        "
        [forwarding]
        allow_networks = ['10.0.3.7/32']
        backlog_events_max = 1000000
        number_interval_ms = 50

        [[forward]]
        name = 'billing-2'
        url = 'https://billing.example.com/hooks/trtc?k=v'
        secrets = ['{SECRET}', 'whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD']
        apps = [1400000001, '14*']
        families = ['call', 'rtc_*']
        commands = ['Call.CallbackAfter*']
        rooms = [1001, 'lobby-*']
        calls = ['*']
        headers = {{ Authorization = 'Bearer s3cret' }}
        in_flight_max = 64
        rate_max = 500
        timeout_ms = 30000
        connect_timeout_ms = 1000
        order = 'none'
        order_wait_s = 0
        retry_schedule_s = [1, 60]
        include_client_ip = true
        tls_ca = 'ca.pem'
        tls_certificate = 'client.pem'
        tls_key = 'client.key'
        proxy = 'http://proxy.example:3128'

        [[forward]]
        name = 'warehouse'
        url = 'tls://a.example,tls://b.example'
        in_flight_max = 256
        stream = 'TRTC_EVENTS'
        subject_prefix = 'acme.trtc'
        credentials_file = 'nats.creds'
        create_stream = true
        "
    );
    let file: File = toml::from_str(&text).unwrap();
    assert_eq!(file.forwarding.allow_networks, ["10.0.3.7/32"]);
    let all: Result<Vec<Destination>, _> =
        file.forward.into_iter().map(|one| Destination::check(one, no_file)).collect();
    let all = all.unwrap();
    check_together(&all).unwrap();
    let [http, nats] = &all[..] else { panic!("two destinations") };
    assert_eq!((http.secrets.len(), http.in_flight_max, http.rate_max), (2, 64, 500));
    assert_eq!((http.order, http.order_wait), (OrderRule::None, Duration::ZERO));
    assert_eq!((http.client_ip, http.schedule.attempts_max()), (ClientIp::Included, 3));
    assert!(http.tls.ca.is_some() && http.tls.certificate.is_some() && http.proxy.is_some());
    assert!(!http.filter.rooms.is_empty() && !http.filter.apps.is_empty());
    assert_eq!(nats.target.kind(), TargetKind::Nats);
    assert_eq!(nats.nats.subject_prefix, "acme.trtc");
    let shown = format!("{all:?}");
    for secret in ["s3cret", "MfKQ", "hooks", "3128"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn what_is_not_set_is_as_the_documents_say() {
    let destination = check_usual("").unwrap();
    assert_eq!((destination.in_flight_max, destination.rate_max), (8, 0));
    assert_eq!(destination.timeout, Duration::from_secs(15));
    assert_eq!(destination.connect_timeout, Duration::from_secs(5));
    assert_eq!(
        (destination.order, destination.order_wait),
        (OrderRule::Subject, Duration::from_mins(1))
    );
    assert_eq!(destination.schedule, Schedule::default());
    assert_eq!(destination.client_ip, ClientIp::Omitted);
    assert_eq!(destination.nats.subject_prefix, "trtc.events");
    let file: File = toml::from_str("").unwrap();
    assert_eq!(file.forwarding.backlog_events_max, 10_000_000);
    assert_eq!(file.forwarding.number_interval_ms, 100);
    let same = DestinationSettings {
        secrets: vec![SECRET.into()],
        ..DestinationSettings::new("billing", "https://a.example/hook")
    };
    let same = Destination::check(same, no_file).unwrap();
    assert_eq!(same.definition_hash, destination.definition_hash);
}

#[test]
fn unknown_keys_are_errors() {
    for wrong in ["[[forward]]\nname='a'\nurl='b'\nsecret='c'", "[forwarding]\nallow_network=[]"] {
        let said = toml::from_str::<File>(wrong).err().unwrap().to_string();
        assert!(said.contains("unknown field"), "{said}");
    }
    let said = toml::from_str::<File>("[[forward]]\nname='a'\nurl='b'\norder='call'").err();
    assert!(said.unwrap().to_string().contains("`subject` or `none`"));
}

#[test]
fn each_key_out_of_its_bounds_is_refused_by_name() {
    for (keys, key) in [
        ("in_flight_max = 0", "in_flight_max"),
        ("in_flight_max = 65", "in_flight_max"),
        ("timeout_ms = 999", "timeout_ms"),
        ("timeout_ms = 30001", "timeout_ms"),
        ("connect_timeout_ms = 0", "connect_timeout_ms"),
        ("order_wait_s = 3601", "order_wait_s"),
        ("retry_schedule_s = []", "retry_schedule_s"),
        ("retry_schedule_s = [0]", "retry_schedule_s"),
        ("apps = ['x']", "apps"),
        ("families = ['calls']", "families"),
        ("families = ['x*']", "families"),
        ("commands = ['trtc.call.end']", "commands"),
        ("commands = ['trtc*']", "commands"),
        ("commands = ['trtc.x*']", "commands"),
        ("commands = ['*.End']", "commands"),
        ("rooms = ['']", "rooms"),
        ("calls = ['a*b']", "calls"),
        ("headers = { Host = 'a' }", "headers"),
        ("tls_certificate = 'a'", "tls_certificate"),
        ("tls_key = 'a'", "tls_key"),
        ("proxy = 'https://proxy.example'", "proxy"),
        ("proxy = 'http://proxy.example/path'", "proxy"),
        ("proxy = 'socks5://proxy.example'", "proxy"),
        ("stream = 'A'", "stream"),
        ("subject_prefix = 'a'", "subject_prefix"),
        ("credentials_file = 'a'", "credentials_file"),
        ("create_stream = true", "create_stream"),
    ] {
        assert_eq!(refused(check_usual(keys)).0, key, "{keys}");
    }
    let many: Vec<String> = (0..65).map(|number| format!("'{number}'")).collect();
    assert_eq!(refused(check_usual(&format!("rooms = [{}]", many.join(",")))).0, "rooms");
    for (keys, key) in [
        ("url = 'http://10.0.0.1/'\nunsigned = true\ntls_ca = 'a'", "tls_ca"),
        ("url = 'nats://a'\nsecrets = ['a']", "secrets"),
        ("url = 'nats://a'\nunsigned = true", "unsigned"),
        ("url = 'nats://a'\nheaders = { x = 'a' }", "headers"),
        ("url = 'nats://a'\nproxy = 'http://a'", "proxy"),
        ("url = 'nats://a'\nin_flight_max = 257", "in_flight_max"),
        ("url = 'nats://a'\nstream = 'a.b'", "stream"),
        ("url = 'nats://a'\nsubject_prefix = 'a.>'", "subject_prefix"),
        ("url = 'nats://a'\nsubject_prefix = 'a..b'", "subject_prefix"),
        ("url = 'gopher://a'", "url"),
    ] {
        assert_eq!(refused(check(keys)).0, key, "{keys}");
    }
}

#[test]
fn deliveries_over_http_are_signed_or_said_not_to_be() {
    const URL: &str = "url = 'https://a.example/'\n";
    let (key, said) = refused(check(URL));
    assert!(key == "secrets" && said.contains("`unsigned = true`"), "{said}");
    assert!(check(&format!("{URL}unsigned = true")).unwrap().secrets.is_empty());
    assert!(check("url = 'nats://a'").unwrap().secrets.is_empty());
    for keys in [
        format!("{URL}unsigned = true\nsecrets = ['{SECRET}']"),
        format!("{URL}secrets = ['{SECRET}', '{SECRET}', '{SECRET}', '{SECRET}']"),
    ] {
        assert_eq!(refused(check(&keys)).0, "secrets");
    }
    let (_, said) = refused(check(&format!("{URL}secrets = ['{SECRET}', 'whsec_-_KQ9r8G']")));
    assert!(said.contains("number 2: ") && said.contains("URL-safe"), "{said}");
    assert!(!said.contains("KQ9r8G"), "{said}");
}

#[test]
fn a_file_has_a_secret_on_each_line() {
    let settings = DestinationSettings {
        secrets_file: Some("secrets.txt".into()),
        ..DestinationSettings::new("billing", "https://a.example/")
    };
    let read = |text: &'static str| {
        move |path: &Path| {
            assert_eq!(path, Path::new("secrets.txt"));
            Ok(SecretString::from(text))
        }
    };
    let text =
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\r\n\nwhsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD\n";
    let checked = Destination::check(settings.clone(), read(text)).unwrap();
    assert_eq!(checked.secrets.len(), 2);
    assert_eq!(checked.secrets[0].encode().expose_secret(), SECRET, "the newest comes first");
    let empty = Destination::check(settings.clone(), read("\n"));
    assert_eq!(refused(empty).0, "secrets_file");
    let unreadable = |_: &Path| Err(Diagnostic::new("there is no such file", "check its path"));
    let (_, said) = refused(Destination::check(settings.clone(), unreadable));
    assert!(said.contains("there is no such file\nhint: check its path"), "{said}");
    let both = DestinationSettings { secrets: vec![SECRET.into()], ..settings };
    assert_eq!(refused(Destination::check(both, no_file)).0, "secrets_file");
}

#[test]
fn names_are_short_and_each_its_own() {
    for name in ["", "Billing", "a_b", "a b", "caf\u{e9}", &"a".repeat(33)] {
        let error = Destination::check(DestinationSettings::new(name, "nats://a"), no_file);
        assert_eq!(error.unwrap_err().key, "name");
    }
    let named = |name: String| {
        Destination::check(DestinationSettings::new(name, "nats://a"), no_file).unwrap()
    };
    let mut all: Vec<Destination> = (0..16).map(|number| named(number.to_string())).collect();
    check_together(&all).unwrap();
    all.push(named("16".to_owned()));
    assert!(check_together(&all).unwrap_err().to_string().contains("it is number 17"));
    let twice = [named("a".to_owned()), named("b".to_owned()), named("a".to_owned())];
    assert!(check_together(&twice).unwrap_err().to_string().contains("there are two"));
}

#[test]
fn a_definition_differs_where_another_event_may_be_sent() {
    let hash = |keys: &str| check_usual(keys).unwrap().definition_hash;
    let usual = hash("");
    assert_eq!(usual.len(), 32);
    for keys in ["rooms = ['a']", "calls = ['a']", "order = 'none'", "rate_max = 1"] {
        assert_ne!(hash(keys), usual, "{keys}");
    }
    assert_eq!(hash("rooms = ['a', 'b', 'a']"), hash("rooms = ['b', 'a']"));
    assert_eq!(hash("headers = { x = 's3cret' }"), usual, "no secret is in it");
}
