-- Counts are added up later. Events only add rows to new_event_counts, which has no index; who settles adds them to
-- summed_event_counts, every half second. The view event_counts is the two together, so that nothing is counted late.

create table new_event_counts (
    sdk_app_id integer not null,
    at integer not null,
    command text not null,
    result text not null,
    family text not null,
    events integer not null,
    lag_ms integer not null,
    lag_ms_max integer not null
) strict;

create table summed_event_counts (
    sdk_app_id integer not null,
    width_s integer not null,
    at integer not null,
    command text not null,
    result text not null,
    family text not null,
    events integer not null,
    lag_ms integer not null,
    lag_ms_max integer not null,
    primary key (sdk_app_id, width_s, at, command, result)
) strict, without rowid;

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
select sdk_app_id, 3600, at - (at % 3600000 + 3600000) % 3600000, command, result, family, events, lag_ms, lag_ms_max
from new_event_counts;
