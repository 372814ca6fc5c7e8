-- Fills an empty database, of which the tables are there, with 5 million events over 90 days and what they would have
-- left in the read models; of the events and calls as many as `read_speed.events` says, the latest. Unlogged and without the indexes of `events` until it is full, so that it takes minutes.
set synchronous_commit = off;
set maintenance_work_mem = '512MB';
do $$
declare part record;
begin
    for month in 0..3 loop
        execute format('create table if not exists %I partition of events for values from (%L) to (%L)',
            'events_' || to_char(date '2026-08-01' + make_interval(months => month), 'YYYY_MM'),
            date '2026-08-01' + make_interval(months => month), date '2026-08-01' + make_interval(months => month + 1));
    end loop;
    for part in select inhrelid::regclass as name from pg_inherits where inhparent = 'events'::regclass loop
        execute format('alter table %s set unlogged', part.name);
    end loop;
end $$;
alter table merged_calls set unlogged;
alter table merged_call_members set unlogged;
alter table room_marks set unlogged;
alter table gifts set unlogged;
drop index events_call, events_room;

-- One event each 1555 ms up to 2026-11-01 12:00 UTC. Of ten, six are of one call and four of a room.
insert into events (id, sdk_app_id, family, command, event_time, received_at, call_id, room_id, operator, client_ip,
                    platform, payload, decode_error)
select (lpad(to_hex(ms), 12, '0') || substr(md5(n::text), 1, 20))::uuid,
       1400000001 + (n % 50 = 0)::int, case when n % 10 < 6 then 'call' else 'room' end,
       case when n % 100003 = 7 then 'Call.CallbackRare'
            when n % 10 < 6 then 'Call.Callback' || n % 10 else 'Room.Callback' || n % 10 end,
       moment, moment + (n % 900) * interval '1 millisecond',
       case when n % 10 < 6 then 'call-' || n / 10 end,
       case when n % 10 < 6 then null
            when n between 3000000 and 3400000 then 'hot' else 'room-' || n / 10 % 2000 end,
       'u' || abs(hashint8(n)) % 100000, '203.0.113.9', (array['Web', 'Android', 'iOS', 'Windows'])[1 + n % 4],
       ('{"CallbackCommand":"Call.Callback' || n % 10 || '","EventTime":' || ms || ',"Operator_Account":"u' || n % 1000
        || '","CallInfo":{"CallId":"call-' || n / 10 || '","MediaType":"Video","RoomId":"' || n || '"},"Text":"'
        || repeat(md5(n::text), 5) || '"}')::json,
       case when n % 1000003 = 8 then 'missing field' end
from (select n, 1793534400000 - (5000000 - n::bigint) * 1555 as ms,
             timestamptz 'epoch' + (1793534400000 - (5000000 - n::bigint) * 1555) * interval '1 millisecond' as moment
      from generate_series(5000001 - current_setting('read_speed.events')::int, 5000000) n) as numbers;
create index events_call on events (call_id, event_time) where call_id is not null;
create index events_room on events (room_id, event_time) where room_id is not null;

-- Half a million calls: some never ended, the last ones go on.
insert into merged_calls (sdk_app_id, call_id, media, call_type, caller, room_id, result, start_event_at, accept_event_at,
                   end_event_at, first_at, last_at, overdue_at)
select 1400000001 + (n % 50 = 0)::int, 'call-' || n, (array['audio', 'video'])[1 + n % 2], 'single', 'u' || n % 30000,
       (n % 300000)::text, case when ended then
           case when n % 1000 = 1 then 'call_busy' when n % 10 = 2 then 'not_answer' when n % 10 = 3 then 'cancel'
                else 'normal_end' end end,
       moment, case when n % 10 > 3 then moment + interval '5 s' end, case when ended then moment + interval '3 min' end,
       moment, moment + interval '3 min', case when not ended and n < 499800 then moment + interval '1 day' end
from (select n, n % 33 <> 5 and n < 499800 as ended,
             timestamptz '2026-11-01 12:00Z' - (500000 - n) * interval '15.55 s' as moment
      from generate_series(500001 - current_setting('read_speed.events')::int / 10, 500000) n) as numbers;
insert into merged_call_members (sdk_app_id, call_id, account, is_caller, joined_at, last_joined_at, first_at, last_at,
                          call_ended_at, call_result)
select sdk_app_id, call_id, caller, true, first_at, first_at, first_at, last_at, end_event_at, result from calls
union all
select sdk_app_id, call_id, case when right(call_id, 1) = '7' then 'agent' else 'v' || substr(call_id, 6)::int % 30000 end,
       false, accept_event_at, accept_event_at, first_at, last_at, end_event_at, result from calls;

-- 50,000 sessions of 2000 rooms, and one session with 100,000 members.
insert into room_sessions (sdk_app_id, room_id, session, family, name, owner, room_type, started_at, created_at, destroyed_at,
                   ended_at, from_at, until_at, last_at, state, inferred, members, members_peak, visitors, entries,
                   leaves_missing, enters_missing, properties, occupancy)
select 1400000001 + (n % 50 = 0)::int, 'room-' || n % 2000, (extract(epoch from moment) * 1000)::bigint,
       case when n % 2 = 0 then 'live' else 'room' end, 'Room ' || n, 'u' || n % 5000, 'live', moment, moment,
       case when state = 'ended' then moment + interval '1 h' end, case when state = 'ended' then moment + interval '1 h' end,
       moment, case when state = 'ended' then moment + interval '1 h' end, moment + interval '1 h', state, false, 0, 10,
       10, 20, 0, 0, '{"a":1}', (select json_agg(json_build_array(i, i)) from generate_series(1, 60) i)
from (select n, timestamptz '2026-11-01 12:00Z' - (50000 - n) * interval '155 s' as moment,
             case when n > 49900 then 'open' when n % 40 = 3 then 'overdue' else 'ended' end as state
      from generate_series(1, 50000) n) as numbers;
insert into room_sessions (sdk_app_id, room_id, session, family, owner, started_at, created_at, destroyed_at, ended_at, from_at,
                   until_at, last_at, state, inferred, members, members_peak, visitors, entries, leaves_missing,
                   enters_missing, occupancy)
values (1400000001, 'hot', 1790000000000, 'live', 'star', timestamptz 'epoch' + interval '1790000000 s',
        timestamptz 'epoch' + interval '1790000000 s', timestamptz 'epoch' + interval '1790010000 s',
        timestamptz 'epoch' + interval '1790010000 s', timestamptz 'epoch' + interval '1790000000 s',
        timestamptz 'epoch' + interval '1790010060 s', timestamptz 'epoch' + interval '1790010000 s', 'ended', false, 0,
        100000, 100000, 100000, 0, 100, '[]');
insert into live_sessions (sdk_app_id, room_id, session, gifts, gift_coins, gift_senders, top_senders, top_receivers, battles, admins,
                   metadata)
select sdk_app_id, room_id, session, 5, 50, 3, '[]', '[]', 0, '[]', '{}' from room_sessions where family = 'live';

-- Twenty marks in each session. Of the hot room all leave within its last minute, and of 100 the enter is not known.
insert into room_marks (sdk_app_id, room_id, account, at, event_id, family, enters, cause)
select sdk_app_id, room_id, 'u' || i / 2, from_at + i * interval '1 min', gen_random_uuid(), family, i % 2 = 0, 'enter'
from room_sessions, generate_series(1, 20) i where room_id <> 'hot';
insert into room_marks (sdk_app_id, room_id, account, at, event_id, family, enters, cause)
select 1400000001, 'hot', 'h' || n, timestamptz 'epoch' + interval '1790000000 s' + n * interval '50 ms',
       gen_random_uuid(), 'live', true, 'enter'
from generate_series(1, 100000) n where n % 1000 <> 0
union all
select 1400000001, 'hot', 'h' || n, timestamptz 'epoch' + interval '1790009950 s' + n * interval '0.5 ms',
       gen_random_uuid(), 'live', false, 'leave'
from generate_series(1, 100000) n;
insert into gifts (sdk_app_id, room_id, at, event_id, sender, receivers, gift_id, count, coins)
select sdk_app_id, room_id, from_at + i * interval '5 min', gen_random_uuid(), 'u' || i, '["u1"]'::json, 'g', 1, 10
from room_sessions, generate_series(1, 10) i where family = 'live' and room_id <> 'hot'
union all
select 1400000001, 'hot', timestamptz 'epoch' + interval '1790000000 s' + n * interval '90 ms', gen_random_uuid(),
       'h' || n % 5000, '["star"]'::json, 'g', 1, 10
from generate_series(1, 100000) n;
insert into seat_marks (sdk_app_id, room_id, seat, at, event_id, account)
select sdk_app_id, room_id, i % 8, from_at + i * interval '1 min', gen_random_uuid(), case when i % 3 > 0 then 'u' || i end
from room_sessions, generate_series(1, 16) i where room_id <> 'hot'
union all
select 1400000001, 'hot', n % 8, timestamptz 'epoch' + interval '1790000000 s' + n * interval '1 s', gen_random_uuid(),
       case when n % 3 > 0 then 'h' || n end
from generate_series(1, 9000) n;
insert into room_changes (sdk_app_id, room_id, at, event_id, ordinal, family, kind)
select sdk_app_id, room_id, from_at, gen_random_uuid(), 0, family, 'create' from room_sessions;
insert into battle_marks (sdk_app_id, battle_id, at, event_id, room_id, stage, is_proposer, score)
select 1400000001, 'b' || n, timestamptz 'epoch' + (1790000000 + n % 10000) * interval '1 s', gen_random_uuid(),
       case when n % 100 = 0 and i < 2 then 'hot' else 'room-' || n % 2000 end,
       (array['start', 'end'])[1 + i % 2], i < 2, n
from generate_series(1, 20000) n, generate_series(0, 3) i;
insert into recording_marks (sdk_app_id, task_id, at, event_id, call_id, room_id, state, files)
select 1400000001, 't' || n, timestamptz '2026-11-01 12:00Z' - (20000 - n) * interval '388 s' + i * interval '1 min',
       gen_random_uuid(), case when n % 2 = 0 then 'call-' || n * 25 end, 'room-' || n % 2000, 'recording', '[{"name":"a"}]'
from generate_series(1, 20000) n, generate_series(0, 4) i;
insert into anomalies (sdk_app_id, kind, subject, session, happened_at, found_at, resolved_at, detail)
select 1400000001, (array['call_without_end', 'leaves_missing'])[1 + n % 2], 'call-' || n, 0,
       timestamptz '2026-11-01 12:00Z' - (50000 - n) * interval '155 s',
       timestamptz '2026-11-01 12:00Z' - (50000 - n) * interval '155 s',
       case when n % 20 > 0 then now() end, 'no end came'
from generate_series(1, 50000) n;

-- Hours, of 30 commands, and of the last two days minutes. What was not added up yet is of half a second.
insert into summed_event_counts (sdk_app_id, width_s, at, command, result, family, events, lag_ms, lag_ms_max)
select 1400000001, 3600, timestamptz '2026-11-01 12:00Z' - hour * interval '1 h', 'Call.Callback' || c,
       case when c < 5 then 'r' || c else '' end, (array['call', 'room', 'live'])[1 + c % 3], 80, 4000, 900
from generate_series(0, 2160) hour, generate_series(1, 30) c
union all
select 1400000001, 60, timestamptz '2026-11-01 12:00Z' - minute * interval '1 min', 'Call.Callback' || c,
       case when c < 5 then 'r' || c else '' end, (array['call', 'room', 'live'])[1 + c % 3], 6, 60, 900
from generate_series(0, 2879) minute, generate_series(1, 15) c;
insert into new_event_counts (sdk_app_id, at, command, result, family, events, lag_ms, lag_ms_max)
select 1400000001, timestamptz '2026-11-01 12:00Z', 'Call.Callback' || 1 + n % 15, '', 'call', 1, 10, 10
from generate_series(1, 500) n;

vacuum analyze;
