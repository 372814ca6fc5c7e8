//! The handlers of callback paths and of all others. Each counts its request once and answers it.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use axum::response::Response;
use protocol::Dialect;

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
    let dialect = receiver.dialect(&request);
    let taken = receiver.take(request, dialect, account.begun).await;
    let outcome = taken.unwrap_or_else(|refused| refused);
    account.close(outcome);
    receiver.answer(outcome, dialect)
}

/// Handler of other methods on a callback path.
pub(crate) async fn method_not_allowed(
    State(receiver): State<Arc<Receiver>>,
    request: Request<Body>,
) -> Response {
    receiver.warn_stray(&request, Stray::Method);
    Account::open(&*receiver.observer).close(RequestOutcome::MethodNotAllowed);
    receiver.answer(RequestOutcome::MethodNotAllowed, Dialect::Im)
}

/// Handler of any other path, where nobody else answers it.
pub(crate) fn not_found(receiver: &Receiver, request: &Request<Body>) -> Response {
    receiver.warn_stray(request, Stray::Path);
    Account::open(&*receiver.observer).close(RequestOutcome::NotFound);
    receiver.answer(RequestOutcome::NotFound, Dialect::Im)
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::Mutex;
    use std::task::Poll;
    use std::time::Duration;

    use async_trait::async_trait;
    use axum::http::Extensions;
    use protocol::{AppId, Apps, Event};
    use tokio::sync::Semaphore;

    use crate::endpoint::*;
    use crate::sink::{Outcome, Sink};

    /// What an observer was told, in order.
    #[derive(Default)]
    struct Diary(Mutex<Vec<String>>);

    impl Diary {
        fn add(&self, line: impl Into<String>) {
            self.0.lock().unwrap().push(line.into());
        }

        fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Observer for Diary {
        fn request_begins(&self) {
            self.add("begins");
        }

        fn request_verified(&self, extensions: &Extensions) {
            self.add(format!("verified {:?}", extensions.get::<u8>()));
        }

        fn event_decoded(&self, event: &Event) {
            self.add(event.command.to_string());
        }

        fn request_ends(&self, outcome: RequestOutcome, _: Duration) {
            self.add(format!("{outcome:?}"));
        }
    }

    /// Takes an event once it may.
    struct Gate {
        permits: Semaphore,
        taken: Semaphore,
    }

    #[async_trait]
    impl Sink for Gate {
        async fn submit(&self, _: Event, _: Instant) -> Outcome {
            self.permits.acquire().await.unwrap().forget();
            self.taken.add_permits(1);
            Outcome::New
        }
    }

    fn receiver(permits: usize) -> (Arc<Receiver>, Arc<Diary>, Arc<Gate>) {
        let apps = Apps::new().with(AppId::parse("1400000001").unwrap(), Vec::new());
        let gate = Gate { permits: Semaphore::new(permits), taken: Semaphore::new(0) };
        let (gate, diary) = (Arc::new(gate), Arc::new(Diary::default()));
        let receiver = Receiver::new(apps, gate.clone()).with_observer(diary.clone());
        (Arc::new(receiver), diary, gate)
    }

    fn request(app: &str) -> Request<Body> {
        let uri = format!("/?SdkAppid={app}&CallbackCommand=Call.CallbackAfterEndCall");
        Request::post(uri).extension(7_u8).body(Body::from("{}")).unwrap()
    }

    #[tokio::test]
    async fn an_observer_is_told_of_each_step_once() {
        let (receiver, diary, _) = receiver(1);
        let answer = receive(State(receiver.clone()), request("1400000001")).await;
        assert_eq!(answer.status(), 200);
        let steps = ["begins", "verified Some(7)", "Call.CallbackAfterEndCall", "Stored"];
        assert_eq!(diary.take(), steps);
        let answer = receive(State(receiver), request("1400000002")).await;
        assert_eq!(answer.status(), 200);
        let told = diary.take();
        assert!(told.len() == 2 && told[1].starts_with("Rejected(AppForeign"), "{told:?}");
    }

    #[tokio::test]
    async fn an_abandoned_request_has_an_outcome_and_its_event_a_sink() {
        let (receiver, diary, gate) = receiver(0);
        {
            let mut abandoned = pin!(receive(State(receiver.clone()), request("1400000001")));
            poll_fn(|context| {
                assert!(abandoned.as_mut().poll(context).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(diary.take().last().unwrap(), "Abandoned");
        gate.permits.add_permits(1);
        receiver.submissions().finished().await;
        assert_eq!(gate.taken.available_permits(), 1);
        assert!(diary.take().is_empty());
    }
}
