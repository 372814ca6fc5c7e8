-- The feed: all stored events in the order in which they were committed, so that a reader that goes on after a position misses
-- none.
--
-- One connection writes, so a batch's transaction writes its row here itself; PostgreSQL, whose migration explains more, needs
-- two tables beside it. Events stored before this migration have no position.

-- An event's position is that of its row times 512, plus its place in ids, from 0. The next row has the greatest position plus 1:
-- so the latest row is never deleted, or positions would come again. Not the rowid of `events`, which deleting the newest
-- events makes come again, and VACUUM may change.
create table feed (
    position integer primary key,
    -- At most 500 ids of 16 bytes each.
    ids blob not null,
    numbered_at integer not null
) strict;
