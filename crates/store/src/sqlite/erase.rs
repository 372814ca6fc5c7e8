//! The connection of an erasure in a SQLite file.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::error::StoreError;
use crate::sqlite::error::{missing, unopened};

pub(crate) async fn connect(
    address: SqliteConnectOptions,
    busy_timeout: Duration,
) -> Result<SqliteConnection, StoreError> {
    let file = address.get_filename().to_owned();
    if !file.exists() {
        return Err(missing(&file));
    }
    let address = address
        .create_if_missing(false)
        .busy_timeout(busy_timeout)
        // Overwrites deleted content in the file's free pages.
        .pragma("secure_delete", "on");
    address.connect().await.map_err(|error| unopened(&file, &error))
}
