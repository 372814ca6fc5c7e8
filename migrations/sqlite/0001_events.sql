-- Every event of the vendor, once, in the order of its own time. Times are ms since 1970 UTC.
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
    primary key (event_time, id),
    check ((payload is null) <> (raw is null))
) strict;

create index events_call on events (call_id, event_time) where call_id is not null;
create index events_room on events (room_id, event_time) where room_id is not null;

-- Rows that the table above refused, whole: `delivery` is what `replay` reads.
create table dead_letter_events (
    id text primary key,
    parked_at integer not null,
    reason text not null,
    delivery text not null
) strict;
