//! TC3-HMAC-SHA256, the signature of the vendor's cloud API. Source: the vendor's page "Signature v3" of any of its cloud APIs.

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::cloud::key::CloudKey;
use protocol::UnixMillis;

/// The media type of every body; it is signed.
pub(crate) const CONTENT_TYPE: &str = "application/json; charset=utf-8";
const SIGNED_HEADERS: &str = "content-type;host;x-tc-action";

/// One request, as far as it is signed.
pub(crate) struct Signed<'a> {
    /// The product within the cloud, `trtc`.
    pub(crate) service: &'a str,
    /// The header `Host`.
    pub(crate) host: &'a str,
    /// The header `X-TC-Action`.
    pub(crate) action: &'a str,
    /// The header `X-TC-Timestamp`, in s since 1970.
    pub(crate) time_s: i64,
    pub(crate) body: &'a str,
}

impl Signed<'_> {
    /// The header `Authorization`. It lets its reader repeat this very request for five minutes.
    pub(crate) fn authorization(&self, key: &CloudKey) -> SecretString {
        let Self { service, host, action, time_s, body } = self;
        let action = action.to_ascii_lowercase();
        let headers = format!("content-type:{CONTENT_TYPE}\nhost:{host}\nx-tc-action:{action}\n");
        let canonical = format!("POST\n/\n\n{headers}\n{SIGNED_HEADERS}\n{}", sha256(body));
        let day = day(*time_s);
        let scope = format!("{day}/{service}/tc3_request");
        let text = format!("TC3-HMAC-SHA256\n{time_s}\n{scope}\n{}", sha256(&canonical));
        let of_day = hmac(format!("TC3{}", key.key.expose_secret()).as_bytes(), &day);
        let of_service = hmac(&of_day, service);
        let signature = hex::encode(hmac(&hmac(&of_service, "tc3_request"), &text));
        let id = key.id.expose_secret();
        SecretString::from(format!(
            "TC3-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}"
        ))
    }
}

/// The date, UTC.
fn day(time_s: i64) -> String {
    UnixMillis(time_s.saturating_mul(1000)).to_string().chars().take(10).collect()
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

fn hmac(key: &[u8], text: &str) -> [u8; 32] {
    let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    hmac.update(text.as_bytes());
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the vendor's page, whose key is 32 asterisks there. Computed anew with Python's `hmac` and `hashlib` alone:
    ///
    /// ```python
    /// H = lambda key, text: hmac.new(key, text.encode(), hashlib.sha256).digest()
    /// S = lambda text: hashlib.sha256(text.encode()).hexdigest()
    /// names = "content-type;host;x-tc-action"
    /// headers = "content-type:application/json; charset=utf-8\nhost:cvm.tencentcloudapi.com\nx-tc-action:describeinstances\n"
    /// request = "POST\n/\n\n" + headers + "\n" + names + "\n" + S(body)
    /// text = "TC3-HMAC-SHA256\n1551113065\n2019-02-25/cvm/tc3_request\n" + S(request)
    /// key = H(H(H(b"TC3" + b"*" * 32, "2019-02-25"), "cvm"), "tc3_request")
    /// hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    /// ```
    #[test]
    fn the_vendors_example_has_the_vendors_signature() {
        let key = CloudKey::new(format!("AKID{}", "*".repeat(32)).into(), "*".repeat(32).into());
        let body = r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
        assert_eq!(
            sha256(body),
            "35e9c5b0e3ae67532d3c9f17ead6c90222632e5b1ff7f6e89887f1398934f064"
        );
        let signed = Signed {
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            action: "DescribeInstances",
            time_s: 1_551_113_065,
            body,
        };
        let header = signed.authorization(&key.unwrap());
        assert_eq!(
            header.expose_secret(),
            "TC3-HMAC-SHA256 Credential=AKID********************************/2019-02-25/cvm/tc3_request, \
             SignedHeaders=content-type;host;x-tc-action, \
             Signature=10b1a37a7301a02ca19a647ad722d5e43b4b3cff309d421d85b46093f6ab6c4f"
        );
    }

    #[test]
    fn every_signed_part_changes_the_signature() {
        let key = |key: &str| CloudKey::new("id".into(), key.into()).unwrap();
        let sound = |key: &CloudKey, service, host, action, time_s, body| {
            let signed = Signed { service, host, action, time_s, body };
            signed.authorization(key).expose_secret().rsplit('=').next().unwrap().to_owned()
        };
        let (one, other) = (key("one"), key("other"));
        let all = [
            sound(&one, "trtc", "h", "A", 1, "{}"),
            sound(&other, "trtc", "h", "A", 1, "{}"),
            sound(&one, "cvm", "h", "A", 1, "{}"),
            sound(&one, "trtc", "i", "A", 1, "{}"),
            sound(&one, "trtc", "h", "B", 1, "{}"),
            sound(&one, "trtc", "h", "A", 2, "{}"),
            sound(&one, "trtc", "h", "A", 86_401, "{}"),
            sound(&one, "trtc", "h", "A", 1, "{ }"),
        ];
        let different: std::collections::BTreeSet<&String> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn the_date_is_that_of_utc() {
        assert_eq!(day(1_551_113_065), "2019-02-25");
        assert_eq!([day(86_399), day(86_400)], ["1970-01-01", "1970-01-02"]);
    }
}
