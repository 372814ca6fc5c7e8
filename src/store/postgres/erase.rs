//! The connection that takes an account out of a PostgreSQL.

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;

use crate::store::error::StoreError;
use crate::store::postgres::connection::session::{SessionSettings, begin, named};

/// How long a transaction may stand still.
const IDLE_MAX: Duration = Duration::from_secs(2);

pub(crate) async fn connect(address: PgConnectOptions) -> Result<PgConnection, StoreError> {
    // Events that touch the same rows wait no longer than this for one that stands still.
    let settings = SessionSettings::new(None, Some(IDLE_MAX));
    begin(&named(address, "erase-user"), &settings).await
}
