-- A body may stand in both columns: as it came in raw, and in payload as the JSON functions can read it. A check cannot be
-- altered, and to write the table anew would take as long as it is large; so its text is changed, as SQLite's page on `alter
-- table` has it for changes that leave the stored rows as they are. The columns below make every connection read it again.
pragma writable_schema = on;
update sqlite_schema
set sql = replace(sql, 'check ((payload is null) <> (raw is null))', 'check (payload is not null or raw is not null)')
where type = 'table' and name = 'events';
pragma writable_schema = reset;

-- The vendor's own name for the request, and the query where the columns do not say it.
alter table events add column request_id text;
alter table events add column query text;

-- What tells a repeat of an event that has no time of its own: the part of its id that is not its time.
create table request_keys (
    key text primary key,
    event_id text not null,
    received_at integer not null
) strict, without rowid;
