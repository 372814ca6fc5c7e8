//! Opens whichever store a URL names: the only functions that know both.

use std::sync::Arc;

use crate::clock::UnixMillis;
use crate::store::erase::accounts::Accounts;
use crate::store::error::StoreError;
use crate::store::inspection::Examination;
use crate::store::options::StoreOptions;
use crate::store::postgres::events_store::Postgres;
use crate::store::sql::connection::DbConnection;
use crate::store::sqlite::events_store::Sqlite;
use crate::store::traits::Store;
use crate::store::url::StoreUrl;
use crate::store::{postgres, sqlite};

/// Opens the store that the URL names. It need not answer yet, unless it is a file.
///
/// # Errors
/// When the URL is of no known kind or broken, or the file cannot be opened, or a certificate that it names is not there.
pub async fn open(options: &StoreOptions) -> Result<Arc<dyn Store>, StoreError> {
    match StoreUrl::to_open(&options.url)? {
        StoreUrl::Postgres(address) => Ok(Arc::new(Postgres::open(address, options))),
        StoreUrl::Sqlite(address) => Ok(Arc::new(Sqlite::open(address, options).await?)),
    }
}

/// Looks at the store that the URL names, over a connection of its own. `thorough` reads all of a SQLite file.
///
/// It waits as long as the store does: give it a limit.
///
/// # Errors
/// When the store cannot be reached, or does not answer what it is asked.
pub async fn examine(
    options: &StoreOptions,
    now: UnixMillis,
    thorough: bool,
) -> Result<Examination, StoreError> {
    match StoreUrl::to_open(&options.url)? {
        StoreUrl::Postgres(address) => postgres::inspect::examine(address, now).await,
        StoreUrl::Sqlite(address) => sqlite::inspect::examine(address, now, thorough).await,
    }
}

/// Opens the store that the URL names, over a connection of its own, beside any server.
///
/// # Errors
/// When it is not there, or cannot be opened.
pub async fn accounts(options: &StoreOptions) -> Result<Accounts, StoreError> {
    let connection = match StoreUrl::parse(&options.url)? {
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
