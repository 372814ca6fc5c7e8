//! What the vendor's monitoring knows: rooms of a time, and who was in them. Sources: trtc.io/document/36754 and 39096.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::cloud::client::CloudClient;
use crate::cloud::error::CloudError;
use protocol::AppId;
use protocol::json::scalar::{AccountId, Flag, RoomId, Seconds};

/// How far back the vendor knows anything; 7 days with some packages.
pub const HISTORY: Duration = Duration::from_hours(14 * 24);
/// The longest span in which rooms can be asked for.
pub const ROOMS_SPAN: Duration = Duration::from_hours(24);
/// The longest span in which users of a room can be asked for.
pub const USERS_SPAN: Duration = Duration::from_hours(4);
/// How many rows a page has at most, and every page but the last. The `Total` beside them is that of the page.
pub const PAGE_ROWS: u32 = 100;
/// How long a room's or user's id may be, in bytes. The vendor's have at most 64.
const ID_BYTES_MAX: usize = 255;

/// A span of time, in s since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its begin.
    pub from_s: i64,
    /// Its end.
    pub until_s: i64,
}

impl Span {
    /// The same in parts of at most `most`, at least one.
    pub fn parts(self, most: Duration) -> impl Iterator<Item = Self> + Clone {
        let most = i64::try_from(most.as_secs()).unwrap_or(i64::MAX).max(1);
        let count = (self.until_s.saturating_sub(self.from_s).max(1) - 1) / most + 1;
        (0..count).map(move |nth| {
            let from_s = self.from_s + nth * most;
            Self { from_s, until_s: from_s.saturating_add(most).min(self.until_s) }
        })
    }
}

/// A page of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// How many rows more cannot be read.
    pub unreadable: u64,
    /// Whether no page follows.
    pub is_last: bool,
}

/// One session of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomLife {
    /// The vendor's name of it.
    pub comm_id: String,
    /// The room; digits where it has a number.
    pub room_id: String,
    /// When it was created, in s since 1970.
    pub created_s: i64,
    /// When it was destroyed; absent while it lasts.
    pub destroyed_s: Option<i64>,
    /// Who created it.
    pub creator: Option<String>,
}

/// A stay of a user in a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserStay {
    /// The user.
    pub account: String,
    /// When it began, in s since 1970.
    pub joined_s: i64,
    /// When it ended; absent while the user is inside: the vendor's `LeaveTs` is the present moment then.
    pub left_s: Option<i64>,
}

#[derive(Deserialize)]
struct RoomList {
    #[serde(rename = "RoomList", default)]
    rooms: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoomRow {
    comm_id: String,
    room_string: RoomId,
    create_time: Seconds,
    #[serde(default)]
    destroy_time: Option<Seconds>,
    #[serde(default)]
    is_finished: Option<Flag>,
    #[serde(default)]
    user_id: Option<AccountId>,
}

#[derive(Deserialize)]
struct UserList {
    #[serde(rename = "UserList", default)]
    users: Option<Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UserRow {
    user_id: AccountId,
    join_ts: Seconds,
    #[serde(default)]
    leave_ts: Option<Seconds>,
    #[serde(default)]
    finished: Option<Flag>,
}

impl CloudClient {
    /// A page of the app's sessions of rooms within a span of at most [`ROOMS_SPAN`] (`DescribeRoomInfo`).
    ///
    /// # Errors
    /// The call failed.
    pub async fn rooms(
        &self,
        app: AppId,
        span: Span,
        page: u32,
    ) -> Result<Page<RoomLife>, CloudError> {
        let body = json!({
            "SdkAppId": app.as_i64(),
            "StartTime": span.from_s,
            "EndTime": span.until_s,
            "PageNumber": page,
            "PageSize": PAGE_ROWS,
        });
        let list: RoomList = self.call("DescribeRoomInfo", &body).await?;
        Ok(read(list.rooms, room))
    }

    /// A page of the users of one session of a room within a span of at most [`USERS_SPAN`] (`DescribeUserInfo`).
    ///
    /// # Errors
    /// The call failed.
    pub async fn users(
        &self,
        app: AppId,
        comm_id: &str,
        span: Span,
        page: u32,
    ) -> Result<Page<UserStay>, CloudError> {
        let body = json!({
            "CommId": comm_id,
            "SdkAppId": app.as_i64(),
            "StartTime": span.from_s,
            "EndTime": span.until_s,
            "PageNumber": page,
            "PageSize": PAGE_ROWS,
        });
        let list: UserList = self.call("DescribeUserInfo", &body).await?;
        Ok(read(list.users, stay))
    }
}

fn read<T>(rows: Option<Vec<Box<RawValue>>>, row: fn(&RawValue) -> Option<T>) -> Page<T> {
    let all = rows.unwrap_or_default();
    let count = all.len();
    let rows: Vec<T> = all.iter().filter_map(|raw| row(raw)).collect();
    let unreadable = (count - rows.len()) as u64;
    Page { rows, unreadable, is_last: count < PAGE_ROWS as usize }
}

fn room(raw: &RawValue) -> Option<RoomLife> {
    let row: RoomRow = serde_json::from_str(raw.get()).ok()?;
    let created_s = moment(row.create_time)?;
    let ended = row.is_finished.is_some_and(|flag| flag.0).then_some(row.destroy_time).flatten();
    Some(RoomLife {
        comm_id: id(&row.comm_id)?,
        room_id: id(row.room_string.as_str())?,
        created_s,
        destroyed_s: ended.and_then(moment).filter(|end| *end >= created_s),
        creator: row.user_id.and_then(|user| id(user.as_str())),
    })
}

fn stay(raw: &RawValue) -> Option<UserStay> {
    let row: UserRow = serde_json::from_str(raw.get()).ok()?;
    let joined_s = moment(row.join_ts)?;
    let left = row.finished.is_some_and(|flag| flag.0).then_some(row.leave_ts).flatten();
    Some(UserStay {
        account: id(row.user_id.as_str())?,
        joined_s,
        left_s: left.and_then(moment).filter(|left| *left >= joined_s),
    })
}

/// What can be an id and a row's text in every store.
fn id(text: &str) -> Option<String> {
    let fits = (1..=ID_BYTES_MAX).contains(&text.len()) && !text.contains('\0');
    fits.then(|| text.to_owned())
}

/// A moment from 2015 to 2100, as every one that the vendor knows.
fn moment(seconds: Seconds) -> Option<i64> {
    (1_420_070_400..4_102_444_800).contains(&seconds.0).then_some(seconds.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_cut_into_parts_without_gaps() {
        let parts = |from_s, until_s| -> Vec<(i64, i64)> {
            let parts = Span { from_s, until_s }.parts(Duration::from_secs(10));
            parts.map(|part| (part.from_s, part.until_s)).collect()
        };
        assert_eq!(parts(5, 26), [(5, 15), (15, 25), (25, 26)]);
        assert_eq!(parts(5, 25), [(5, 15), (15, 25)]);
        assert_eq!(parts(5, 5), [(5, 5)]);
    }

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn a_room_that_lasts_has_no_end() {
        let row = |more: &str| {
            let json = format!(
                r#"{{"CommId":"1_a_1590065777","RoomString":"a","CreateTime":1590065777{more}}}"#
            );
            room(&raw(&json)).unwrap()
        };
        let lasting = row(r#","DestroyTime":1590065888,"IsFinished":false,"UserId":"u""#);
        assert_eq!((lasting.destroyed_s, lasting.creator.as_deref()), (None, Some("u")));
        let ended = row(r#","DestroyTime":"1590065888","IsFinished":true,"UserId":"""#);
        assert_eq!((ended.destroyed_s, ended.creator), (Some(1_590_065_888), None));
        assert_eq!(row(r#","DestroyTime":1,"IsFinished":true"#).destroyed_s, None);
        assert_eq!(row("").destroyed_s, None);
    }

    #[test]
    fn rows_that_cannot_be_read_are_counted() {
        let rows = [
            r#"{"UserId":"a","JoinTs":1590065777,"LeaveTs":1590065888,"Finished":true}"#,
            r#"{"UserId":"b","JoinTs":1590065777,"LeaveTs":1590065888,"Finished":false}"#,
            r#"{"UserId":"","JoinTs":1590065777}"#,
            r#"{"UserId":"\u0000","JoinTs":1590065777}"#,
            r#"{"UserId":"c","JoinTs":0}"#,
            r#"{"UserId":"d","JoinTs":99999999999999}"#,
            "[]",
        ];
        let page = read(Some(rows.map(raw).to_vec()), stay);
        let ends: Vec<_> = page.rows.iter().map(|stay| stay.left_s).collect();
        assert_eq!((ends, page.unreadable), (vec![Some(1_590_065_888), None], 5));
        assert!(page.is_last);
    }
}
