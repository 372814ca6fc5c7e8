-- Recordings as a list. The same as in PostgreSQL, whose migration explains it.

alter table recording_marks add column reporter text;
alter table recording_marks add column end_reason text;
alter table recording_marks add column leave_code integer;

create index recording_marks_at on recording_marks (at, event_id);
drop index recording_marks_old;
create index recording_marks_left on recording_marks (at, event_id) where status = 1 and event_type in (305, 310, 311);
create index rtc_task_marks_changes on rtc_task_marks (at, event_id) where state is not null;

drop view recordings;
create view recordings as
select sdk_app_id, task_id, call_id, room_id, state, message, started_at, last_at, recorder, reporters,
       coalesce(stopped_at, case when state in ('finished', 'failed') then state_at end) as ended_at,
       end_reason, leave_code, event_id
from (
    select sdk_app_id, task_id, max(call_id) as call_id, max(room_id) as room_id,
           (select m.state from recording_marks m
            where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id and m.state is not null
            order by at desc,
                case m.state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                             when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end desc,
                event_id desc limit 1) as state,
           (select m.message from recording_marks m
            where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id and m.message is not null
            order by at desc,
                case m.state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                             when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end desc,
                event_id desc limit 1) as message,
           min(at) as started_at, max(at) as last_at, max(recorder) as recorder,
           (select group_concat(reporter) from (
                select distinct m.reporter from recording_marks m
                where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id and m.reporter is not null
                order by m.reporter)) as reporters,
           min(at) filter (where event_type in (302, 312, 802, 804) or (event_type in (301, 801) and state = 'failed')) as stopped_at,
           max(at) filter (where state is not null) as state_at,
           (select m.end_reason from recording_marks m
            where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id and m.end_reason is not null
            order by at desc,
                case m.state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                             when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end desc,
                event_id desc limit 1) as end_reason,
           (select m.leave_code from recording_marks m
            where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id and m.end_reason is not null
            order by at desc,
                case m.state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                             when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end desc,
                event_id desc limit 1) as leave_code,
           (select m.event_id from recording_marks m
            where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id order by at, event_id limit 1) as event_id
    from recording_marks task
    group by sdk_app_id, task_id
) as tasks;
