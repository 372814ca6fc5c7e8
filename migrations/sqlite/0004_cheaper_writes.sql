-- What a call's and a member's merged row says in words is computed when it is read: generated columns are compiled anew
-- by each statement that writes, which cost more than writing the row. The tables keep what events say; `calls` and
-- `call_members` are views of them.

alter table calls drop column started_at;
alter table calls drop column accepted_at;
alter table calls drop column ended_at;
alter table calls drop column talk_seconds;
alter table calls drop column state;
alter table calls drop column inferred;
alter table calls rename to merged_calls;

create view calls as
select
    sdk_app_id, call_id, media, call_type, caller, chat_group_id, room_id, result, start_event_at,
    start_record_at, accept_event_at, accept_record_at, end_event_at, end_record_at, first_at, last_at,
    overdue_at,
    coalesce(start_event_at, start_record_at) as started_at,
    case when result in ('cancel', 'reject', 'not_answer', 'call_busy') then null
         when accept_event_at >= accept_record_at and accept_event_at < accept_record_at + 2000
              then accept_event_at
         else coalesce(accept_record_at, accept_event_at) end as accepted_at,
    case when end_event_at >= end_record_at and end_event_at < end_record_at + 2000 then end_event_at
         else coalesce(end_record_at, end_event_at, case when overdue_at is not null then last_at end)
    end as ended_at,
    case when coalesce(end_record_at, end_event_at) is null then null
         when result in ('cancel', 'reject', 'not_answer', 'call_busy')
              or coalesce(accept_record_at, accept_event_at) is null then 0
         else max(0, coalesce(end_record_at, end_event_at) - coalesce(accept_record_at, accept_event_at)) / 1000
    end as talk_seconds,
    case when coalesce(end_record_at, end_event_at) is not null then 'ended'
         when overdue_at is not null then 'overdue'
         when coalesce(accept_record_at, accept_event_at) is not null then 'active'
         else 'ringing' end as state,
    (overdue_at is not null and coalesce(end_record_at, end_event_at) is null) as inferred
from merged_calls;

alter table call_members drop column left_at;
alter table call_members drop column inferred;
alter table call_members drop column state;
alter table call_members drop column ending;
alter table call_members rename to merged_call_members;

create view call_members as
select
    sdk_app_id, call_id, account, is_caller, invited_at, joined_at, last_joined_at, last_left_at,
    last_action, last_action_at, last_action_id, first_at, last_at, call_ended_at, call_result,
    case when last_left_at >= coalesce(last_joined_at, last_left_at)
              and (last_action is not 'invite' or last_action_at <= last_left_at) then last_left_at
         else call_ended_at end as left_at,
    (call_ended_at is not null and joined_at is not null
    and (last_left_at is null or last_left_at < last_joined_at)) as inferred,
    case when last_left_at >= coalesce(last_joined_at, last_left_at)
              and (last_action is not 'invite' or last_action_at <= last_left_at) or call_ended_at is not null then 'left'
         when joined_at is not null then 'joined'
         else 'invited' end as state,
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
         else 'hung_up' end as ending
from merged_call_members;
