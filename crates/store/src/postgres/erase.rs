//! The connection of an erasure in PostgreSQL.

use std::time::Duration;

use sqlx::PgConnection;

use crate::error::StoreError;
use crate::postgres::connection::address::Address;
use crate::postgres::connection::session::SessionSettings;

/// Timeout of an idle transaction.
const IDLE_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn connect(address: Address) -> Result<PgConnection, StoreError> {
    // Bounds how long events that touch the same rows wait for an idle transaction.
    let settings = SessionSettings::new(None, Some(IDLE_MAX));
    address.named("erase-user").begin(settings).await
}
