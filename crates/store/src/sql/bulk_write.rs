//! Bulk writes: statements of bounded size for many rows, built before their transaction begins.
//!
//! The database ends an idle transaction, and building the statements for many rows takes a while.

use sqlx::AssertSqlSafe;

use crate::error::StoreError;
use crate::postgres::error::classify;
use crate::sql::connection::{Arg, DbConnection, in_list, json, list_of};
use crate::sql::dialect::POSTGRES;
use crate::sql::template::render;

/// Bound of the parameters of one statement, approximately. In bytes.
const STATEMENT_BYTES: usize = 1 << 20;
/// Maximum number of rows of one statement.
const STATEMENT_ROWS: usize = 1000;
/// Approximate size of a value beside its text. In bytes.
const VALUE_BYTES: usize = 16;

/// A statement that is ready to run.
#[derive(Debug)]
pub(crate) enum Ready {
    /// For PostgreSQL: the text, and all lists as one parameter.
    Once(String, String),
    /// For SQLite: the text, which runs once for each list.
    ForEach(String, Vec<Vec<Arg>>),
}

impl DbConnection {
    /// Prepares a write that runs for each list of parameters: few statements in PostgreSQL. No two lists may concern
    /// the same row.
    pub(crate) fn ready(&self, sql: &str, lists: Vec<Vec<Arg>>) -> Vec<Ready> {
        if lists.is_empty() {
            return Vec::new();
        }
        if !self.is_postgres() {
            let sql = sql.replace("@from", "").replace("@using", "");
            return vec![Ready::ForEach(sql, lists)];
        }
        let sql = in_list(&render(&POSTGRES, sql));
        let parts = parts(&lists).into_iter().map(|part| {
            let list = list_of(part);
            let sql = sql
                .replace("@from", &format!("from {list}"))
                .replace("@using", &format!("using {list}"));
            Ready::Once(sql, json(part))
        });
        parts.collect()
    }

    /// Runs prepared statements.
    pub(crate) async fn run(&mut self, all: Vec<Ready>) -> Result<(), StoreError> {
        self.run_counted(all).await.map(|_| ())
    }

    /// Runs prepared statements. Returns the number of changed rows.
    pub(crate) async fn run_counted(&mut self, all: Vec<Ready>) -> Result<u64, StoreError> {
        let mut changed = 0;
        for ready in all {
            match (ready, &mut *self) {
                (Ready::Once(sql, lists), Self::Postgres(connection)) => {
                    let query = sqlx::query(AssertSqlSafe(sql)).bind(lists);
                    let done = query.execute(connection).await.map_err(classify)?;
                    changed += done.rows_affected();
                }
                (Ready::ForEach(sql, lists), connection) => {
                    for args in &lists {
                        changed += connection.execute(&sql, args).await?;
                    }
                }
                (Ready::Once(..), Self::Sqlite(..)) => unreachable!("made for another database"),
            }
        }
        Ok(changed)
    }
}

/// Chunks bounded in bytes and rows, in order.
fn parts(lists: &[Vec<Arg>]) -> Vec<&[Vec<Arg>]> {
    let bytes = |list: &Vec<Arg>| list.iter().map(Arg::bytes).sum::<usize>();
    let (mut parts, mut begin, mut taken) = (Vec::new(), 0, 0);
    for (place, list) in lists.iter().enumerate() {
        let more = bytes(list);
        if place > begin && (taken + more > STATEMENT_BYTES || place - begin == STATEMENT_ROWS) {
            parts.push(&lists[begin..place]);
            (begin, taken) = (place, 0);
        }
        taken += more;
    }
    parts.push(&lists[begin..]);
    parts
}

impl Arg {
    fn bytes(&self) -> usize {
        let letters = if let Self::Text(Some(text)) = self { text.len() } else { 0 };
        letters + VALUE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use crate::sql::bulk_write::*;

    #[test]
    fn a_statement_is_bounded_in_bytes_and_rows() {
        let large: Vec<Vec<Arg>> =
            (0..10_i64).map(|at| vec![at.into(), "x".repeat(300_000).as_str().into()]).collect();
        let sizes: Vec<usize> = parts(&large).iter().map(|part| part.len()).collect();
        assert_eq!(sizes, [3, 3, 3, 1]);
        let many: Vec<Vec<Arg>> = (0..2001_i64).map(|at| vec![at.into()]).collect();
        assert_eq!(parts(&many).iter().map(|part| part.len()).collect::<Vec<_>>(), [1000, 1000, 1]);
        let huge = [vec!["x".repeat(STATEMENT_BYTES * 2).as_str().into()]];
        assert_eq!(parts(&huge).len(), 1);
    }
}
