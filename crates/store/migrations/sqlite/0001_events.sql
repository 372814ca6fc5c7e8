-- What arrives: the events, the dead letters, and the keys by which repeated deliveries are recognised.
--
-- The same tables as in PostgreSQL, but for the partitions. Times are ms since 1970 UTC.

-- Every event of the vendor, stored once, in the order of its own time.
create table events (
    id text not null,
    sdk_app_id integer not null,
    family text not null,
    command text not null,
    command_sent text,
    event_time integer not null,
    received_at integer not null,
    call_id text,
    room_id text,
    operator text,
    client_ip text,
    platform text,
    payload text,
    raw blob,
    decode_error text,
    -- The vendor's own name for the request.
    request_id text,
    -- The query string, where the other columns do not say it.
    query text,
    primary key (event_time, id),
    -- A body may be in both columns: as received in raw, and in payload in a form that the JSON functions can read.
    check (payload is not null or raw is not null)
) strict;

create index events_call on events (call_id, event_time) where call_id is not null;
create index events_room on events (room_id, event_time) where room_id is not null;
-- For readers that follow events as they arrive: the time of an event may be long before.
create index events_received on events (received_at, id);

-- Events that the table above refused, whole: `replay` reads `delivery`.
create table dead_letter_events (
    id text primary key,
    refused_at integer not null,
    reason text not null,
    delivery text not null
) strict;

-- For events that have a request id and no time of their own. The key is the part of the event's id that is not its time: a
-- repeat has the same key, but another time, so the primary key of `events` does not recognise it.
create table request_keys (
    key text primary key,
    event_id text not null,
    received_at integer not null
) strict, without rowid;
