-- Marks of one time: the views that put marks in order let the state before decide which of one ms came first, and not the
-- ids of events, which are hashes. Who was outside came and left, who was inside left and came again; so with seats. A
-- recording of which two events have one time is as the later step says.

create or replace view room_visits as
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

create or replace view seats as
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

create or replace view recordings as
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

-- In a call, lists of who is in it tell of others too, so a leave wins against those. Only where an account was in the call
-- before, and an event of the same time says that it accepted or joined, it left and came again.
alter table merged_call_members add column last_action_rank bigint;

create or replace view call_members as
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

comment on column merged_call_members.last_action_rank is 'Of one time: 2 for what brings it into the call, 1 for what takes it out, 0 for the rest';
comment on column merged_call_members.last_action_id is 'Its id, which decides between two of one time and rank';
comment on column call_members.last_action_id is 'Its id, which decides between two of one time and rank';
comment on column gifts.coins is 'What one of them is worth, in coins';
comment on column live_sessions.gift_coins is 'Their coins: of each event its count, times what one is worth';
comment on column event_counts.command is 'The events'' command; those that are not known are counted together by their family, as group.* or unknown';
comment on column event_counts.result is 'How a call ended, for those commands that say, other where the word is not known; else empty';
