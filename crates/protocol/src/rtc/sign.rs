//! The signature of the RTC Engine's events: a header over the body's bytes. Source: trtc.io/document/39558.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};

/// The header `Sign` of a body: base64 of HMAC-SHA256 with the application's callback key over the bytes as they are sent.
#[must_use]
pub fn sign(key: &SecretString, body: &[u8]) -> String {
    STANDARD.encode(digest(key, body))
}

/// Whether one of `keys` made this signature. Compares with every key and always all 32 bytes, so that the time taken tells nothing
/// about where they differ. An empty key signs nothing: everybody knows it.
pub(crate) fn is_signed(keys: &[SecretString], sign: &[u8], body: &[u8]) -> bool {
    let Ok(claimed) = STANDARD.decode(sign.trim_ascii()) else { return false };
    let known = keys.iter().filter(|key| !key.expose_secret().is_empty());
    let matches = known.fold(Choice::from(0), |any, key| any | digest(key, body).ct_eq(&claimed));
    matches.into()
}

fn digest(key: &SecretString, body: &[u8]) -> [u8; 32] {
    // A key of any length is taken: longer than a block it is hashed first.
    let Ok(mut hmac) = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()) else {
        unreachable!("HMAC takes keys of any length")
    };
    hmac.update(body);
    hmac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        id: String,
        key: String,
        body: String,
        body_bytes: usize,
        sign: String,
    }

    fn vectors() -> Vec<Vector> {
        serde_json::from_str(include_str!("sign_vectors.json")).unwrap()
    }

    fn vector(id: &str) -> Vector {
        vectors().into_iter().find(|vector| vector.id == id).unwrap()
    }

    fn fits(key: &str, sign: &str, body: &str) -> bool {
        is_signed(&[key.into()], sign.as_bytes(), body.as_bytes())
    }

    #[test]
    fn the_vectors_are_reproduced() {
        assert_eq!(vectors().len(), 9);
        for Vector { id, key, body, body_bytes, sign: expected } in vectors() {
            assert_eq!(body.len(), body_bytes, "{id}");
            assert_eq!(sign(&key.as_str().into(), body.as_bytes()), expected, "{id}");
            assert!(fits(&key, &expected, &body), "{id}");
            assert!(fits(&key, &format!(" {expected}\t"), &body), "{id}");
        }
    }

    #[test]
    fn another_body_key_or_form_of_the_signature_does_not_fit() {
        let (v1, v2, v5, v6, v9) =
            (vector("V1"), vector("V2"), vector("V5"), vector("V6"), vector("V9"));
        assert!(!fits(&v6.key, &v5.sign, &v6.body), "the same object with other escapes");
        assert!(!fits(&v1.key, &v1.sign, &v1.body.to_lowercase()));
        assert!(!fits(&v2.key, &v9.sign, &v9.body), "made with another key");
        for vector in vectors() {
            let hexed = hex::encode(STANDARD.decode(&vector.sign).unwrap());
            let url = vector.sign.replace('+', "-").replace('/', "_");
            let cut = vector.sign.trim_end_matches('=');
            for sign in ["", cut, hexed.as_str(), "=", "\u{e9}"] {
                assert!(!fits(&vector.key, sign, &vector.body), "{}: {sign}", vector.id);
            }
            assert_eq!(fits(&vector.key, &url, &vector.body), url == vector.sign);
        }
    }

    #[test]
    fn an_empty_key_signs_nothing() {
        let body = b"{}";
        let sign = sign(&"".into(), body);
        assert!(!is_signed(&["".into()], sign.as_bytes(), body));
        assert!(!is_signed(&[], sign.as_bytes(), body));
        assert!(!is_signed(&["k".into(), "".into()], sign.as_bytes(), body));
    }
}
