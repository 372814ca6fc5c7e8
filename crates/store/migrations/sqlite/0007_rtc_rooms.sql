-- Rooms of the RTC Engine, from its events of groups 1 and 2 (room and media): the facts, and what is computed from them:
-- sessions, stays and what was published. The rules are in the crate projections, module rtc.
--
-- The same tables as in PostgreSQL, whose migration explains every column. Times are ms since 1970, truth values 0 or 1, and
-- lists JSON as text.

-- Facts ------------------------------------------------------------------------------------------------------------------

create table rtc_room_marks (
    sdk_app_id integer not null,
    room_id text not null,
    at integer not null,
    event_id text not null,
    room_id_kind text not null,
    kind text not null,
    track text,
    precision text not null,
    account text,
    reason integer,
    role integer,
    terminal_type integer,
    user_type integer,
    unique_id integer,
    primary key (sdk_app_id, room_id, at, event_id)
) strict, without rowid;
create index rtc_room_marks_old on rtc_room_marks (at);
create index rtc_room_marks_account on rtc_room_marks (sdk_app_id, account, room_id) where account is not null;

-- Found by rtc-repair at the vendor's REST API, where events were lost. A rebuild keeps them.
create table rtc_repaired_marks (
    sdk_app_id integer not null,
    room_id text not null,
    at integer not null,
    mark_id text not null,
    room_id_kind text not null,
    kind text not null,
    account text,
    repaired_at integer not null,
    primary key (sdk_app_id, room_id, at, mark_id)
) strict, without rowid;
create index rtc_repaired_marks_old on rtc_repaired_marks (at);
create index rtc_repaired_marks_account on rtc_repaired_marks (sdk_app_id, account, room_id) where account is not null;

create table rtc_robots (
    sdk_app_id integer not null,
    account text not null,
    last_at integer not null,
    is_new integer not null default 1,
    primary key (sdk_app_id, account)
) strict, without rowid;
create index rtc_robots_old on rtc_robots (last_at);
create index rtc_robots_new on rtc_robots (sdk_app_id, account) where is_new;

create table rtc_settle_queue (
    sdk_app_id integer not null,
    room_id text not null,
    at integer not null,
    slot integer not null,
    primary key (sdk_app_id, room_id, at, slot)
) strict, without rowid;

-- Settled ----------------------------------------------------------------------------------------------------------------

create table rtc_room_sessions (
    sdk_app_id integer not null,
    room_id text not null,
    room_id_kind text not null,
    session integer not null,
    comm_id text,
    started_at integer not null,
    start_estimated integer not null,
    created_at integer,
    creator text,
    ended_at integer,
    end_inferred integer not null,
    dismissed_at integer,
    room_kind_guessed integer not null,
    last_at integer not null,
    overdue_at integer,
    state text not null,
    people integer not null,
    people_inside integer not null,
    robots integer not null,
    occupied_from integer,
    occupied_until integer,
    is_cut integer not null,
    is_repaired integer not null,
    primary key (sdk_app_id, room_id, room_id_kind, session)
) strict, without rowid;
create index rtc_room_sessions_started on rtc_room_sessions (started_at, sdk_app_id, room_id, room_id_kind, session);
create index rtc_room_sessions_open on rtc_room_sessions (overdue_at) where state = 'open' and overdue_at is not null;
create index rtc_room_sessions_old on rtc_room_sessions (last_at);

create table rtc_stays (
    sdk_app_id integer not null,
    room_id text not null,
    room_id_kind text not null,
    session integer not null,
    stay_id text not null,
    account text not null,
    is_robot integer not null,
    started_at integer not null,
    earliest_start_at integer not null,
    ended_at integer,
    presumed_end_at integer,
    enter_reason integer,
    exit_reason integer,
    terminal_type integer,
    user_type integer,
    unique_id integer,
    roles text not null,
    enters integer not null,
    late_stops integer not null,
    flags text not null,
    primary key (sdk_app_id, room_id, room_id_kind, stay_id)
) strict, without rowid;
create index rtc_stays_session on rtc_stays (sdk_app_id, room_id, room_id_kind, session, started_at, stay_id);
create index rtc_stays_account on rtc_stays (sdk_app_id, account, started_at, stay_id);
create index rtc_stays_old on rtc_stays (started_at);

create table rtc_publish_intervals (
    sdk_app_id integer not null,
    room_id text not null,
    room_id_kind text not null,
    session integer not null,
    interval_id text not null,
    stay_id text not null,
    account text not null,
    is_robot integer not null,
    track text not null,
    started_at integer not null,
    ended_at integer,
    ended_by text,
    start_unknown integer not null,
    primary key (sdk_app_id, room_id, room_id_kind, interval_id)
) strict, without rowid;
create index rtc_publish_intervals_session on rtc_publish_intervals (sdk_app_id, room_id, room_id_kind, session, started_at, interval_id);
create index rtc_publish_intervals_account on rtc_publish_intervals (sdk_app_id, account, started_at, interval_id);
create index rtc_publish_intervals_old on rtc_publish_intervals (started_at);
