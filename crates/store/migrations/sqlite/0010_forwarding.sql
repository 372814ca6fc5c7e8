-- Forwarding: destinations, each with a cursor in the feed, and the events that are exceptions to it. The migration of PostgreSQL
-- explains the columns.
create table destinations (
    name text primary key,
    position integer not null,
    epoch integer not null,
    holder text,
    lease_until integer,
    definition_hash text not null,
    created_at integer not null,
    state text not null check (state in ('running', 'failing', 'paused', 'misconfigured')),
    reason text,
    failing_since integer,
    last_error text,
    paused integer not null check (paused in (0, 1)),
    resume_requests integer not null,
    exceptions_version integer not null,
    skipped integer not null,
    skipped_from integer,
    skipped_until integer
) strict;

create table delivery_exceptions (
    destination text not null,
    event_id text not null,
    position integer not null,
    subject_hash integer,
    attempts integer not null,
    next_at integer not null,
    state text not null check (state in ('waiting', 'dead', 'replay')),
    last_status integer,
    last_error text,
    first_failed_at integer,
    changed_at integer not null,
    primary key (destination, event_id)
) strict, without rowid;
create index delivery_exceptions_next on delivery_exceptions (destination, next_at) where state <> 'dead';
create index delivery_exceptions_event on delivery_exceptions (event_id);
