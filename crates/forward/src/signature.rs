//! Signatures of Standard Webhooks 1.0.0, and the headers that go with an envelope.
//!
//! HMAC-SHA256 over `id.timestamp.body`, once with each secret, the newest first: a receiver that knows one of them verifies. So a
//! secret is changed without a clock: add the new one, change the receiver, remove the old one. A try is signed when it is sent, so
//! that what waits since before the change is signed with the new secret, too.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use protocol::UnixMillis;

use crate::destination::secret::SigningSecret;

/// One try to deliver an envelope.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// The event's id, the same over all tries and replays.
    pub id: Uuid,
    /// The name of the destination.
    pub destination: &'a str,
    /// Which try it is, from 1 on.
    pub attempt: u32,
    /// Whether somebody asked to send the event again.
    pub replay: bool,
    /// The envelope.
    pub body: &'a str,
}

impl Delivery<'_> {
    /// The headers of this try, which is sent now: all but those that are configured. Unsigned where there is no secret.
    #[must_use]
    pub fn headers(
        &self,
        secrets: &[SigningSecret],
        now: UnixMillis,
    ) -> Vec<(&'static str, String)> {
        let (id, timestamp) = (self.id.to_string(), now.as_secs());
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("user-agent", USER_AGENT.to_owned()),
            ("trtc-destination", self.destination.to_owned()),
            ("trtc-attempt", self.attempt.to_string()),
        ];
        if self.replay {
            headers.push(("trtc-replay", "1".to_owned()));
        }
        if !secrets.is_empty() {
            headers.push(("webhook-signature", sign(&id, timestamp, self.body, secrets)));
        }
        headers.push(("webhook-timestamp", timestamp.to_string()));
        headers.push(("webhook-id", id));
        headers
    }
}

const USER_AGENT: &str = concat!("trtc-callbacks/", env!("CARGO_PKG_VERSION"));

/// The value of `webhook-signature`: a signature by each secret, in their order. The id must have no full stop in it; an event's has
/// none.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "what it expects holds always")]
pub fn sign(id: &str, timestamp: i64, body: &str, secrets: &[SigningSecret]) -> String {
    let one = |secret: &SigningSecret| {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(secret.key()).expect("HMAC takes keys of any length");
        for part in [id, ".", &timestamp.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    };
    let all: Vec<String> = secrets.iter().map(one).collect();
    all.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> SigningSecret {
        SigningSecret::of_bytes(vec![byte; 32]).unwrap()
    }

    #[test]
    fn the_example_of_the_standard_has_its_signature() {
        let secret = SigningSecret::parse(&"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD".into());
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let signature =
            sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body, &[secret.unwrap()]);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn a_try_has_these_headers() {
        let delivery = Delivery {
            id: Uuid::from_u128(1),
            destination: "billing",
            attempt: 3,
            replay: true,
            body: "{}",
        };
        let now = UnixMillis(1_795_943_259_999);
        let headers = delivery.headers(&[secret(1), secret(2)], now);
        let value = |name: &str| {
            let header = headers.iter().find(|(its, _)| *its == name);
            header.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("content-type"), Some("application/json"));
        assert_eq!(value("user-agent"), Some(USER_AGENT));
        assert_eq!(value("webhook-id"), Some("00000000-0000-0000-0000-000000000001"));
        assert_eq!(value("webhook-timestamp"), Some("1795943259"), "whole seconds, rounded down");
        assert_eq!(value("trtc-destination"), Some("billing"));
        assert_eq!(value("trtc-attempt"), Some("3"));
        assert_eq!(value("trtc-replay"), Some("1"));
        assert_eq!(value("webhook-signature").unwrap().split(' ').count(), 2);
        assert_eq!(headers.len(), 8);
        let unsigned = Delivery { replay: false, ..delivery }.headers(&[], now);
        let names: Vec<&str> = unsigned.iter().map(|(name, _)| *name).collect();
        assert!(!names.contains(&"webhook-signature") && !names.contains(&"trtc-replay"));
    }

    #[test]
    fn each_secret_signs_alone_and_the_newest_comes_first() {
        let both = sign("id", 1, "{}", &[secret(2), secret(1)]);
        let alone = [secret(2), secret(1)].map(|secret| sign("id", 1, "{}", &[secret]));
        assert_eq!(both, alone.join(" "));
    }
}
