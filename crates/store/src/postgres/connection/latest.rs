//! A stack of the connections that wrote last: the next batch uses the most recent one.
//!
//! sqlx's pool hands out the connection that was idle longest, so single batches would rotate through all of them.
//! Each connection is a server process, and a recently used one has warm caches; and on a stalling disk, each further
//! process that commits may block on it, and all others behind it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::postgres::connection::pool::{Link, Pool};

/// How long a connection is kept from the pool, which closes old ones.
const KEPT_AT_MOST: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(crate) struct Latest {
    pool: Pool,
    /// Each with the time at which it was taken from the pool.
    kept: Mutex<Vec<(Link, Instant)>>,
    most: usize,
}

impl Latest {
    /// Keeps at most `most` connections, which the pool then lacks.
    pub(crate) fn of(pool: Pool, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { pool, kept: Mutex::default(), most }
    }

    fn kept(&self) -> MutexGuard<'_, Vec<(Link, Instant)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most recently used connection, else one of the pool, and the time at which it was taken from the pool.
    pub(crate) async fn take(&self) -> Result<(Link, Instant), sqlx::Error> {
        let latest = self.kept().pop();
        match latest {
            Some(latest) => Ok(latest),
            None => Ok((self.pool.acquire().await?, Instant::now())),
        }
    }

    /// Returns a connection that is fit for use.
    pub(crate) fn give_back(&self, link: Link, since: Instant) {
        let mut kept = self.kept();
        if kept.len() < self.most && since.elapsed() < KEPT_AT_MOST {
            kept.push((link, since));
        }
    }

    /// Returns all connections to the pool, so that it can close them.
    pub(crate) fn close(&self) {
        self.kept().clear();
    }
}
