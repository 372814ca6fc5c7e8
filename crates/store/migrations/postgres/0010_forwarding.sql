-- Forwarding: destinations, each with a cursor in the feed, and the events that are exceptions to it. An event that is delivered
-- while its neighbours are costs no row.

-- Rewritten a few times a second while events are sent: room for new versions of a row beside the old ones.
create table destinations (
    name text primary key,
    position bigint not null,
    epoch bigint not null,
    holder text,
    lease_until timestamptz,
    definition_hash text not null,
    created_at timestamptz not null,
    state text not null check (state in ('running', 'failing', 'paused', 'misconfigured')),
    reason text,
    failing_since timestamptz,
    last_error text,
    paused boolean not null,
    resume_requests bigint not null,
    exceptions_version bigint not null,
    skipped bigint not null,
    skipped_from timestamptz,
    skipped_until timestamptz
) with (fillfactor = 50);

comment on table destinations is 'Where stored events are forwarded to, and how far each destination is';
comment on column destinations.position is 'Position in the feed up to which every event is delivered, not for this destination, gone or an exception';
comment on column destinations.epoch is 'Grows with each change of the server that forwards: a write under an older one changes nothing';
comment on column destinations.holder is 'The server that forwards';
comment on column destinations.lease_until is 'When another server may take over, unless the holder renews it';
comment on column destinations.definition_hash is 'Hash of the configuration in force, without secrets';
comment on column destinations.reason is 'Why it does not run';
comment on column destinations.failing_since is 'Since when it does not run';
comment on column destinations.last_error is 'What went wrong last, without what the destination answered';
comment on column destinations.paused is 'Whether somebody paused it';
comment on column destinations.resume_requests is 'Counts requests to resume it: the server that forwards compares';
comment on column destinations.exceptions_version is 'Counts changes of its exceptions by others: the server that forwards reads them again';
comment on column destinations.skipped is 'Events that went out of the bounded backlog before they were sent';
comment on column destinations.skipped_from is 'When the first of them was stored';
comment on column destinations.skipped_until is 'When the last of them was stored';

create table delivery_exceptions (
    destination text not null,
    event_id uuid not null,
    position bigint not null,
    subject_hash bigint,
    attempts bigint not null,
    next_at timestamptz not null,
    state text not null check (state in ('waiting', 'dead', 'replay')),
    last_status bigint,
    last_error text,
    first_failed_at timestamptz,
    changed_at timestamptz not null,
    primary key (destination, event_id)
);
create index delivery_exceptions_next on delivery_exceptions (destination, next_at) where state <> 'dead';
create index delivery_exceptions_event on delivery_exceptions (event_id);

comment on table delivery_exceptions is 'Events that a destination has not got although its position is behind them';
comment on column delivery_exceptions.position is 'Position of the event in the feed';
comment on column delivery_exceptions.subject_hash is 'Hash of its app and its call, else its room';
comment on column delivery_exceptions.attempts is 'Attempts that failed and count';
comment on column delivery_exceptions.next_at is 'When it is tried again';
comment on column delivery_exceptions.state is 'waiting: for its next attempt; dead: given up; replay: to be sent again, as somebody asked';
comment on column delivery_exceptions.last_status is 'Status of the last answer';
comment on column delivery_exceptions.last_error is 'What went wrong last, with the beginning of the answer';
comment on column delivery_exceptions.changed_at is 'When this row was last written';
