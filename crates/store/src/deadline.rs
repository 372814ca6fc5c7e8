//! What is asked of the store, with a bound.

use std::time::Duration;

use tokio::time::timeout;

use crate::error::StoreError;
use protocol::diagnostic::{Diagnostic, Hint};

/// Waits for the store, no longer than `most`.
///
/// # Errors
/// When the store failed, or did not answer in that time.
pub async fn within<T>(
    most: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Diagnostic> {
    match timeout(most, work).await {
        Ok(done) => done.map_err(|error| error.diagnostic()),
        Err(_) => Err("the store did not answer in time".to_owned().into()),
    }
}
