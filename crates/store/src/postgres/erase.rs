//! The connection of an erasure in PostgreSQL.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use crate::error::StoreError;
use crate::postgres::connection::session::{SessionSettings, begin, named};

/// Timeout of an idle transaction.
const IDLE_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn connect(address: PgConnectOptions) -> Result<PgConnection, StoreError> {
    // Bounds how long events that touch the same rows wait for an idle transaction.
    let settings = SessionSettings::new(None, Some(IDLE_MAX));
    begin(&named(address, "erase-user"), &settings).await
}
