//! A pool of connections, and how a statement runs on one of them.
//!
//! Where a pooler in front of PostgreSQL gives each transaction another session, neither settings nor prepared statements
//! last. There each statement runs in a transaction that sets what it needs, and no statement has a name. Everywhere else
//! the session has its settings from its begin on, and a single statement is one round trip.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{
    PgConnectOptions, PgConnection, PgPool, PgQueryResult, PgRow, PgStatement, PgTypeInfo,
};
use sqlx::{AssertSqlSafe, Connection, Either, Execute, Executor, Postgres, SqlStr, Transaction};

/// A pool.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    pub(crate) pool: PgPool,
    /// What begins a transaction where sessions are shared; `None` where a session keeps its settings.
    pub(crate) begin: Option<Arc<str>>,
}

impl Pool {
    pub(crate) async fn acquire(&self) -> Result<Link, sqlx::Error> {
        Ok(Link { connection: self.pool.acquire().await?, begin: self.begin.clone() })
    }

    pub(crate) async fn begin(&self) -> Result<Tx<'static>, sqlx::Error> {
        let transaction = match &self.begin {
            None => self.pool.begin().await?,
            Some(begin) => self.pool.begin_with(AssertSqlSafe(begin.clone())).await?,
        };
        Ok(Tx { transaction, named: self.begin.is_none() })
    }

    /// Connections made from now on go there.
    pub(crate) fn moved(&self, address: &PgConnectOptions) {
        self.pool.set_connect_options(address.clone());
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection of a pool. As an executor it runs a statement that is a transaction of its own.
#[derive(Debug)]
pub(crate) struct Link {
    connection: PoolConnection<Postgres>,
    begin: Option<Arc<str>>,
}

impl Link {
    pub(crate) fn is_shared(&self) -> bool {
        self.begin.is_some()
    }

    pub(crate) async fn begin(&mut self) -> Result<Tx<'_>, sqlx::Error> {
        let named = self.begin.is_none();
        let transaction = match &self.begin {
            None => self.connection.begin().await?,
            Some(begin) => self.connection.begin_with(AssertSqlSafe(begin.clone())).await?,
        };
        Ok(Tx { transaction, named })
    }

    /// The connection is closed instead of returned to the pool.
    pub(crate) fn close_on_drop(&mut self) {
        self.connection.close_on_drop();
    }

    /// For a session that keeps its settings.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    async fn run_alone<'q, E>(
        &mut self,
        query: E,
    ) -> Result<Vec<Either<PgQueryResult, PgRow>>, sqlx::Error>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let mut transaction = self.begin().await?;
        let done = transaction.fetch_many(query).try_collect().await;
        match done {
            Ok(found) => transaction.commit().await.map(|()| found),
            Err(error) => {
                // When the rollback fails too, its error counts: the connection is broken, and the first error could
                // be mistaken for the row's fault.
                transaction.rollback().await?;
                Err(error)
            }
        }
    }
}

/// A transaction.
#[derive(Debug)]
pub(crate) struct Tx<'c> {
    transaction: Transaction<'c, Postgres>,
    /// Whether statements are prepared under names, which stay with the session.
    named: bool,
}

impl Tx<'_> {
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }

    pub(crate) async fn rollback(self) -> Result<(), sqlx::Error> {
        self.transaction.rollback().await
    }
}

/// A statement that is prepared without a name, unless `named`.
struct Prepared<E> {
    statement: E,
    named: bool,
}

impl<'q, E: Execute<'q, Postgres>> Execute<'q, Postgres> for Prepared<E> {
    fn sql(self) -> SqlStr {
        self.statement.sql()
    }

    fn statement(&self) -> Option<&PgStatement> {
        self.statement.statement()
    }

    fn take_arguments(
        &mut self,
    ) -> Result<Option<sqlx::postgres::PgArguments>, sqlx::error::BoxDynError> {
        self.statement.take_arguments()
    }

    fn persistent(&self) -> bool {
        self.named && self.statement.persistent()
    }
}

impl<'c> Executor<'c> for &'c mut Tx<'_> {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        (&mut *self.transaction).fetch_many(Prepared { statement: query, named: self.named })
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        (&mut *self.transaction).fetch_optional(Prepared { statement: query, named: self.named })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        (&mut *self.transaction).prepare_with(sql, parameters)
    }
}

impl<'c> Executor<'c> for &'c mut Link {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.begin.is_none() {
            return self.connection().fetch_many(query);
        }
        let found = async move { self.run_alone(query).await };
        let found = stream::once(found).map_ok(|found| stream::iter(found.into_iter().map(Ok)));
        found.try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<PgRow>, sqlx::Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        if self.begin.is_none() {
            return self.connection().fetch_optional(query);
        }
        Box::pin(async move {
            let found = self.run_alone(query).await?;
            Ok(found.into_iter().find_map(Either::right))
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, sqlx::Error>>
    where
        'c: 'e,
    {
        self.connection().prepare_with(sql, parameters)
    }
}
