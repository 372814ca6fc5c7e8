//! The connection that takes an account out of a SQLite file.

use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use crate::store::error::StoreError;
use crate::store::sqlite::error::{missing, unopened};

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
        // What is overwritten or deleted is not left in the file's free places.
        .pragma("secure_delete", "on");
    address.connect().await.map_err(|error| unopened(&file, &error))
}
