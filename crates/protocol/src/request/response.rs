//! The envelope the vendor wants back.

/// The answer to every callback: "carry on, and ignore this server's opinion". HTTP 200, `application/json`.
///
/// For "before" commands it allows the action; any other status, or a body that is no JSON, counts as a failed
/// delivery. Source: trtc.io/document/34354 and 647/64412.
pub const OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

/// The answer to every event of the RTC Engine, with HTTP 200. The vendor reads the status alone, and wants status line, headers and
/// body to be at most 2,000 bytes together. Source: trtc.io/document/39558 and cloud.tencent.com/document/product/647/51586.
pub const RTC_OK: &str = r#"{"code":0}"#;

/// The body of the 403 that rejected requests get where `answer.rejected` is `forbidden`.
pub const FORBIDDEN: &str = r#"{"ActionStatus":"FAIL","ErrorInfo":"forbidden","ErrorCode":403}"#;

/// The body of the 503 that a request gets where `answer.when_not_stored` is `unavailable` and its event was not kept.
pub const UNAVAILABLE: &str =
    r#"{"ActionStatus":"FAIL","ErrorInfo":"unavailable","ErrorCode":503}"#;

/// What a request that was not taken is answered: a foreign app, or a signature that is missing, wrong or stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Rejected {
    /// [`OK`] like everything else: a stranger learns nothing.
    #[default]
    Ok,
    /// 403 with [`FORBIDDEN`].
    Forbidden,
}

impl TryFrom<String> for Rejected {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "ok" => Ok(Self::Ok),
            "forbidden" => Ok(Self::Forbidden),
            _ => Err(format!("expected ok or forbidden, found `{word}`")),
        }
    }
}

/// What a request is answered whose event could not be kept anywhere but in the error log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum NotStored {
    /// [`OK`] like everything else: the vendor documents no second try, and may hold a user's action back.
    #[default]
    Ok,
    /// 503 with [`UNAVAILABLE`] and `Retry-After`, for a proxy or a vendor that tries again.
    Unavailable,
}

impl TryFrom<String> for NotStored {
    type Error = String;

    fn try_from(word: String) -> Result<Self, String> {
        match word.as_str() {
            "ok" => Ok(Self::Ok),
            "unavailable" => Ok(Self::Unavailable),
            _ => Err(format!("expected ok or unavailable, found `{word}`")),
        }
    }
}
