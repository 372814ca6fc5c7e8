-- Every event of the vendor, once, in the order of its own time.
--
-- Partitioned by event_time, because a repeated delivery repeats that time and so meets its first copy in the same
-- partition; received_at would not do. The server makes the monthly partitions ahead; the default one takes what is
-- older or came while none was made.
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
    primary key (event_time, id),
    check ((payload is null) <> (raw is null))
) partition by range (event_time);

create table events_default partition of events default;

create index events_call on events (call_id, event_time) where call_id is not null;
create index events_room on events (room_id, event_time) where room_id is not null;

-- Rows that the table above refused, whole: `delivery` is what `replay` reads.
create table dead_letter_events (
    id uuid primary key,
    parked_at timestamptz not null,
    reason text not null,
    delivery text not null
);
