//! The rows of a SQLite file that may name an account.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row as _, SqliteConnection};
use uuid::Uuid;

use crate::clock::UnixMillis;
use crate::store::erase;
use crate::store::erase::accounts::{Accounts, BEGIN, Change, Key, Record, Scan, Table};
use crate::store::erase::projections::{Erased as ErasedRows, Erasing, RowKey, Statement};
use crate::store::error::StoreError;
use crate::store::model::event::Row;
use crate::store::model::event::StoredEvent;
use crate::store::sql::dialect::SQLITE;
use crate::store::sqlite::error::{classify, missing, unopened};

#[derive(Debug)]
pub(crate) struct SqliteAccounts(SqliteConnection);

impl SqliteAccounts {
    pub(crate) async fn open(
        address: SqliteConnectOptions,
        busy_timeout: Duration,
    ) -> Result<Self, StoreError> {
        let file = address.get_filename().to_owned();
        if !file.exists() {
            return Err(missing(&file));
        }
        let address = address
            .create_if_missing(false)
            .busy_timeout(busy_timeout)
            // What is overwritten or deleted is not left in the file's free places.
            .pragma("secure_delete", "on");
        let connection = address.connect().await.map_err(|error| unopened(&file, &error))?;
        Ok(Self(connection))
    }

    async fn events(&mut self, account: &str, after: Key, limit: u32) -> Result<Scan, sqlx::Error> {
        let last: Option<(i64, i64, String)> = sqlx::query_as(
            "with page as materialized (
                 select event_time, id from events where (event_time, id) > ($1, $2)
                 order by event_time, id limit $3)
             select (select count(*) from page), event_time, id
             from page order by event_time desc, id desc limit 1",
        )
        .bind(after.0.0)
        .bind(after.1.to_string())
        .bind(i64::from(limit))
        .fetch_optional(&mut self.0)
        .await?;
        let Some((passed, time, id)) = last else {
            return Ok(Scan { records: Vec::new(), passed: 0, last: None });
        };
        // An escape may hide the account, and so may JSON in a string.
        let select = format!(
            r"{} where (event_time, id) > ($2, $3) and (event_time, id) <= ($4, $5)
                and (instr(payload, $1) > 0 or instr(payload, '\') > 0
                    or instr(raw, cast($1 as blob)) > 0 or $1 in (operator, call_id, room_id))
            order by event_time, id",
            SQLITE.select_events
        );
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(select))
            .bind(account)
            .bind(after.0.0)
            .bind(after.1.to_string())
            .bind(time)
            .bind(&id)
            .fetch_all(&mut self.0)
            .await?;
        let events = rows.into_iter().map(StoredEvent::try_from).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Scan {
            records: events.into_iter().map(|event| Record::Event(Box::new(event))).collect(),
            passed: passed.unsigned_abs(),
            last: Some((UnixMillis(time), uuid(&id)?)),
        })
    }

    async fn parked(&mut self, account: &str, after: Key, limit: u32) -> Result<Scan, sqlx::Error> {
        let rows: Vec<(String, Option<String>)> = sqlx::query_as(
            r"select id,
                case when instr(delivery, $1) > 0 or instr(delivery, '\') > 0
                    or instr(delivery, 'body_base64') > 0 then delivery end
            from parked_events where id > $2 order by id limit $3",
        )
        .bind(account)
        .bind(after.1.to_string())
        .bind(i64::from(limit))
        .fetch_all(&mut self.0)
        .await?;
        let mut scan = Scan { records: Vec::new(), passed: rows.len() as u64, last: None };
        for (id, delivery) in rows {
            let id = uuid(&id)?;
            scan.last = Some((UnixMillis(0), id));
            scan.records.extend(delivery.map(|delivery| Record::Parked { id, delivery }));
        }
        Ok(scan)
    }

    async fn erase_all(
        &mut self,
        erasing: &Erasing<'_>,
        account: &str,
        after: Option<&RowKey>,
    ) -> Result<ErasedRows, sqlx::Error> {
        let candidates = erase::projections::candidates(&SQLITE, erasing, account, after);
        let rows = bound(&candidates).fetch_all(&mut self.0).await?;
        let mut erased = ErasedRows::default();
        let (mut keys, mut all) = (Vec::new(), Vec::new());
        for row in rows {
            let texts = (0..row.len()).map(|place| row.try_get(place));
            let row: Vec<Option<String>> = texts.collect::<Result<_, _>>()?;
            let statements = erase::projections::taking_out(&SQLITE, erasing, &row);
            erased.rows += u64::from(!statements.is_empty());
            all.extend(statements);
            keys.push(erase::projections::key(erasing.table, &row));
        }
        erased.last = keys.pop();
        if !erasing.dry_run && !all.is_empty() {
            let mut transaction = self.0.begin_with("begin immediate").await?;
            for statement in &all {
                bound(statement).execute(&mut *transaction).await?;
            }
            transaction.commit().await?;
        }
        Ok(erased)
    }

    async fn change_all(&mut self, changes: &[Change]) -> Result<(), sqlx::Error> {
        let mut transaction = self.0.begin_with("begin immediate").await?;
        for change in changes {
            match change {
                Change::Event(event) => update(&mut transaction, event).await?,
                Change::DeleteEvent((time, id)) => {
                    sqlx::query("delete from events where event_time = $1 and id = $2")
                        .bind(time.0)
                        .bind(id.to_string())
                        .execute(&mut *transaction)
                        .await?;
                }
                Change::Parked { id, delivery } => {
                    sqlx::query("update parked_events set delivery = $2 where id = $1")
                        .bind(id.to_string())
                        .bind(delivery)
                        .execute(&mut *transaction)
                        .await?;
                }
                Change::DeleteParked(id) => {
                    sqlx::query("delete from parked_events where id = $1")
                        .bind(id.to_string())
                        .execute(&mut *transaction)
                        .await?;
                }
            }
        }
        transaction.commit().await
    }
}

fn bound(statement: &Statement) -> Query<'_, sqlx::Sqlite, SqliteArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
    statement.texts.iter().fold(query, Query::bind)
}

fn uuid(id: &str) -> Result<Uuid, sqlx::Error> {
    id.parse().map_err(|_| sqlx::Error::Decode(format!("`{id}` is no UUID").into()))
}

async fn update(connection: &mut SqliteConnection, event: &StoredEvent) -> Result<(), sqlx::Error> {
    let (payload, raw) = event.payload.columns();
    sqlx::query(
        "update events set payload = $3, raw = $4, operator = $5, call_id = $6, room_id = $7,
             client_ip = $8, platform = $9, query = $10
         where event_time = $1 and id = $2",
    )
    .bind(event.event_time.0)
    .bind(event.id.to_string())
    .bind(payload)
    .bind(raw)
    .bind(&event.operator)
    .bind(&event.call_id)
    .bind(&event.room_id)
    .bind(&event.client_ip)
    .bind(&event.platform)
    .bind(&event.query)
    .execute(connection)
    .await?;
    Ok(())
}

#[async_trait]
impl Accounts for SqliteAccounts {
    async fn rows(&mut self, table: Table) -> Result<u64, StoreError> {
        let rows: i64 = sqlx::query_scalar(match table {
            Table::Events => "select count(*) from events",
            Table::Parked => "select count(*) from parked_events",
        })
        .fetch_one(&mut self.0)
        .await
        .map_err(classify)?;
        Ok(rows.unsigned_abs())
    }

    async fn scan(
        &mut self,
        table: Table,
        account: &str,
        after: Option<Key>,
        limit: u32,
    ) -> Result<Scan, StoreError> {
        let after = after.unwrap_or(BEGIN);
        match table {
            Table::Events => self.events(account, after, limit).await.map_err(classify),
            Table::Parked => self.parked(account, after, limit).await.map_err(classify),
        }
    }

    async fn change(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        self.change_all(changes).await.map_err(classify)
    }

    async fn erase_rows(
        &mut self,
        erasing: &Erasing<'_>,
        account: &str,
        after: Option<&RowKey>,
    ) -> Result<ErasedRows, StoreError> {
        self.erase_all(erasing, account, after).await.map_err(classify)
    }
}
