-- What one room holds is bounded, and what is cut says so.

alter table metadata_marks add column cut integer;
alter table recording_marks add column cut integer;
-- Lists of names.
alter table room_sessions add column cut text;
alter table live_sessions add column cut text;

-- Creates and destroys tell where sessions begin and end: they are found without the room's other changes.
create index room_changes_sessions on room_changes (sdk_app_id, room_id, at, event_id, ordinal)
    where kind in ('create', 'destroy');
