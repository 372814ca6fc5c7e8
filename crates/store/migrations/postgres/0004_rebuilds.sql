-- The progress of `trtc-callbacks rebuild`, so that one that was broken off goes on where it was.
--
-- It writes what it computes from the events into tables of its own, named `rebuild_` and the name of the table that is made
-- anew, which it creates when it begins and drops when it is done.
create table rebuilds (
    id integer primary key check (id = 1),
    begun_at timestamptz not null,
    progress text not null
);

comment on table rebuilds is 'The rebuild that is not done yet: one row, or none';
comment on column rebuilds.begun_at is 'When it began';
comment on column rebuilds.progress is 'How far it is and what it found so far, in JSON';
