//! What stands behind an address: a server that can store every event, and in front of it perhaps a pooler or a load
//! balancer, with sessions that last or not.

use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::time::timeout;

use crate::database_error::{BALANCED, BALANCED_HINT, SHARED, SHARED_HINT};
use crate::error::StoreError;
use crate::postgres::connection::address::{Address, CONNECT_MAX, URL_KEY};
use crate::postgres::connection::session::text;
use crate::postgres::error::classify;
use protocol::diagnostic::Diagnostic;

/// The oldest supported server, as `server_version_num`.
pub(crate) const VERSION_MIN: i32 = 140_000;
/// Number of comparisons of two sessions, since other clients may use the pooler at the same time.
const LOOKS: u32 = 3;
/// The process that answers, and the start of its server, since two servers may use the same number.
const PROCESS: &str = "select pg_backend_pid() || ' ' || pg_postmaster_start_time()";
/// Makes pgpool-II ask the primary. A comment for everybody else.
const AT_PRIMARY: &str = "/*NO LOAD BALANCE*/ ";

/// Refuses a server that cannot store every event. Prepares no statement, as a pooler may not have been detected yet.
pub(crate) async fn check_server(session: &mut PgConnection) -> Result<(), StoreError> {
    let asked = "select concat_ws(' ', current_setting('server_version_num'), current_setting('server_encoding'), \
                 current_setting('server_version'))";
    let said = text(session, asked.to_owned()).await.map_err(classify)?;
    let mut said = said.splitn(3, ' ');
    let (number, encoding) = (said.next().unwrap_or(""), said.next().unwrap_or(""));
    let version = said.next().unwrap_or(number);
    if number.parse::<i32>().unwrap_or(0) < VERSION_MIN {
        return Err(StoreError::Address(Diagnostic::new(
            format!("PostgreSQL {version} is too old"),
            "use PostgreSQL 14 or newer",
        )));
    }
    if encoding != "UTF8" {
        return Err(StoreError::Address(Diagnostic::new(
            format!("the database's encoding is {encoding}, which cannot hold every text"),
            "create the database with `encoding 'UTF8' template template0`",
        )));
    }
    Ok(())
}

/// Refuses a pooler that shares sessions, within a connection or between two, since neither settings nor prepared
/// statements would last; and a load balancer that sends reads elsewhere.
pub(crate) async fn refuse_shared(
    session: &mut PgConnection,
    address: &Address,
) -> Result<(), StoreError> {
    match examine(session, address).await? {
        Front::Plain => Ok(()),
        Front::Shared => Err(StoreError::Unready(Diagnostic::new(SHARED, SHARED_HINT))),
        Front::Balanced => Err(StoreError::Unready(Diagnostic::new(BALANCED, BALANCED_HINT))),
    }
}

/// What stands in front of PostgreSQL, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    /// Nothing, or a pooler with a session of its own for each connection.
    Plain,
    /// A pooler that gives each transaction another session.
    Shared,
    /// A load balancer that asks another server what only reads.
    Balanced,
}

/// Finds out what stands in front of it, by a second connection.
pub(crate) async fn examine(
    session: &mut PgConnection,
    address: &Address,
) -> Result<Front, StoreError> {
    // A second connection may exceed the limit; then the comparison is skipped.
    let mut other = address.connect().await.ok();
    let mut front = Front::Plain;
    let first = process(session, AT_PRIMARY).await?;
    // Twice one after the other: a pooler that gives out its sessions in turn may give two clients one each.
    if process(session, AT_PRIMARY).await? != first {
        front = Front::Shared;
    }
    if let Some(other) = &mut other {
        for _ in 0..LOOKS {
            // A pooler in session mode queues the second connection while it has no free server connection.
            let Ok(of_other) = timeout(CONNECT_MAX, process(other, AT_PRIMARY)).await else {
                break;
            };
            let (of_other, again) = (of_other?, process(session, AT_PRIMARY).await?);
            if of_other == first || again != first || of_other == again {
                front = Front::Shared;
            }
        }
    }
    // Each connection may have got another server to read from.
    if front == Front::Plain {
        let mut balanced = process(session, "").await? != first;
        if let Some(other) = &mut other {
            // A pooler may have it wait for long, as above.
            let both = async { Ok(process(other, AT_PRIMARY).await? != process(other, "").await?) };
            balanced |= timeout(CONNECT_MAX, both).await.unwrap_or(Ok::<_, StoreError>(false))?;
        }
        if balanced {
            front = Front::Balanced;
            for _ in 0..LOOKS {
                // What must not be balanced stays where it was.
                if process(session, AT_PRIMARY).await? != first {
                    front = Front::Shared;
                }
            }
        }
    }
    if let Some(other) = other {
        // It only ran queries: an error on closing it loses nothing.
        let _ = other.close().await;
    }
    Ok(front)
}

async fn process(session: &mut PgConnection, hint: &str) -> Result<String, StoreError> {
    text(session, format!("{hint}{PROCESS}")).await.map_err(classify)
}

/// Checks that `store.url` leads to the database that `session` of `direct` leads to, and tells what stands in front of it.
pub(crate) async fn check_pooled(
    address: &Address,
    session: &mut PgConnection,
    direct: &Address,
) -> Result<Front, StoreError> {
    // As a role that must not ask for the identifier of the cluster; each database of it has a number of its own.
    const SAME: &str = "select concat_ws(' ', (select oid from pg_database where datname = current_database()), \
                        pg_postmaster_start_time())";
    let mut pooled = address.connect().await?;
    let here = text(&mut pooled, format!("{AT_PRIMARY}{SAME}")).await.map_err(classify)?;
    let there = text(session, SAME.to_owned()).await.map_err(classify)?;
    if here != there {
        return Err(StoreError::Unready(Diagnostic::new(
            format!("`{}` and `{}` lead to different databases", URL_KEY, direct.key),
            format!(
                "let both name the same database of the same server, `{}` without a pooler",
                direct.key
            ),
        )));
    }
    // In statement mode a transaction of several messages is refused, with a message of its own.
    for statement in ["begin", "rollback"] {
        sqlx::raw_sql(statement).execute(&mut pooled).await.map_err(classify)?;
    }
    let front = examine(&mut pooled, address).await?;
    let _ = pooled.close().await;
    if front == Front::Balanced {
        return Err(StoreError::Unready(Diagnostic::new(BALANCED, BALANCED_HINT)));
    }
    Ok(front)
}
