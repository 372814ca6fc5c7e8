-- The progress of `trtc-callbacks rebuild`, so that one that was broken off goes on where it was.
--
-- The same table as in PostgreSQL, whose migration explains every column.
create table rebuilds (
    id integer primary key check (id = 1),
    begun_at integer not null,
    progress text not null
) strict;
