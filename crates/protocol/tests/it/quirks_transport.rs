//! Quirks of headers, signatures and the bytes of a body.

use secrecy::SecretString;
use serde_json::Value;
use trtc_callbacks_protocol::rtc::sign::sign;
use trtc_callbacks_protocol::{AppId, Apps, Body, Query, Rejection, UnixMillis, verify};

use crate::support::{APP, NOW, decode, event, fitting, payload};

const BODY: &str = "{\n\t\"EventGroupId\":\t1,\n\t\"EventType\":\t102,\n\t\"EventInfo\":\t{\"RoomId\":\t\"a\\/b\\u00e9\"}\n}";

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

/// Whether a body with this header is taken and checked by an app with these keys; or why it is not.
fn taken(keys: &[&str], signs: &[&str], body: &str) -> Result<bool, &'static str> {
    let keys: Vec<SecretString> = keys.iter().map(|key| (*key).into()).collect();
    let apps = Apps::new().with_rtc_keys(app(), keys);
    let signs = signs.iter().map(|sign| sign.as_bytes());
    let verified = apps.verify_rtc(app(), signs, body.as_bytes(), Query::default());
    verified.map(|verified| verified.is_checked()).map_err(Rejection::reason)
}

#[test]
fn r38_sign_may_be_absent_without_a_key_and_the_app_is_unsigned() {
    assert_eq!(taken(&[], &[], BODY), Ok(false));
    assert_eq!(taken(&[], &[""], BODY), Ok(false));
    assert_eq!(taken(&["k"], &[], BODY), Err("rtc_sign_missing"));
    // A key that two apps share opens both: the app stands in a header alone.
    let other = AppId::parse("1400000002").unwrap();
    let apps =
        Apps::new().with_rtc_keys(app(), vec!["k".into()]).with_rtc_keys(other, vec!["k".into()]);
    let signed = sign(&"k".into(), BODY.as_bytes());
    for app in [app(), other] {
        let claim = app.to_string();
        assert_eq!(apps.rtc_app([claim.as_bytes()]), Ok(app));
        let verified = apps.verify_rtc(app, [signed.as_bytes()], BODY.as_bytes(), Query::default());
        assert_eq!(verified.unwrap().app(), app);
    }
}

#[test]
fn r39_one_app_has_two_keys_that_count() {
    let keys = ["console", "template"];
    for key in keys {
        let signed = sign(&key.into(), BODY.as_bytes());
        assert_eq!(taken(&keys, &[&signed], BODY), Ok(true));
        assert_eq!(taken(&keys[..1], &[&signed], BODY).is_ok(), key == keys[0]);
    }
}

#[test]
fn r40_the_signature_is_over_the_bytes_as_they_came() {
    let signed = sign(&"k".into(), BODY.as_bytes());
    assert_eq!(taken(&["k"], &[&format!(" {signed} ")], BODY), Ok(true));
    for other in [
        format!("{BODY}\n"),
        BODY.replace('\t', " "),
        BODY.replace('\n', "\r\n"),
        BODY.replace("\\/", "/"),
        BODY.replace("\\u00e9", "é"),
        BODY.parse::<Value>().unwrap().to_string(),
    ] {
        assert_eq!(taken(&["k"], &[&signed], &other), Err("rtc_sign_wrong"), "{other}");
    }
    assert_eq!(fitting(BODY).payload.as_bytes(), BODY.as_bytes());
}

#[test]
fn r41_what_only_pages_have_is_no_json_and_kept() {
    for sample in [
        r#"{"EventGroupId":4 "EventType":401}"#,
        r#"{"EventGroupId":3,"EventType":309,}"#,
        "{\"EventGroupId\":4, // the group\n\"EventType\":401}",
        "{'EventGroupId':1,'EventType':103}",
        "{\"EventGroupId\":1} # the group",
    ] {
        let event = decode(sample);
        assert_eq!((event.body, event.payload.as_bytes()), (Body::Undecoded, sample.as_bytes()));
        assert!(event.decode_error.unwrap().starts_with("not JSON: "), "{sample}");
    }
}

#[test]
fn r42_text_of_users_is_kept_whole_and_in_no_reason() {
    let text = "用户 😀 \u{202e}\u{7} \"quoted\" ".repeat(2000);
    let quoted = serde_json::to_string(&text).unwrap();
    let said = fitting(event(
        903,
        &format!(r#"{{"EventMsTs":1760000000310,"Payload":{{"UserId":"u","Text":{quoted}}}}}"#),
    ));
    assert_eq!(payload!(Ai, said).text.as_deref(), Some(text.as_str()));
    for sent in [r#"{"s3cret":1}"#, r#"["s3cret"]"#] {
        let misfit = decode(event(
            903,
            &format!(
                r#"{{"EventMsTs":1760000000310,"Payload":{{"Text":{sent},"StartTimeMs":"s3cret","RoundId":"r"}}}}"#
            ),
        ));
        let reason = misfit.decode_error.as_deref().unwrap();
        assert!(!reason.contains("s3cret"), "{reason}");
        assert_eq!(payload!(Ai, misfit).round_id.as_deref(), Some("r"));
    }
    let cut = decode(event(903, &format!(r#"{{"Payload":{{"Text":{quoted}"#)));
    let reason = cut.decode_error.unwrap();
    assert!(reason.starts_with("not JSON: ") && reason.len() < 100, "{reason}");
}

#[test]
fn r43_the_two_signatures_called_sign_are_two() {
    let time = "1793534400";
    let secret: SecretString = "secret".into();
    let apps =
        Apps::new().with(app(), vec![secret.clone()]).with_rtc_keys(app(), vec![secret.clone()]);
    let of_query = verify::sign(&secret, time);
    let of_body = sign(&secret, BODY.as_bytes());
    let im = |sign: &str| {
        let query = Query::parse(&format!("SdkAppid={APP}&RequestTime={time}&Sign={sign}"));
        apps.verify(query, UnixMillis(NOW.0)).map_err(Rejection::reason)
    };
    let rtc = |sign: &str| {
        let verified = apps.verify_rtc(app(), [sign.as_bytes()], BODY.as_bytes(), Query::default());
        verified.map_err(Rejection::reason)
    };
    assert!(im(&of_query).is_ok() && rtc(&of_body).is_ok());
    let coded: String = form_urlencoded::byte_serialize(of_body.as_bytes()).collect();
    assert_eq!(im(&coded), Err("sign_wrong"));
    assert_eq!(rtc(&of_query), Err("rtc_sign_wrong"));
}
