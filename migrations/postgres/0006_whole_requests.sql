-- A body may stand in both columns: as it came in raw, and in payload as the JSON functions can read it. What is there holds
-- to this by the check before, so it is not looked through.
alter table events drop constraint events_check;
alter table events add constraint events_body check (payload is not null or raw is not null) not valid;
