//! Compares facts, calls and their members with the events, in pages, and corrects them.
//!
//! The shadow tables cover the events that existed when they were filled. A row that they do not explain is verified
//! once more, under its lock, against the current events, so concurrent writes do not matter.

use serde_json::Value;

use crate::error::StoreError;
use crate::rebuild::tables::{HOUR_MS, PREFIX, Progress, Rebuilding, Scope, Stage, Tally, args};
use crate::sessions::queue::{QueueSql, RoomQueue};
use crate::sql::connection::Arg;
use crate::sql::upsert;
use projections::table::{Column, Join, Kind, Table};
use projections::{TABLES, changes};

/// Number of rows compared at once.
const PAGE_ROWS: usize = 500;
/// Number of events of a call read at once.
const PAGE_EVENTS: usize = 500;
/// Number of tables compared by row: all but counts and queues, which are last.
const COMPARED: usize = TABLES.len() - 3;

/// The table of robots, of which an event tells and no key.
const ROBOTS: &str = "rtc_robots";

/// The values of a row's key.
type Key = Vec<Value>;

/// A page of a table, and its statements. `r` is the real table, `s` its shadow.
struct Chunk {
    table: &'static Table,
    args: Vec<Arg>,
    behind: Option<usize>,
    until: Option<usize>,
    /// The index of the parameter with the time from which rows are compared.
    from: usize,
}

fn keys(table: &Table, write: impl Fn(&Column) -> String) -> String {
    table.keys().map(write).collect::<Vec<_>>().join(", ")
}

/// Placeholders of a key, numbered from `first`.
fn given(table: &Table, first: usize) -> String {
    let given = table.keys().zip(first..).map(|(column, place)| match column.kind {
        Kind::Time => format!("@at({place})"),
        Kind::Id => format!("@id({place})"),
        _ => format!("${place}"),
    });
    given.collect::<Vec<_>>().join(", ")
}

/// The condition that two rows have the same key.
fn same_key(table: &Table, real: &str) -> String {
    let equal = table.keys().map(|Column { name, .. }| format!("{real}.{name} = s.{name}"));
    equal.collect::<Vec<_>>().join(" and ")
}

/// The condition that rows of one key differ.
fn differs(table: &Table, real: &str) -> String {
    let rest = table.columns.iter().filter(|column| column.join != Join::Key);
    let differs = rest.map(|Column { name, kind, .. }| match kind {
        Kind::Json => format!("@text({real}.{name}) is distinct from @text(s.{name})"),
        _ => format!("{real}.{name} is distinct from s.{name}"),
    });
    format!("({})", differs.collect::<Vec<_>>().join(" or "))
}

/// Assignments of all columns but the key from the shadow row.
fn set(table: &Table) -> String {
    let rest = table.columns.iter().filter(|column| column.join != Join::Key);
    rest.map(|Column { name, .. }| format!("{name} = s.{name}")).collect::<Vec<_>>().join(", ")
}

/// The column with the start of a row's time; for a merged row that is missing, its end.
fn time(table: &Table, is_there: bool) -> &'static str {
    match (table.holds_facts(), is_there) {
        (true, _) => "at",
        (false, true) if table.name != ROBOTS => "first_at",
        (false, _) => "last_at",
    }
}

impl Chunk {
    fn new(table: &'static Table, behind: Option<&Key>, until: Option<&Key>, from: i64) -> Self {
        let mut chunk = Self { table, args: vec![from.into()], behind: None, until: None, from: 1 };
        if let Some(key) = behind {
            chunk.behind = Some(chunk.args.len() + 1);
            chunk.args.extend(args(key));
        }
        if let Some(key) = until {
            chunk.until = Some(chunk.args.len() + 1);
            chunk.args.extend(args(key));
        }
        chunk
    }

    /// The condition that a row is within this page.
    fn within(&self, of: &str) -> String {
        let names = keys(self.table, |column| format!("{of}.{}", column.name));
        let bound = |sign, first: Option<usize>| {
            first.map_or_else(String::new, |first| {
                format!(" and ({names}) {sign} ({})", given(self.table, first))
            })
        };
        format!("true{}{}", bound(">", self.behind), bound("<=", self.until))
    }

    /// The condition that a row is recent enough to be compared.
    fn is_young(&self, of: &str, is_there: bool) -> String {
        format!("{of}.{} >= @at({})", time(self.table, is_there), self.from)
    }

    fn missing(&self) -> String {
        let Table { name, .. } = self.table;
        format!(
            "from {PREFIX}{name} as s
             where {} and {} and not exists (select 1 from {name} as r where {})",
            self.within("s"),
            self.is_young("s", false),
            same_key(self.table, "r")
        )
    }
}

impl Rebuilding {
    /// Compares the next page of facts, calls and members, and corrects it unless it is a dry run.
    ///
    /// # Errors
    /// When the store does not answer or refuses a row.
    pub async fn compare(
        &mut self,
        progress: &mut Progress,
        scope: Scope,
    ) -> Result<(), StoreError> {
        let table = TABLES[progress.table];
        let until = self.bound(table, progress.key.as_ref()).await?;
        let chunk = Chunk::new(table, progress.key.as_ref(), until.as_ref(), scope.from);
        let mut found = Tally { right: self.right(&chunk).await?, ..Tally::default() };
        for key in self.candidates(&chunk).await? {
            self.verify(table, &key, progress.dry_run, &mut found).await?;
        }
        self.connection.begin().await?;
        if table.holds_facts() {
            found.wrong += self.mend_facts(&chunk, progress.dry_run).await?;
        }
        found.missing += self.add_missing(&chunk, progress.dry_run).await?;
        progress.tally(table.name).add(found);
        progress.key = until;
        if progress.key.is_none() {
            progress.table += 1;
        }
        if progress.table == COMPARED {
            (progress.table, progress.stage) = (0, Stage::Counts);
        }
        self.save(progress).await?;
        self.connection.commit().await
    }

    /// The last key of the next page; `None` where fewer rows than a page remain.
    async fn bound(
        &mut self,
        table: &'static Table,
        behind: Option<&Key>,
    ) -> Result<Option<Key>, StoreError> {
        let chunk = Chunk::new(table, behind, None, 0);
        let names = keys(table, |column| column.name.to_owned());
        let one = |name: &str| {
            format!(
                "select * from (select {} as place, {names} from {name} as r where {} and {FIRST}
                     order by {} limit 1 offset {PAGE_ROWS}) as {PREFIX}page",
                key_of(table, "r"),
                chunk.within("r"),
                keys(table, |column| format!("r.{}", column.name)),
            )
        };
        let sql = format!(
            "select place from ({} union all {}) as pages order by {} limit 1",
            one(table.name),
            one(&format!("{PREFIX}{}", table.name)),
            keys(table, |column| format!("pages.{}", column.name)),
        );
        let found: Option<(String,)> = self.connection.row(&sql, &chunk.args).await?;
        found.map(|found| key(&found.0)).transpose()
    }

    async fn count(&mut self, sql: &str, args: &[Arg]) -> Result<u64, StoreError> {
        let found: Option<(i64,)> = self.connection.row(sql, args).await?;
        Ok(found.map_or(0, |found| found.0.unsigned_abs()))
    }

    /// The number of rows that match.
    async fn right(&mut self, chunk: &Chunk) -> Result<u64, StoreError> {
        let Chunk { table, args, .. } = chunk;
        let sql = format!(
            "select count(*) from {name} as r join {PREFIX}{name} as s on {} where {} and not {} and {FIRST}",
            same_key(table, "r"),
            chunk.within("r"),
            differs(table, "r"),
            name = table.name,
        );
        self.count(&sql, args).await
    }

    /// The keys of rows that the events read so far do not explain.
    async fn candidates(&mut self, chunk: &Chunk) -> Result<Vec<Key>, StoreError> {
        let Chunk { table, args, .. } = chunk;
        let not_so = if table.holds_facts() {
            String::new()
        } else {
            format!(" or {}", differs(table, "r"))
        };
        let sql = format!(
            "select {} from {name} as r left join {PREFIX}{name} as s on {}
             where {} and {} and (s.sdk_app_id is null{not_so})",
            key_of(table, "r"),
            same_key(table, "r"),
            chunk.within("r"),
            chunk.is_young("r", true),
            name = table.name,
        );
        let rows: Vec<(String,)> = self.connection.rows(&sql, args).await?;
        rows.iter().map(|row| key(&row.0)).collect()
    }

    /// Compares one row with the current events, and corrects it.
    async fn verify(
        &mut self,
        table: &'static Table,
        key: &Key,
        dry_run: bool,
        found: &mut Tally,
    ) -> Result<(), StoreError> {
        let name = table.name;
        let args = args(key);
        let names = |of: &str| keys(table, |column| format!("{of}.{}", column.name));
        let is_it = format!("({}) = ({})", names("r"), given(table, 1));
        self.connection.begin().await?;
        // Locks the row: its next writer waits, and events of earlier writers are visible to the reads below.
        let lock = self.connection.dialect().for_update;
        let sql = format!("select cast(1 as bigint) from {name} as r where {is_it}{lock}");
        let _: Option<(i64,)> = self.connection.row(&sql, &args).await?;
        self.absorb_again(table, key).await?;
        let sql = format!(
            "select case when s.sdk_app_id is null then 'too many' when {} then 'wrong' else 'right' end
             from {name} as r left join {PREFIX}{name} as s on {} where {is_it}",
            differs(table, "r"),
            same_key(table, "r"),
        );
        let state: Option<(String,)> = self.connection.row(&sql, &args).await?;
        let mend = match state.as_ref().map(|state| state.0.as_str()) {
            // Such facts are corrected together.
            Some("wrong") if table.holds_facts() => None,
            Some("wrong") => {
                found.wrong += 1;
                Some(format!(
                    "update {name} set {} from {PREFIX}{name} as s where {} and ({}) = ({})",
                    set(table),
                    same_key(table, name),
                    names("s"),
                    given(table, 1)
                ))
            }
            Some("too many") => {
                found.too_many += 1;
                Some(format!("delete from {name} where ({}) = ({})", names(name), given(table, 1)))
            }
            Some(_) => {
                found.right += 1;
                None
            }
            None => None,
        };
        if let Some(mend) = mend.filter(|_| !dry_run) {
            self.queue_room_of(table, key).await?;
            self.connection.execute(&mend, &args).await?;
        }
        self.connection.commit().await
    }

    /// Reads the events that may have produced a row again.
    async fn absorb_again(&mut self, table: &'static Table, key: &Key) -> Result<(), StoreError> {
        let value = |name: &str| {
            let place = table.keys().position(|column| column.name == name);
            place.and_then(|place| key.get(place)).cloned().unwrap_or_default()
        };
        let select = self.connection.dialect().select_events;
        if table.holds_facts() {
            let sql = format!("{select} where event_time = @at(1) and id = @id(2)");
            let events = self.decoded(&sql, &args(&[value("at"), value("event_id")])).await?;
            let all: Vec<_> = events.iter().map(changes).collect();
            return self.absorb(&all, |name| name == table.name).await;
        }
        if table.name == ROBOTS {
            return self.absorb_robot(key).await;
        }
        let sql = format!(
            "{select} where call_id = $1 and sdk_app_id = $2 and event_time >= @at(3)
                 and (event_time, id) > (@at(3), @id(4))
             order by events.event_time, events.id limit {PAGE_EVENTS}"
        );
        let mut after = [Value::from(-1), Value::from(uuid::Uuid::nil().to_string())];
        loop {
            let [time, id] = after;
            let call = [value("call_id"), value("sdk_app_id"), time, id];
            let events = self.decoded(&sql, &args(&call)).await?;
            let all: Vec<_> = events.iter().map(changes).collect();
            self.absorb(&all, |name| name == table.name).await?;
            let Some(last) = events.last().filter(|_| events.len() == PAGE_EVENTS) else {
                return Ok(());
            };
            after = [last.event_time.0.into(), last.id.to_string().into()];
        }
    }

    /// Reads the events of the time at which a robot was last seen: one of them shows it.
    async fn absorb_robot(&mut self, key: &Key) -> Result<(), StoreError> {
        let sql = "select @ms(last_at) from rtc_robots where sdk_app_id = $1 and account = $2";
        let Some((at,)) = self.connection.row::<(i64,)>(sql, &args(key)).await? else {
            return Ok(());
        };
        let sql = format!(
            "{} where event_time = @at(1) and id > @id(2) order by events.id limit {PAGE_EVENTS}",
            self.connection.dialect().select_events
        );
        let mut after = uuid::Uuid::nil();
        loop {
            let args = [at.into(), after.to_string().as_str().into()];
            let events = self.decoded(&sql, &args).await?;
            let all: Vec<_> = events.iter().map(changes).collect();
            self.absorb(&all, |name| name == ROBOTS).await?;
            let Some(last) = events.last().filter(|_| events.len() == PAGE_EVENTS) else {
                return Ok(());
            };
            after = last.id;
        }
    }

    /// Queues the room of a deleted fact for the comparison of sessions; of a robot the rooms in which it was.
    async fn queue_room_of(&mut self, table: &Table, key: &Key) -> Result<(), StoreError> {
        if table.name == ROBOTS {
            let sql = format!(
                "insert into {PREFIX}rtc_settle_queue (sdk_app_id, room_id, at, slot)
                 select sdk_app_id, room_id, min(@ms(at)) / {HOUR_MS}, 0 from rtc_room_marks
                 where sdk_app_id = $1 and account = $2 group by sdk_app_id, room_id
                 on conflict do nothing"
            );
            return self.connection.execute(&sql, &args(key)).await.map(|_| ());
        }
        if !table.holds_facts() || table.name == "recording_marks" {
            return Ok(());
        }
        let place = |name: &str| table.keys().position(|column| column.name == name);
        let (Some(room), Some(at)) = (place("room_id"), place("at")) else { return Ok(()) };
        let (queue, span_ms) = match table.name {
            "rtc_room_marks" => (RoomQueue::Rtc, HOUR_MS),
            _ => (RoomQueue::Kit, 24 * HOUR_MS),
        };
        let QueueSql { table, time, .. } = queue.sql();
        let span = key[at].as_i64().unwrap_or(0).div_euclid(span_ms);
        let sql = format!(
            "insert into {PREFIX}{table} (sdk_app_id, room_id, {time}, slot) values ($1, $2, $3, 0)
             on conflict do nothing"
        );
        let args = args(&[key[0].clone(), key[room].clone(), span.into()]);
        self.connection.execute(&sql, &args).await.map(|_| ())
    }

    /// Corrects facts that differ from their events. Events are immutable, and so are their facts.
    async fn mend_facts(&mut self, chunk: &Chunk, dry_run: bool) -> Result<u64, StoreError> {
        let Chunk { table, args, .. } = chunk;
        let name = table.name;
        if dry_run {
            let sql = format!(
                "select count(*) from {name} as r join {PREFIX}{name} as s on {} where {} and {} and {}",
                same_key(table, "r"),
                chunk.within("r"),
                chunk.is_young("r", true),
                differs(table, "r"),
            );
            return self.count(&sql, args).await;
        }
        let sql = format!(
            "update {name} set {} from {PREFIX}{name} as s where {} and {} and {} and {}",
            set(table),
            same_key(table, name),
            chunk.within(name),
            chunk.is_young(name, true),
            differs(table, name),
        );
        self.connection.execute(&sql, args).await
    }

    /// Inserts missing rows as ingest would: one that was inserted meanwhile is merged.
    async fn add_missing(&mut self, chunk: &Chunk, dry_run: bool) -> Result<u64, StoreError> {
        let Chunk { table, args, .. } = chunk;
        if dry_run {
            return self.count(&format!("select count(*) {}", chunk.missing()), args).await;
        }
        let names = |of: &str| upsert::list(table.columns, |column| format!("{of}{}", column.name));
        // The lock order of ingest, so that neither can deadlock with the other.
        let order = keys(table, |Column { name, kind, .. }| match kind {
            Kind::Text => format!("s.{name} @bytewise"),
            _ => format!("s.{name}"),
        });
        let sql = format!(
            "insert into {} ({}) select {} {} order by {order}{}",
            table.name,
            names(""),
            names("s."),
            chunk.missing(),
            upsert::on_conflict(self.connection.dialect(), table),
        );
        self.connection.execute(&sql, args).await
    }
}

/// The key of a row, as a JSON list.
fn key_of(table: &Table, of: &str) -> String {
    let values = keys(table, |Column { name, kind, .. }| match kind {
        Kind::Time => format!("@ms({of}.{name})"),
        Kind::Id => format!("@text({of}.{name})"),
        _ => format!("{of}.{name}"),
    });
    format!("cast(@json_array({values}) as text)")
}

/// Uses the first parameter in statements that do not need it, so that its type is known.
const FIRST: &str = "@at(1) is not null";

fn key(text: &str) -> Result<Key, StoreError> {
    serde_json::from_str(text)
        .map_err(|error| StoreError::Refused(sqlx::Error::Decode(error.into())))
}
