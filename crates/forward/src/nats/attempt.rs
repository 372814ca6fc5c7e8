//! The result of publishing one event once.

use std::time::Duration;

use protocol::diagnostic::Diagnostic;

use crate::answer::{Failure, Response};

/// One try to publish.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The stream's ack, or why there is none.
    pub result: Result<Ack, PublishFailure>,
    /// From the call until then.
    pub duration: Duration,
}

/// A stream has the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The stream.
    pub stream: String,
    /// Its number there.
    pub sequence: u64,
    /// Whether the stream had it already, by its id.
    pub duplicate: bool,
}

/// Why there is no ack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishFailure {
    /// In the terms of all destinations.
    pub response: Response<'static>,
    /// What is wrong, and what to do.
    pub found: Diagnostic,
    /// The number of `JetStream`'s error.
    pub code: Option<u64>,
}

impl Attempt {
    /// What it is to those that decide what follows.
    #[must_use]
    pub fn response(&self) -> Response<'static> {
        match &self.result {
            Ok(_) => status(200),
            Err(failure) => failure.response,
        }
    }
}

/// An answer in the terms of HTTP.
pub(crate) fn status(status: u16) -> Response<'static> {
    Response::Status { status, retry_after: None }
}

impl PublishFailure {
    /// There is no answer at all.
    pub(crate) fn none(failure: Failure, problem: impl Into<String>, hint: &str) -> Self {
        let found = Diagnostic::new(problem, hint);
        Self { response: Response::Failure(failure), found, code: None }
    }

    /// Nobody takes the subject. The server says the same where a stream has no leader for some seconds, so this is never taken for a
    /// mistake in the configuration; and since the stream may take other subjects, the event itself may be the cause.
    pub(crate) fn no_responders(subject: &str) -> Self {
        let hint = "is there a stream with this subject, and has it a leader? `doctor` looks";
        let found = Diagnostic::new(format!("no stream takes `{subject}` now"), hint);
        Self { response: status(503), found, code: None }
    }

    /// `JetStream` refused it.
    pub(crate) fn refused(error: &ApiError) -> Self {
        let said = error.description.as_str();
        let (response, hint) = match error.err_code {
            10_054 => (Response::Failure(Failure::TooLarge), "raise the stream's `max_msg_size`"),
            // One subject is full, and others are not: the event is tried again beside them.
            10_077 if said.contains("per subject") => {
                (status(503), "consume, or raise the stream's limit of messages per subject")
            }
            // Backpressure: what comes later is refused too, so it is the destination that waits.
            10_077 => (status(429), "the stream is full: consume, or raise its limits"),
            10_023 | 10_028 | 10_047 => {
                (status(429), "the account or the servers are full: raise `max_file`, or delete")
            }
            10_060 => (
                Response::Failure(Failure::Unusable),
                "another stream takes the subject: see `stream`",
            ),
            _ => match error.code {
                code @ (400..=409 | 411..=599) => (status(code), "see the error's number"),
                _ => (status(500), "see the error's number"),
            },
        };
        let problem = format!("JetStream error {}: {said}", error.err_code);
        Self { response, found: Diagnostic::new(problem, hint), code: Some(error.err_code) }
    }
}

/// An error as `JetStream` sends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct ApiError {
    #[serde(default)]
    pub(crate) code: u16,
    #[serde(default)]
    pub(crate) err_code: u64,
    #[serde(default)]
    pub(crate) description: String,
}

/// What comes back for a message: an ack or an error.
#[derive(serde::Deserialize)]
struct Answer {
    error: Option<ApiError>,
    stream: Option<String>,
    seq: Option<u64>,
    #[serde(default)]
    duplicate: bool,
}

/// Reads what came back for a message.
pub(crate) fn read(payload: &[u8]) -> Result<Ack, PublishFailure> {
    let foreign = || {
        let hint = "does a service answer on this subject, or is `subject_prefix` another one's?";
        PublishFailure::none(Failure::Reset, "what answered is not JetStream", hint)
    };
    let answer: Answer = serde_json::from_slice(payload).map_err(|_| foreign())?;
    match answer {
        Answer { error: Some(error), .. } => Err(PublishFailure::refused(&error)),
        Answer { stream: Some(stream), seq: Some(sequence), duplicate, .. } => {
            Ok(Ack { stream, sequence, duplicate })
        }
        _ => Err(foreign()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{DestinationMeaning, EventMeaning};
    use protocol::UnixMillis;

    #[test]
    fn each_error_of_jetstream_means_what_the_table_says() {
        use DestinationMeaning::{Counts, Fails, Misconfigured, Nothing};
        use EventMeaning::{Failed, Undeliverable, Waits};
        let counts = Counts { of_several: true };
        for (code, err_code, description, event, destination) in [
            (400, 10_054, "message size exceeds maximum allowed", Undeliverable, Nothing),
            (503, 10_077, "maximum bytes exceeded", Waits { suspect: false }, Fails(None)),
            (503, 10_077, "maximum messages exceeded", Waits { suspect: false }, Fails(None)),
            (
                503,
                10_077,
                "maximum messages per subject exceeded",
                Waits { suspect: true },
                Fails(None),
            ),
            (503, 10_023, "insufficient resources", Waits { suspect: false }, Fails(None)),
            (
                400,
                10_060,
                "expected stream does not match",
                Waits { suspect: false },
                Misconfigured,
            ),
            (503, 10_008, "JetStream system unavailable", Waits { suspect: true }, Fails(None)),
            (400, 10_109, "invalid operation on sealed stream", Failed, counts),
            (0, 0, "", Waits { suspect: true }, Counts { of_several: false }),
            (
                410,
                1,
                "a status that would pause the destination",
                Waits { suspect: true },
                Counts { of_several: false },
            ),
        ] {
            let error = ApiError { code, err_code, description: description.to_owned() };
            let failure = PublishFailure::refused(&error);
            let meaning = failure.response.meaning(UnixMillis(0));
            assert_eq!((meaning.event, meaning.destination), (event, destination), "{error:?}");
            assert!(failure.found.problem.contains(description));
        }
    }

    #[test]
    fn an_answer_is_an_ack_an_error_or_somebody_elses() {
        let ack = read(br#"{"stream":"S","seq":7,"duplicate":true,"domain":"d","new":1}"#).unwrap();
        assert_eq!(ack, Ack { stream: "S".to_owned(), sequence: 7, duplicate: true });
        let error =
            br#"{"error":{"code":400,"err_code":10054,"description":"d"},"stream":"S","seq":0}"#;
        assert_eq!(read(error).unwrap_err().code, Some(10_054));
        for foreign in [&b""[..], b"{}", b"ok", b"[]", br#"{"stream":"S"}"#, b"\xff"] {
            let failure = read(foreign).unwrap_err();
            assert_eq!(failure.response, Response::Failure(Failure::Reset));
        }
    }
}
