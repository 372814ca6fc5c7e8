-- What arrives: the events, the dead letters, and the keys by which repeated deliveries are recognised.

-- Every event of the vendor, stored once.
--
-- Partitioned by event_time: a repeated delivery has the same event_time, so its first copy is in the same partition, which
-- received_at would not ensure. The server makes the monthly partitions ahead; the default one takes older events, and those
-- that came while their month had no partition.
create table events (
    id uuid not null,
    sdk_app_id bigint not null,
    family text not null,
    command text not null,
    command_sent text,
    event_time timestamptz not null,
    received_at timestamptz not null,
    call_id text,
    room_id text,
    operator text,
    client_ip text,
    platform text,
    -- json, not jsonb: it keeps the text exactly as received, takes \u0000 and is cheaper to write.
    payload json,
    raw bytea,
    decode_error text,
    -- The vendor's own name for the request.
    request_id text,
    -- The query string, where the other columns do not say it.
    query text,
    primary key (event_time, id),
    -- A body may be in both columns: as received in raw, and in payload in a form that the JSON functions can read.
    constraint events_body check (payload is not null or raw is not null)
) partition by range (event_time);

create table events_default partition of events default;

create index events_call on events (call_id, event_time) where call_id is not null;
create index events_room on events (room_id, event_time) where room_id is not null;
-- For readers that follow events as they arrive: the time of an event may be long before.
create index events_received on events (received_at, id);

-- Events that the table above refused, whole: `replay` reads `delivery`.
create table dead_letter_events (
    id uuid primary key,
    refused_at timestamptz not null,
    reason text not null,
    delivery text not null
);

-- For events that have a request id and no time of their own. The key is the part of the event's id that is not its time: a
-- repeat has the same key, but another time, so the primary key of `events` does not recognise it.
create table request_keys (
    key uuid primary key,
    event_id uuid not null,
    received_at timestamptz not null
);
