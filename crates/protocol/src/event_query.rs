//! The query that the vendor sends with an event.

use crate::request::verify::AppId;

/// The query the vendor would send, its signature left out.
#[must_use]
pub fn query(
    app: AppId,
    command: &str,
    client_ip: Option<&str>,
    platform: Option<&str>,
    request_id: Option<&str>,
) -> String {
    let app = app.to_string();
    let pairs = pairs(&app, command, client_ip, platform, request_id);
    let pairs = pairs.into_iter().filter_map(|(key, value)| Some((key, value?)));
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// What the vendor's query says. Only what stands last may be absent.
fn pairs<'a>(
    app: &'a str,
    command: &'a str,
    client_ip: Option<&'a str>,
    platform: Option<&'a str>,
    request_id: Option<&'a str>,
) -> [(&'static str, Option<&'a str>); 6] {
    [
        ("SdkAppid", Some(app)),
        ("CallbackCommand", Some(command)),
        ("contenttype", Some("json")),
        ("ClientIP", client_ip),
        ("OptPlatform", platform),
        ("RequestId", request_id),
    ]
}

/// How long a query may be that is kept, in bytes. A longer one is shown by what its columns say.
const QUERY_BYTES_MAX: usize = 4096;

/// The query of an event as received, its signature left out, where its columns do not say the same: where it has keys or
/// spellings of its own. Of which key comes first nothing is kept. `None` for nearly all events, which costs no memory.
pub(crate) fn unusual(
    sent: &str,
    app: AppId,
    command: &str,
    [client_ip, platform, request_id]: [Option<&str>; 3],
) -> Option<String> {
    let app = app.to_string();
    let usual = pairs(&app, command, client_ip, platform, request_id);
    if says(sent, &usual) {
        return None;
    }
    kept(sent)
}

/// A query as it is kept: its signature left out. `None` where it is too long.
pub(crate) fn kept(sent: &str) -> Option<String> {
    Some(without_signature(sent)).filter(|query| query.len() <= QUERY_BYTES_MAX)
}

/// Whether a query has exactly these pairs, in any order, as they are written usually; and a signature or none.
fn says(sent: &str, usual: &[(&str, Option<&str>)]) -> bool {
    let is_pair = |part: &str, key: &str, value: &str| {
        let rest = part.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
        let rest = rest.and_then(|rest| {
            form_urlencoded::byte_serialize(value.as_bytes())
                .try_fold(rest, |rest, piece| rest.strip_prefix(piece))
        });
        rest.is_some_and(str::is_empty)
    };
    let mut found = [false; 8];
    for part in sent.split('&') {
        let place = usual
            .iter()
            .position(|(key, value)| value.is_some_and(|value| is_pair(part, key, value)));
        match place.and_then(|place| found.get_mut(place)) {
            Some(found) if !*found => *found = true,
            None if is_signature(part) => {}
            _ => return false,
        }
    }
    usual.iter().zip(found).all(|((_, value), found)| value.is_some() == found)
}

/// Whether one part of a query is of the signature, in whatever spelling it is read.
fn is_signature(part: &str) -> bool {
    let key = part.split('=').next().unwrap_or_default();
    let decoded = form_urlencoded::parse(key.as_bytes()).next();
    decoded.is_some_and(|(key, _)| {
        let key = key.trim().trim_start_matches("amp;");
        ["sign", "requesttime"].iter().any(|name| key.eq_ignore_ascii_case(name))
    })
}

fn without_signature(sent: &str) -> String {
    let ends = ['&', '?'];
    let parts = sent.split_inclusive(ends);
    let kept: String = parts.filter(|part| !is_signature(part.trim_end_matches(ends))).collect();
    kept.trim_end_matches(ends).replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_the_same_in_any_order_and_with_a_signature() {
        let usual = pairs("1", "Call.X", Some("2001:db8::1"), None, Some("Id 7"));
        for (sent, same) in [
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7",
                true,
            ),
            (
                "CallbackCommand=Call.X&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7&RequestTime=5&SdkAppid=1&Sign=ab&contenttype=json",
                true,
            ),
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001:db8::1&RequestId=Id+7",
                false,
            ),
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1",
                false,
            ),
            (
                "SdkAppid=1&SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1",
                false,
            ),
            (
                "SdkAppid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7&tenant=7",
                false,
            ),
            (
                "sdkappid=1&CallbackCommand=Call.X&contenttype=json&ClientIP=2001%3Adb8%3A%3A1&RequestId=Id+7",
                false,
            ),
            ("", false),
        ] {
            assert_eq!(says(sent, &usual), same, "{sent}");
        }
    }

    #[test]
    fn a_signature_is_removed_at_any_position() {
        for (sent, kept) in [
            ("Sign=ab&tenant=7&RequestTime=5", "tenant=7"),
            ("tenant=7?SdkAppid=1&S%69gn=ab&requestTIME=5", "tenant=7?SdkAppid=1"),
            ("tenant=7?sign=ab", "tenant=7"),
            ("design=x&Signed=y&a=Sign", "design=x&Signed=y&a=Sign"),
            ("a=1&amp;Sign=ab&b=%26Sign%3Dab", "a=1&b=%26Sign%3Dab"),
            ("", ""),
        ] {
            assert_eq!(without_signature(sent), kept, "{sent}");
        }
    }
}
