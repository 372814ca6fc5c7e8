-- Recordings as a list: who reported them, how they ended. And what is needed to find tasks whose end did not come.

alter table recording_marks add column reporter text, add column end_reason text, add column leave_code bigint;

-- Lists go through the marks by time, retention takes the oldest, and the search for missing ends goes through both.
create index recording_marks_at on recording_marks (at, event_id);
drop index recording_marks_old;
-- Files that were not uploaded. There are few.
create index recording_marks_left on recording_marks (at, event_id) where status = 1 and event_type in (305, 310, 311);
-- A task changes its state a few times, and has any number of other events.
create index rtc_task_marks_changes on rtc_task_marks (at, event_id) where state is not null;

comment on column recording_marks.reporter is 'Whose event it is: call, live or rtc';
comment on column recording_marks.end_reason is 'Why recording ended, in a word';
comment on column recording_marks.leave_code is 'The same as the vendor''s LeaveCode (302)';
comment on column recording_marks.status is 'The vendor''s Status; of 305 also where it is sent as LeaveCode';
comment on column recording_marks.files is 'Files the event names: a list of {name, url, file_id, user, track, media, from, to}';
comment on column anomalies.kind is 'call_without_end, call_without_start, room_without_destroy, room_without_create, leaves_missing, enters_missing, recording_without_end, recording_file_left, rtc_task_without_end, silence or registration_drift';
comment on column anomalies.subject is 'Call id, room id, task id, or `all` where nothing at all came';

drop view recordings;
create view recordings as
select sdk_app_id, task_id, call_id, room_id, state, message, started_at, last_at, recorder, reporters,
       coalesce(stopped_at, case when state in ('finished', 'failed') then state_at end) as ended_at,
       end_reason, leave_code, event_id
from (
    select sdk_app_id, task_id, max(call_id) as call_id, max(room_id) as room_id,
           (array_agg(state order by at desc, step desc, event_id desc) filter (where state is not null))[1] as state,
           max(at) filter (where state is not null) as state_at,
           (array_agg(message order by at desc, step desc, event_id desc) filter (where message is not null))[1] as message,
           min(at) as started_at, max(at) as last_at, max(recorder) as recorder,
           string_agg(distinct reporter, ',' order by reporter) as reporters,
           min(at) filter (where event_type in (302, 312, 802, 804) or (event_type in (301, 801) and state = 'failed'))
               as stopped_at,
           (array_agg(end_reason order by at desc, step desc, event_id desc) filter (where end_reason is not null))[1]
               as end_reason,
           (array_agg(leave_code order by at desc, step desc, event_id desc) filter (where end_reason is not null))[1]
               as leave_code,
           (array_agg(event_id order by at, event_id))[1] as event_id
    from (
        select m.*, case state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                         when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end as step
        from recording_marks m
    ) as marks
    group by sdk_app_id, task_id
) as tasks;

comment on view recordings is 'One row for each recording task; its files stand in recording_marks';
comment on column recordings.started_at is 'Its earliest event';
comment on column recordings.recorder is 'Account that records in the room';
comment on column recordings.reporters is 'Whose events told of it: call, live, rtc, or several with commas between';
comment on column recordings.ended_at is 'When recording stopped or did not start, else when it was finished; its files may come later';
comment on column recordings.end_reason is 'Why it stopped, in a word; null where no event says';
comment on column recordings.leave_code is 'The same as the vendor''s LeaveCode';
comment on column recordings.event_id is 'Its earliest event';
