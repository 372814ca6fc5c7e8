//! The rows of a PostgreSQL that may name an account.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgConnectOptions};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};
use uuid::Uuid;

use crate::clock::UnixMillis;
use crate::store::erase;
use crate::store::erase::accounts::{Accounts, BEGIN, Change, Key, Record, Scan, Table};
use crate::store::erase::projections::{Erased as ErasedRows, Erasing, RowKey, Statement};
use crate::store::error::StoreError;
use crate::store::model::event::Row;
use crate::store::model::event::StoredEvent;
use crate::store::postgres::error::classify;
use crate::store::postgres::session::{SessionSettings, begin, named};
use crate::store::sql::dialect::POSTGRES;

/// How often a step is tried that PostgreSQL ends, since another changes the same rows in another order.
const TRIES_MAX: u32 = 5;
/// How long a transaction may stand still.
const IDLE_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct PostgresAccounts(PgConnection);

impl PostgresAccounts {
    pub(crate) async fn open(address: PgConnectOptions) -> Result<Self, StoreError> {
        // Events that touch the same rows wait no longer than this for one that stands still.
        let settings = SessionSettings::new(None, Some(IDLE_MAX));
        Ok(Self(begin(&named(address, "erase-user"), &settings).await?))
    }

    async fn events(&mut self, account: &str, after: Key, limit: u32) -> Result<Scan, sqlx::Error> {
        let last: Option<(i64, i64, Uuid)> = sqlx::query_as(
            "with page as materialized (
                 select event_time, id from events
                 where event_time >= timestamptz 'epoch' + $1 * interval '1 millisecond'
                     and (event_time, id) > (timestamptz 'epoch' + $1 * interval '1 millisecond', $2)
                 order by event_time, id limit $3)
             select (select count(*) from page), (extract(epoch from event_time) * 1000)::bigint, id
             from page order by event_time desc, id desc limit 1",
        )
        .bind(after.0.0)
        .bind(after.1)
        .bind(i64::from(limit))
        .fetch_optional(&mut self.0)
        .await?;
        let Some((passed, time, id)) = last else {
            return Ok(Scan { records: Vec::new(), passed: 0, last: None });
        };
        // An escape may hide the account, and so may JSON in a string.
        let select = format!(
            r"{} where event_time >= timestamptz 'epoch' + $2 * interval '1 millisecond'
                and event_time <= timestamptz 'epoch' + $4 * interval '1 millisecond'
                and (event_time, id) > (timestamptz 'epoch' + $2 * interval '1 millisecond', $3)
                and (event_time, id) <= (timestamptz 'epoch' + $4 * interval '1 millisecond', $5)
                and (position($1 in payload::text) > 0 or position(E'\\' in payload::text) > 0
                    or position(convert_to($1, 'UTF8') in raw) > 0
                    or $1 in (operator, call_id, room_id))
            order by event_time, id",
            POSTGRES.select_events
        );
        let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(select))
            .bind(account)
            .bind(after.0.0)
            .bind(after.1)
            .bind(time)
            .bind(id)
            .fetch_all(&mut self.0)
            .await?;
        let events = rows.into_iter().map(StoredEvent::try_from).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok(Scan {
            records: events.into_iter().map(|event| Record::Event(Box::new(event))).collect(),
            passed: passed.unsigned_abs(),
            last: Some((UnixMillis(time), id)),
        })
    }

    async fn parked(&mut self, account: &str, after: Key, limit: u32) -> Result<Scan, sqlx::Error> {
        let rows: Vec<(Uuid, Option<String>)> = sqlx::query_as(
            r"select id,
                case when position($1 in delivery) > 0 or position(E'\\' in delivery) > 0
                    or position('body_base64' in delivery) > 0 then delivery end
            from parked_events where id > $2 order by id limit $3",
        )
        .bind(account)
        .bind(after.1)
        .bind(i64::from(limit))
        .fetch_all(&mut self.0)
        .await?;
        Ok(Scan {
            passed: rows.len() as u64,
            last: rows.last().map(|(id, _)| (UnixMillis(0), *id)),
            records: rows
                .into_iter()
                .filter_map(|(id, delivery)| Some(Record::Parked { id, delivery: delivery? }))
                .collect(),
        })
    }

    async fn erase_all(
        &mut self,
        erasing: &Erasing<'_>,
        account: &str,
        after: Option<&RowKey>,
    ) -> Result<ErasedRows, sqlx::Error> {
        let candidates = erase::projections::candidates(&POSTGRES, erasing, account, after);
        let rows = bound(&candidates).fetch_all(&mut self.0).await?;
        let mut erased = ErasedRows::default();
        let mut transaction = self.0.begin().await?;
        for row in rows {
            let texts = (0..row.len()).map(|place| row.try_get(place));
            let row: Vec<Option<String>> = texts.collect::<Result<_, _>>()?;
            let statements = erase::projections::taking_out(&POSTGRES, erasing, &row);
            erased.rows += u64::from(!statements.is_empty());
            for statement in statements.iter().filter(|_| !erasing.dry_run) {
                bound(statement).execute(&mut *transaction).await?;
            }
            erased.last = Some(erase::projections::key(erasing.table, &row));
        }
        transaction.commit().await?;
        Ok(erased)
    }

    async fn change_all(&mut self, changes: &[Change]) -> Result<(), sqlx::Error> {
        let mut transaction = self.0.begin().await?;
        for change in changes {
            match change {
                Change::Event(event) => update(&mut transaction, event).await?,
                Change::DeleteEvent((time, id)) => {
                    sqlx::query(
                        "delete from events
                         where event_time = timestamptz 'epoch' + $1 * interval '1 millisecond' and id = $2",
                    )
                    .bind(time.0)
                    .bind(id)
                    .execute(&mut *transaction)
                    .await?;
                }
                Change::Parked { id, delivery } => {
                    sqlx::query("update parked_events set delivery = $2 where id = $1")
                        .bind(id)
                        .bind(delivery)
                        .execute(&mut *transaction)
                        .await?;
                }
                Change::DeleteParked(id) => {
                    sqlx::query("delete from parked_events where id = $1")
                        .bind(id)
                        .execute(&mut *transaction)
                        .await?;
                }
            }
        }
        transaction.commit().await
    }
}

fn bound(statement: &Statement) -> Query<'_, sqlx::Postgres, PgArguments> {
    let query = sqlx::query(AssertSqlSafe(statement.sql.clone()));
    statement.texts.iter().fold(query, Query::bind)
}

fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("40P01")
}

async fn update(connection: &mut PgConnection, event: &StoredEvent) -> Result<(), sqlx::Error> {
    let (payload, raw) = event.payload.columns();
    sqlx::query(
        "update events set payload = $3::text::json, raw = $4, operator = $5, call_id = $6, room_id = $7,
             client_ip = $8, platform = $9, query = $10
         where event_time = timestamptz 'epoch' + $1 * interval '1 millisecond' and id = $2",
    )
    .bind(event.event_time.0)
    .bind(event.id)
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
impl Accounts for PostgresAccounts {
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
        let mut tries = 1;
        loop {
            match self.erase_all(erasing, account, after).await {
                Err(error) if is_deadlock(&error) && tries < TRIES_MAX => tries += 1,
                done => return done.map_err(classify),
            }
        }
    }
}
