-- What a call's and a member's merged row says in words is computed when it is read: generated columns are compiled anew
-- by each statement that writes, which cost more than writing the row. The tables keep what events say; `calls` and
-- `call_members` are views of them.

alter table calls
    drop column started_at,
    drop column accepted_at,
    drop column ended_at,
    drop column talk_seconds,
    drop column state,
    drop column inferred;
alter table calls rename to merged_calls;

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

comment on table merged_calls is 'What events say of each call, merged; read calls';
comment on view calls is 'One row for each call';
comment on column calls.started_at is 'When it was started; null where no event said';
comment on column calls.accepted_at is 'When it was first accepted, by the event where it agrees with the record''s second; null where it was not';
comment on column calls.ended_at is 'When it ended, by the event where it agrees with the record''s second; of an overdue call, its last event';
comment on column calls.talk_seconds is 'From acceptance to end, in s; 0 where it never connected, null until it has ended';
comment on column calls.state is 'ringing, active, ended, or overdue: no end came in time';
comment on column calls.inferred is 'Its end is a guess: no end event came';

alter table call_members
    drop column left_at,
    drop column inferred,
    drop column state,
    drop column ending;
alter table call_members rename to merged_call_members;

create view call_members as
select
    sdk_app_id, call_id, account, is_caller, invited_at, joined_at, last_joined_at, last_left_at,
    last_action, last_action_at, last_action_id, first_at, last_at, call_ended_at, call_result,
    case when last_left_at >= coalesce(last_joined_at, last_left_at)
              and (last_action is distinct from 'invite' or last_action_at <= last_left_at) then last_left_at
         else call_ended_at end as left_at,
    (call_ended_at is not null and joined_at is not null
    and (last_left_at is null or last_left_at < last_joined_at)) as inferred,
    case when last_left_at >= coalesce(last_joined_at, last_left_at)
              and (last_action is distinct from 'invite' or last_action_at <= last_left_at) or call_ended_at is not null then 'left'
         when joined_at is not null then 'joined'
         else 'invited' end as state,
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
         else 'hung_up' end as ending
from merged_call_members;

comment on table merged_call_members is 'What events say of each account in each call, merged; read call_members';
comment on view call_members is 'One row for each account in each call';
comment on column call_members.left_at is 'When it was no longer in the call';
comment on column call_members.inferred is 'It was in the call and no event says that it left: it left when the call ended';
comment on column call_members.state is 'invited, joined or left';
comment on column call_members.ending is 'How it ended for the account: rejected, missed, cancelled, busy, dropped, hung_up, or unknown where no event says; null until then';

-- A view has no comments of its table's columns.
do $$
declare
    named record;
begin
    for named in
        select substr(c.relname, length('merged_') + 1) as view, a.attname as name, col_description(c.oid, a.attnum) as text
        from pg_class c
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.oid in ('merged_calls'::regclass, 'merged_call_members'::regclass)
    loop
        execute format('comment on column %I.%I is %L', named.view, named.name, named.text);
    end loop;
end $$;

-- Rows that are written again while they are young find room on their page, and so write no index.
alter table merged_call_members set (fillfactor = 70);
alter table event_counts set (fillfactor = 50);
