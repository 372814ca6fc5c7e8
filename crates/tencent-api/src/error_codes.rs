//! Every code that the vendor documents for these calls: what it means, what to do, and whether to try again. Sources:
//! trtc.io/document/34348, 68926, 63398 and the pages of the calls.

/// One code of the vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// The `ErrorCode`.
    pub code: i64,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub hint: &'static str,
    /// Whether the same call may go well in a moment.
    pub retry: Retry,
}

/// Whether to try a call once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    Never,
    /// Something went wrong on the vendor's side or on the way.
    Soon,
    /// There were too many calls.
    Slowly,
}

/// What is known of a code; `None` where the vendor does not document it.
#[must_use]
pub fn find(code: i64) -> Option<&'static Code> {
    CODES.iter().find(|row| row.code == code)
}

/// Every documented code, in order.
pub static CODES: &[Code] = &[
    never(60002, "the request's URL cannot be read", BUG),
    never(60003, "the request's body is not JSON", BUG),
    never(60004, "the account or the signature was not accepted", ACCOUNT),
    never(60005, "the account or the signature was not accepted", ACCOUNT),
    never(
        60006,
        "the SDKAppID is not valid",
        "check the SDKAppID: it stands in the vendor's console",
    ),
    slowly(60007, "too many calls"),
    soon(60008, "the vendor's server timed out"),
    never(60009, "there is no such path", "is this the vendor's host? see `--region` and `--host`"),
    never(
        60010,
        "the identifier is not an admin of the app",
        "name an admin of the app with `--identifier`: every app has `administrator`, the console lists the others",
    ),
    slowly(60011, "too many calls for this app"),
    never(60012, "the URL has no SDKAppID", BUG),
    soon(60013, "the vendor's server could not answer"),
    soon(60014, "the vendor's server timed out over the account"),
    never(60015, "an account in the body is not text", BUG),
    never(60016, "the app is disabled", "see in the vendor's console why the app is disabled"),
    never(60017, "the call is disabled", "ask the vendor's support to enable it for the app"),
    slowly(60018, "too many calls"),
    slowly(60019, "too many calls"),
    never(
        60020,
        "the app's package has expired, is unpaid, or does not include the product",
        "renew or buy the product's package in the vendor's console",
    ),
    never(
        60021,
        "this machine's address may not call",
        "add it to the addresses that may, in the vendor's console, or call from one of them",
    ),
    never(
        60025,
        "SDKAppID, identifier, UserSig or contenttype is not as it must be",
        "check the SDKAppID and `--identifier`; what else is in the URL is made here",
    ),
    never(
        60026,
        "the app does not belong to this host's site",
        "choose the region where the app was made with `--region` (`china` for apps of the Chinese site, `singapore` \
         for most others), or its host with `--host`",
    ),
    never(
        60027,
        "the app's product does not include this call",
        "use an app of Call, Room or Live",
    ),
    never(
        60028,
        "the trial edition's calls of the day are used up",
        "try again tomorrow, or buy a package in the vendor's console",
    ),
    never(
        70001,
        "the UserSig has expired",
        "set this machine's clock right: UserSigs are made here, for half an hour",
    ),
    never(
        70003,
        "the UserSig cannot be read",
        "was it changed on the way? a proxy may rewrite URLs",
    ),
    never(
        70009,
        "the UserSig was signed with another key",
        "the key belongs to another app, or is not the current one: copy `SDKSecretKey` of this very SDKAppID from the \
         vendor's console to the file of `--secret-key-file`",
    ),
    never(70013, "the UserSig is of another identifier", "check `--identifier`"),
    never(70014, "the UserSig is of another SDKAppID", "check the SDKAppID"),
    never(70016, "the vendor has no key for this app here", DATA_CENTRE),
    never(70020, "there is no such app here", DATA_CENTRE),
    never(
        70050,
        "signatures were wrong too often",
        "wait a minute before you try again, with the app's key in the file of `--secret-key-file`",
    ),
    never(
        70051,
        "the account is blocked",
        "name another admin with `--identifier`, or lift the block in the console",
    ),
    never(
        70107,
        "there is no such account",
        "name an admin of the app with `--identifier`: every app has `administrator`",
    ),
    soon(70169, "the vendor's server timed out inside"),
    never(
        70398,
        "the app has as many accounts as it may",
        "delete accounts, or buy a larger package",
    ),
    never(70402, "a parameter is not valid", "check the SDKAppID and `--identifier`"),
    soon(70500, "the vendor's server failed inside"),
    soon(100_001, "the vendor's server failed inside"),
    never(
        100_002,
        "a parameter is not valid",
        "see what the vendor says of it: the URL, a command, or a token that is set for the first time without saying \
         whether it is used",
    ),
    never(
        100_300,
        "there is a callback configuration already",
        "somebody else made it meanwhile: look at it, then try again",
    ),
    never(
        100_301,
        "there is no callback configuration",
        "set one first; or was it deleted meanwhile? then try again",
    ),
    never(100_302, "there is no token configuration", "set a token first"),
];

const BUG: &str =
    "this is a mistake in this program, or a proxy changed the call: please report it";
const ACCOUNT: &str =
    "check `--identifier`, and that the key in the file of `--secret-key-file` is this app's";
const DATA_CENTRE: &str =
    "check the SDKAppID, and the region where the app was made: `--region`, `--host`";
const LATER: &str = "try again later; if it stays so, give the RequestId to the vendor's support";
const SLOWER: &str =
    "wait a while; does something else call the vendor's API for this app all the time?";

const fn never(code: i64, meaning: &'static str, hint: &'static str) -> Code {
    Code { code, meaning, hint, retry: Retry::Never }
}

const fn soon(code: i64, meaning: &'static str) -> Code {
    Code { code, meaning, hint: LATER, retry: Retry::Soon }
}

const fn slowly(code: i64, meaning: &'static str) -> Code {
    Code { code, meaning, hint: SLOWER, retry: Retry::Slowly }
}
