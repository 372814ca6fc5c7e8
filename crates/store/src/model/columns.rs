//! The columns of the rows of the read models.

use crate::model::read_models::{
    Anomaly, Call, Count, GiftRow, Live, Member, Room, RoomChangeRow, Stay, Visit,
};
use crate::model::recording::{Recording, RecordingStep};
use crate::model::rtc::room::{RtcPublishInterval, RtcRoomSession, RtcStay};
use crate::model::rtc::task::{RtcTask, RtcTaskStep};
use crate::model::rtc::words as rtc_words;
use crate::sql::from_row::{event_name, from_row, id, if_selected, later, texts, words};
use sqlx::{ColumnIndex, Decode, Row, Type};

from_row! {
    Anomaly: sdk_app_id, kind, subject, session, happened_at, found_at, resolved_at, detail;
    Call: sdk_app_id, call_id, media, call_type, caller, chat_group_id, room_id, state, result, started_at, accepted_at,
        ended_at, ring_seconds, talk_seconds, callees = texts, participants, hung_up_by, inferred, first_at, last_at;
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
    RtcPublishInterval: sdk_app_id, room_id, room_id_kind, session, interval_id = id, stay_id = id, account, is_robot,
        track, started_at, ended_at, duration_ms, ended_by, start_unknown;
    RtcRoomSession: sdk_app_id, room_id, room_id_kind, session, comm_id, state, started_at, start_estimated, created_at,
        creator, ended_at, end_inferred, dismissed_at, room_kind_guessed, last_at, people, people_inside, robots,
        occupied_from, occupied_until, life_ms, occupied_ms, is_cut, is_repaired;
    RtcStay: sdk_app_id, room_id, room_id_kind, session, stay_id = id, account, is_robot, started_at, earliest_start_at,
        ended_at, presumed_end_at, duration_ms, enter_reason, enter_reason_word = word, exit_reason,
        exit_reason_word = word, terminal_type, terminal_type_word = word, user_type, user_type_word = word, unique_id,
        roles, enters, late_stops, flags;
    RtcTask: sdk_app_id, task_id, kind, room_id, room_id_kind, robot, url, state, started_at, ended_at, end_reason,
        leave_code, error_code, error_message, messages, checks, hits, files, first_at, last_at, event_id = id;
    RtcTaskStep: at, event_id = id, event_type, event_name = event_name, url, state, end_reason, leave_code, error_code,
        error_message;
    Stay: seat, account, taken_at, left_at, inferred;
    Visit: account, entered_at, entered_cause, left_at, left_cause, left_by, inferred, event_id = id;
}

/// The word of a number, which stands in the column without the ending of the field.
fn word<'r, R: Row>(row: &'r R, field: &'static str) -> Result<Option<String>, sqlx::Error>
where
    &'static str: ColumnIndex<R>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
{
    let column = field.strip_suffix("_word").unwrap_or(field);
    let number: Option<i64> = row.try_get(column)?;
    let word = match column {
        "enter_reason" => rtc_words::enter_reason,
        "exit_reason" => rtc_words::exit_reason,
        "terminal_type" => rtc_words::terminal_type,
        _ => rtc_words::user_type,
    };
    Ok(number.map(|number| word(number).to_owned()))
}
