-- Cloud tasks of the RTC Engine: relay, ingest, AI, slicing, moderation and transcription. Facts, as in 0002_read_models.sql, and
-- the view that sums them up. Recordings are in recording_marks.

create table rtc_task_marks (
    sdk_app_id bigint not null,
    task_id text not null,
    at timestamptz not null,
    event_id uuid not null,
    kind text not null,
    event_type bigint,
    room_id text,
    room_id_kind text,
    robot text,
    url text,
    state text,
    state_rank bigint,
    end_reason text,
    leave_code bigint,
    error_code text,
    error_message text,
    counted text,
    primary key (sdk_app_id, task_id, at, event_id)
);
-- Lists go through the marks by time, and retention takes the oldest.
create index rtc_task_marks_at on rtc_task_marks (at, event_id);
create index rtc_task_marks_kind on rtc_task_marks (kind, at, event_id);
create index rtc_task_marks_room on rtc_task_marks (room_id, sdk_app_id, task_id) where room_id is not null;
-- A task has few of these among many others.
create index rtc_task_marks_state on rtc_task_marks (sdk_app_id, task_id, at, state_rank, event_id) where state is not null;

comment on table rtc_task_marks is 'What events say of the RTC Engine''s cloud tasks; rtc_tasks sums them up';
comment on column rtc_task_marks.kind is 'relay, ingest, ai, slicing, moderation, transcription or ai_conversation';
comment on column rtc_task_marks.event_type is 'The vendor''s number, such as 401';
comment on column rtc_task_marks.room_id_kind is 'Whether the room is named by a number or a text: numeric or string';
comment on column rtc_task_marks.robot is 'Account that does the task in the room';
comment on column rtc_task_marks.url is 'Of a relay: where the stream is pushed to';
comment on column rtc_task_marks.state is 'started, running, retrying, ready, stopped or failed; null where the event changes none';
comment on column rtc_task_marks.state_rank is 'Orders states of one time';
comment on column rtc_task_marks.end_reason is 'Why it ended, in a word';
comment on column rtc_task_marks.leave_code is 'The same as the vendor''s LeaveCode';
comment on column rtc_task_marks.counted is 'What the event counts as: message, file, check, or hit for a check that found something';

create view rtc_tasks as
select sdk_app_id, task_id, kind, room_id, room_id_kind, robot, url,
       coalesce(state, 'running') as state, started_at,
       case when state in ('stopped', 'failed') then state_at end as ended_at,
       case when state in ('stopped', 'failed') then end_reason end as end_reason,
       case when state in ('stopped', 'failed') then leave_code end as leave_code,
       error_code, error_message, messages, checks, hits, files, first_at, last_at, event_id
from (
    select sdk_app_id, task_id,
           (array_agg(kind order by at, event_id))[1] as kind,
           (array_agg(event_id order by at, event_id))[1] as event_id,
           (array_agg(room_id order by at desc, event_id desc) filter (where room_id is not null))[1] as room_id,
           (array_agg(room_id_kind order by at desc, event_id desc) filter (where room_id is not null))[1] as room_id_kind,
           (array_agg(robot order by at desc, event_id desc) filter (where robot is not null))[1] as robot,
           (array_agg(url order by at desc, event_id desc) filter (where url is not null))[1] as url,
           (array_agg(state order by at desc, state_rank desc, event_id desc) filter (where state is not null))[1] as state,
           max(at) filter (where state is not null) as state_at,
           min(at) filter (where state in ('started', 'running', 'ready')) as started_at,
           (array_agg(end_reason order by at desc, state_rank desc, event_id desc)
                filter (where end_reason is not null))[1] as end_reason,
           (array_agg(leave_code order by at desc, state_rank desc, event_id desc)
                filter (where end_reason is not null))[1] as leave_code,
           (array_agg(error_code order by at desc, event_id desc)
                filter (where error_code is not null or error_message is not null))[1] as error_code,
           (array_agg(error_message order by at desc, event_id desc)
                filter (where error_code is not null or error_message is not null))[1] as error_message,
           count(*) filter (where counted = 'message') as messages,
           count(*) filter (where counted in ('check', 'hit')) as checks,
           count(*) filter (where counted = 'hit') as hits,
           count(*) filter (where counted = 'file') as files,
           min(at) as first_at, max(at) as last_at
    from rtc_task_marks
    group by sdk_app_id, task_id
) as tasks;

comment on view rtc_tasks is 'One row for each cloud task of the RTC Engine, recordings aside';
comment on column rtc_tasks.kind is 'relay, ingest, ai, slicing, moderation, transcription or ai_conversation';
comment on column rtc_tasks.room_id is 'The room; null for ingest, whose events name none';
comment on column rtc_tasks.room_id_kind is 'Whether the room is named by a number or a text: numeric or string';
comment on column rtc_tasks.robot is 'Account that does the task in the room';
comment on column rtc_tasks.url is 'Of a relay: where its latest event says that the stream is pushed to';
comment on column rtc_tasks.state is 'started, running, retrying, ready, stopped or failed, as the latest event says that does; running where none does';
comment on column rtc_tasks.started_at is 'The earliest event that says that it started, runs or is ready';
comment on column rtc_tasks.ended_at is 'When it stopped or failed; null while it does not';
comment on column rtc_tasks.end_reason is 'Why it ended, in a word; null where no event says';
comment on column rtc_tasks.leave_code is 'The same as the vendor''s LeaveCode';
comment on column rtc_tasks.error_code is 'The code of its latest error';
comment on column rtc_tasks.error_message is 'The same in words';
comment on column rtc_tasks.messages is 'How many sentences were recognised or said';
comment on column rtc_tasks.checks is 'How many results of moderation there are';
comment on column rtc_tasks.hits is 'How many of them ask for a review or a block';
comment on column rtc_tasks.files is 'How many files slicing made';
comment on column rtc_tasks.event_id is 'Its earliest event';
