//! A builder of queries for both databases, from constant fragments and bound values.

use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Database, Encode, FromRow, IntoArguments, Type};
use uuid::Uuid;

use crate::error::StoreError;
use crate::query::limits::{DETAIL_BYTES_MAX, LIST_BYTES_MAX};
use crate::query::page::Details;
use crate::sql::dialect::Dialect;
use crate::sql::template::render;
use protocol::UnixMillis;

/// Runs statements over the connections for readers.
pub(crate) trait Reader: Send + Sync {
    /// The dialect of its database.
    const DIALECT: &'static Dialect;

    /// All rows of the statement.
    fn fetch<T: ReadRow>(
        &self,
        statement: Statement,
    ) -> impl Future<Output = Result<Vec<T>, StoreError>> + Send {
        self.fetch_until(statement, |_| false)
    }

    /// The rows of the statement up to and including the first for which `is_enough` is true. Later ones are not
    /// fetched.
    fn fetch_until<T: ReadRow>(
        &self,
        statement: Statement,
        is_enough: impl FnMut(&T) -> bool + Send,
    ) -> impl Future<Output = Result<Vec<T>, StoreError>> + Send;

    /// At most `rows_max` rows of a list without pages, and whether there are more; the statement returns one row beyond
    /// them. Also bounded in bytes.
    fn fetch_details<T: ReadRow>(
        &self,
        statement: Statement,
        rows_max: u32,
        bytes_of: fn(&T) -> usize,
    ) -> impl Future<Output = Result<Details<T>, StoreError>> + Send {
        async move {
            let mut bytes = 0;
            let is_enough = |row: &T| {
                bytes += bytes_of(row);
                bytes >= DETAIL_BYTES_MAX
            };
            let mut rows = self.fetch_until(statement, is_enough).await?;
            let rows_max = usize::try_from(rows_max).unwrap_or(usize::MAX);
            let is_cut = bytes >= DETAIL_BYTES_MAX || rows.len() > rows_max;
            rows.truncate(rows_max);
            Ok(Details { rows, is_cut })
        }
    }

    /// A page of rows, which ends once they reach [`LIST_BYTES_MAX`].
    fn fetch_page<T: ReadRow>(
        &self,
        statement: Statement,
        bytes_of: fn(&T) -> usize,
    ) -> impl Future<Output = Result<Vec<T>, StoreError>> + Send {
        async move {
            let mut bytes = 0;
            let is_enough = |row: &T| {
                bytes += bytes_of(row);
                bytes >= LIST_BYTES_MAX
            };
            self.fetch_until(statement, is_enough).await
        }
    }

    /// A statement in this database's dialect.
    fn statement(&self, text: &'static str) -> Statement {
        let text = render(Self::DIALECT, text);
        Statement { dialect: Self::DIALECT, text, values: Vec::new() }
    }

    /// A statement that selects whole events.
    fn select_events(&self) -> Statement {
        self.statement(Self::DIALECT.select_events)
    }

    /// The row of a statement that returns at most one.
    fn fetch_one<T: ReadRow>(
        &self,
        statement: Statement,
    ) -> impl Future<Output = Result<Option<T>, StoreError>> + Send {
        async { Ok(self.fetch(statement).await?.pop()) }
    }
}

/// A row that both databases return in the same form.
pub(crate) trait ReadRow:
    for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

impl<T> ReadRow for T where
    T: for<'r> FromRow<'r, PgRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin
{
}

/// A bound value.
enum Value {
    Number(i64),
    Text(String),
}

/// A statement. Its text consists of constants of this program; all input is bound.
pub(crate) struct Statement {
    dialect: &'static Dialect,
    text: String,
    values: Vec<Value>,
}

impl Statement {
    /// Appends a fragment of a [template](crate::sql::template). A macro and its argument must be in one
    /// fragment.
    pub(crate) fn push(&mut self, sql: &'static str) -> &mut Self {
        self.text.push_str(&render(self.dialect, sql));
        self
    }

    /// Binds a number.
    pub(crate) fn number(&mut self, value: i64) -> &mut Self {
        self.bind(Value::Number(value), |place| format!("${place}"))
    }

    /// Binds a text.
    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        self.bind(Value::Text(value.to_owned()), |place| format!("${place}"))
    }

    /// Binds the first text, which a fragment has as parameter 1 already.
    pub(crate) fn first(&mut self, value: &str) -> &mut Self {
        debug_assert!(self.values.is_empty());
        self.bind(Value::Text(value.to_owned()), |_| String::new())
    }

    /// Binds a time.
    pub(crate) fn time(&mut self, value: UnixMillis) -> &mut Self {
        self.bind(Value::Number(value.0), |place| format!("@at({place})"))
    }

    /// Binds an event's id.
    pub(crate) fn id(&mut self, value: Uuid) -> &mut Self {
        self.bind(Value::Text(value.to_string()), |place| format!("@id({place})"))
    }

    /// Binds a list of JSON, as a table `item`.
    pub(crate) fn rows(&mut self, list: &str) -> &mut Self {
        self.bind(Value::Text(list.to_owned()), |place| format!("@rows({place})"))
    }

    /// Binds an event's id, as a condition on a row of the feed.
    pub(crate) fn feed_holds(&mut self, id: Uuid) -> &mut Self {
        self.bind(Value::Text(id.to_string()), |place| format!("@feed_holds({place})"))
    }

    /// Binds a list in parentheses; an empty one matches nothing.
    pub(crate) fn texts<'a>(&mut self, values: impl IntoIterator<Item = &'a str>) -> &mut Self {
        self.push("(null");
        for value in values {
            self.push(", ").text(value);
        }
        self.push(")")
    }

    /// Binds a list in parentheses; an empty one matches nothing.
    pub(crate) fn numbers(&mut self, values: &[i64]) -> &mut Self {
        self.push("(null");
        for value in values {
            self.push(", ").number(*value);
        }
        self.push(")")
    }

    /// Appends `condition` and the text; nothing where it is `None`.
    pub(crate) fn when_text(&mut self, condition: &'static str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.push(condition).text(value);
        }
        self
    }

    /// Appends `condition` and the time; nothing where it is `None`.
    pub(crate) fn when_time(
        &mut self,
        condition: &'static str,
        value: Option<UnixMillis>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.push(condition).time(value);
        }
        self
    }

    fn bind(&mut self, value: Value, template: fn(usize) -> String) -> &mut Self {
        self.values.push(value);
        self.text.push_str(&render(self.dialect, &template(self.values.len())));
        self
    }

    /// Runs it, and stops after the first row for which `is_enough` is true.
    pub(crate) async fn run<'e, DB, T, E>(
        self,
        connection: E,
        mut is_enough: impl FnMut(&T) -> bool + Send,
    ) -> Result<Vec<T>, sqlx::Error>
    where
        DB: Database,
        DB::Arguments: IntoArguments<DB>,
        E: sqlx::Executor<'e, Database = DB> + 'e,
        T: for<'r> FromRow<'r, DB::Row> + Send + Unpin,
        String: for<'q> Encode<'q, DB> + Type<DB>,
        i64: for<'q> Encode<'q, DB> + Type<DB>,
    {
        let mut query = sqlx::query_as::<DB, T>(AssertSqlSafe(self.text));
        for value in self.values {
            query = match value {
                Value::Number(number) => query.bind(number),
                Value::Text(text) => query.bind(text),
            };
        }
        let (mut rows, mut found) = (Vec::new(), query.fetch(connection));
        while let Some(row) = found.try_next().await? {
            let is_last = is_enough(&row);
            rows.push(row);
            if is_last {
                break;
            }
        }
        Ok(rows)
    }
}
