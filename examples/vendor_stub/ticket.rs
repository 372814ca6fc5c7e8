//! Reads and checks a `UserSig` by a way of its own, so that a mistake of the library's is not made twice.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// Checks a `UserSig` as the vendor does; says the code it would refuse it with.
pub(crate) fn check(
    usersig: &str,
    (app, identifier, key): (i64, &str, &str),
    now_s: i64,
) -> Result<(), i64> {
    let ticket = read(usersig).ok_or(70003)?;
    let text = |name: &str| ticket[name].as_str().ok_or(70003);
    // Numbers as text are no numbers.
    let number = |name: &str| ticket[name].as_i64().ok_or(70003);
    let (signed_app, signed_as) = (number("TLS.sdkappid")?, text("TLS.identifier")?);
    let (time, expire) = (number("TLS.time")?, number("TLS.expire")?);
    if text("TLS.ver")? != "2.0" {
        return Err(70003);
    }
    if signed_app != app {
        return Err(70014);
    }
    if signed_as != identifier {
        return Err(70013);
    }
    let lines = format!(
        "TLS.identifier:{signed_as}\nTLS.sdkappid:{signed_app}\nTLS.time:{time}\nTLS.expire:{expire}\n"
    );
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).map_err(|_| 70016)?;
    mac.update(lines.as_bytes());
    let signature = STANDARD.decode(text("TLS.sig")?).map_err(|_| 70003)?;
    mac.verify_slice(&signature).map_err(|_| 70009)?;
    if now_s > time + expire { Err(70001) } else { Ok(()) }
}

fn read(usersig: &str) -> Option<Value> {
    let usual = |letter| match letter {
        '*' => Some('+'),
        '-' => Some('/'),
        '_' => Some('='),
        letter if letter.is_ascii_alphanumeric() => Some(letter),
        _ => None,
    };
    let base64: String = usersig.chars().map(usual).collect::<Option<_>>()?;
    let mut json = String::new();
    let bytes = STANDARD.decode(base64).ok()?;
    ZlibDecoder::new(&bytes[..]).take(1 << 16).read_to_string(&mut json).ok()?;
    serde_json::from_str(&json).ok()
}
