//! The query string that the vendor appends to the callback URL.

use std::borrow::Cow;

use crate::json::scalar::{Known, vocabulary};

/// What the query of one request says, percent-decoded. Reading it never fails: what is absent is `None`.
///
/// Keys match in any case, and the spellings that single pages print (`WebhookCommand`, the legacy `command`) are
/// read too. Where the configured URL has a query of its own, the vendor merges it with its part in the order of the
/// alphabet, so a key's own spelling counts before a looser one (`sign`, `command`), wherever they stand. A second `?`
/// counts as `&`, and of a key that repeats in one spelling the last counts. Source: trtc.io/document/34354 and 647/64412.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// `SdkAppid`: the app's id, as sent.
    pub sdk_app_id: Option<String>,
    /// `CallbackCommand`.
    pub command: Option<String>,
    /// `ClientIP`: the address of the user's device, as sent. Absent on some pages.
    pub client_ip: Option<String>,
    /// `OptPlatform`: the kind of client that acted, as sent; see [`Query::platform_known`]. Absent on some pages.
    pub platform: Option<String>,
    /// `Sign`: hex of SHA-256 over token and `RequestTime`. Only where callback authentication is on.
    pub sign: Option<String>,
    /// `RequestTime`: seconds since 1970 UTC, as sent. Only where callback authentication is on.
    pub request_time: Option<String>,
    /// `RequestId`: the vendor's own name for the request, as sent. No page of the vendor's has it, and most queries do not.
    pub request_id: Option<String>,
    /// The query itself, as received.
    pub text: String,
}

/// A key: its spellings, the documented one first and then those that single pages print, and the field it is for. Any
/// other case of one of them is read too.
type Key = (&'static [&'static str], fn(&mut Query) -> &mut Option<String>);

const KEYS: [Key; 7] = [
    (&["SdkAppid", "SdkAppId", "SDKAppID"], |query| &mut query.sdk_app_id),
    (&["CallbackCommand", "WebhookCommand", "command"], |query| &mut query.command),
    (&["ClientIP"], |query| &mut query.client_ip),
    (&["OptPlatform"], |query| &mut query.platform),
    (&["Sign"], |query| &mut query.sign),
    (&["RequestTime"], |query| &mut query.request_time),
    (&["RequestId", "RequestID"], |query| &mut query.request_id),
];

/// How loosely `key` is one of these spellings, 0 for not at all; `None` where it is none of them.
fn looseness(key: &str, spellings: &[&str]) -> Option<usize> {
    let exact = spellings.iter().position(|spelling| *spelling == key);
    let in_another_case = || spellings.iter().rposition(|word| word.eq_ignore_ascii_case(key));
    exact.map(|place| 2 * place).or_else(|| in_another_case().map(|place| 2 * place + 1))
}

impl Query {
    /// Reads what stands behind the first `?` of the request line.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut query = Self { text: text.to_owned(), ..Self::default() };
        let text =
            if text.contains('?') { Cow::Owned(text.replace('?', "&")) } else { text.into() };
        let mut found = [usize::MAX; KEYS.len()];
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            for ((spellings, field), found) in KEYS.iter().zip(&mut found) {
                let Some(looseness) = looseness(&key, spellings).filter(|it| it <= found) else {
                    continue;
                };
                // An empty value is absent. It is the vendor's word all the same, where its spelling is the closer one.
                if looseness < *found || !value.is_empty() {
                    *field(&mut query) = Some(value.to_string()).filter(|value| !value.is_empty());
                }
                *found = looseness;
                break;
            }
        }
        query
    }

    /// The platform as one of the documented values.
    #[must_use]
    pub fn platform_known(&self) -> Option<Known<Platform>> {
        self.platform.as_deref().map(Known::parse)
    }
}

vocabulary! {
    /// `OptPlatform`: what kind of client caused the event. Source: trtc.io/document/34354.
    Platform {
        /// A server, through the REST API.
        RestApi = "RESTAPI" | "rest_api",
        /// The web SDK.
        Web = "Web",
        /// Android.
        Android = "Android",
        /// iOS; `IOS` on the state-change page.
        Ios = "iOS",
        /// Windows.
        Windows = "Windows",
        /// macOS, in either spelling.
        Mac = "Mac" | "macOS",
        /// iPad.
        Ipad = "iPad",
        /// A mini program (legacy `CallKit` only).
        MiniProgram = "miniProgram",
        /// A device type the vendor does not know.
        Unknown = "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_documented_query_is_read() {
        let query = Query::parse(
            "SdkAppid=1400000001&CallbackCommand=Call.CallbackAfterStartCall&contenttype=json\
             &ClientIP=127.0.0.1&OptPlatform=iOS&Sign=ab&RequestTime=1669872112&RequestID=Id-1",
        );
        assert_eq!(query.request_id.as_deref(), Some("Id-1"));
        assert_eq!(query.sdk_app_id.as_deref(), Some("1400000001"));
        assert_eq!(query.command.as_deref(), Some("Call.CallbackAfterStartCall"));
        assert_eq!(query.client_ip.as_deref(), Some("127.0.0.1"));
        assert_eq!(query.platform_known(), Some(Known::Value(Platform::Ios)));
        assert_eq!(query.sign.as_deref(), Some("ab"));
        assert_eq!(query.request_time.as_deref(), Some("1669872112"));
    }

    #[test]
    fn values_are_percent_decoded_and_broken_escapes_kept() {
        let query = Query::parse("ClientIP=2001%3Adb8%3A%3A1&OptPlatform=%zz&CallbackCommand=a%ff");
        assert_eq!(query.client_ip.as_deref(), Some("2001:db8::1"));
        assert_eq!(query.platform.as_deref(), Some("%zz"));
        assert_eq!(query.command.as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn a_second_question_mark_separates_the_vendors_parameters() {
        let query = Query::parse("tenant=7&SdkAppid=1?SdkAppid=2&CallbackCommand=c");
        assert_eq!(query.sdk_app_id.as_deref(), Some("2"));
        assert_eq!(query.command.as_deref(), Some("c"));
    }

    #[test]
    fn an_empty_value_is_absent() {
        let text = "ClientIP=&OptPlatform&RequestId=";
        assert_eq!(Query::parse(text), Query { text: text.to_owned(), ..Query::default() });
        assert_eq!(Query::parse(""), Query::default());
        assert_eq!(Query::parse("Sign=a&Sign=").sign.as_deref(), Some("a"));
        assert_eq!(Query::parse("clientip=own&ClientIP=").client_ip, None);
    }

    /// What a query says, without its text.
    fn keys_of(text: &str) -> Query {
        Query { text: String::new(), ..Query::parse(text) }
    }

    #[test]
    fn an_exact_key_wins_over_a_looser_spelling_in_any_order() {
        for (close, loose) in [
            ("SdkAppid", "SdkAppId"),
            ("SdkAppId", "sdkappid"),
            ("SDKAppID", "SDKAPPID"),
            ("CallbackCommand", "callbackcommand"),
            ("callbackcommand", "WebhookCommand"),
            ("WebhookCommand", "webhookCommand"),
            ("WebhookCommand", "command"),
            ("command", "Command"),
            ("ClientIP", "ClientIp"),
            ("OptPlatform", "optplatform"),
            ("Sign", "sign"),
            ("RequestTime", "requesttime"),
            ("RequestId", "requestid"),
        ] {
            let expected = keys_of(&format!("{close}=right"));
            assert_ne!(expected, Query::default(), "{close}");
            for query in [
                format!("{close}=right&{loose}=own"),
                format!("{loose}=own&{close}=right"),
                format!("{loose}=own&{close}=right&{loose}=own&{loose}="),
                format!("{loose}=own?{close}=wrong&{close}=right&{close}="),
            ] {
                assert_eq!(keys_of(&query), expected, "{query}");
            }
        }
    }

    proptest! {
        #[test]
        fn own_keys_never_replace_the_vendors(
            own in proptest::collection::vec(
                ("[a-zA-Z]{1,8}|(?i)(sdkappid|callbackcommand|webhookcommand|command|clientip|optplatform|sign|requesttime|requestid)", "[a-z0-9]{0,4}"),
                0..6,
            ),
        ) {
            let vendors = [
                ("SdkAppid", "1400000001"), ("CallbackCommand", "C"), ("ClientIP", "::1"),
                ("OptPlatform", "Web"), ("Sign", "ab"), ("RequestTime", "7"), ("RequestId", "r"),
            ];
            let is_vendors = |key: &str| vendors.iter().any(|(vendors, _)| *vendors == key);
            let mut keys: Vec<(&str, &str)> = vendors.to_vec();
            keys.extend(own.iter().map(|(key, value)| (&**key, &**value)).filter(|(key, _)| !is_vendors(key)));
            // As the vendor merges them.
            keys.sort_unstable();
            let query = |keys: &[(&str, &str)]| {
                keys_of(&form_urlencoded::Serializer::new(String::new()).extend_pairs(keys).finish())
            };
            prop_assert_eq!(query(&keys), query(&vendors));
            keys.reverse();
            prop_assert_eq!(query(&keys), query(&vendors));
        }
    }
}
