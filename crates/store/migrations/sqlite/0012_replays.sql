-- Replays: spans of stored events that somebody wants to be sent to a destination again. The migration of PostgreSQL explains
-- the columns.
create table replays (
    destination text primary key,
    definition text not null,
    since integer not null,
    until integer not null,
    started_at integer not null,
    at_time integer not null,
    at_id text not null,
    is_read integer not null check (is_read in (0, 1)),
    events_read integer not null,
    queued integer not null,
    not_chosen integer not null,
    filtered integer not null,
    to_come integer not null
) strict;
