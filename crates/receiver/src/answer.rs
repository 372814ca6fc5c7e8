//! What a request is answered.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::Dialect;
use protocol::response;
use protocol::response::{NotStored, Rejected};

use crate::receiver::Receiver;
use crate::request_outcome::RequestOutcome;

/// `Retry-After` of an event that was not stored, in s.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl Receiver {
    /// The answer to a request of this dialect with this outcome.
    pub(crate) fn answer(&self, outcome: RequestOutcome, dialect: Dialect) -> Response {
        let ok = || {
            let body = match dialect {
                Dialect::Im => response::OK,
                Dialect::RtcEngine => response::RTC_OK,
            };
            json(StatusCode::OK, body)
        };
        match outcome {
            RequestOutcome::Rejected(_) if self.rejected == Rejected::Forbidden => {
                json(StatusCode::FORBIDDEN, response::FORBIDDEN)
            }
            // Rejected requests are answered like stored ones, keep-alive included: closing would reveal which apps
            // are ours. A request that is no callback reveals nothing by that, and needs a new connection each time.
            RequestOutcome::NotFound => {
                closing(plain(StatusCode::NOT_FOUND, "there is no callback path here\n"))
            }
            RequestOutcome::MethodNotAllowed => {
                let text = "this is a callback URL: the vendor sends POST requests to it\n";
                let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, text);
                response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
                closing(response)
            }
            RequestOutcome::BodyTooLarge => {
                closing(plain(StatusCode::PAYLOAD_TOO_LARGE, "the body is over the limit\n"))
            }
            RequestOutcome::BodyTooSlow => {
                closing(plain(StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n"))
            }
            RequestOutcome::BodyBroken => {
                closing(plain(StatusCode::BAD_REQUEST, "the body broke off\n"))
            }
            RequestOutcome::Shed if self.when_not_stored == NotStored::Unavailable => {
                closing(later(json(StatusCode::SERVICE_UNAVAILABLE, response::UNAVAILABLE)))
            }
            RequestOutcome::Shed => closing(ok()),
            RequestOutcome::NotStored if self.when_not_stored == NotStored::Unavailable => {
                later(json(StatusCode::SERVICE_UNAVAILABLE, response::UNAVAILABLE))
            }
            RequestOutcome::Stored
            | RequestOutcome::Duplicate
            | RequestOutcome::DeadLetter
            | RequestOutcome::Spooled
            | RequestOutcome::NotStored
            | RequestOutcome::Rejected(_)
            | RequestOutcome::Abandoned => ok(),
        }
    }
}

fn json(status: StatusCode, body: &'static str) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

fn later(mut response: Response) -> Response {
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    response
}

/// The rest of the request is not read, or no further one is wanted: the connection cannot be reused.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
