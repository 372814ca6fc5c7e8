//! What the media server says of a call, on the call's page: the sessions of its room, and times beside the kit's.

use std::collections::HashMap;

use crate::http::pages::rtc_rooms::lanes::{stay_bars, told};
use crate::http::pages::rtc_rooms::list::{RtcRoomRow, row};
use crate::http::ui::charts::{Bar, Span};
use crate::http::ui::html::{Html, account, span};
use crate::store::{
    CONNECTION_LOST_MEANING, Call, Details, Member, RtcComparison, RtcRoomSession, RtcStay, Store,
    StoreError, compare, rtc_sessions_of_call,
};
use protocol::UnixMillis;

/// Where stays are drawn in a lane of the call: below what the kit says.
const BELOW: (u32, u32) = (24, 8);
/// How high a lane of a call is, without stays and with them.
const HEIGHTS: [u32; 2] = [20, 36];

/// What the media server says of a call.
pub(crate) struct RtcPart {
    pub(crate) sessions: Vec<RtcRoomRow>,
    pub(crate) compared: Vec<ComparedRow>,
    /// Whether stays or sessions are left out.
    pub(crate) is_cut: bool,
    /// How high the lanes of the call are.
    pub(crate) height: u32,
    stays: Vec<RtcStay>,
}

/// An account by the kit and by the media server.
pub(crate) struct ComparedRow {
    pub(crate) account: Html,
    pub(crate) is_member: bool,
    pub(crate) is_robot: bool,
    pub(crate) talk: String,
    pub(crate) stay: String,
    pub(crate) difference: String,
    pub(crate) explanation: &'static str,
    pub(crate) stays: Vec<String>,
}

impl RtcPart {
    pub(crate) async fn read(
        store: &dyn Store,
        call: &Call,
        members: &[Member],
        now: UnixMillis,
    ) -> Result<Self, StoreError> {
        let sessions = rtc_sessions_of_call(store, call).await?;
        let keys: Vec<_> = sessions.rows.iter().filter_map(RtcRoomSession::key).collect();
        let Details { rows: stays, is_cut } = store.rtc_stays_of(&keys).await?;
        let is_known = !sessions.rows.is_empty();
        let compared = if is_known { compare(call, members, &stays) } else { Vec::new() };
        Ok(Self {
            sessions: sessions.rows.iter().map(|session| row(session, now)).collect(),
            compared: compared.iter().map(|one| compared_row(call.sdk_app_id, one)).collect(),
            is_cut: is_cut || sessions.is_cut,
            height: HEIGHTS[usize::from(is_known)],
            stays,
        })
    }

    /// The times that the drawing has to hold.
    pub(crate) fn times(&self) -> impl Iterator<Item = UnixMillis> + Clone {
        self.stays.iter().flat_map(|stay| [Some(stay.started_at), stay.ended_at]).flatten()
    }

    /// The stays of each account as bars and in words.
    pub(crate) fn drawn(&self, span: Span, end: UnixMillis) -> HashMap<&str, Vec<(Bar, String)>> {
        let mut drawn: HashMap<&str, Vec<(Bar, String)>> = HashMap::new();
        for stay in &self.stays {
            let bars = stay_bars(stay, BELOW, (span, end)).into_iter();
            let bars =
                bars.map(|bar| (bar, format!("in the room by the media server {}", told(stay))));
            drawn.entry(&stay.account).or_default().extend(bars);
        }
        drawn
    }
}

fn compared_row(app: i64, one: &RtcComparison) -> ComparedRow {
    let length = |ms: Option<i64>| ms.map_or_else(|| "–".to_owned(), span);
    let difference = match one.difference_ms {
        Some(more) if more > 0 => format!("+{}", span(more)),
        difference => length(difference),
    };
    ComparedRow {
        account: account(app, &one.account),
        is_member: one.is_member,
        is_robot: one.is_robot,
        talk: length(one.talk_ms),
        stay: length(one.stay_ms),
        difference,
        explanation: one.explanation.as_ref().map_or("", |_| CONNECTION_LOST_MEANING),
        stays: one.stays.iter().map(told).collect(),
    }
}
