-- Rooms of the RTC Engine, from its events of groups 1 and 2 (room and media): the facts, and what is computed from them:
-- sessions, stays and what was published. The rules are in the crate projections, module rtc.

-- Facts ------------------------------------------------------------------------------------------------------------------

create table rtc_room_marks (
    sdk_app_id bigint not null,
    room_id text not null,
    at timestamptz not null,
    event_id uuid not null,
    room_id_kind text not null,
    kind text not null,
    track text,
    precision text not null,
    account text,
    reason bigint,
    role bigint,
    terminal_type bigint,
    user_type bigint,
    unique_id bigint,
    primary key (sdk_app_id, room_id, at, event_id)
);
create index rtc_room_marks_old on rtc_room_marks using brin (at);
create index rtc_room_marks_account on rtc_room_marks (sdk_app_id, account, room_id) where account is not null;

comment on table rtc_room_marks is 'What events say of the RTC Engine''s rooms, one row for each event; rtc_room_sessions, rtc_stays and rtc_publish_intervals are computed from it';
comment on column rtc_room_marks.room_id_kind is 'Whether the room is named by a number or a text, as sent: numeric or string. 123 and "123" are two rooms';
comment on column rtc_room_marks.kind is 'create, enter, start, stop, role, exit or dismiss';
comment on column rtc_room_marks.track is 'Of start and stop: camera, audio or screen';
comment on column rtc_room_marks.precision is 'How exact at is: millis, seconds (within that second), or sent (the event has no time of its own)';
comment on column rtc_room_marks.account is 'Who acted; null in a dismissal';
comment on column rtc_room_marks.reason is 'As sent; of an enter 1 own decision, 2 network change, 3 timeout and retry, 4 cross-room link; of an exit 1 left, 2 timed out, 3 removed, 4 link cancelled, 5 process killed';
comment on column rtc_room_marks.role is '20 anchor, 21 audience';
comment on column rtc_room_marks.terminal_type is '1 Windows, 2 Android, 3 iOS, 4 Linux, 100 other';
comment on column rtc_room_marks.user_type is '1 WebRTC, 2 mini program, 3 native SDK';
comment on column rtc_room_marks.unique_id is 'Tells one entry or exit from another, of old apps only';

-- Found by rtc-repair at the vendor's REST API, where events were lost. A rebuild keeps them.
create table rtc_repaired_marks (
    sdk_app_id bigint not null,
    room_id text not null,
    at timestamptz not null,
    mark_id uuid not null,
    room_id_kind text not null,
    kind text not null,
    account text,
    repaired_at timestamptz not null,
    primary key (sdk_app_id, room_id, at, mark_id)
);
create index rtc_repaired_marks_old on rtc_repaired_marks (at);
create index rtc_repaired_marks_account on rtc_repaired_marks (sdk_app_id, account, room_id) where account is not null;

comment on table rtc_repaired_marks is 'What the vendor''s REST API knew of rooms whose events were lost, as rtc_room_marks; with precision of a second';
comment on column rtc_repaired_marks.mark_id is 'Made from what the row says, so that the same repair adds no row';
comment on column rtc_repaired_marks.kind is 'create, enter, exit or dismiss';

create table rtc_robots (
    sdk_app_id bigint not null,
    account text not null,
    last_at timestamptz not null,
    is_new boolean not null default true,
    primary key (sdk_app_id, account)
);
create index rtc_robots_old on rtc_robots (last_at);
create index rtc_robots_new on rtc_robots (sdk_app_id, account) where is_new;

comment on table rtc_robots is 'Accounts that do tasks of the cloud in rooms: recorders, slicers, moderators, transcribers, AI agents';
comment on column rtc_robots.last_at is 'The latest event that shows it';
comment on column rtc_robots.is_new is 'Whether the rooms in which it stayed are still to be settled again';

create table rtc_settle_queue (
    sdk_app_id bigint not null,
    room_id text not null,
    at bigint not null,
    slot bigint not null,
    primary key (sdk_app_id, room_id, at, slot)
);

comment on table rtc_settle_queue is 'Rooms of the RTC Engine with new facts, which are to be settled';
comment on column rtc_settle_queue.at is 'Hour of the earliest new fact, since 1970';
comment on column rtc_settle_queue.slot is 'When they were written, in units of 2 s since 1970 by the database''s clock';

-- Settled ----------------------------------------------------------------------------------------------------------------

create table rtc_room_sessions (
    sdk_app_id bigint not null,
    room_id text not null,
    room_id_kind text not null,
    session bigint not null,
    comm_id text,
    started_at timestamptz not null,
    start_estimated boolean not null,
    created_at timestamptz,
    creator text,
    ended_at timestamptz,
    end_inferred boolean not null,
    dismissed_at timestamptz,
    room_kind_guessed boolean not null,
    last_at timestamptz not null,
    overdue_at timestamptz,
    state text not null,
    people bigint not null,
    people_inside bigint not null,
    robots bigint not null,
    occupied_from timestamptz,
    occupied_until timestamptz,
    is_cut boolean not null,
    is_repaired boolean not null,
    primary key (sdk_app_id, room_id, room_id_kind, session)
);
create index rtc_room_sessions_started on rtc_room_sessions (started_at, sdk_app_id, room_id, room_id_kind, session);
create index rtc_room_sessions_open on rtc_room_sessions (overdue_at) where state = 'open' and overdue_at is not null;
create index rtc_room_sessions_old on rtc_room_sessions (last_at);

comment on table rtc_room_sessions is 'One row for each session of a room of the RTC Engine: room ids are used again';
comment on column rtc_room_sessions.room_id_kind is 'Whether the room is named by a number or a text: numeric or string';
comment on column rtc_room_sessions.session is 'Which session: the time of its create event, in ms since 1970; where none came, that of its first event';
comment on column rtc_room_sessions.comm_id is 'The vendor''s name of the session, CommId; null without a create event';
comment on column rtc_room_sessions.started_at is 'When it was created; where that is not known, its first event';
comment on column rtc_room_sessions.start_estimated is 'No create event came';
comment on column rtc_room_sessions.creator is 'Who entered first and so created it; may be a robot';
comment on column rtc_room_sessions.ended_at is 'When it was dismissed; where no dismissal came, its last event';
comment on column rtc_room_sessions.end_inferred is 'Its end is a guess: no dismissal came';
comment on column rtc_room_sessions.room_kind_guessed is 'The dismissal named a room of the other kind of id';
comment on column rtc_room_sessions.last_at is 'Its latest event';
comment on column rtc_room_sessions.overdue_at is 'While it is open and nobody is inside: from when on it counts as ended';
comment on column rtc_room_sessions.state is 'open or ended';
comment on column rtc_room_sessions.people is 'How many accounts were inside, robots aside, each counted once';
comment on column rtc_room_sessions.people_inside is 'How many of them are inside now; 0 once it has ended';
comment on column rtc_room_sessions.robots is 'How many robots were inside, each counted once';
comment on column rtc_room_sessions.occupied_from is 'When the first person entered';
comment on column rtc_room_sessions.occupied_until is 'When the last person left; null while one is inside';
comment on column rtc_room_sessions.is_cut is 'The room has too many events: its latest ones are left out';
comment on column rtc_room_sessions.is_repaired is 'Its create or dismissal is known from the vendor''s REST API, not from an event';

create table rtc_stays (
    sdk_app_id bigint not null,
    room_id text not null,
    room_id_kind text not null,
    session bigint not null,
    stay_id uuid not null,
    account text not null,
    is_robot boolean not null,
    started_at timestamptz not null,
    earliest_start_at timestamptz not null,
    ended_at timestamptz,
    presumed_end_at timestamptz,
    enter_reason bigint,
    exit_reason bigint,
    terminal_type bigint,
    user_type bigint,
    unique_id bigint,
    roles json not null,
    enters bigint not null,
    late_stops bigint not null,
    flags json not null,
    primary key (sdk_app_id, room_id, room_id_kind, stay_id)
);
create index rtc_stays_session on rtc_stays (sdk_app_id, room_id, room_id_kind, session, started_at, stay_id);
create index rtc_stays_account on rtc_stays (sdk_app_id, account, started_at, stay_id);
create index rtc_stays_old on rtc_stays (started_at);

comment on table rtc_stays is 'Who was in a room of the RTC Engine, from when until when; a reconnect or another device begins another row';
comment on column rtc_stays.stay_id is 'The event that opened it';
comment on column rtc_stays.started_at is 'When it began, or was first known';
comment on column rtc_stays.earliest_start_at is 'When it began at the earliest; differs from started_at where no enter event came';
comment on column rtc_stays.ended_at is 'When it ended, as billed; null while it lasts';
comment on column rtc_stays.presumed_end_at is 'After a timeout: when the user was probably lost, about 90 s before ended_at';
comment on column rtc_stays.enter_reason is '1 own decision, 2 network change, 3 timeout and retry, 4 cross-room link';
comment on column rtc_stays.exit_reason is '1 left, 2 timed out, 3 removed, 4 link cancelled, 5 process killed; null where no exit event came';
comment on column rtc_stays.roles is 'Roles over time: a list of {role, from, until}, role 20 anchor or 21 audience, times in ms since 1970';
comment on column rtc_stays.enters is 'How many enter events it has: the first, and those after reconnects';
comment on column rtc_stays.late_stops is 'How many stop events came after its exit';
comment on column rtc_stays.flags is 'A list of start_estimated, end_inferred, replaced, reentry, cross_room, order_unknown, exit_doubtful, role_missed, coarse, repaired';

create table rtc_publish_intervals (
    sdk_app_id bigint not null,
    room_id text not null,
    room_id_kind text not null,
    session bigint not null,
    interval_id uuid not null,
    stay_id uuid not null,
    account text not null,
    is_robot boolean not null,
    track text not null,
    started_at timestamptz not null,
    ended_at timestamptz,
    ended_by text,
    start_unknown boolean not null,
    primary key (sdk_app_id, room_id, room_id_kind, interval_id)
);
create index rtc_publish_intervals_session on rtc_publish_intervals (sdk_app_id, room_id, room_id_kind, session, started_at, interval_id);
create index rtc_publish_intervals_account on rtc_publish_intervals (sdk_app_id, account, started_at, interval_id);
create index rtc_publish_intervals_old on rtc_publish_intervals (started_at);

comment on table rtc_publish_intervals is 'When a user published camera, microphone or screen in a room of the RTC Engine. A muted microphone is published all the same';
comment on column rtc_publish_intervals.interval_id is 'The event that opened it';
comment on column rtc_publish_intervals.stay_id is 'The stay it is part of';
comment on column rtc_publish_intervals.track is 'camera, audio or screen';
comment on column rtc_publish_intervals.started_at is 'When it began; with start_unknown not before this';
comment on column rtc_publish_intervals.ended_at is 'When it ended; null while it goes on';
comment on column rtc_publish_intervals.ended_by is 'stop, exit, replaced, or a guess: audience, other_screen, session_end';
comment on column rtc_publish_intervals.start_unknown is 'No start event came';

comment on column anomalies.kind is 'call_without_end, call_without_start, room_without_destroy, room_without_create, leaves_missing, enters_missing, rtc_room_without_create, rtc_room_without_dismiss, rtc_exits_missing, rtc_stops_missing, rtc_dismiss_unattached, registration_drift or silence';
