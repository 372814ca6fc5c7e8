-- Counts are added up later: to change a row of sums for each command of a batch cost more than all else an event changes.
-- Events only add rows to new_event_counts, which has no index; who settles adds them to summed_event_counts, every half
-- second. The view event_counts is the two together, so that nothing is counted late.

create table new_event_counts (
    sdk_app_id bigint not null,
    at timestamptz not null,
    command text not null,
    result text not null,
    family text not null,
    events bigint not null,
    lag_ms bigint not null,
    lag_ms_max bigint not null
);

comment on table new_event_counts is 'Counts of events that are not added up yet; read event_counts';
comment on column new_event_counts.sdk_app_id is 'The app';
comment on column new_event_counts.at is 'The minute of the events'' own time';
comment on column new_event_counts.command is 'Their command';
comment on column new_event_counts.result is 'How a call ended, for those commands that say; else empty';
comment on column new_event_counts.family is 'The command''s family';
comment on column new_event_counts.events is 'How many there were';
comment on column new_event_counts.lag_ms is 'From each event''s time until it arrived, summed, in ms';
comment on column new_event_counts.lag_ms_max is 'The longest of those, in ms';

create table summed_event_counts (
    sdk_app_id bigint not null,
    width_s integer not null,
    at timestamptz not null,
    command text not null,
    result text not null,
    family text not null,
    events bigint not null,
    lag_ms bigint not null,
    lag_ms_max bigint not null,
    primary key (sdk_app_id, width_s, at, command, result)
) with (fillfactor = 70);

insert into summed_event_counts
select sdk_app_id, width_s, at, command, result, max(family), sum(events), sum(lag_ms), max(lag_ms_max)
from event_counts
group by sdk_app_id, width_s, at, command, result;

drop table event_counts;
create index summed_event_counts_at on summed_event_counts (width_s, at);

create view event_counts as
select sdk_app_id, width_s, at, command, result, family, events, lag_ms, lag_ms_max
from summed_event_counts
union all
select sdk_app_id, 60, at, command, result, family, events, lag_ms, lag_ms_max
from new_event_counts
union all
select sdk_app_id, 3600, date_bin('1 hour', at, timestamptz 'epoch'), command, result, family, events, lag_ms, lag_ms_max
from new_event_counts;

comment on table summed_event_counts is 'Counts of events, added up; read event_counts';
comment on view event_counts is 'How many events there were, by their own time: sum over its rows';
do $$
declare
    named record;
begin
    for named in
        select * from (values
            ('sdk_app_id', 'The app'),
            ('width_s', 'How long the span is that begins at `at`, in s: 60 or 3600'),
            ('at', 'When the span begins'),
            ('command', 'The events'' command'),
            ('result', 'How a call ended, for those commands that say; else empty'),
            ('family', 'The command''s family'),
            ('events', 'How many there were; of one span, command and result there may be several rows'),
            ('lag_ms', 'From each event''s time until it arrived, summed, in ms'),
            ('lag_ms_max', 'The longest of those, in ms')) as named (name, text)
    loop
        execute format('comment on column event_counts.%I is %L', named.name, named.text);
        execute format('comment on column summed_event_counts.%I is %L', named.name, named.text);
    end loop;
end $$;
