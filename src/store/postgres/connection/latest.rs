//! The connections over which events were stored last: the next batch goes over the latest of them.
//!
//! sqlx's pool hands out the one that was idle longest, so that batches that come one by one would go over all in turn. One
//! connection of PostgreSQL's has one process, whose caches are warm; and where a disk stalls, each further process that
//! commits may be the next to wait for it, with all others behind it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPool;
use tokio::time::Instant;

/// How long one is kept from the pool, which ends connections that are old.
const KEPT_AT_MOST: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Latest {
    pool: PgPool,
    /// Each with the moment since when the pool is without it.
    kept: Mutex<Vec<(PoolConnection<Postgres>, Instant)>>,
    most: usize,
}

impl Latest {
    /// Keeps so many at most, which are then missing in the pool.
    pub(crate) fn of(pool: PgPool, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { pool, kept: Mutex::default(), most }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(PoolConnection<Postgres>, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was used last, or another of the pool's, and since when it is taken from there.
    pub(crate) async fn take(&self) -> Result<(PoolConnection<Postgres>, Instant), sqlx::Error> {
        let latest = self.kept().pop();
        match latest {
            Some(latest) => Ok(latest),
            None => Ok((self.pool.acquire().await?, Instant::now())),
        }
    }

    /// Takes back one that can be used again.
    pub(crate) fn give_back(&self, connection: PoolConnection<Postgres>, since: Instant) {
        let mut kept = self.kept();
        if kept.len() < self.most && since.elapsed() < KEPT_AT_MOST {
            kept.push((connection, since));
        }
    }

    /// Gives all to the pool, so that it can close them.
    pub(crate) fn close(&self) {
        self.kept().clear();
    }
}
