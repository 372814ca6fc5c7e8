//! The query string that the vendor appends to the callback URL.

use super::scalar::{Known, vocabulary};

/// What the query of one request says, percent-decoded. Reading it never fails: what is absent is `None`.
///
/// Keys match in any case, and the spellings that single pages print (`WebhookCommand`, the legacy `command`) are
/// read too. Where the configured URL has a query of its own, a second `?` counts as `&`, and of a repeated key the
/// last counts: the vendor appends its part. Source: trtc.io/document/34354 and 647/64412.
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
}

impl Query {
    /// Reads what stands behind the first `?` of the request line.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.replace('?', "&");
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(text.as_bytes()) {
            let field = match key.to_ascii_lowercase().as_str() {
                "sdkappid" => &mut query.sdk_app_id,
                "callbackcommand" | "webhookcommand" | "command" => &mut query.command,
                "clientip" => &mut query.client_ip,
                "optplatform" => &mut query.platform,
                "sign" => &mut query.sign,
                "requesttime" => &mut query.request_time,
                _ => continue,
            };
            if !value.is_empty() {
                *field = Some(value.into_owned());
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
    use super::*;

    #[test]
    fn the_documented_query_is_read() {
        let query = Query::parse(
            "SdkAppid=1400000001&CallbackCommand=Call.CallbackAfterStartCall&contenttype=json\
             &ClientIP=127.0.0.1&OptPlatform=iOS&Sign=ab&RequestTime=1669872112",
        );
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
    fn a_second_question_mark_is_an_ampersand_and_the_vendors_part_counts() {
        let query = Query::parse("tenant=7&SdkAppid=1?SdkAppid=2&CallbackCommand=c");
        assert_eq!(query.sdk_app_id.as_deref(), Some("2"));
        assert_eq!(query.command.as_deref(), Some("c"));
    }

    #[test]
    fn an_empty_value_is_absent() {
        assert_eq!(Query::parse("ClientIP=&OptPlatform"), Query::default());
        assert_eq!(Query::parse(""), Query::default());
    }
}
