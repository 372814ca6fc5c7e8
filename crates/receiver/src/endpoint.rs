//! The handlers of callback paths and of all others. Each counts its request once and answers it.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;

use crate::log::rejections::Stray;
use crate::observer::Observer;
use crate::receiver::Receiver;
use crate::request_outcome::RequestOutcome;

/// Handler of `POST` on a callback path.
pub(crate) async fn receive(
    State(receiver): State<Arc<Receiver>>,
    request: Request<Body>,
) -> Response {
    let account = Account::open(&*receiver.observer);
    let taken = receiver.take(request, account.begun).await;
    let outcome = taken.unwrap_or_else(|refused| refused);
    account.close(outcome);
    receiver.answer(outcome)
}

/// Handler of other methods on a callback path.
pub(crate) async fn method_not_allowed(
    State(receiver): State<Arc<Receiver>>,
    request: Request<Body>,
) -> Response {
    receiver.warn_stray(&request, Stray::Method);
    Account::open(&*receiver.observer).close(RequestOutcome::MethodNotAllowed);
    receiver.answer(RequestOutcome::MethodNotAllowed)
}

/// Handler of any other path, where nobody else answers it.
pub(crate) fn not_found(receiver: &Receiver, request: &Request<Body>) -> Response {
    receiver.warn_stray(request, Stray::Path);
    Account::open(&*receiver.observer).close(RequestOutcome::NotFound);
    receiver.answer(RequestOutcome::NotFound)
}

/// Accounts for each request once, with one outcome, also when its client disconnects and this is dropped early.
struct Account<'a> {
    observer: &'a dyn Observer,
    begun: Instant,
    outcome: RequestOutcome,
}

impl<'a> Account<'a> {
    fn open(observer: &'a dyn Observer) -> Self {
        observer.request_begins();
        Self { observer, begun: Instant::now(), outcome: RequestOutcome::Abandoned }
    }

    fn close(mut self, outcome: RequestOutcome) {
        self.outcome = outcome;
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.observer.request_ends(self.outcome, self.begun.elapsed());
    }
}
