-- The feed: all stored events in the order in which they became visible, so that a reader that goes on after a position misses
-- none, however late a transaction commits and however old an event is.
--
-- A number given while a transaction runs (a sequence, a clock) does not do: a later number may commit first, and a reader
-- passes over the earlier one. So a transaction only leaves a marker in feed_new, and positions are given to markers that are
-- committed. Events stored before this migration have no position.

-- Markers: the ids of the events that one transaction stored, at most 500 in a row, until they have positions. n orders the
-- markers and names them; it is no position. Deleted markers stay in the index while an old snapshot lasts, so they are looked
-- for above feed_head.floor.
create table feed_new (
    -- Not a bigserial: a role that only has rights on the tables may not use its sequence.
    n bigint generated always as identity primary key,
    ids uuid[] not null
);
-- Ids are as good as random: compressing them costs time and gains nothing.
alter table feed_new alter column ids set storage plain;

comment on table feed_new is 'Stored events that have no position yet: one row for each batch, for a moment';
comment on column feed_new.n is 'The order in which they are taken';

-- The feed. Positions of rows have no gaps; an event's position is that of its row times 512, plus its place in ids, from 0.
create table feed (
    position bigint primary key,
    ids uuid[] not null,
    numbered_at timestamptz not null
);
alter table feed alter column ids set storage plain;

comment on table feed is 'The ids of stored events in the order of storing; old rows are deleted';
comment on column feed.position is 'Number of the row, without gaps. An event''s position is this times 512, plus its place in ids, from 0';
comment on column feed.ids is 'At most 500 events';

-- The lock on its row lets one server at a time give positions.
create table feed_head (
    id integer primary key check (id = 1),
    position bigint not null,
    floor bigint not null
);
insert into feed_head (id, position, floor) values (1, 0, 0);

comment on table feed_head is 'How far the feed is: one row';
comment on column feed_head.position is 'The latest row of feed';
comment on column feed_head.floor is 'Markers are usually looked for above this n';
