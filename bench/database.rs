//! Databases: each run has a fresh one, made like a template that this program's migrations made.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use protocol::UnixMillis;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, SqliteConnection};
use tempfile::TempDir;
use trtc_callbacks::clock::Clock;
use trtc_callbacks::settings::{Settings, Sources};
use trtc_callbacks::store::{self, Store};

use crate::corpus::COPY_COLUMNS;
use crate::cost;

/// The server of PostgreSQL, and the templates.
pub(crate) struct Databases {
    /// To the server's own database, for what concerns all.
    admin: PgConnection,
    address: String,
    template: String,
    made: u32,
    /// The process all of PostgreSQL's are children of.
    pub(crate) postmaster: u32,
    /// How a database is made: from PostgreSQL 15 on not through the WAL, which would take longer than a run.
    strategy: &'static str,
    /// Such as `15.14`.
    pub(crate) version: String,
    sqlite_template: TempDir,
}

/// A database of one run.
pub(crate) enum Database {
    Postgres { name: String, url: String },
    Sqlite { folder: TempDir },
}

impl Databases {
    pub(crate) async fn open(admin: &str) -> Result<Self> {
        let mut connection = PgConnection::connect(admin).await.context("connect to PostgreSQL")?;
        let backend: i32 =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await?;
        let postmaster = u32::try_from(backend).ok().and_then(cost::parent);
        let postmaster = postmaster.context(
            "PostgreSQL's processes are not on this machine, so their CPU time cannot be read\n\
             hint: unset TEST_POSTGRES_URL, and a PostgreSQL is started here",
        )?;
        let version: String =
            sqlx::query_scalar("show server_version").fetch_one(&mut connection).await?;
        let major =
            version.split(['.', ' ', 'b', 'r']).next().and_then(|it| it.parse::<u32>().ok());
        let address = admin.rsplit_once('/').context("TEST_POSTGRES_URL names no database")?.0;
        let mut databases = Self {
            admin: connection,
            address: address.to_owned(),
            template: format!("bench_{}", uuid::Uuid::now_v7().simple()),
            made: 0,
            strategy: if major >= Some(15) { "strategy file_copy" } else { "" },
            postmaster,
            version: version.split(' ').next().unwrap_or_default().to_owned(),
            sqlite_template: tempfile::tempdir().context("make a temporary folder")?,
        };
        let create =
            format!("create database {} encoding 'UTF8' template template0", databases.template);
        databases.run(create).await?;
        migrate(&databases.url(&databases.template)).await?;
        migrate(&sqlite_url(databases.sqlite_template.path())).await?;
        Ok(databases)
    }

    fn url(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    async fn run(&mut self, statement: String) -> Result<()> {
        let done = self.admin.execute(AssertSqlSafe(statement.clone())).await;
        done.map(drop).with_context(|| format!("run `{statement}`"))
    }

    pub(crate) async fn fresh_postgres(&mut self) -> Result<Database> {
        self.made += 1;
        let name = format!("{}_{}", self.template, self.made);
        let (template, strategy) = (&self.template, self.strategy);
        self.run(format!("create database {name} template {template} {strategy}")).await?;
        self.checkpoint().await?;
        Ok(Database::Postgres { url: self.url(&name), name })
    }

    /// One without tables, for a program whose migrations are others.
    pub(crate) async fn empty_postgres(&mut self) -> Result<Database> {
        self.made += 1;
        let name = format!("{}_{}", self.template, self.made);
        self.run(format!("create database {name} encoding 'UTF8' template template0")).await?;
        self.checkpoint().await?;
        Ok(Database::Postgres { url: self.url(&name), name })
    }

    pub(crate) fn empty_sqlite() -> Result<Database> {
        Ok(Database::Sqlite { folder: tempfile::tempdir().context("make a temporary folder")? })
    }

    /// So that no run pays for what another one wrote.
    pub(crate) async fn checkpoint(&mut self) -> Result<()> {
        self.run("checkpoint".to_owned()).await
    }

    pub(crate) fn fresh_sqlite(&self) -> Result<Database> {
        let folder = tempfile::tempdir().context("make a temporary folder")?;
        for entry in std::fs::read_dir(self.sqlite_template.path())? {
            let path = entry?.path();
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap_or_default()))?;
        }
        Ok(Database::Sqlite { folder })
    }

    pub(crate) async fn drop(&mut self, database: Database) -> Result<()> {
        match database {
            Database::Postgres { name, .. } => {
                self.run(format!("drop database {name} with (force)")).await
            }
            Database::Sqlite { folder } => folder.close().context("remove the SQLite file"),
        }
    }

    /// Drops the template, and the database of a run that failed.
    pub(crate) async fn drop_all(&mut self) -> Result<()> {
        let names = sqlx::query_scalar(
            "select datname::text from pg_database where starts_with(datname, $1)",
        );
        let names: Vec<String> = names.bind(&self.template).fetch_all(&mut self.admin).await?;
        for name in names {
            self.run(format!("drop database {name} with (force)")).await?;
        }
        Ok(())
    }

    /// How many bytes of WAL were written up to now.
    pub(crate) async fn wal_bytes(&mut self) -> Result<u64> {
        let sql = "select (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint";
        let bytes: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.admin).await?;
        Ok(bytes.unsigned_abs())
    }

    /// How much of the disk it takes up, in bytes.
    pub(crate) async fn size(&mut self, database: &Database) -> Result<u64> {
        Ok(match database {
            Database::Postgres { name, .. } => {
                let size = sqlx::query_scalar("select pg_database_size($1)").bind(name);
                let bytes: i64 = size.fetch_one(&mut self.admin).await?;
                bytes.unsigned_abs()
            }
            Database::Sqlite { folder } => {
                let length = |name: &str| {
                    std::fs::metadata(folder.path().join(name)).map_or(0, |it| it.len())
                };
                length("events.db") + length("events.db-wal")
            }
        })
    }

    /// Copies rows into `events`, each chunk in a transaction of its own; how long that took, in s.
    pub(crate) async fn copy(&mut self, database: &Database, chunks: &[String]) -> Result<f64> {
        let mut connection = PgConnection::connect(&database.url()).await?;
        let begun = std::time::Instant::now();
        for chunk in chunks {
            let statement = format!("copy events ({COPY_COLUMNS}) from stdin");
            let mut copy = connection.copy_in_raw(&statement).await?;
            copy.send(chunk.as_bytes()).await?;
            copy.finish().await?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        connection.close().await?;
        Ok(seconds)
    }
}

impl Database {
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres { url, .. } => url.clone(),
            Self::Sqlite { folder } => sqlite_url(folder.path()),
        }
    }

    /// How many there are from a time on, in PostgreSQL.
    pub(crate) async fn rows_since(&self, at: UnixMillis) -> Result<u64> {
        let mut connection = PgConnection::connect(&self.url()).await?;
        let sql = "select count(*) from events
                   where event_time >= timestamptz 'epoch' + $1 * interval '1 millisecond'";
        let rows: i64 = sqlx::query_scalar(sql).bind(at.0).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(rows.unsigned_abs())
    }

    pub(crate) async fn rows(&self) -> Result<u64> {
        let sql = "select count(*) from events";
        let rows: i64 = if let Self::Postgres { url, .. } = self {
            let mut connection = PgConnection::connect(url).await?;
            let rows = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
            connection.close().await?;
            rows
        } else {
            let mut connection = SqliteConnection::connect(&self.url()).await?;
            let rows = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
            connection.close().await?;
            rows
        };
        Ok(rows.unsigned_abs())
    }
}

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite://{}", folder.join("events.db").display())
}

/// Makes the tables, and the partitions for now.
async fn migrate(url: &str) -> Result<()> {
    let store = open_store(url).await?;
    store.migrate().await?;
    store.upkeep(Clock::system().now()).await?;
    store.close().await;
    Ok(())
}

/// Makes the partitions for the last `days`, as if a server had run since.
pub(crate) async fn make_partitions(url: &str, days: i64) -> Result<()> {
    let store = open_store(url).await?;
    let now = Clock::system().now();
    for day in 0..=days {
        store.upkeep(UnixMillis(now.0 - (days - day) * 86_400_000)).await?;
    }
    store.close().await;
    Ok(())
}

/// Opens a store with the partitions that the environment asks for, as the servers do that are measured.
async fn open_store(url: &str) -> Result<Arc<dyn Store>> {
    let given = [("TRTC_SDK_APP_ID", crate::corpus::APP), ("TRTC_STORE__URL", url)];
    let mut env: BTreeMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with("TRTC_STORE__PARTITION")).collect();
    env.extend(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let settings = Settings::load(&Sources { env, ..Sources::default() })?;
    Ok(store::open(&settings.store_options()).await?)
}
