//! A connection to either store, whose statements are [templates](crate::sql::template).

use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row as _};

use crate::error::StoreError;
use crate::postgres::connection::address::Address;
use crate::postgres::connection::session::SessionSettings;
use crate::sql::builder::ReadRow;
use crate::sql::dialect::{Dialect, POSTGRES, SQLITE};
use crate::sql::template::render;
use crate::{postgres, sqlite};
use projections::table::{Row, Table};

/// Statement timeout.
const STATEMENT_MAX: Duration = Duration::from_mins(1);
/// Timeout of an idle transaction.
const IDLE_MAX: Duration = Duration::from_secs(2);

/// A connection to either database, outside of the store's pools.
#[derive(Debug)]
pub(crate) enum DbConnection {
    Postgres(PgConnection),
    Sqlite(SqliteConnection, #[expect(dead_code, reason = "dropped with the connection")] Lease),
}

/// Statements of an SQLite connection run only while its lease exists. Nothing else would stop a cancelled one; in
/// PostgreSQL `statement_timeout` does.
#[derive(Debug)]
pub(crate) struct Lease(Arc<()>);

impl Lease {
    async fn of(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let lease = Self(Arc::new(()));
        let held = Arc::downgrade(&lease.0);
        let mut handle = connection.lock_handle().await?;
        handle.set_progress_handler(sqlite::file::STEPS, move || held.strong_count() > 0);
        Ok(lease)
    }
}

/// A parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arg {
    Int(Option<i64>),
    Text(Option<String>),
    Bool(bool),
}

impl From<i64> for Arg {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Arg {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Arg {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<Option<&str>> for Arg {
    fn from(value: Option<&str>) -> Self {
        Self::Text(value.map(str::to_owned))
    }
}

impl From<bool> for Arg {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// Binds the parameters of a statement, in either database.
macro_rules! bind {
    ($query:expr, $args:expr) => {{
        let mut query = $query;
        for arg in $args {
            query = match arg {
                Arg::Int(value) => query.bind(*value),
                Arg::Text(value) => query.bind(value.clone()),
                Arg::Bool(value) => query.bind(*value),
            };
        }
        query
    }};
}

impl DbConnection {
    /// `name` is the application name in the server's statistics; `more` are settings beside those of every session.
    pub(crate) async fn postgres(
        address: Address,
        name: &str,
        more: &[(&'static str, &'static str)],
    ) -> Result<Self, StoreError> {
        // A client that hangs or vanished must not keep the session worker's lock, or row locks that ingest waits
        // for: the server ends it soon.
        let settings = SessionSettings::new(Some(STATEMENT_MAX), Some(IDLE_MAX))
            .with("idle_session_timeout", "300000")
            .with("tcp_keepalives_idle", "10")
            .with("tcp_keepalives_interval", "5")
            .with("tcp_keepalives_count", "3");
        let settings = more.iter().fold(settings, |all, (name, value)| all.with(name, *value));
        Ok(Self::Postgres(address.named(name).begin(settings).await?))
    }

    /// The results can be computed again, so a commit needs no sync: the WAL keeps the order of commits, and the next
    /// event's commit syncs it.
    pub(crate) async fn sqlite(
        address: SqliteConnectOptions,
        wait_max: Duration,
    ) -> Result<Self, StoreError> {
        let address = address
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(wait_max.max(Duration::from_secs(5)));
        Self::of_sqlite(address.connect().await.map_err(sqlite::error::classify)?).await
    }

    pub(crate) async fn of_sqlite(mut connection: SqliteConnection) -> Result<Self, StoreError> {
        let lease = Lease::of(&mut connection).await.map_err(sqlite::error::classify)?;
        Ok(Self::Sqlite(connection, lease))
    }

    pub(crate) fn is_postgres(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    pub(crate) fn dialect(&self) -> &'static Dialect {
        if self.is_postgres() { &POSTGRES } else { &SQLITE }
    }

    pub(crate) async fn rows<T: ReadRow>(
        &mut self,
        sql: &str,
        args: &[Arg],
    ) -> Result<Vec<T>, StoreError> {
        let sql = AssertSqlSafe(render(self.dialect(), sql));
        match self {
            Self::Postgres(connection) => bind!(sqlx::query_as(sql), args)
                .fetch_all(connection)
                .await
                .map_err(postgres::error::classify),
            Self::Sqlite(connection, _) => bind!(sqlx::query_as(sql), args)
                .fetch_all(connection)
                .await
                .map_err(sqlite::error::classify),
        }
    }

    pub(crate) async fn row<T: ReadRow>(
        &mut self,
        sql: &str,
        args: &[Arg],
    ) -> Result<Option<T>, StoreError> {
        Ok(self.rows(sql, args).await?.pop())
    }

    /// Returns the number of changed rows.
    pub(crate) async fn execute(&mut self, sql: &str, args: &[Arg]) -> Result<u64, StoreError> {
        let sql = AssertSqlSafe(render(self.dialect(), sql));
        match self {
            Self::Postgres(connection) => bind!(sqlx::query(sql), args)
                .execute(connection)
                .await
                .map(|done| done.rows_affected())
                .map_err(postgres::error::classify),
            Self::Sqlite(connection, _) => bind!(sqlx::query(sql), args)
                .execute(connection)
                .await
                .map(|done| done.rows_affected())
                .map_err(sqlite::error::classify),
        }
    }

    /// Runs a query for each list of parameters and returns the rows of each. In PostgreSQL as a single statement, as
    /// a round trip costs more than most of these queries.
    pub(crate) async fn each<T: ReadRow>(
        &mut self,
        sql: &str,
        lists: &[Vec<Arg>],
    ) -> Result<Vec<Vec<T>>, StoreError> {
        let connection = match self {
            Self::Postgres(connection) if lists.len() > 1 => connection,
            _ => {
                let mut all = Vec::with_capacity(lists.len());
                for args in lists {
                    all.push(self.rows(sql, args).await?);
                }
                return Ok(all);
            }
        };
        // `offset 0` keeps the planner from flattening the subquery: each list is looked up by an index, whatever
        // their estimated number.
        let sql = format!(
            "select found.*, list.place as place_of_list from {} cross join lateral (
                 select * from ({}) as one offset 0) as found",
            list_of(lists),
            in_list(&render(&POSTGRES, sql))
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).bind(json(lists)).fetch_all(connection).await;
        let mut all: Vec<Vec<T>> = lists.iter().map(|_| Vec::new()).collect();
        for row in &rows.map_err(postgres::error::classify)? {
            let place: i64 = row.try_get("place_of_list").map_err(postgres::error::classify)?;
            let of = usize::try_from(place).ok().and_then(|place| all.get_mut(place));
            if let Some(of) = of {
                of.push(T::from_row(row).map_err(postgres::error::classify)?);
            }
        }
        Ok(all)
    }

    /// Calls `take` with each row without collecting them, and yields to other tasks meanwhile.
    pub(crate) async fn fold<T: ReadRow>(
        &mut self,
        sql: &str,
        args: &[Arg],
        mut take: impl FnMut(T) + Send,
    ) -> Result<(), StoreError> {
        let sql = AssertSqlSafe(render(self.dialect(), sql));
        match self {
            Self::Postgres(connection) => {
                let mut rows = bind!(sqlx::query_as(sql), args).fetch(connection);
                while let Some(row) = rows.try_next().await.map_err(postgres::error::classify)? {
                    take(row);
                    tokio::task::consume_budget().await;
                }
            }
            Self::Sqlite(connection, _) => {
                let mut rows = bind!(sqlx::query_as(sql), args).fetch(connection);
                while let Some(row) = rows.try_next().await.map_err(sqlite::error::classify)? {
                    take(row);
                    tokio::task::consume_budget().await;
                }
            }
        }
        Ok(())
    }

    /// Inserts rows into a table with a prefix to its name, or merges them into existing ones, as ingest does.
    pub(crate) async fn merge(
        &mut self,
        prefix: &str,
        table: &Table,
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        match self {
            Self::Postgres(connection) => {
                postgres::projections::insert(connection, prefix, table, rows)
                    .await
                    .map_err(postgres::error::classify)
            }
            Self::Sqlite(connection, _) => {
                sqlite::projections::insert(connection, prefix, table, rows)
                    .await
                    .map_err(sqlite::error::classify)
            }
        }
    }

    /// Begins a write transaction. It ends uncommitted with the connection, which must not be used again after an
    /// error.
    pub(crate) async fn begin(&mut self) -> Result<(), StoreError> {
        self.execute(self.dialect().begin, &[]).await.map(|_| ())
    }

    pub(crate) async fn close(self) {
        // Where closing fails, the database notices the lost connection.
        let _ = match self {
            Self::Postgres(connection) => connection.close().await,
            Self::Sqlite(connection, _) => connection.close().await,
        };
    }

    pub(crate) async fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("commit", &[]).await.map(|_| ())
    }
}

/// PostgreSQL's table of the lists of parameters, which are bound as one.
pub(crate) fn list_of(lists: &[Vec<Arg>]) -> String {
    let columns = lists.first().into_iter().flatten().zip(1..).map(|(arg, place)| {
        let kind = match arg {
            Arg::Int(_) => "bigint",
            Arg::Text(_) => "text",
            Arg::Bool(_) => "boolean",
        };
        format!(", p{place} {kind}")
    });
    let columns: String = columns.collect();
    format!("jsonb_to_recordset($1::jsonb) as list (place bigint{columns})")
}

/// Replaces parameters by columns of that table.
pub(crate) fn in_list(sql: &str) -> String {
    sql.replace('$', "list.p")
}

pub(crate) fn json(lists: &[Vec<Arg>]) -> String {
    let value = |arg: &Arg| match arg {
        Arg::Int(value) => serde_json::Value::from(*value),
        Arg::Text(value) => serde_json::Value::from(value.as_deref()),
        Arg::Bool(value) => serde_json::Value::from(*value),
    };
    let object = |(place, args): (usize, &Vec<Arg>)| {
        let mut object = serde_json::Map::with_capacity(args.len() + 1);
        object.insert("place".to_owned(), place.into());
        object
            .extend(args.iter().zip(1..).map(|(arg, of): (_, i32)| (format!("p{of}"), value(arg))));
        serde_json::Value::Object(object)
    };
    serde_json::Value::Array(lists.iter().enumerate().map(object).collect()).to_string()
}

#[cfg(test)]
mod tests {
    use crate::sql::connection::*;

    #[test]
    fn lists_are_one_parameter() {
        let lists = [
            vec![1.into(), "a\"\\".into(), true.into()],
            vec![None::<i64>.into(), None::<&str>.into(), false.into()],
        ];
        assert_eq!(
            list_of(&lists),
            "jsonb_to_recordset($1::jsonb) as list (place bigint, p1 bigint, p2 text, p3 boolean)"
        );
        assert_eq!(
            json(&lists),
            r#"[{"place":0,"p1":1,"p2":"a\"\\","p3":true},{"place":1,"p1":null,"p2":null,"p3":false}]"#
        );
        assert_eq!(in_list("$1 < $12"), "list.p1 < list.p12");
    }
}
