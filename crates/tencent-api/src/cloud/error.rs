//! Why a call of the cloud API failed, and what to do about it.

use crate::error::Failure;
use crate::error_codes::Retry;
use protocol::diagnostic::Hint;

/// A call of the cloud API that failed. It never holds an id, a key or a signature.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.text())]
pub struct CloudError {
    /// Which call, `DescribeRoomInfo` for example.
    pub action: &'static str,
    /// The host that was called.
    pub host: String,
    /// How often it was called.
    pub tries: u32,
    /// The vendor's name for the last try, to be given to its support; absent where the answer had none.
    pub request_id: Option<String>,
    /// What went wrong, at the last try.
    pub failure: CloudFailure,
}

/// What went wrong with one try.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloudFailure {
    /// The vendor says no.
    Refused {
        /// Its code, `AuthFailure.SignatureFailure` for example, shortened.
        code: String,
        /// What it says of it, shortened.
        message: String,
    },
    /// There was no answer, or none that is the vendor's.
    Failed(Failure),
}

/// What is known of codes: their beginning, whether to try again, and what to do. The first that fits counts.
const CODES: &[(&str, Retry, &str)] = &[
    (
        "AuthFailure.SignatureExpire",
        Retry::Never,
        "set this machine's clock right: a signature is good for five minutes",
    ),
    (
        "AuthFailure.SignatureFailure",
        Retry::Never,
        "the SecretKey does not belong to this SecretId: copy both from the same line of the console",
    ),
    (
        "AuthFailure.UnauthorizedOperation",
        Retry::Never,
        "give the SecretId's user the policy `QcloudTRTCReadonlyAccess` in the console's access management",
    ),
    (
        "AuthFailure",
        Retry::Never,
        "check SecretId and SecretKey; keys of the Chinese site are called at trtc.tencentcloudapi.com, those of the international \
         one at trtc.intl.tencentcloudapi.com (`rtc_repair.host`)",
    ),
    (
        "UnauthorizedOperation",
        Retry::Never,
        "the call needs a paid edition of the monitoring dashboard for this app, and a SecretId that may read RTC Engine's data",
    ),
    ("RequestLimitExceeded", Retry::Slowly, SLOWER),
    ("LimitExceeded", Retry::Slowly, SLOWER),
    ("InternalError", Retry::Soon, LATER),
    ("ResourceUnavailable", Retry::Soon, LATER),
    (
        "UnsupportedRegion",
        Retry::Never,
        "set `rtc_repair.region` to a region of the call, ap-guangzhou or ap-singapore for example",
    ),
    (
        "InvalidParameter",
        Retry::Never,
        "does the app belong to the account of this SecretId? The vendor keeps 7 or 14 days, by the app's package: give a later \
         `--since`",
    ),
    (
        "FailedOperation",
        Retry::Never,
        "the call needs a paid edition of the monitoring dashboard for this app; if it has one, try again later",
    ),
];
const SLOWER: &str =
    "wait a while; does something else call the vendor's API with this account all the time?";
const LATER: &str = "try again later; if it stays so, give the RequestId to the vendor's support";
const UNKNOWN: &str = "look the code up in the vendor's list, trtc.io/document/35146";

impl CloudFailure {
    /// Whether to try once more.
    pub(crate) fn retry(&self) -> Retry {
        match self {
            Self::Refused { code, .. } => known(code).map_or(Retry::Never, |(_, retry, _)| *retry),
            Self::Failed(failure) => failure.retry(),
        }
    }

    fn meaning(&self) -> String {
        match self {
            Self::Refused { code, message } if message.is_empty() => format!("code {code}"),
            Self::Refused { code, message } => format!("code {code} (`{message}`)"),
            Self::Failed(failure) => failure.meaning(),
        }
    }
}

fn known(code: &str) -> Option<&'static (&'static str, Retry, &'static str)> {
    CODES.iter().find(|(begin, ..)| is_of(code, begin))
}

/// Whether a code is this one, or one of its kinds, which stand behind a dot.
fn is_of(code: &str, begin: &str) -> bool {
    code.strip_prefix(begin).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl CloudError {
    /// Whether the vendor refused what was asked for, and may grant another request of the same kind.
    #[must_use]
    pub fn is_about_what_was_asked(&self) -> bool {
        let CloudFailure::Refused { code, .. } = &self.failure else { return false };
        ["InvalidParameter", "ResourceNotFound", "FailedOperation"]
            .iter()
            .any(|begin| is_of(code, begin))
    }

    fn text(&self) -> String {
        let mut notes = Vec::new();
        notes.extend(self.request_id.as_ref().map(|id| format!("RequestId {id}")));
        notes.extend((self.tries > 1).then(|| format!("{} tries", self.tries)));
        let notes =
            if notes.is_empty() { String::new() } else { format!(" [{}]", notes.join(", ")) };
        let Self { action, host, failure, .. } = self;
        format!("{action} at {host}: {}{notes}", failure.meaning())
    }
}

impl Hint for CloudError {
    fn hint(&self) -> Option<String> {
        let hint = match &self.failure {
            CloudFailure::Refused { code, .. } => known(code).map_or(UNKNOWN, |(.., hint)| hint),
            CloudFailure::Failed(failure) => match failure {
                Failure::Status(300..=399 | 404)
                | Failure::NotUnderstood(_)
                | Failure::TooLarge(_) => {
                    "is this the vendor's host? see `rtc_repair.host`; a proxy may have answered"
                }
                Failure::Unreachable(_) => {
                    "is the host right (`rtc_repair.host`), and may this machine reach it on port 443?"
                }
                _ => return Some(failure.hint()),
            },
        };
        Some(hint.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> CloudFailure {
        CloudFailure::Refused { code: code.to_owned(), message: String::new() }
    }

    #[test]
    fn only_passing_refusals_are_retried() {
        for (code, retry) in [
            ("RequestLimitExceeded", Retry::Slowly),
            ("RequestLimitExceeded.UinLimitExceeded", Retry::Slowly),
            ("InternalError.DBError", Retry::Soon),
            ("AuthFailure.SecretIdNotFound", Retry::Never),
            ("AuthFailureOfAnotherKind", Retry::Never),
            ("InvalidParameter.StartTimeExpire", Retry::Never),
            ("", Retry::Never),
        ] {
            assert_eq!(refused(code).retry(), retry, "{code}");
        }
        assert_eq!(CloudFailure::Failed(Failure::Status(502)).retry(), Retry::Soon);
    }

    #[test]
    fn every_failure_has_a_hint() {
        let error = |failure| CloudError {
            action: "DescribeRoomInfo",
            host: "h".to_owned(),
            tries: 2,
            request_id: Some("r".to_owned()),
            failure,
        };
        for (failure, part) in [
            (refused("AuthFailure.SignatureExpire"), "clock"),
            (refused("AuthFailure.TokenFailure"), "SecretId and SecretKey"),
            (refused("Nothing"), "look the code up"),
            (CloudFailure::Failed(Failure::Status(404)), "`rtc_repair.host`"),
            (CloudFailure::Failed(Failure::TimedOut(std::time::Duration::ZERO)), "later"),
        ] {
            let hint = error(failure).hint().unwrap();
            assert!(hint.contains(part), "{hint}");
        }
        assert_eq!(
            error(refused("A.B")).to_string(),
            "DescribeRoomInfo at h: code A.B [RequestId r, 2 tries]"
        );
    }
}
