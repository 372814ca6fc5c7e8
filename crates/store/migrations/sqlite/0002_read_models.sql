-- The read models: tables computed from events, about calls, room sessions and live sessions. Their views are in
-- 0003_views.sql.
--
-- The same tables as in PostgreSQL, whose migration explains every column. Times are ms since 1970, truth values 0 or 1, and
-- lists JSON as text.

-- Calls -----------------------------------------------------------------------------------------------------------------

-- Indexes of the merged tables are named after their views, calls and call_members.
create table merged_calls (
    sdk_app_id integer not null,
    call_id text not null,
    media text,
    call_type text,
    caller text,
    chat_group_id text,
    room_id text,
    result text,
    start_event_at integer,
    start_record_at integer,
    accept_event_at integer,
    accept_record_at integer,
    end_event_at integer,
    end_record_at integer,
    first_at integer not null,
    last_at integer not null,
    overdue_at integer,
    primary key (sdk_app_id, call_id)
) strict, without rowid;
create index merged_calls_first on merged_calls (first_at, sdk_app_id, call_id);
create index merged_calls_open on merged_calls (first_at)
    where overdue_at is null and end_event_at is null and end_record_at is null;
create index merged_calls_overdue on merged_calls (first_at)
    where overdue_at is not null and end_event_at is null and end_record_at is null;
create index merged_calls_overdue_ended on merged_calls (first_at)
    where overdue_at is not null and (end_event_at is not null or end_record_at is not null);
create index merged_calls_without_start on merged_calls (first_at) where start_event_at is null and start_record_at is null;
-- Conditions of lists that would otherwise read every row. A call is entered into merged_calls_result once, when it ends.
create index merged_calls_result on merged_calls (result, first_at, sdk_app_id, call_id) where result is not null;
create index merged_calls_room on merged_calls (room_id, first_at, sdk_app_id, call_id) where room_id is not null;

create table merged_call_members (
    sdk_app_id integer not null,
    call_id text not null,
    account text not null,
    is_caller integer not null,
    invited_at integer,
    joined_at integer,
    last_joined_at integer,
    last_left_at integer,
    last_action text,
    last_action_at integer,
    last_action_id text,
    first_at integer not null,
    last_at integer not null,
    call_ended_at integer,
    call_result text,
    last_action_rank integer,
    primary key (sdk_app_id, call_id, account)
) strict, without rowid;
create index merged_call_members_account on merged_call_members (sdk_app_id, account, first_at, call_id);

-- Rooms: facts ------------------------------------------------------------------------------------------------------------

create table room_changes (
    sdk_app_id integer not null,
    room_id text not null,
    at integer not null,
    event_id text not null,
    ordinal integer not null,
    family text not null,
    kind text not null,
    by_account text,
    account text,
    name text,
    owner text,
    room_type text,
    created_at integer,
    max_members integer,
    max_seats integer,
    cause text,
    properties text,
    statistic text,
    primary key (sdk_app_id, room_id, at, event_id, ordinal)
) strict, without rowid;
create index room_changes_old on room_changes (at);
-- Creates and destroys show where sessions begin and end: this finds them without reading the room's other changes.
create index room_changes_sessions on room_changes (sdk_app_id, room_id, at, event_id, ordinal)
    where kind in ('create', 'destroy');

create table room_marks (
    sdk_app_id integer not null,
    room_id text not null,
    account text not null,
    at integer not null,
    event_id text not null,
    family text not null,
    enters integer not null,
    cause text,
    by_account text,
    member_count integer,
    -- By account, so that the rooms an account was in are found without a second index.
    primary key (sdk_app_id, account, room_id, at, event_id)
) strict, without rowid;
-- With `enters`, so that enters are found among many leaves without reading those.
create index room_marks_at on room_marks (sdk_app_id, room_id, at, enters);
create index room_marks_old on room_marks (at);

create table seat_marks (
    sdk_app_id integer not null,
    room_id text not null,
    seat integer not null,
    at integer not null,
    event_id text not null,
    account text,
    is_locked integer,
    is_video_disabled integer,
    is_audio_disabled integer,
    by_account text,
    primary key (sdk_app_id, room_id, at, event_id, seat)
) strict, without rowid;
create index seat_marks_old on seat_marks (at);

create table gifts (
    sdk_app_id integer not null,
    room_id text not null,
    at integer not null,
    event_id text not null,
    sender text,
    receivers text,
    gift_id text,
    count integer,
    coins integer,
    primary key (sdk_app_id, room_id, at, event_id)
) strict, without rowid;
create index gifts_old on gifts (at);

create table battle_marks (
    sdk_app_id integer not null,
    battle_id text not null,
    at integer not null,
    event_id text not null,
    room_id text not null,
    stage text not null,
    is_proposer integer not null,
    owner text,
    score integer,
    duration_ms integer,
    created_at integer,
    started_at integer,
    ended_at integer,
    ending text,
    primary key (sdk_app_id, battle_id, at, event_id, room_id)
) strict, without rowid;
create index battle_marks_old on battle_marks (at);
create index battle_marks_room on battle_marks (sdk_app_id, room_id, at);

create table metadata_marks (
    sdk_app_id integer not null,
    room_id text not null,
    key text not null,
    at integer not null,
    event_id text not null,
    value text,
    by_account text,
    cut integer,
    primary key (sdk_app_id, room_id, at, event_id, key)
) strict, without rowid;
create index metadata_marks_old on metadata_marks (at);

create table recording_marks (
    sdk_app_id integer not null,
    task_id text not null,
    at integer not null,
    event_id text not null,
    call_id text,
    room_id text,
    recorder text,
    event_group integer,
    event_type integer,
    status integer,
    state text,
    files text,
    message text,
    cut integer,
    primary key (sdk_app_id, task_id, at, event_id)
) strict, without rowid;
create index recording_marks_old on recording_marks (at);
create index recording_marks_call on recording_marks (sdk_app_id, call_id, at) where call_id is not null;
create index recording_marks_room on recording_marks (sdk_app_id, room_id, at) where room_id is not null;

-- Counts of events -------------------------------------------------------------------------------------------------------

-- Events only add rows to new_event_counts, which has no index; the settler adds those to summed_event_counts every half
-- second. The view event_counts is both tables together, so that no count is late.
create table new_event_counts (
    sdk_app_id integer not null,
    at integer not null,
    command text not null,
    result text not null,
    family text not null,
    events integer not null,
    lag_ms integer not null,
    lag_ms_max integer not null
) strict;

create table summed_event_counts (
    sdk_app_id integer not null,
    width_s integer not null,
    at integer not null,
    command text not null,
    result text not null,
    family text not null,
    events integer not null,
    lag_ms integer not null,
    lag_ms_max integer not null,
    primary key (sdk_app_id, width_s, at, command, result)
) strict, without rowid;
create index summed_event_counts_at on summed_event_counts (width_s, at);

-- Rooms: settled ----------------------------------------------------------------------------------------------------------

create table room_sessions (
    sdk_app_id integer not null,
    room_id text not null,
    session integer not null,
    family text not null,
    name text,
    owner text,
    room_type text,
    started_at integer not null,
    created_at integer,
    created_by text,
    destroyed_at integer,
    destroyed_by text,
    destroy_cause text,
    ended_at integer,
    from_at integer not null,
    until_at integer,
    last_at integer not null,
    state text not null,
    inferred integer not null,
    members integer not null,
    members_peak integer not null,
    visitors integer not null,
    entries integer not null,
    leaves_missing integer not null,
    enters_missing integer not null,
    max_members integer,
    max_seats integer,
    properties text,
    occupancy text not null,
    cut text,
    primary key (sdk_app_id, room_id, session)
) strict, without rowid;
create index room_sessions_started on room_sessions (started_at, sdk_app_id, room_id);
create index room_sessions_open on room_sessions (last_at) where state = 'open';
create index room_sessions_old on room_sessions (last_at);
-- Conditions of lists that would otherwise read every row. A session is written when it is settled, not with each event.
create index room_sessions_owner on room_sessions (owner, started_at, sdk_app_id, room_id) where owner is not null;
create index room_sessions_overdue on room_sessions (started_at, sdk_app_id, room_id) where state = 'overdue';

create table live_sessions (
    sdk_app_id integer not null,
    room_id text not null,
    session integer not null,
    total_viewers integer,
    total_gifts_sent integer,
    total_gift_coins integer,
    total_gift_senders integer,
    total_likes integer,
    gifts integer not null,
    gift_coins integer not null,
    gift_senders integer not null,
    top_senders text not null,
    top_receivers text not null,
    battles integer not null,
    admins text not null,
    metadata text not null,
    cut text,
    primary key (sdk_app_id, room_id, session)
) strict, without rowid;

create table settle_queue (
    sdk_app_id integer not null,
    room_id text not null,
    day integer not null,
    slot integer not null,
    primary key (sdk_app_id, room_id, day, slot)
) strict, without rowid;

create table anomalies (
    sdk_app_id integer not null,
    kind text not null,
    subject text not null,
    session integer not null,
    happened_at integer not null,
    found_at integer not null,
    resolved_at integer,
    detail text not null,
    primary key (sdk_app_id, kind, subject, session)
) strict, without rowid;
create index anomalies_happened on anomalies (happened_at, sdk_app_id, kind, subject);
create index anomalies_open on anomalies (kind, sdk_app_id, subject) where resolved_at is null;
