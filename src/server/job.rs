//! What a background job is.

use std::pin::Pin;

/// One background job: its name in the log, and what begins it, at the start and after each panic.
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) begin: Box<dyn Fn() -> JobRun + Send>,
}

pub(crate) type JobRun = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Job {
    /// A job on `state`, of which each run has a copy.
    pub(crate) fn new<S, F>(
        name: &'static str,
        state: S,
        run: impl Fn(S) -> F + Send + 'static,
    ) -> Self
    where
        S: Clone + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self { name, begin: Box::new(move || Box::pin(run(state.clone()))) }
    }
}
