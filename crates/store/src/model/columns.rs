//! The columns of the rows of the read models.

use crate::model::read_models::{
    Anomaly, Call, Count, GiftRow, Live, Member, Room, RoomChangeRow, Stay, Visit,
};
use crate::model::recording::{Recording, RecordingStep};
use crate::model::rtc_task::{RtcTask, RtcTaskStep};
use crate::sql::from_row::{event_name, from_row, id, if_selected, later, words};

from_row! {
    Anomaly: sdk_app_id, kind, subject, session, happened_at, found_at, resolved_at, detail;
    Call: sdk_app_id, call_id, media, call_type, caller, chat_group_id, room_id, state, result, started_at, accepted_at,
        ended_at, talk_seconds, inferred, first_at, last_at;
    Count: at, group_name, events, lag_ms, lag_ms_max;
    GiftRow: at, event_id = id, sender, receivers, gift_id, count, coins;
    Live: sdk_app_id, room_id, session, total_viewers, total_gifts_sent, total_gift_coins, total_gift_senders,
        total_likes, gifts, gift_coins, gift_coins_difference = if_selected, gift_senders, top_senders, top_receivers,
        battles, admins, metadata, cut;
    Member: account, is_caller, state, ending, invited_at, joined_at, left_at, inferred, first_at, last_at;
    Recording: sdk_app_id, task_id, call_id, room_id, state, message, started_at, ended_at, last_at, end_reason, leave_code,
        recorder, reporters = words, files = later, files_left = later, files_cut = later, event_id = id;
    RecordingStep: at, event_id = id, reporter, event_type, event_name = event_name, status, state, end_reason, leave_code,
        message;
    Room: sdk_app_id, room_id, session, family, name, owner, room_type, state, started_at, created_at, created_by,
        destroyed_at, destroyed_by, destroy_cause, ended_at, from_at, until_at, last_at, inferred, members,
        members_peak, visitors, entries, leaves_missing, enters_missing, max_members, max_seats, properties, occupancy,
        cut;
    RoomChangeRow: at, event_id = id, kind, by_account, account, name, owner, cause, properties;
    RtcTask: sdk_app_id, task_id, kind, room_id, room_id_kind, robot, url, state, started_at, ended_at, end_reason,
        leave_code, error_code, error_message, messages, checks, hits, files, first_at, last_at, event_id = id;
    RtcTaskStep: at, event_id = id, event_type, event_name = event_name, url, state, end_reason, leave_code, error_code,
        error_message;
    Stay: seat, account, taken_at, left_at, inferred;
    Visit: account, entered_at, entered_cause, left_at, left_cause, left_by, inferred, event_id = id;
}
