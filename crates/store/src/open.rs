//! Factories: the only functions that name both stores.

use std::sync::Arc;

use crate::erase::accounts::Accounts;
use crate::error::StoreError;
use crate::inspection::Examination;
use crate::options::StoreOptions;
use crate::postgres::events_store::Postgres;
use crate::sql::connection::DbConnection;
use crate::sqlite::events_store::Sqlite;
use crate::traits::Store;
use crate::url::StoreUrl;
use crate::{postgres, sqlite};
use protocol::UnixMillis;

/// Opens the store of the URL. A database server need not answer yet.
///
/// # Errors
/// When the URL is invalid or of an unknown kind, or a file or certificate cannot be opened.
pub async fn open(options: &StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    match StoreUrl::to_open(&options.url)? {
        StoreUrl::Postgres(address) => {
            let direct = StoreUrl::direct(options)?;
            Ok(Arc::new(Postgres::open(address, direct, options).await))
        }
        StoreUrl::Sqlite(address) => Ok(Arc::new(Sqlite::open(address, options).await?)),
    }
}

/// Examines the store of the URL, over a connection of its own. `thorough` checks all of a SQLite file.
///
/// Without a timeout of its own: the caller sets one.
///
/// # Errors
/// When the store is unreachable or a query fails.
pub async fn examine(
    options: &StoreOptions,
    now: UnixMillis,
    thorough: bool,
) -> Result<Examination, StoreError> {
    match StoreUrl::to_open(&options.url)? {
        StoreUrl::Postgres(address) => {
            let direct = StoreUrl::direct(options)?;
            postgres::inspect::examine(address, direct, options.partition_span, now).await
        }
        StoreUrl::Sqlite(address) => sqlite::inspect::examine(address, now, thorough).await,
    }
}

/// Opens the store of the URL for an erasure, over a connection of its own; servers may run meanwhile.
///
/// # Errors
/// When the store is unreachable.
pub async fn accounts(options: &StoreOptions) -> Result<Accounts, StoreError> {
    let connection = match StoreUrl::of_sessions(options)? {
        StoreUrl::Postgres(address) => {
            DbConnection::Postgres(postgres::erase::connect(address).await?)
        }
        StoreUrl::Sqlite(address) => {
            let connection = sqlite::erase::connect(address, options.timeout).await?;
            DbConnection::of_sqlite(connection).await?
        }
    };
    Ok(Accounts(connection))
}
