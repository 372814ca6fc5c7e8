-- Derived events: facts that follow from several events of the vendor, for destinations that ask for them. The migration of PostgreSQL
-- explains the columns.
create table derived_progress (
    id integer primary key check (id = 1),
    position integer not null,
    holder text,
    lease_until integer
) strict;

create table derived_pending (
    kind text not null check (kind in ('call', 'room', 'recording')),
    sdk_app_id integer not null,
    subject text not null,
    day integer not null,
    from_at integer not null,
    until_at integer not null,
    slot integer not null,
    slot_last integer not null,
    due_at integer not null,
    primary key (kind, sdk_app_id, subject, day)
) strict, without rowid;
create index derived_pending_due on derived_pending (due_at);

create table derived_events (
    id text primary key,
    type text not null,
    family text not null,
    sdk_app_id integer not null,
    subject text not null,
    session integer not null,
    revision integer not null,
    withdrawn integer not null check (withdrawn in (0, 1)),
    hash integer not null,
    call_id text,
    room_id text,
    happened_at integer not null,
    last_at integer not null,
    created_at integer not null
) strict, without rowid;
create index derived_events_subject on derived_events (sdk_app_id, subject, session, type, revision);
create index derived_events_old on derived_events (last_at);
