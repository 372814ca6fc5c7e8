-- Views of the read models in 0002_read_models.sql: calls and their members, counts of events, visits, seats, battles and
-- recordings.
--
-- Two marks can have the same time, to the ms. Then the state before decides which came first, and not the ids of the events,
-- which are hashes: an account that was outside came in and left, one that was inside left and came in again. The same holds
-- for seats. Of a recording, the later step is taken as the last.

-- Calls -----------------------------------------------------------------------------------------------------------------

-- What is derived from merged rows is computed when it is read. Generated columns would be compiled anew by each statement that
-- writes, which cost more than writing the row.
create view calls as
select
    sdk_app_id, call_id, media, call_type, caller, chat_group_id, room_id, result, start_event_at,
    start_record_at, accept_event_at, accept_record_at, end_event_at, end_record_at, first_at, last_at,
    overdue_at,
    coalesce(start_event_at, start_record_at) as started_at,
    case when result in ('cancel', 'reject', 'not_answer', 'call_busy') then null
         when accept_event_at >= accept_record_at and accept_event_at - accept_record_at < interval '2 s'
              then accept_event_at
         else coalesce(accept_record_at, accept_event_at) end as accepted_at,
    case when end_event_at >= end_record_at and end_event_at - end_record_at < interval '2 s' then end_event_at
         else coalesce(end_record_at, end_event_at, case when overdue_at is not null then last_at end)
    end as ended_at,
    case when coalesce(end_record_at, end_event_at) is null then null
         when result in ('cancel', 'reject', 'not_answer', 'call_busy')
              or coalesce(accept_record_at, accept_event_at) is null then 0
         else floor(greatest(0, extract(epoch from
              coalesce(end_record_at, end_event_at) - coalesce(accept_record_at, accept_event_at))))::bigint
    end as talk_seconds,
    case when coalesce(end_record_at, end_event_at) is not null then 'ended'
         when overdue_at is not null then 'overdue'
         when coalesce(accept_record_at, accept_event_at) is not null then 'active'
         else 'ringing' end as state,
    (overdue_at is not null and coalesce(end_record_at, end_event_at) is null) as inferred
from merged_calls;

-- An event of a call can list everyone who is in it, and so tell of members other than the one that acted. Where a list and a
-- leave have the same time, the leave counts. Only where the account was in the call before, and an event of the same time says
-- that it accepted or joined, it left and came in again.
create view call_members as
select
    sdk_app_id, call_id, account, is_caller, invited_at, joined_at, last_joined_at, last_left_at,
    last_action, last_action_at, last_action_id, first_at, last_at, call_ended_at, call_result,
    case when has_left then last_left_at else call_ended_at end as left_at,
    (call_ended_at is not null and joined_at is not null
        and (last_left_at is null or last_left_at < last_joined_at or has_returned)) as inferred,
    case when has_left or call_ended_at is not null then 'left'
         when joined_at is not null then 'joined'
         else 'invited' end as state,
    case when has_left then
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
         else 'hung_up' end as ending
from (
    select members.*,
           coalesce(last_left_at >= coalesce(last_joined_at, last_left_at)
               and (last_action is distinct from 'invite' or last_action_at <= last_left_at)
               and not has_returned, false) as has_left
    from (
        select merged_call_members.*,
               coalesce(last_action_rank = 2 and last_action_at = last_left_at and joined_at < last_left_at, false)
                   as has_returned
        from merged_call_members
    ) as members
) as members;

-- Counts of events -------------------------------------------------------------------------------------------------------

create view event_counts as
select sdk_app_id, width_s, at, command, result, family, events, lag_ms, lag_ms_max
from summed_event_counts
union all
select sdk_app_id, 60, at, command, result, family, events, lag_ms, lag_ms_max
from new_event_counts
union all
select sdk_app_id, 3600, date_bin('1 hour', at, timestamptz 'epoch'), command, result, family, events, lag_ms, lag_ms_max
from new_event_counts;

-- A view does not inherit the comments of its table's columns.
do $$
declare
    source record;
begin
    for source in
        select views.name as view, ours.attname as name, col_description(theirs.attrelid, theirs.attnum) as text
        from (values ('calls', 'merged_calls'), ('call_members', 'merged_call_members'),
                     ('event_counts', 'summed_event_counts')) as views (name, of)
        join pg_attribute ours on ours.attrelid = views.name::regclass
        join pg_attribute theirs on theirs.attrelid = views.of::regclass and theirs.attname = ours.attname
        where ours.attnum > 0 and theirs.attnum > 0
    loop
        execute format('comment on column %I.%I is %L', source.view, source.name, source.text);
    end loop;
end $$;

comment on view calls is 'One row for each call';
comment on column calls.started_at is 'When it was started; null where no event said';
comment on column calls.accepted_at is 'When it was first accepted, by the event where it agrees with the record''s second; null where it was not';
comment on column calls.ended_at is 'When it ended, by the event where it agrees with the record''s second; of an overdue call, its last event';
comment on column calls.talk_seconds is 'From acceptance to end, in s; 0 where it never connected, null until it has ended';
comment on column calls.state is 'ringing, active, ended, or overdue: no end came in time';
comment on column calls.inferred is 'Its end is a guess: no end event came';
comment on view call_members is 'One row for each account in each call';
comment on column call_members.left_at is 'When it was no longer in the call';
comment on column call_members.inferred is 'It was in the call and no event says that it left: it left when the call ended';
comment on column call_members.state is 'invited, joined or left';
comment on column call_members.ending is 'How it ended for the account: rejected, missed, cancelled, busy, dropped, hung_up, or unknown where no event says; null until then';
comment on view event_counts is 'How many events there were, by their own time: sum over its rows';
comment on column event_counts.command is 'The events'' command; those that are not known are counted together by their family, as group.* or unknown';
comment on column event_counts.result is 'How a call ended, for those commands that say, other where the word is not known; else empty';

-- Rooms and recordings ----------------------------------------------------------------------------------------------------

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
    select steps.*, lag(enters) over visit as before_enters, lead(enters) over visit as next_enters,
           lead(at) over visit as next_at, lead(cause) over visit as next_cause, lead(by_account) over visit as next_by
    from (
        -- In turn, beginning with a change: an enter where the account was outside, a leave where it was inside.
        select moments.*,
               2 * place + case when enters = (entered is not null and (gone is null or gone < entered))
                           then 1 else 0 end as step
        from (
            select facts.*,
                   row_number() over (partition by sdk_app_id, room_id, account, at, enters order by event_id) as place,
                   max(case when balance > 0 then at end) over earlier as entered,
                   max(case when balance < 0 then at end) over earlier as gone
            from (
                select m.*, sum(case when enters then 1 else -1 end)
                                over (partition by sdk_app_id, room_id, account, at) as balance
                from room_marks m
            ) as facts
            window earlier as (partition by sdk_app_id, room_id, account order by at
                               range between unbounded preceding and interval '1 microsecond' preceding)
        ) as moments
    ) as steps
    window visit as (partition by sdk_app_id, room_id, account order by at, step)
) as marks
where enters or not coalesce(before_enters, false);

comment on view room_visits is 'Who was in which room, from when until when, and why they left. Without left_at: still there, or until the room''s end';
comment on column room_visits.entered_at is 'Null where no enter event came before the leave';
comment on column room_visits.inferred is 'It ended by a guess: the account came in again without having left';

create view seats as
select sdk_app_id, room_id, seat, account, min(at) as taken_at, max(until_at) filter (where is_last) as left_at
from (
    select *, sum(case when account is not distinct from before_account and is_first = 0 then 0 else 1 end)
                  over (partition by sdk_app_id, room_id, seat order by at, step) as stay,
              lead(account) over (partition by sdk_app_id, room_id, seat order by at, step) is distinct from account as is_last
    from (
        select steps.*, lag(account) over chair as before_account, lead(at) over chair as until_at,
               case when lag(at) over chair is null then 1 else 0 end as is_first
        from (
            select moments.*,
                   2 * place + case when (account is not null) = (taken is not null and (freed is null or freed < taken))
                               then 1 else 0 end as step
            from (
                select facts.*,
                       row_number() over (partition by sdk_app_id, room_id, seat, at, account is null order by event_id)
                           as place,
                       max(case when balance > 0 then at end) over earlier as taken,
                       max(case when balance < 0 then at end) over earlier as freed
                from (
                    select m.*, sum(case when account is null then -1 else 1 end)
                                    over (partition by sdk_app_id, room_id, seat, at) as balance
                    from seat_marks m
                ) as facts
                window earlier as (partition by sdk_app_id, room_id, seat order by at
                                   range between unbounded preceding and interval '1 microsecond' preceding)
            ) as moments
        ) as steps
        window chair as (partition by sdk_app_id, room_id, seat order by at, step)
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
       (array_agg(state order by at desc, step desc, event_id desc) filter (where state is not null))[1] as state,
       (array_agg(message order by at desc, step desc, event_id desc) filter (where message is not null))[1] as message,
       min(at) as started_at, max(at) as last_at
from (
    select m.*, case state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                     when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end as step
    from recording_marks m
) as marks
group by sdk_app_id, task_id;

comment on view recordings is 'One row for each recording task; its files stand in recording_marks';
