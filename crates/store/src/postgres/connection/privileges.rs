//! Finds the privileges that the role of the URL lacks, and the role that can grant them.

use sqlx::PgConnection;
use sqlx::postgres::PgRow;

use crate::sql::from_row::from_row;
use protocol::diagnostic::Diagnostic;

/// Privileges of the role, from the catalog.
#[derive(Debug)]
struct Rights {
    role: String,
    /// The schema of the tables, existing or future; absent where no schema of the search path exists.
    schema: Option<String>,
    creates: bool,
    /// The owner of `events`.
    owner: Option<String>,
    owns: bool,
    /// That owner's tables for which the role lacks a privilege, with the missing ones.
    closed: Vec<String>,
    denied: Vec<String>,
}

from_row! { PgRow => Rights: role, schema, creates, owner, owns, closed, denied; }

/// The privileges missing for creating the tables, or, where they exist, for writing them and making partitions.
pub(crate) async fn missing(
    connection: &mut PgConnection,
    has_tables: bool,
) -> Result<Vec<Diagnostic>, sqlx::Error> {
    let rights: Rights = sqlx::query_as(
        "with ours as (
             select relowner, relnamespace from pg_class where oid = to_regclass('events')),
         place as (
             select coalesce((select relnamespace from ours), to_regnamespace(quote_ident(current_schema()))::oid) as oid),
         denied as (
             select relname::text as name, word
             from pg_class
             join ours using (relowner, relnamespace)
             cross join unnest(array['select', 'insert', 'update', 'delete']) as word
             where relkind in ('r', 'p') and not relispartition and not has_table_privilege(pg_class.oid, word))
         select
             current_user::text as role,
             (select nspname::text from pg_namespace join place using (oid)) as schema,
             coalesce((select has_schema_privilege(oid, 'create') from place), false) as creates,
             (select pg_get_userbyid(relowner)::text from ours) as owner,
             coalesce((select pg_has_role(relowner, 'usage') from ours), false) as owns,
             array(select distinct name from denied order by name) as closed,
             array(select distinct word from denied order by word) as denied",
    )
    .fetch_one(connection)
    .await?;
    Ok(rights.missing(has_tables))
}

impl Rights {
    fn missing(&self, has_tables: bool) -> Vec<Diagnostic> {
        let role = &self.role;
        let mut missing = Vec::new();
        let Some(schema) = &self.schema else {
            missing.push(Diagnostic::new(
                format!("no schema of the search path of the role `{role}` is there"),
                format!("`create schema {role} authorization {role}`, or set its `search_path`"),
            ));
            return missing;
        };
        if !self.creates {
            let what = if has_tables {
                "so no partition can be made"
            } else {
                "so it has nothing to keep events in"
            };
            missing.push(Diagnostic::new(
                format!("the role `{role}` may not create tables in the schema `{schema}`, {what}"),
                format!(
                    "`grant create, usage on schema {schema} to {role}`, as the schema's owner"
                ),
            ));
        }
        if let Some(owner) = self.owner.as_ref().filter(|_| has_tables && !self.owns) {
            missing.push(Diagnostic::new(format!(
                    "the role `{role}` does not own the table `events`, `{owner}` does, so no partition can be made"
                ), format!("`grant {owner} to {role}`, or let `{owner}` be the user of `store.url`")));
        }
        if let Some(table) =
            self.closed.iter().find(|name| *name == "events").or(self.closed.first())
        {
            let denied = self.denied.join(", ");
            let others = match self.closed.len() - 1 {
                0 => String::new(),
                others => format!(" and {others} other tables"),
            };
            missing.push(Diagnostic::new(format!("the role `{role}` lacks {denied} on `{table}`{others}"), format!(
                    "`grant select, insert, update, delete on all tables in schema {schema} to {role}`, as their owner"
                )));
        }
        missing
    }
}
