-- Cloud tasks of the RTC Engine. The same table and view as in PostgreSQL, whose migration explains every column.

create table rtc_task_marks (
    sdk_app_id integer not null,
    task_id text not null,
    at integer not null,
    event_id text not null,
    kind text not null,
    event_type integer,
    room_id text,
    room_id_kind text,
    robot text,
    url text,
    state text,
    state_rank integer,
    end_reason text,
    leave_code integer,
    error_code text,
    error_message text,
    counted text,
    primary key (sdk_app_id, task_id, at, event_id)
) strict, without rowid;
create index rtc_task_marks_at on rtc_task_marks (at, event_id);
create index rtc_task_marks_kind on rtc_task_marks (kind, at, event_id);
create index rtc_task_marks_room on rtc_task_marks (room_id, sdk_app_id, task_id) where room_id is not null;
create index rtc_task_marks_state on rtc_task_marks (sdk_app_id, task_id, at, state_rank, event_id) where state is not null;

create view rtc_tasks as
select sdk_app_id, task_id, kind, room_id, room_id_kind, robot, url,
       coalesce(state, 'running') as state, started_at,
       case when state in ('stopped', 'failed') then state_at end as ended_at,
       case when state in ('stopped', 'failed') then end_reason end as end_reason,
       case when state in ('stopped', 'failed') then leave_code end as leave_code,
       error_code, error_message, messages, checks, hits, files, first_at, last_at, event_id
from (
    select sdk_app_id, task_id,
           (select kind from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
            order by at, event_id limit 1) as kind,
           (select event_id from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
            order by at, event_id limit 1) as event_id,
           (select room_id from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and room_id is not null order by at desc, event_id desc limit 1) as room_id,
           (select room_id_kind from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and room_id is not null order by at desc, event_id desc limit 1) as room_id_kind,
           (select robot from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and robot is not null order by at desc, event_id desc limit 1) as robot,
           (select url from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and url is not null order by at desc, event_id desc limit 1) as url,
           (select state from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and state is not null order by at desc, state_rank desc, event_id desc limit 1) as state,
           max(at) filter (where state is not null) as state_at,
           min(at) filter (where state in ('started', 'running', 'ready')) as started_at,
           (select end_reason from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and state is not null and end_reason is not null
            order by at desc, state_rank desc, event_id desc limit 1) as end_reason,
           (select leave_code from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and state is not null and end_reason is not null
            order by at desc, state_rank desc, event_id desc limit 1) as leave_code,
           (select error_code from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and (error_code is not null or error_message is not null) order by at desc, event_id desc limit 1) as error_code,
           (select error_message from rtc_task_marks m where m.sdk_app_id = task.sdk_app_id and m.task_id = task.task_id
                and (error_code is not null or error_message is not null)
            order by at desc, event_id desc limit 1) as error_message,
           count(*) filter (where counted = 'message') as messages,
           count(*) filter (where counted in ('check', 'hit')) as checks,
           count(*) filter (where counted = 'hit') as hits,
           count(*) filter (where counted = 'file') as files,
           min(at) as first_at, max(at) as last_at
    from rtc_task_marks task
    group by sdk_app_id, task_id
) as tasks;
