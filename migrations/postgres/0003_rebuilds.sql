-- Where `trtc-callbacks rebuild` is, so that it goes on there when it was broken off.
--
-- What it reads of the events goes into tables of its own, `rebuild_` and the name of the table that is made anew. It
-- makes them when it begins and drops them when it is done.
create table rebuilds (
    id integer primary key check (id = 1),
    begun_at timestamptz not null,
    progress text not null
);

comment on table rebuilds is 'The rebuild that is not done yet: one row, or none';
comment on column rebuilds.begun_at is 'When it began';
comment on column rebuilds.progress is 'How far it is and what it found so far, in JSON';
