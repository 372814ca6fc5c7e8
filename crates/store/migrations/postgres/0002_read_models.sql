-- The read models: tables computed from events, about calls, room sessions and live sessions. Their views are in
-- 0003_views.sql.
--
-- There are three kinds of tables. What they hold does not depend on the order in which events arrive:
--   facts    one row for each thing an event says, written in the event's transaction (room_changes, room_marks, seat_marks,
--            gifts, battle_marks, metadata_marks, recording_marks, new_event_counts);
--   merged   one row for each call and each member of a call, into which the values of each event are merged (the earliest,
--            latest or greatest wins), also in the event's transaction (merged_calls, merged_call_members);
--   settled  computed from facts shortly afterwards, and again whenever those change (summed_event_counts, room_sessions,
--            live_sessions, anomalies).
-- The time of a fact is the event's own time. What is kept of one room is bounded: columns `cut` say what was left out.

-- Calls -----------------------------------------------------------------------------------------------------------------

create table merged_calls (
    sdk_app_id bigint not null,
    call_id text not null,
    media text,
    call_type text,
    caller text,
    chat_group_id text,
    room_id text,
    result text,
    start_event_at timestamptz,
    start_record_at timestamptz,
    accept_event_at timestamptz,
    accept_record_at timestamptz,
    end_event_at timestamptz,
    end_record_at timestamptz,
    first_at timestamptz not null,
    last_at timestamptz not null,
    overdue_at timestamptz,
    primary key (sdk_app_id, call_id)
)
-- Each event of a call updates its row. Where the page has room for that and no index has a column that changes (so none has
-- last_at), it is a HOT update, which writes the row and no index.
with (fillfactor = 50);
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

comment on table merged_calls is 'What events say of each call, merged; read calls';
comment on column merged_calls.media is 'audio or video, as the vendor says; null where no event said';
comment on column merged_calls.call_type is 'single or multi; known when the call has ended';
comment on column merged_calls.caller is 'Account that called';
comment on column merged_calls.chat_group_id is 'Chat group the call was started from; null where there was none';
comment on column merged_calls.room_id is 'RTC room the call ran in';
comment on column merged_calls.result is 'cancel, reject, not_answer, normal_end, call_busy, interrupt, offline, or as sent; null until it has ended';
comment on column merged_calls.start_event_at is 'Time of the start event';
comment on column merged_calls.start_record_at is 'Start as the end event''s record says, in whole seconds';
comment on column merged_calls.accept_event_at is 'When the first callee was seen in the call';
comment on column merged_calls.accept_record_at is 'Acceptance as the end event''s record says, in whole seconds; null where it never connected';
comment on column merged_calls.end_event_at is 'Time of the end event';
comment on column merged_calls.end_record_at is 'End as the end event''s record says, in whole seconds';
comment on column merged_calls.first_at is 'The earliest time any event names for it';
comment on column merged_calls.last_at is 'The latest time any event names for it';
comment on column merged_calls.overdue_at is 'When it was noticed that no end came; meaningless once one came';

create table merged_call_members (
    sdk_app_id bigint not null,
    call_id text not null,
    account text not null,
    is_caller boolean not null,
    invited_at timestamptz,
    joined_at timestamptz,
    last_joined_at timestamptz,
    last_left_at timestamptz,
    last_action text,
    last_action_at timestamptz,
    last_action_id uuid,
    first_at timestamptz not null,
    last_at timestamptz not null,
    call_ended_at timestamptz,
    call_result text,
    last_action_rank bigint,
    primary key (sdk_app_id, call_id, account)
)
-- Rows are updated while they are young: with free space on their page, those updates write no index.
with (fillfactor = 70);
create index merged_call_members_account on merged_call_members (sdk_app_id, account, first_at, call_id);

comment on table merged_call_members is 'What events say of each account in each call, merged; read call_members';
comment on column merged_call_members.is_caller is 'Whether the account called';
comment on column merged_call_members.invited_at is 'When it was first rung';
comment on column merged_call_members.joined_at is 'When it was first in the call; null where it never was';
comment on column merged_call_members.last_joined_at is 'When it last came in';
comment on column merged_call_members.last_left_at is 'When it last left, declined or was lost, as an event says';
comment on column merged_call_members.last_action is 'The last thing an event says of it: accept, reject, not_answer, hangup, join, offline, invite, cancel_invite';
comment on column merged_call_members.last_action_at is 'The time of that event';
comment on column merged_call_members.last_action_id is 'Its id, which decides between two of one time and rank';
comment on column merged_call_members.first_at is 'The earliest time any event names for it';
comment on column merged_call_members.last_at is 'The latest time any event names for it';
comment on column merged_call_members.call_ended_at is 'When the call ended, where the end event names the account';
comment on column merged_call_members.call_result is 'How the call ended, where the end event names the account';
comment on column merged_call_members.last_action_rank is 'Of one time: 2 for what brings it into the call, 1 for what takes it out, 0 for the rest';

-- Rooms: facts ------------------------------------------------------------------------------------------------------------

create table room_changes (
    sdk_app_id bigint not null,
    room_id text not null,
    at timestamptz not null,
    event_id uuid not null,
    ordinal integer not null,
    family text not null,
    kind text not null,
    by_account text,
    account text,
    name text,
    owner text,
    room_type text,
    created_at timestamptz,
    max_members bigint,
    max_seats bigint,
    cause text,
    properties json,
    statistic json,
    primary key (sdk_app_id, room_id, at, event_id, ordinal)
);
create index room_changes_old on room_changes using brin (at);
-- Creates and destroys show where sessions begin and end: this finds them without reading the room's other changes.
create index room_changes_sessions on room_changes (sdk_app_id, room_id, at, event_id, ordinal)
    where kind in ('create', 'destroy');

comment on table room_changes is 'What was done to rooms themselves: created, updated, given to another owner, destroyed';
comment on column room_changes.ordinal is 'Its place among the changes of one event';
comment on column room_changes.family is 'room (conference) or live';
comment on column room_changes.kind is 'create, update, owner, admin_add, admin_delete or destroy';
comment on column room_changes.by_account is 'Who did it';
comment on column room_changes.account is 'To whom it was done: the administrator';
comment on column room_changes.created_at is 'The room''s create time as the event says, in whole seconds';
comment on column room_changes.cause is 'Of a destroy: user or system, or as sent';
comment on column room_changes.properties is 'The room''s other properties, as the event says';
comment on column room_changes.statistic is 'Of a live room''s destroy: total_viewers, total_gifts_sent, total_gift_coins, total_unique_gift_senders, total_likes_received';

create table room_marks (
    sdk_app_id bigint not null,
    room_id text not null,
    account text not null,
    at timestamptz not null,
    event_id uuid not null,
    family text not null,
    enters boolean not null,
    cause text,
    by_account text,
    member_count bigint,
    -- By account, so that the rooms an account was in are found without a second index.
    primary key (sdk_app_id, account, room_id, at, event_id)
);
-- With `enters`, so that enters are found among many leaves without reading those.
create index room_marks_at on room_marks (sdk_app_id, room_id, at, enters);
create index room_marks_old on room_marks using brin (at);

comment on table room_marks is 'Who came into or left which room, as events say; room_visits pairs them';
comment on column room_marks.enters is 'Came in, or left';
comment on column room_marks.cause is 'enter, leave, kicked, expired, heartbeat_interrupt, heartbeat_recover, or as sent';
comment on column room_marks.by_account is 'Who acted, where the event says';
comment on column room_marks.member_count is 'How many were inside, as the vendor counts; conferences only';

create table seat_marks (
    sdk_app_id bigint not null,
    room_id text not null,
    seat integer not null,
    at timestamptz not null,
    event_id uuid not null,
    account text,
    is_locked boolean,
    is_video_disabled boolean,
    is_audio_disabled boolean,
    by_account text,
    primary key (sdk_app_id, room_id, at, event_id, seat)
);
create index seat_marks_old on seat_marks using brin (at);

comment on table seat_marks is 'How seats were after an event; seats makes stays of them';
comment on column seat_marks.account is 'Who sat there; null where nobody did';

create table gifts (
    sdk_app_id bigint not null,
    room_id text not null,
    at timestamptz not null,
    event_id uuid not null,
    sender text,
    receivers json,
    gift_id text,
    count bigint,
    coins bigint,
    primary key (sdk_app_id, room_id, at, event_id)
);
create index gifts_old on gifts using brin (at);

comment on table gifts is 'Gifts that the vendor asked about; whether another rule blocked one, no event says';
comment on column gifts.receivers is 'Accounts, as a list';
comment on column gifts.coins is 'What one of them is worth, in coins';

create table battle_marks (
    sdk_app_id bigint not null,
    battle_id text not null,
    at timestamptz not null,
    event_id uuid not null,
    room_id text not null,
    stage text not null,
    is_proposer boolean not null,
    owner text,
    score bigint,
    duration_ms bigint,
    created_at timestamptz,
    started_at timestamptz,
    ended_at timestamptz,
    ending text,
    primary key (sdk_app_id, battle_id, at, event_id, room_id)
);
create index battle_marks_old on battle_marks using brin (at);
create index battle_marks_room on battle_marks (sdk_app_id, room_id, at);

comment on table battle_marks is 'What events say of battles, one row for each room; battles and battle_rooms sum them up';
comment on column battle_marks.stage is 'create, start or end';
comment on column battle_marks.is_proposer is 'Whether this room proposed it';
comment on column battle_marks.ending is 'Of an end: time_up, owners_left, nobody_joined, or as sent';

create table metadata_marks (
    sdk_app_id bigint not null,
    room_id text not null,
    key text not null,
    at timestamptz not null,
    event_id uuid not null,
    value text,
    by_account text,
    cut boolean,
    primary key (sdk_app_id, room_id, at, event_id, key)
);
create index metadata_marks_old on metadata_marks using brin (at);

comment on table metadata_marks is 'Metadata of live rooms, as they were set and deleted';
comment on column metadata_marks.value is 'Null where the key was deleted';
comment on column metadata_marks.cut is 'true where the value is only the beginning of what was set';

create table recording_marks (
    sdk_app_id bigint not null,
    task_id text not null,
    at timestamptz not null,
    event_id uuid not null,
    call_id text,
    room_id text,
    recorder text,
    event_group bigint,
    event_type bigint,
    status bigint,
    state text,
    files json,
    message text,
    cut boolean,
    primary key (sdk_app_id, task_id, at, event_id)
);
create index recording_marks_old on recording_marks using brin (at);
create index recording_marks_call on recording_marks (sdk_app_id, call_id, at) where call_id is not null;
create index recording_marks_room on recording_marks (sdk_app_id, room_id, at) where room_id is not null;

comment on table recording_marks is 'What events say of recording tasks; recordings sums them up';
comment on column recording_marks.event_type is '301 to 312, or 801 to 804';
comment on column recording_marks.state is 'started, recording, stopped, uploading, finished or failed; null where the event changes none';
comment on column recording_marks.files is 'Files the event names: a list of {name, url, file_id, user, track, from, to}';
comment on column recording_marks.cut is 'true where the event names more files, or longer names';

-- Counts of events -------------------------------------------------------------------------------------------------------

-- Events only add rows to new_event_counts, which has no index; the settler adds those to summed_event_counts every half
-- second. To update the sums with each batch cost more than everything else that an event changes. The view event_counts is
-- both tables together, so that no count is late.
create table new_event_counts (
    sdk_app_id bigint not null,
    at timestamptz not null,
    command text not null,
    result text not null,
    family text not null,
    events bigint not null,
    lag_ms bigint not null,
    lag_ms_max bigint not null
);

comment on table new_event_counts is 'Counts of events that are not added up yet; read event_counts';
comment on column new_event_counts.sdk_app_id is 'The app';
comment on column new_event_counts.at is 'The minute of the events'' own time';
comment on column new_event_counts.command is 'Their command';
comment on column new_event_counts.result is 'How a call ended, for those commands that say; else empty';
comment on column new_event_counts.family is 'The command''s family';
comment on column new_event_counts.events is 'How many there were';
comment on column new_event_counts.lag_ms is 'From each event''s time until it arrived, summed, in ms';
comment on column new_event_counts.lag_ms_max is 'The longest of those, in ms';

create table summed_event_counts (
    sdk_app_id bigint not null,
    width_s integer not null,
    at timestamptz not null,
    command text not null,
    result text not null,
    family text not null,
    events bigint not null,
    lag_ms bigint not null,
    lag_ms_max bigint not null,
    primary key (sdk_app_id, width_s, at, command, result)
)
-- For the same reason as merged_call_members.
with (fillfactor = 70);
create index summed_event_counts_at on summed_event_counts (width_s, at);

comment on table summed_event_counts is 'Counts of events, added up; read event_counts';
comment on column summed_event_counts.sdk_app_id is 'The app';
comment on column summed_event_counts.width_s is 'How long the span is that begins at `at`, in s: 60 or 3600';
comment on column summed_event_counts.at is 'When the span begins';
comment on column summed_event_counts.command is 'The events'' command';
comment on column summed_event_counts.result is 'How a call ended, for those commands that say; else empty';
comment on column summed_event_counts.family is 'The command''s family';
comment on column summed_event_counts.events is 'How many there were; of one span, command and result there may be several rows';
comment on column summed_event_counts.lag_ms is 'From each event''s time until it arrived, summed, in ms';
comment on column summed_event_counts.lag_ms_max is 'The longest of those, in ms';

-- Rooms: settled ----------------------------------------------------------------------------------------------------------

create table room_sessions (
    sdk_app_id bigint not null,
    room_id text not null,
    session bigint not null,
    family text not null,
    name text,
    owner text,
    room_type text,
    started_at timestamptz not null,
    created_at timestamptz,
    created_by text,
    destroyed_at timestamptz,
    destroyed_by text,
    destroy_cause text,
    ended_at timestamptz,
    from_at timestamptz not null,
    until_at timestamptz,
    last_at timestamptz not null,
    state text not null,
    inferred boolean not null,
    members bigint not null,
    members_peak bigint not null,
    visitors bigint not null,
    entries bigint not null,
    leaves_missing bigint not null,
    enters_missing bigint not null,
    max_members bigint,
    max_seats bigint,
    properties json,
    occupancy json not null,
    cut json,
    primary key (sdk_app_id, room_id, session)
);
create index room_sessions_started on room_sessions (started_at, sdk_app_id, room_id);
create index room_sessions_open on room_sessions (last_at) where state = 'open';
create index room_sessions_old on room_sessions (last_at);
-- Conditions of lists that would otherwise read every row. A session is written when it is settled, not with each event.
create index room_sessions_owner on room_sessions (owner, started_at, sdk_app_id, room_id) where owner is not null;
create index room_sessions_overdue on room_sessions (started_at, sdk_app_id, room_id) where state = 'overdue';

comment on table room_sessions is 'One row for each session of a room: room ids are used again';
comment on column room_sessions.session is 'Which session: the time of its create event, in ms since 1970; where none is known, from_at, in ms';
comment on column room_sessions.family is 'room (conference) or live';
comment on column room_sessions.started_at is 'When it was created; where that is not known, its first event';
comment on column room_sessions.created_at is 'When it was created; null where no create event came';
comment on column room_sessions.destroyed_at is 'When it was destroyed; null where no destroy event came';
comment on column room_sessions.destroy_cause is 'user or system, or as sent; live rooms only';
comment on column room_sessions.ended_at is 'When it ended; where no destroy event came, its latest event, by rule';
comment on column room_sessions.from_at is 'Facts of this room id belong to this session from this time on';
comment on column room_sessions.until_at is 'Facts of this room id belong to this session before this time; null while no destroy event came and no other session begins';
comment on column room_sessions.last_at is 'Its latest event';
comment on column room_sessions.state is 'open, ended, or overdue: no destroy came, and nothing else for long';
comment on column room_sessions.inferred is 'Its end is a guess: no destroy event came';
comment on column room_sessions.members is 'How many are inside now; 0 once it has ended';
comment on column room_sessions.members_peak is 'The most that were inside at once';
comment on column room_sessions.visitors is 'How many accounts were inside, each counted once';
comment on column room_sessions.entries is 'How often somebody came in';
comment on column room_sessions.leaves_missing is 'How many were inside at its end without a leave event';
comment on column room_sessions.enters_missing is 'How many leave events have no enter before them';
comment on column room_sessions.occupancy is 'How many were inside over time: a list of [ms since 1970, members], at most 240';
comment on column room_sessions.cut is 'Names of what is not whole, since it was too much: properties, visitors, sessions';

create table live_sessions (
    sdk_app_id bigint not null,
    room_id text not null,
    session bigint not null,
    total_viewers bigint,
    total_gifts_sent bigint,
    total_gift_coins bigint,
    total_gift_senders bigint,
    total_likes bigint,
    gifts bigint not null,
    gift_coins bigint not null,
    gift_senders bigint not null,
    top_senders json not null,
    top_receivers json not null,
    battles bigint not null,
    admins json not null,
    metadata json not null,
    cut json,
    primary key (sdk_app_id, room_id, session)
);

comment on table live_sessions is 'What only live rooms have, one row for each session; the rest stands in room_sessions';
comment on column live_sessions.total_viewers is 'Of the destroy event''s statistic, as are the other totals; who came twice counts twice';
comment on column live_sessions.gifts is 'Gifts in the events, by their count';
comment on column live_sessions.gift_coins is 'Their coins: of each event its count, times what one is worth';
comment on column live_sessions.top_senders is 'At most 10 of {account, gifts, coins}, the most coins first';
comment on column live_sessions.admins is 'Accounts that are administrators at its end';
comment on column live_sessions.metadata is 'Keys and values at its end';
comment on column live_sessions.cut is 'Names of what is not whole, since it was too much: metadata, admins, gift_senders';

create table settle_queue (
    sdk_app_id bigint not null,
    room_id text not null,
    day integer not null,
    slot bigint not null,
    primary key (sdk_app_id, room_id, day, slot)
);

comment on table settle_queue is 'Rooms with new facts, which are to be settled';
comment on column settle_queue.day is 'Day of the facts, since 1970 by UTC';
comment on column settle_queue.slot is 'When they were written, in units of 2 s since 1970 by the database''s clock';

create table anomalies (
    sdk_app_id bigint not null,
    kind text not null,
    subject text not null,
    session bigint not null,
    happened_at timestamptz not null,
    found_at timestamptz not null,
    resolved_at timestamptz,
    detail text not null,
    primary key (sdk_app_id, kind, subject, session)
);
create index anomalies_happened on anomalies (happened_at, sdk_app_id, kind, subject);
create index anomalies_open on anomalies (kind, sdk_app_id, subject) where resolved_at is null;

comment on table anomalies is 'What should not be: gaps in what the vendor sent';
comment on column anomalies.kind is 'call_without_end, call_without_start, room_without_destroy, room_without_create, leaves_missing, enters_missing or silence';
comment on column anomalies.subject is 'Call id, room id, or `all` where nothing at all came';
comment on column anomalies.session is 'Of a room, which session; of a silence, when it began, in ms since 1970; else 0';
comment on column anomalies.resolved_at is 'When it was found that it is no longer so; null while it is';
comment on column anomalies.detail is 'In words';
