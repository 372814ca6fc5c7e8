//! Signatures, verified by the official library of Standard Webhooks.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use forward::destination::secret::SigningSecret;
use forward::signature::{Delivery, sign};
use protocol::UnixMillis;
use serde::Deserialize;
use standardwebhooks::Webhook;
use uuid::Uuid;

pub(crate) const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(crate) const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub(crate) const NEXT: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// One signed message. Other libraries can be held to the same file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    id: String,
    timestamp: i64,
    body: String,
    secrets: Vec<String>,
    signature: String,
}

pub(crate) fn secrets(texts: &[&str]) -> Vec<SigningSecret> {
    texts.iter().map(|text| SigningSecret::parse(&(*text).into()).unwrap()).collect()
}

#[test]
fn the_official_library_makes_each_signature_of_the_fixtures() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/signatures.json");
    let all: Vec<Signed> = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    assert!(all.len() >= 8);
    for Signed { id, timestamp, body, secrets: texts, signature } in all {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        assert_eq!(sign(&id, timestamp, &body, &secrets(&texts)), signature, "{id}");
        let theirs = texts
            .iter()
            .map(|text| Webhook::new(text).unwrap().sign(&id, timestamp, body.as_bytes()).unwrap());
        assert_eq!(theirs.collect::<Vec<_>>().join(" "), signature, "{id}");
    }
}

/// Whether the official library takes a try that is sent now with these secrets.
fn verifies(sent_with: &[&str], received_with: &str, body: &str, received: &str) -> bool {
    let now = UnixMillis::default().plus(SystemTime::UNIX_EPOCH.elapsed().unwrap());
    let id = Uuid::from_u128(0x0198_f300_0000_8000_8000_0000_0000_0001);
    let delivery = Delivery { id, destination: "billing", attempt: 1, replay: false, body };
    let headers = delivery.headers(&secrets(sent_with), now);
    let headers =
        headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Webhook::new(received_with).unwrap().verify(received.as_bytes(), &headers.collect()).is_ok()
}

#[test]
fn the_official_library_verifies_with_each_of_up_to_three_secrets() {
    let body = r#"{"type":"Call.CallbackAfterEndCall","data":{"payload":{"a":"é"}}}"#;
    let all = [NEXT, NEW, OLD];
    for count in 1..=3 {
        for secret in &all[..count] {
            assert!(verifies(&all[..count], secret, body, body), "{count}");
        }
        for secret in &all[count..] {
            assert!(!verifies(&all[..count], secret, body, body), "{count}");
        }
    }
    assert!(!verifies(&all, OLD, body, &body.replace("é", "e")), "another body");
}

#[test]
fn a_secret_is_changed_between_two_tries_without_a_gap() {
    // The receiver knows the old one, both, then the new one; so does the sender, one step ahead.
    for (sent_with, received_with) in
        [(&[OLD][..], OLD), (&[NEW, OLD][..], OLD), (&[NEW, OLD][..], NEW), (&[NEW][..], NEW)]
    {
        assert!(verifies(sent_with, received_with, "{}", "{}"));
    }
    assert!(!verifies(&[NEW], OLD, "{}", "{}"), "the removed one is worth nothing");
}
