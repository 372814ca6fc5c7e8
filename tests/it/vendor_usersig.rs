//! `UserSig` against the vendor's own packages, any input, and clocks.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use proptest::prelude::*;
use protocol::AppId;
use protocol::UnixMillis;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::tencent_api::{Signer, UserSig, UserSigError};

use crate::vendor_stub::ticket;

/// One of the signatures that the vendor's packages made.
#[derive(Deserialize)]
struct Vector {
    sdkappid: i64,
    key: String,
    identifier: String,
    expire: u64,
    time: i64,
    decoded: Value,
    usersig_pypi_1_1: String,
    usersig_npm_1_0_2: String,
}

fn vectors() -> Vec<Vector> {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../usersig_vectors.json")).unwrap();
    assert_eq!(vectors.len(), 3);
    vectors
}

fn app(id: i64) -> AppId {
    AppId::parse(&id.to_string()).unwrap()
}

impl Vector {
    fn key(&self) -> SecretString {
        self.key.as_str().into()
    }

    fn made(&self) -> UserSig {
        let (now, expire) = (UnixMillis(self.time * 1000), Duration::from_secs(self.expire));
        UserSig::new(app(self.sdkappid), &self.identifier, &self.key(), now, expire).unwrap()
    }
}

fn error(text: &str) -> UserSigError {
    UserSig::decode(text).unwrap_err()
}

#[test]
fn the_vendors_vectors_are_made() {
    for vector in vectors() {
        let made = vector.made();
        assert_eq!(serde_json::to_value(&made).unwrap(), vector.decoded);
        assert_eq!(UserSig::decode(made.encode().expose_secret()).unwrap(), made);
        assert!(made.is_signed_with(&vector.key()));
    }
}

#[test]
fn usersigs_of_the_vendors_packages_are_read() {
    for vector in vectors() {
        for text in [&vector.usersig_pypi_1_1, &vector.usersig_npm_1_0_2] {
            let read = UserSig::decode(text).unwrap();
            assert_eq!(read, vector.made());
            assert!(read.is_signed_with(&vector.key()));
            assert!(!read.is_signed_with(&"another".into()));
            let ends = (vector.time + i64::try_from(vector.expire).unwrap()) * 1000;
            assert_eq!(read.expires_at(), UnixMillis(ends));
        }
    }
}

#[test]
fn a_ticket_for_single_rooms_is_read_and_checked() {
    // Made by the package of PyPI, with a `userbuf` of `abc`.
    let text = "eJyrVgrxCdYrSy1SslJQMtIzUNJRAItkpqTmlWSmZUIkElNyM-NgUsUp2YkFBZkpQAkLKIDKpFYUZBalgsTNTAwMoI\
        IlmbkgIUNzAyiAipcWpxYllaaBjI8M98qCm56ZDhLydtEOSfFyzPGpzDbxd-PNzc7QLi11zApxNirz8vFyTI*KzAv1rPAuDs3Mt1WqBQBwWTjB";
    let read = UserSig::decode(text).unwrap();
    assert_eq!(read.userbuf.as_deref(), Some("YWJj"));
    assert!(read.is_signed_with(&vectors()[1].key()));
}

#[test]
fn a_change_of_any_signed_field_is_detected() {
    let vector = &vectors()[0];
    for (field, value) in [
        ("TLS.identifier", Value::from("admin")),
        ("TLS.sdkappid", 1_400_000_001.into()),
        ("TLS.expire", 15_552_001.into()),
        ("TLS.time", 1_740_464_129.into()),
        ("TLS.userbuf", "AAAA".into()),
        ("TLS.sig", "AAAA".into()),
        ("TLS.sig", "no base64!".into()),
    ] {
        let mut document = vector.decoded.clone();
        document[field] = value;
        let changed: UserSig = serde_json::from_value(document).unwrap();
        assert!(!changed.is_signed_with(&vector.key()), "{field}");
    }
}

#[test]
fn numbers_as_text_are_read_as_some_makers_write_them() {
    let mut document = vectors()[0].decoded.clone();
    document["TLS.expire"] = "15552000".into();
    let read: UserSig = serde_json::from_value(document).unwrap();
    assert_eq!(read, vectors()[0].made());
}

#[test]
fn an_invalid_usersig_is_refused_with_its_reason() {
    let made = vectors()[2].made().encode();
    let made = made.expose_secret();
    assert_eq!(error(&made.replace('*', "+").replace('_', "=")), UserSigError::PlainBase64);
    assert_eq!(error(&format!("{made} ")), UserSigError::Base64);
    assert_eq!(error(&made[..made.len() - 2]), UserSigError::Base64);
    assert_eq!(error(&made[..100]), UserSigError::Zlib);
    assert_eq!(error(""), UserSigError::Zlib);
    assert_eq!(error("AAAA"), UserSigError::Zlib);
    assert_eq!(error(&"A".repeat(9000)), UserSigError::TooLong);
    assert!(matches!(error(&packed(b"{}")), UserSigError::Json { .. }));
    assert!(matches!(error(&packed(b"[1]")), UserSigError::Json { .. }));
}

#[test]
fn a_few_bytes_that_inflate_to_many_are_refused() {
    let bomb = packed(&vec![b' '; 4 << 20]);
    assert!(bomb.len() < 8 << 10, "{}", bomb.len());
    assert_eq!(error(&bomb), UserSigError::TooLong);
}

#[test]
fn ambiguous_fields_are_refused_for_a_usersig() {
    let make = |identifier: &str, key: &str| {
        let expire = Duration::from_mins(1);
        UserSig::new(app(1), identifier, &key.into(), UnixMillis(0), expire).map(|_| ())
    };
    for identifier in ["", "a b", "a\nTLS.sdkappid:2", &"a".repeat(33)] {
        assert!(matches!(make(identifier, "key"), Err(UserSigError::Identifier(_))));
    }
    for key in ["", "key\n", " key"] {
        assert_eq!(make("admin", key), Err(UserSigError::Key));
    }
    assert_eq!(make(&"a".repeat(32), "key"), Ok(()));
}

#[test]
fn a_signature_is_used_again_until_shortly_before_its_end() {
    let start = UnixMillis(1_793_534_400_000);
    let clock = Clock::manual(start);
    let now = clock.clone();
    let signer = Signer::new(app(1_400_000_001), "admin", "key".into(), move || now.now()).unwrap();
    let made_at = |after_min: i64| {
        clock.set(UnixMillis(start.0 + after_min * 60_000));
        let text = signer.sign().unwrap();
        (UserSig::decode(text.expose_secret()).unwrap().time_s - start.as_secs()) / 60
    };
    assert_eq!([0, 1, 24].map(made_at), [0, 0, 0]);
    assert_eq!([25, 49, 50].map(made_at), [25, 25, 50]);
    // A clock that was wrong and is set back.
    assert_eq!([0, 1].map(made_at), [0, 0]);
    let anew = signer.sign_anew().unwrap();
    assert_eq!(UserSig::decode(anew.expose_secret()).unwrap().time_s - start.as_secs(), 60);
}

#[test]
fn debug_output_has_neither_key_nor_signature() {
    let vector = &vectors()[0];
    let signer = Signer::new(app(1), "admin", vector.key(), || UnixMillis(0)).unwrap();
    let (made, text) = (vector.made(), signer.sign().unwrap());
    let shown = format!("{made:?} {signer:?} {:?} {text:?}", made.encode());
    assert!(!shown.contains(&vector.key), "{shown}");
    assert!(!shown.contains("Lz55PmnBiR3lGUhLWDaNMV"), "{shown}");
    assert!(!shown.contains(text.expose_secret()), "{shown}");
}

proptest! {
    #[test]
    fn a_usersig_is_read_as_it_was_made(
        id in 1..=i64::MAX,
        identifier in "[!-~]{1,32}",
        key in "[!-~]{1,80}",
        time_s in 0..4_000_000_000_i64,
        expire_s in 0..1_600_000_000_u64,
    ) {
        let (key, now) = (SecretString::from(key), UnixMillis(time_s * 1000 + 999));
        let made =
            UserSig::new(app(id), &identifier, &key, now, Duration::from_secs(expire_s)).unwrap();
        let text = made.encode();
        let text = text.expose_secret();
        let unchanged: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        prop_assert_eq!(&unchanged, text, "it stands in a URL as it is");
        let read = UserSig::decode(text).unwrap();
        prop_assert_eq!(&read, &made);
        prop_assert!(read.is_signed_with(&key));
        // The stand-in reads by a way of its own.
        let who = (id, identifier.as_str(), key.expose_secret());
        prop_assert_eq!(ticket::check(text, who, time_s), Ok(()));
    }

    #[test]
    fn garbage_is_refused_without_a_panic(text in ".{0,200}") {
        prop_assert!(UserSig::decode(&text).is_err());
    }

    #[test]
    fn a_usersig_with_one_letter_replaced_is_refused_or_not_signed(
        place in any::<prop::sample::Index>(),
        letter in "[A-Za-z0-9*_-]",
    ) {
        let vector = &vectors()[2];
        let mut text = vector.usersig_pypi_1_1.clone();
        let place = place.index(text.len());
        text.replace_range(place..=place, &letter);
        if let Ok(read) = UserSig::decode(&text) {
            prop_assert_eq!(read.is_signed_with(&vector.key()), read == vector.made());
        }
    }
}

/// Bytes as a `UserSig` wraps them.
fn packed(bytes: &[u8]) -> String {
    use base64::Engine;
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(bytes).unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(zlib.finish().unwrap());
    text.replace('+', "*").replace('/', "-").replace('=', "_")
}

/// One of the vendor's own packages, and how it is run.
struct Package {
    variable: &'static str,
    program: &'static str,
    /// What makes a signature of four arguments: app, key, identifier, s of validity.
    script: &'static str,
}

const PYPI: Package = Package {
    variable: "TEST_USERSIG_PYPI",
    program: "python3",
    script: "import sys; from TLSSigAPIv2 import TLSSigAPIv2 as Api; a = sys.argv; \
             print(Api(int(a[1]), a[2]).gen_sig(a[3], int(a[4])))",
};

const NPM: Package = Package {
    variable: "TEST_USERSIG_NPM",
    program: "node",
    script: "const { Api } = require('tls-sig-api-v2'); const [id, key, user, expire] = process.argv.slice(1); \
             console.log(new Api(Number(id), key).genUserSig(user, Number(expire)))",
};

impl Package {
    /// Where `scripts/usersig-packages` put it; absent where it could not, which only a developer's machine may.
    fn folder(&self) -> Option<PathBuf> {
        let folder = std::env::var_os(self.variable).filter(|folder| !folder.is_empty());
        if folder.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is not set: scripts/usersig-packages installs what it names",
                self.variable
            );
            // Past the test harness, which would keep it to itself.
            let line = format!("\nskipped: {} is not set, run ./scripts/test\n", self.variable);
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        folder.map(PathBuf::from)
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Option<String> {
        let folder = self.folder()?;
        let flag = if self.program == "node" { "-e" } else { "-c" };
        let output = Command::new(self.program)
            .args([flag, script])
            .args(if self.program == "node" { &["--"][..] } else { &[] })
            .args(arguments)
            .env("PYTHONPATH", &folder)
            .env("NODE_PATH", &folder)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
    }
}

/// Reads what the package makes now.
fn what_it_makes_is_read(package: &Package) {
    for vector in vectors() {
        let arguments = [&*vector.sdkappid.to_string(), &vector.key, &vector.identifier, "86400"];
        let Some(text) = package.run(package.script, &arguments) else { return };
        let read = UserSig::decode(&text).unwrap();
        assert!(read.is_signed_with(&vector.key()));
        assert_eq!((read.identifier.as_str(), read.expire_s), (&*vector.identifier, 86400));
        // And it would have been made here from the same moment.
        let (now, expire) = (UnixMillis(read.time_s * 1000), Duration::from_hours(24));
        let made =
            UserSig::new(app(vector.sdkappid), &vector.identifier, &vector.key(), now, expire);
        assert_eq!(made.unwrap(), read);
    }
}

/// The packages only make signatures: what the other side does to check one is unpack it and make `TLS.sig` again.
fn what_is_made_here_is_checked(package: &Package, script: &str) {
    for vector in vectors() {
        let made = vector.made().encode();
        let arguments = [&*vector.sdkappid.to_string(), &vector.key, made.expose_secret()];
        let Some(said) = package.run(script, &arguments) else { return };
        let said: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(said["ticket"], vector.decoded);
        assert_eq!(said["signed"], vector.decoded["TLS.sig"]);
    }
}

#[test]
fn the_package_of_pypi_makes_what_is_read_here() {
    what_it_makes_is_read(&PYPI);
}

#[test]
fn the_package_of_npm_makes_what_is_read_here() {
    what_it_makes_is_read(&NPM);
}

#[test]
fn the_package_of_pypi_signs_what_is_made_here_the_same() {
    what_is_made_here_is_checked(
        &PYPI,
        "import sys, json, zlib, TLSSigAPIv2 as m; a = sys.argv; \
         t = json.loads(zlib.decompress(m.base64_decode_url(a[3].encode()))); \
         m.time.time = lambda: t['TLS.time']; \
         s = m.TLSSigAPIv2(int(a[1]), a[2]).gen_sig(t['TLS.identifier'], t['TLS.expire']); \
         s = json.loads(zlib.decompress(m.base64_decode_url(s.encode()))); \
         print(json.dumps({'ticket': t, 'signed': s['TLS.sig']}))",
    );
}

#[test]
fn the_package_of_npm_signs_what_is_made_here_the_same() {
    what_is_made_here_is_checked(
        &NPM,
        "const { Api } = require('tls-sig-api-v2'); const zlib = require('zlib'); \
         const [id, key, text] = process.argv.slice(1); \
         const usual = { '*': '+', '-': '/', _: '=' }; \
         const read = (text) => JSON.parse(zlib.inflateSync(Buffer.from( \
             text.replace(/[*_-]/g, (letter) => usual[letter]), 'base64'))); \
         const ticket = read(text); Date.now = () => ticket['TLS.time'] * 1000; \
         const again = new Api(Number(id), key).genUserSig(ticket['TLS.identifier'], ticket['TLS.expire']); \
         console.log(JSON.stringify({ ticket, signed: read(again)['TLS.sig'] }))",
    );
}
