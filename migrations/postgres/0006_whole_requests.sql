-- A body may stand in both columns: as it came in raw, and in payload as the JSON functions can read it. What is there holds
-- to this by the check before, so it is not looked through.
alter table events drop constraint events_check;
alter table events add constraint events_body check (payload is not null or raw is not null) not valid;

-- The vendor's own name for the request, and the query where the columns do not say it.
alter table events add column request_id text;
alter table events add column query text;

-- What tells a repeat of an event that has no time of its own: the part of its id that is not its time.
create table request_keys (
    key uuid primary key,
    event_id uuid not null,
    received_at timestamptz not null
);
