-- Replays: spans of stored events that somebody wants to be sent to a destination again. Their events become rows of
-- delivery_exceptions little by little, so that there are never many.
create table replays (
    destination text primary key,
    definition text not null,
    since timestamptz not null,
    until timestamptz not null,
    started_at timestamptz not null,
    at_time timestamptz not null,
    at_id uuid not null,
    is_read boolean not null,
    events_read bigint not null,
    queued bigint not null,
    not_chosen bigint not null,
    filtered bigint not null,
    to_come bigint not null
);

comment on table replays is 'Spans of stored events that are sent to a destination again, until the last one is';
comment on column replays.definition is 'What was asked for, as it was written: the same again goes on where it stopped';
comment on column replays.since is 'From when on events were received';
comment on column replays.until is 'Until when, without that moment';
comment on column replays.at_time is 'The last event that was read: when it was received';
comment on column replays.at_id is 'Its id';
comment on column replays.is_read is 'Whether all of them are read: what is not sent yet is in delivery_exceptions';
comment on column replays.events_read is 'Events that were read';
comment on column replays.queued is 'Those of them that are sent again';
comment on column replays.not_chosen is 'Those that have another command than was asked for';
comment on column replays.filtered is 'Those that are not for the destination';
comment on column replays.to_come is 'Those that the destination gets anyway: they are in its backlog, or wait for another attempt';
