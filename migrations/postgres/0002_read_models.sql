-- What the events mean: calls, room sessions and live sessions.
--
-- Three kinds of tables, none of which depends on the order in which events arrive:
--   facts    one row for each thing an event says, written with the event (room_changes, room_marks, seat_marks, gifts,
--            battle_marks, metadata_marks, recording_marks, event_counts);
--   merged   one row for each call and each member, into which every event's facts are merged with the earliest, the
--            latest or the greatest value, also written with the event (calls, call_members);
--   settled  computed from the facts soon afterwards, and again whenever they change (room_sessions, live_sessions,
--            anomalies).
-- Times of a fact are the event's own.

-- For those who look at events as they arrive: the time of an event may be long before.
create index events_received on events (received_at, id);

-- Calls -----------------------------------------------------------------------------------------------------------------

create table calls (
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
    started_at timestamptz generated always as (coalesce(start_event_at, start_record_at)) stored,
    accepted_at timestamptz generated always as (
        case when result in ('cancel', 'reject', 'not_answer', 'call_busy') then null
             when accept_event_at >= accept_record_at and accept_event_at - accept_record_at < interval '2 s'
                  then accept_event_at
             else coalesce(accept_record_at, accept_event_at) end) stored,
    ended_at timestamptz generated always as (
        case when end_event_at >= end_record_at and end_event_at - end_record_at < interval '2 s' then end_event_at
             else coalesce(end_record_at, end_event_at, case when overdue_at is not null then last_at end)
        end) stored,
    talk_seconds bigint generated always as (
        case when coalesce(end_record_at, end_event_at) is null then null
             when result in ('cancel', 'reject', 'not_answer', 'call_busy')
                  or coalesce(accept_record_at, accept_event_at) is null then 0
             else floor(greatest(0, extract(epoch from
                  coalesce(end_record_at, end_event_at) - coalesce(accept_record_at, accept_event_at))))::bigint
        end) stored,
    state text generated always as (
        case when coalesce(end_record_at, end_event_at) is not null then 'ended'
             when overdue_at is not null then 'overdue'
             when coalesce(accept_record_at, accept_event_at) is not null then 'active'
             else 'ringing' end) stored,
    inferred boolean generated always as (
        overdue_at is not null and coalesce(end_record_at, end_event_at) is null) stored,
    primary key (sdk_app_id, call_id)
)
-- A call is written again with each of its events. Where the page has room for that, and no index has a column that
-- changes (so none has last_at), only the row is written.
with (fillfactor = 50);
create index calls_first on calls (first_at, sdk_app_id, call_id);
create index calls_open on calls (first_at)
    where overdue_at is null and end_event_at is null and end_record_at is null;
create index calls_overdue on calls (first_at)
    where overdue_at is not null and end_event_at is null and end_record_at is null;
create index calls_overdue_ended on calls (first_at)
    where overdue_at is not null and (end_event_at is not null or end_record_at is not null);
create index calls_without_start on calls (first_at) where start_event_at is null and start_record_at is null;

comment on table calls is 'One row for each call';
comment on column calls.media is 'audio or video, as the vendor says; null where no event said';
comment on column calls.call_type is 'single or multi; known when the call has ended';
comment on column calls.caller is 'Account that called';
comment on column calls.chat_group_id is 'Chat group the call was started from; null where there was none';
comment on column calls.room_id is 'RTC room the call ran in';
comment on column calls.result is 'cancel, reject, not_answer, normal_end, call_busy, interrupt, offline, or as sent; null until it has ended';
comment on column calls.start_event_at is 'Time of the start event';
comment on column calls.start_record_at is 'Start as the end event''s record says, in whole seconds';
comment on column calls.accept_event_at is 'When the first callee was seen in the call';
comment on column calls.accept_record_at is 'Acceptance as the end event''s record says, in whole seconds; null where it never connected';
comment on column calls.end_event_at is 'Time of the end event';
comment on column calls.end_record_at is 'End as the end event''s record says, in whole seconds';
comment on column calls.first_at is 'The earliest time any event names for it';
comment on column calls.last_at is 'The latest time any event names for it';
comment on column calls.overdue_at is 'When it was noticed that no end came; meaningless once one came';
comment on column calls.started_at is 'When it was started; null where no event said';
comment on column calls.accepted_at is 'When it was first accepted, by the event where it agrees with the record''s second; null where it was not';
comment on column calls.ended_at is 'When it ended, by the event where it agrees with the record''s second; of an overdue call, its last event';
comment on column calls.talk_seconds is 'From acceptance to end, in s; 0 where it never connected, null until it has ended';
comment on column calls.state is 'ringing, active, ended, or overdue: no end came in time';
comment on column calls.inferred is 'Its end is a guess: no end event came';

create table call_members (
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
    left_at timestamptz generated always as (
        case when last_left_at >= coalesce(last_joined_at, last_left_at)
                  and (last_action is distinct from 'invite' or last_action_at <= last_left_at) then last_left_at
             else call_ended_at end) stored,
    inferred boolean generated always as (
        call_ended_at is not null and joined_at is not null
        and (last_left_at is null or last_left_at < last_joined_at)) stored,
    state text generated always as (
        case when last_left_at >= coalesce(last_joined_at, last_left_at)
                  and (last_action is distinct from 'invite' or last_action_at <= last_left_at) or call_ended_at is not null then 'left'
             when joined_at is not null then 'joined'
             else 'invited' end) stored,
    ending text generated always as (
        case when last_left_at >= coalesce(last_joined_at, last_left_at)
                  and (last_action is distinct from 'invite' or last_action_at <= last_left_at) then
                  case last_action when 'reject' then 'rejected'
                                   when 'not_answer' then 'missed'
                                   when 'cancel_invite' then 'cancelled'
                                   when 'offline' then 'dropped'
                                   else 'hung_up' end
             when call_ended_at is null then null
             when call_result = 'reject' then 'rejected'
             when call_result = 'not_answer' then 'missed'
             when call_result = 'cancel' then 'cancelled'
             when call_result = 'call_busy' then 'busy'
             when call_result in ('interrupt', 'offline') then 'dropped'
             when joined_at is null and not is_caller then 'unknown'
             else 'hung_up' end) stored,
    primary key (sdk_app_id, call_id, account)
);
create index call_members_account on call_members (sdk_app_id, account, first_at, call_id);

comment on table call_members is 'One row for each account in each call';
comment on column call_members.is_caller is 'Whether the account called';
comment on column call_members.invited_at is 'When it was first rung';
comment on column call_members.joined_at is 'When it was first in the call; null where it never was';
comment on column call_members.last_joined_at is 'When it last came in';
comment on column call_members.last_left_at is 'When it last left, declined or was lost, as an event says';
comment on column call_members.last_action is 'The last thing an event says of it: accept, reject, not_answer, hangup, join, offline, invite, cancel_invite';
comment on column call_members.last_action_at is 'The time of that event';
comment on column call_members.last_action_id is 'Its id, which decides between two of one time';
comment on column call_members.first_at is 'The earliest time any event names for it';
comment on column call_members.last_at is 'The latest time any event names for it';
comment on column call_members.call_ended_at is 'When the call ended, where the end event names the account';
comment on column call_members.call_result is 'How the call ended, where the end event names the account';
comment on column call_members.left_at is 'When it was no longer in the call';
comment on column call_members.inferred is 'It was in the call and no event says that it left: it left when the call ended';
comment on column call_members.state is 'invited, joined or left';
comment on column call_members.ending is 'How it ended for the account: rejected, missed, cancelled, busy, dropped, hung_up, or unknown where no event says; null until then';

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
    -- By account, so that the rooms somebody was in are found without an index more.
    primary key (sdk_app_id, account, room_id, at, event_id)
);
-- With `enters`, so that enters are found among many leaves without looking at those.
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
comment on column gifts.coins is 'As sent; whether each or in all, the vendor does not say';

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
    primary key (sdk_app_id, room_id, at, event_id, key)
);
create index metadata_marks_old on metadata_marks using brin (at);

comment on table metadata_marks is 'Metadata of live rooms, as they were set and deleted';
comment on column metadata_marks.value is 'Null where the key was deleted';

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
    primary key (sdk_app_id, task_id, at, event_id)
);
create index recording_marks_old on recording_marks using brin (at);
create index recording_marks_call on recording_marks (sdk_app_id, call_id, at) where call_id is not null;
create index recording_marks_room on recording_marks (sdk_app_id, room_id, at) where room_id is not null;

comment on table recording_marks is 'What events say of recording tasks; recordings sums them up';
comment on column recording_marks.event_type is '301 to 312, or 801 to 804';
comment on column recording_marks.state is 'started, recording, stopped, uploading, finished or failed; null where the event changes none';
comment on column recording_marks.files is 'Files the event names: a list of {name, url, file_id, user, track, from, to}';

create table event_counts (
    sdk_app_id bigint not null,
    width_s integer not null,
    at timestamptz not null,
    command text not null,
    result text not null,
    shard smallint not null,
    family text not null,
    events bigint not null,
    lag_ms bigint not null,
    lag_ms_max bigint not null,
    primary key (sdk_app_id, width_s, at, command, result, shard)
);
create index event_counts_at on event_counts (width_s, at);

comment on table event_counts is 'How many events there were, by their own time';
comment on column event_counts.width_s is 'How long the span is that begins at `at`, in s: 60 or 3600';
comment on column event_counts.result is 'How a call ended, for those commands that say; else empty';
comment on column event_counts.shard is 'Parts a count, so that writers do not wait for each other: sum over it';
comment on column event_counts.lag_ms is 'From each event''s time until it arrived, summed, in ms';
comment on column event_counts.lag_ms_max is 'The longest of those, in ms';

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
    primary key (sdk_app_id, room_id, session)
);
create index rooms_started on room_sessions (started_at, sdk_app_id, room_id);
create index rooms_open on room_sessions (last_at) where state = 'open';
create index rooms_old on room_sessions (last_at);

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
    primary key (sdk_app_id, room_id, session)
);

comment on table live_sessions is 'What only live rooms have, one row for each session; the rest stands in room_sessions';
comment on column live_sessions.total_viewers is 'Of the destroy event''s statistic, as are the other totals; who came twice counts twice';
comment on column live_sessions.gifts is 'Gifts in the events, by their count';
comment on column live_sessions.gift_coins is 'Their coins';
comment on column live_sessions.top_senders is 'At most 10 of {account, gifts, coins}, the most coins first';
comment on column live_sessions.admins is 'Accounts that are administrators at its end';
comment on column live_sessions.metadata is 'Keys and values at its end';

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

-- Views -------------------------------------------------------------------------------------------------------------------

create view room_visits as
select sdk_app_id, room_id, account,
       case when enters then at end as entered_at,
       case when not enters then at else next_at end as left_at,
       case when not enters then cause when not next_enters then next_cause end as left_cause,
       case when not enters then by_account when not next_enters then next_by end as left_by,
       enters and coalesce(next_enters, false) as inferred,
       case when enters then cause end as entered_cause,
       event_id
from (
    select m.*, lag(enters) over visit as before_enters, lead(enters) over visit as next_enters,
           lead(at) over visit as next_at, lead(cause) over visit as next_cause, lead(by_account) over visit as next_by
    from room_marks m
    window visit as (partition by sdk_app_id, room_id, account order by at, event_id)
) as marks
where enters or not coalesce(before_enters, false);

comment on view room_visits is 'Who was in which room, from when until when, and why they left. Without left_at: still there, or until the room''s end';
comment on column room_visits.entered_at is 'Null where no enter event came before the leave';
comment on column room_visits.inferred is 'It ended by a guess: the account came in again without having left';

create view seats as
select sdk_app_id, room_id, seat, account, min(at) as taken_at, max(until_at) filter (where is_last) as left_at
from (
    select *, sum(case when account is not distinct from before_account and is_first = 0 then 0 else 1 end)
                  over (partition by sdk_app_id, room_id, seat order by at, event_id) as stay,
              lead(account) over (partition by sdk_app_id, room_id, seat order by at, event_id) is distinct from account as is_last
    from (
        select m.*, lag(account) over chair as before_account, lead(at) over chair as until_at,
               case when lag(at) over chair is null then 1 else 0 end as is_first
        from seat_marks m
        window chair as (partition by sdk_app_id, room_id, seat order by at, event_id)
    ) as marks
) as stays
where account is not null
group by sdk_app_id, room_id, seat, account, stay;

comment on view seats is 'Who sat on which seat, from when until when. Without left_at: still there, or until the room''s end';

create view battles as
select sdk_app_id, battle_id,
       min(coalesce(created_at, case when stage = 'create' then at end)) as created_at,
       min(coalesce(started_at, case when stage = 'start' then at end)) as started_at,
       min(coalesce(ended_at, case when stage = 'end' then at end)) as ended_at,
       max(duration_ms) as duration_ms,
       max(ending) as ending,
       min(at) as first_at
from battle_marks
group by sdk_app_id, battle_id;

comment on view battles is 'One row for each battle between live rooms';

create view battle_rooms as
select sdk_app_id, battle_id, room_id, bool_or(is_proposer) as is_proposer, max(owner) as owner,
       max(score) filter (where stage = 'end') as score
from battle_marks
group by sdk_app_id, battle_id, room_id;

comment on view battle_rooms is 'The rooms of each battle; the one with the greatest score won, where it is not tied';

create view recordings as
select sdk_app_id, task_id, max(call_id) as call_id, max(room_id) as room_id,
       (array_agg(state order by at desc, event_id desc) filter (where state is not null))[1] as state,
       (array_agg(message order by at desc, event_id desc) filter (where message is not null))[1] as message,
       min(at) as started_at, max(at) as last_at
from recording_marks
group by sdk_app_id, task_id;

comment on view recordings is 'One row for each recording task; its files stand in recording_marks';

-- Lists ---------------------------------------------------------------------------------------------------------------------

-- What lists are asked for that would else be looked for in every row. A call is entered into the first once, when it
-- ends; rooms are written when they are settled, not with each event.
create index calls_result on calls (result, first_at, sdk_app_id, call_id) where result is not null;
create index calls_room on calls (room_id, first_at, sdk_app_id, call_id) where room_id is not null;
create index rooms_owner on room_sessions (owner, started_at, sdk_app_id, room_id) where owner is not null;
create index rooms_overdue on room_sessions (started_at, sdk_app_id, room_id) where state = 'overdue';
