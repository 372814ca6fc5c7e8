-- Where `trtc-callbacks rebuild` is, so that it goes on there when it was broken off.
--
-- The same table as in PostgreSQL, whose migration explains every column.
create table rebuilds (
    id integer primary key check (id = 1),
    begun_at integer not null,
    progress text not null
) strict;
