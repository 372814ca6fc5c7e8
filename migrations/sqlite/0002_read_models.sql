-- What the events mean: calls, room sessions and live sessions.
--
-- The same tables as in PostgreSQL, whose migration explains every column. Times are ms since 1970, truths 0 or 1, and
-- lists text in JSON.

-- For those who look at events as they arrive: the time of an event may be long before.
create index events_received on events (received_at, id);

-- Calls -----------------------------------------------------------------------------------------------------------------

create table calls (
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
    started_at integer generated always as (coalesce(start_event_at, start_record_at)) stored,
    accepted_at integer generated always as (
        case when result in ('cancel', 'reject', 'not_answer', 'call_busy') then null
             when accept_event_at >= accept_record_at and accept_event_at < accept_record_at + 2000
                  then accept_event_at
             else coalesce(accept_record_at, accept_event_at) end) stored,
    ended_at integer generated always as (
        case when end_event_at >= end_record_at and end_event_at < end_record_at + 2000 then end_event_at
             else coalesce(end_record_at, end_event_at, case when overdue_at is not null then last_at end)
        end) stored,
    talk_seconds integer generated always as (
        case when coalesce(end_record_at, end_event_at) is null then null
             when result in ('cancel', 'reject', 'not_answer', 'call_busy')
                  or coalesce(accept_record_at, accept_event_at) is null then 0
             else max(0, coalesce(end_record_at, end_event_at) - coalesce(accept_record_at, accept_event_at)) / 1000
        end) stored,
    state text generated always as (
        case when coalesce(end_record_at, end_event_at) is not null then 'ended'
             when overdue_at is not null then 'overdue'
             when coalesce(accept_record_at, accept_event_at) is not null then 'active'
             else 'ringing' end) stored,
    inferred integer generated always as (
        overdue_at is not null and coalesce(end_record_at, end_event_at) is null) stored,
    primary key (sdk_app_id, call_id)
) strict, without rowid;
create index calls_first on calls (first_at, sdk_app_id, call_id);
create index calls_open on calls (first_at)
    where overdue_at is null and end_event_at is null and end_record_at is null;
create index calls_overdue on calls (first_at)
    where overdue_at is not null and end_event_at is null and end_record_at is null;
create index calls_overdue_ended on calls (first_at)
    where overdue_at is not null and (end_event_at is not null or end_record_at is not null);
create index calls_without_start on calls (first_at) where start_event_at is null and start_record_at is null;

create table call_members (
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
    left_at integer generated always as (
        case when last_left_at >= coalesce(last_joined_at, last_left_at)
                  and (last_action is not 'invite' or last_action_at <= last_left_at) then last_left_at
             else call_ended_at end) stored,
    inferred integer generated always as (
        call_ended_at is not null and joined_at is not null
        and (last_left_at is null or last_left_at < last_joined_at)) stored,
    state text generated always as (
        case when last_left_at >= coalesce(last_joined_at, last_left_at)
                  and (last_action is not 'invite' or last_action_at <= last_left_at) or call_ended_at is not null then 'left'
             when joined_at is not null then 'joined'
             else 'invited' end) stored,
    ending text generated always as (
        case when last_left_at >= coalesce(last_joined_at, last_left_at)
                  and (last_action is not 'invite' or last_action_at <= last_left_at) then
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
) strict, without rowid;
create index call_members_account on call_members (sdk_app_id, account, first_at, call_id);

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
    -- By account, so that the rooms somebody was in are found without an index more.
    primary key (sdk_app_id, account, room_id, at, event_id)
) strict, without rowid;
-- With `enters`, so that enters are found among many leaves without looking at those.
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
    primary key (sdk_app_id, task_id, at, event_id)
) strict, without rowid;
create index recording_marks_old on recording_marks (at);
create index recording_marks_call on recording_marks (sdk_app_id, call_id, at) where call_id is not null;
create index recording_marks_room on recording_marks (sdk_app_id, room_id, at) where room_id is not null;

create table event_counts (
    sdk_app_id integer not null,
    width_s integer not null,
    at integer not null,
    command text not null,
    result text not null,
    shard integer not null,
    family text not null,
    events integer not null,
    lag_ms integer not null,
    lag_ms_max integer not null,
    primary key (sdk_app_id, width_s, at, command, result, shard)
) strict, without rowid;
create index event_counts_at on event_counts (width_s, at);

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
    primary key (sdk_app_id, room_id, session)
) strict, without rowid;
create index rooms_started on room_sessions (started_at, sdk_app_id, room_id);
create index rooms_open on room_sessions (last_at) where state = 'open';
create index rooms_old on room_sessions (last_at);

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

create view seats as
select sdk_app_id, room_id, seat, account, min(at) as taken_at, max(until_at) filter (where is_last) as left_at
from (
    select *, sum(case when account is before_account and is_first = 0 then 0 else 1 end)
                  over (partition by sdk_app_id, room_id, seat order by at, event_id) as stay,
              lead(account) over (partition by sdk_app_id, room_id, seat order by at, event_id) is not account as is_last
    from (
        select m.*, lag(account) over chair as before_account, lead(at) over chair as until_at,
               case when lag(at) over chair is null then 1 else 0 end as is_first
        from seat_marks m
        window chair as (partition by sdk_app_id, room_id, seat order by at, event_id)
    ) as marks
) as stays
where account is not null
group by sdk_app_id, room_id, seat, account, stay;

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

create view battle_rooms as
select sdk_app_id, battle_id, room_id, max(is_proposer) as is_proposer, max(owner) as owner,
       max(score) filter (where stage = 'end') as score
from battle_marks
group by sdk_app_id, battle_id, room_id;

create view recordings as
select sdk_app_id, task_id, max(call_id) as call_id, max(room_id) as room_id,
       (select m.state from recording_marks m
        where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id and m.state is not null
        order by at desc, event_id desc limit 1) as state,
       (select m.message from recording_marks m
        where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id and m.message is not null
        order by at desc, event_id desc limit 1) as message,
       min(at) as started_at, max(at) as last_at
from recording_marks task
group by sdk_app_id, task_id;

-- Lists ---------------------------------------------------------------------------------------------------------------------

-- What lists are asked for that would else be looked for in every row. A call is entered into the first once, when it
-- ends; rooms are written when they are settled, not with each event.
create index calls_result on calls (result, first_at, sdk_app_id, call_id) where result is not null;
create index calls_room on calls (room_id, first_at, sdk_app_id, call_id) where room_id is not null;
create index rooms_owner on room_sessions (owner, started_at, sdk_app_id, room_id) where owner is not null;
create index rooms_overdue on room_sessions (started_at, sdk_app_id, room_id) where state = 'overdue';
