-- Derived events: facts that follow from several events of the vendor, such as that a call ended unanswered, for destinations that ask
-- for them. A job follows the feed, notes what new events are about, and looks at the read models a moment later.
--
-- A derived event holds no row of the read models, only which one: what is sent is read when it is sent, so that an erased account is
-- sent as its pseudonym.

-- Written by the server that derives, a few times a second. No row until a destination asks for derived events.
create table derived_progress (
    id integer primary key check (id = 1),
    position bigint not null,
    holder text,
    lease_until timestamptz
) with (fillfactor = 50);

comment on table derived_progress is 'How far derived events are: one row, where a destination asks for them';
comment on column derived_progress.position is 'Position in the feed up to which events are noted in derived_pending';
comment on column derived_progress.holder is 'The server that derives';
comment on column derived_progress.lease_until is 'When another server may take over, unless the holder renews it';

create table derived_pending (
    kind text not null check (kind in ('call', 'room', 'recording')),
    sdk_app_id bigint not null,
    subject text not null,
    day bigint not null,
    from_at timestamptz not null,
    until_at timestamptz not null,
    slot bigint not null,
    slot_last bigint not null,
    due_at timestamptz not null,
    primary key (kind, sdk_app_id, subject, day)
);
create index derived_pending_due on derived_pending (due_at);

comment on table derived_pending is 'Calls, rooms and recordings with new events that are looked at in a moment';
comment on column derived_pending.subject is 'Call id, room id or task id';
comment on column derived_pending.day is 'Of a room: the day of the new events, in days since 1970, UTC; else 0';
comment on column derived_pending.slot is 'When it was noted, in units of 2 s: a room is looked at when it is settled up to here';
comment on column derived_pending.slot_last is 'When it was noted last';
comment on column derived_pending.from_at is 'Time of the earliest new event';
comment on column derived_pending.until_at is 'Time of the latest new event';
comment on column derived_pending.due_at is 'When it is looked at';

create table derived_events (
    id uuid primary key,
    type text not null,
    family text not null,
    sdk_app_id bigint not null,
    subject text not null,
    session bigint not null,
    revision bigint not null,
    withdrawn boolean not null,
    hash bigint not null,
    call_id text,
    room_id text,
    happened_at timestamptz not null,
    last_at timestamptz not null,
    created_at timestamptz not null
);
create index derived_events_subject on derived_events (sdk_app_id, subject, session, type, revision);
create index derived_events_old on derived_events (last_at);

comment on table derived_events is 'Facts that follow from several events, each with a position in the feed; kept as long as what they are about';
comment on column derived_events.type is 'trtc.call.ended, trtc.call.missed, trtc.room.closed, trtc.live.ended or trtc.recording.ready';
comment on column derived_events.subject is 'Call id, room id or task id';
comment on column derived_events.session is 'Of a room: which session; else 0';
comment on column derived_events.revision is '1, and one more whenever a late event changes the fact';
comment on column derived_events.withdrawn is 'Whether the fact holds no longer';
comment on column derived_events.hash is 'Hash of the row of the read models: the same row makes no new revision';
comment on column derived_events.happened_at is 'When the call, room or live ended, or the recording was finished';
comment on column derived_events.last_at is 'Latest time that an event names for it';
comment on column derived_events.created_at is 'When it was derived';
