-- What one room holds is bounded, and what is cut says so.

alter table metadata_marks add column cut boolean;
alter table recording_marks add column cut boolean;
alter table room_sessions add column cut json;
alter table live_sessions add column cut json;

-- Creates and destroys tell where sessions begin and end: they are found without the room's other changes.
create index room_changes_sessions on room_changes (sdk_app_id, room_id, at, event_id, ordinal)
    where kind in ('create', 'destroy');

comment on column metadata_marks.cut is 'true where the value is only the beginning of what was set';
comment on column recording_marks.cut is 'true where the event names more files, or longer names';
comment on column room_sessions.cut is 'Names of what is not whole, since it was too much: properties, visitors, sessions';
comment on column live_sessions.cut is 'Names of what is not whole, since it was too much: metadata, admins, gift_senders';
