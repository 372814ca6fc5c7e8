//! What readers of the read models get: rows put in as events would have left them, on both stores.

use std::fmt::Write;
use std::sync::Arc;

use protocol::AppId;
use protocol::UnixMillis;
use trtc_callbacks::store::{
    AnomalyFilter, CallFilter, CountBy, CountFilter, DetailPage, EVENTS_SCANNED_MAX, EventFilter,
    List, MARKS_SCANNED_MAX, Order, Room, RoomFilter, RoomKey, SearchHit, Step, Store, Subject,
    UserCallFilter, UserVisitFilter,
};

use crate::support::{APP, Database, NOW, on_both_stores};

const OTHER_APP: &str = "1400000002";
const HOUR: i64 = 3_600_000;

/// Writes rows as both databases take them.
pub(crate) struct Rows<'a> {
    database: &'a Database,
    sql: String,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(database: &'a Database) -> Self {
        Self { database, sql: String::new() }
    }

    /// A row of `columns`; in `values`, `@123` is a moment that many ms after [`NOW`].
    pub(crate) fn add(&mut self, table: &str, columns: &str, values: &str) -> &mut Self {
        let mut parts = values.split('@');
        let mut spelled = parts.next().unwrap().to_owned();
        for part in parts {
            let end = part.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(part.len());
            let moment = NOW.0 + part[..end].parse::<i64>().unwrap();
            if self.database.is_postgres() {
                write!(spelled, "timestamptz 'epoch' + {moment} * interval '1 millisecond'")
                    .unwrap();
            } else {
                write!(spelled, "{moment}").unwrap();
            }
            spelled += &part[end..];
        }
        writeln!(self.sql, "insert into {table} ({columns}) values ({spelled});").unwrap();
        self
    }

    pub(crate) async fn write(&mut self) {
        self.database.execute(&std::mem::take(&mut self.sql)).await;
    }

    pub(crate) fn call(&mut self, id: &str, at: i64, more: &str, values: &str) -> &mut Self {
        let columns = format!("sdk_app_id, call_id, first_at, last_at{more}");
        self.add("merged_calls", &columns, &format!("{APP}, '{id}', @{at}, @{at}{values}"))
    }

    pub(crate) fn member(
        &mut self,
        call: &str,
        account: &str,
        at: i64,
        more: &str,
        values: &str,
    ) -> &mut Self {
        let columns = format!("sdk_app_id, call_id, account, first_at, last_at, is_caller{more}");
        let values = format!("{APP}, '{call}', '{account}', @{at}, @{at}, {values}");
        self.add("merged_call_members", &columns, &values)
    }

    /// A session of a room of the RTC Engine, from its create to its end; open without one.
    pub(crate) fn rtc_session(
        &mut self,
        (id, kind): (&str, &str),
        session: i64,
        end: Option<i64>,
        [people, robots]: [u32; 2],
    ) -> &mut Self {
        let columns = "sdk_app_id, room_id, room_id_kind, session, comm_id, started_at, start_estimated, created_at, creator, \
                       ended_at, end_inferred, dismissed_at, room_kind_guessed, last_at, state, people, people_inside, robots, \
                       occupied_from, occupied_until, is_cut, is_repaired";
        let at = |at: Option<i64>| at.map_or_else(|| "null".to_owned(), |at| format!("@{at}"));
        let (ended, last) = (at(end), at(end.or(Some(session))));
        let (state, key) = (if end.is_some() { "ended" } else { "open" }, NOW.0 + session);
        let values = format!(
            "{APP}, '{id}', '{kind}', {key}, '{APP}_{id}_{}', @{session}, false, @{session}, 'ann', {ended}, false, {ended}, \
             false, {last}, '{state}', {people}, 0, {robots}, @{session}, {ended}, false, false",
            key / 1000
        );
        self.add("rtc_room_sessions", columns, &values)
    }

    /// A stay in a session of a room of the RTC Engine, with its exit reason; it lasts where the end is `None`.
    pub(crate) fn rtc_stay(
        &mut self,
        (id, kind, session): (&str, &str, i64),
        (number, account): (u32, &str),
        (from, until): (i64, Option<(i64, u8)>),
    ) -> &mut Self {
        let columns = "sdk_app_id, room_id, room_id_kind, session, stay_id, account, is_robot, started_at, earliest_start_at, \
                       ended_at, presumed_end_at, enter_reason, exit_reason, terminal_type, user_type, roles, enters, \
                       late_stops, flags";
        let lost = match until {
            Some((until, 2)) => format!("@{}", until - 90_000),
            _ => "null".to_owned(),
        };
        let [end, reason] = match until {
            Some((until, reason)) => [format!("@{until}"), reason.to_string()],
            None => ["null".to_owned(), "null".to_owned()],
        };
        let (stay, key) = (crate::reading::id(number), NOW.0 + session);
        let is_robot = account.starts_with("robot");
        let values = format!(
            "{APP}, '{id}', '{kind}', {key}, '{stay}', '{account}', {is_robot}, @{from}, @{from}, {end}, {lost}, 1, {reason}, \
             3, 3, '[{{\"role\":20,\"from\":{key},\"until\":null}}]', 1, 0, '[\"coarse\"]'"
        );
        self.add("rtc_stays", columns, &values)
    }

    /// A time for which an account published a track in a stay.
    pub(crate) fn rtc_published(
        &mut self,
        (id, kind, session): (&str, &str, i64),
        (number, stay, account): (u32, u32, &str),
        track: &str,
        (from, until): (i64, i64),
    ) -> &mut Self {
        let columns = "sdk_app_id, room_id, room_id_kind, session, interval_id, stay_id, account, is_robot, track, \
                       started_at, ended_at, ended_by, start_unknown";
        let (interval, stay) = (crate::reading::id(number), crate::reading::id(stay));
        let key = NOW.0 + session;
        let values = format!(
            "{APP}, '{id}', '{kind}', {key}, '{interval}', '{stay}', '{account}', false, '{track}', @{from}, @{until}, 'stop', \
             false"
        );
        self.add("rtc_publish_intervals", columns, &values)
    }

    pub(crate) fn room(&mut self, id: &str, session: i64, more: &str, values: &str) -> &mut Self {
        let columns = format!(
            "sdk_app_id, room_id, session, family, started_at, from_at, last_at, state, inferred, members, members_peak, \
             visitors, entries, leaves_missing, occupancy{more}"
        );
        let values = format!(
            "{APP}, '{id}', {session}, 'room', @{session}, @{session}, @{session}, 'ended', false, 0, 1, 1, 1, 0, '[]'{values}"
        );
        self.add("room_sessions", &columns, &values)
    }

    pub(crate) fn mark(
        &mut self,
        room: &str,
        account: &str,
        at: i64,
        event: u32,
        enters: bool,
        cause: &str,
    ) {
        let columns =
            "sdk_app_id, room_id, account, at, event_id, family, enters, cause, by_account";
        let id = id(event);
        let values = format!(
            "{APP}, '{room}', '{account}', @{at}, '{id}', 'room', {enters}, '{cause}', 'by'"
        );
        self.add("room_marks", columns, &values);
    }
}

pub(crate) fn id(number: u32) -> String {
    format!("00000000-0000-8000-8000-{number:012}")
}

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

fn at(ms: i64) -> UnixMillis {
    UnixMillis(NOW.0 + ms)
}

async fn store(database: &Database) -> Arc<dyn Store> {
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.upkeep(NOW).await.unwrap();
    store
}

async fn call_ids(store: &Arc<dyn Store>, filter: CallFilter) -> Vec<String> {
    let calls = store.calls(&CallFilter { limit: 100, ..filter }).await.unwrap();
    calls.into_iter().map(|call| call.call_id).collect()
}

async fn session(store: &Arc<dyn Store>, room_id: &str, session: i64) -> Room {
    let key = RoomKey { app: app(), room_id: room_id.to_owned(), session };
    store.room(&key).await.unwrap().unwrap()
}

on_both_stores! {
    async fn calls_are_filtered(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        let ended = ", media, room_id, result, start_event_at, accept_event_at, end_event_at";
        rows.call("ended", 1, ended, ", 'audio', 'r1', 'normal_end', @1, @2000, @7500");
        rows.call("missed", 2, ended, ", 'video', 'r1', 'not_answer', @2, null, @9000");
        rows.call("active", 3, ", accept_event_at", ", @3");
        rows.call("ringing", 4, "", "");
        rows.call("overdue", 5, ", overdue_at", ", @6");
        rows.add("merged_calls", "sdk_app_id, call_id, first_at, last_at", &format!("{OTHER_APP}, 'other', @6, @6"));
        rows.member("ended", "ann", 1, "", "true").member("missed", "ann", 2, "", "false");
        rows.write().await;

        let none = CallFilter::default();
        let all = ["other", "overdue", "ringing", "active", "missed", "ended"];
        assert_eq!(call_ids(&store, none.clone()).await, all);
        let text = |text: &str| Some(text.to_owned());
        let other = AppId::parse(OTHER_APP);
        for (filter, wanted) in [
            (CallFilter { app: other, ..none.clone() }, &["other"][..]),
            (CallFilter { state: text("ended"), ..none.clone() }, &["missed", "ended"]),
            (CallFilter { state: text("active"), ..none.clone() }, &["active"]),
            (CallFilter { state: text("overdue"), ..none.clone() }, &["overdue"]),
            (CallFilter { result: text("not_answer"), ..none.clone() }, &["missed"]),
            (CallFilter { media: text("audio"), ..none.clone() }, &["ended"]),
            (CallFilter { room_id: text("r1"), ..none.clone() }, &["missed", "ended"]),
            (CallFilter { account: text("ann"), ..none.clone() }, &["missed", "ended"]),
            (CallFilter { account: text("ann"), app: other, ..none.clone() }, &[]),
            (CallFilter { account: text("ann"), since: Some(at(2)), ..none.clone() }, &["missed"]),
            (CallFilter { since: Some(at(3)), until: Some(at(5)), ..none.clone() }, &["ringing", "active"]),
        ] {
            assert_eq!(call_ids(&store, filter.clone()).await, wanted, "{filter:?}");
        }
        let call = store.call(app(), "ended").await.unwrap().unwrap();
        assert_eq!((call.state.as_str(), call.talk_seconds), ("ended", Some(5)));
        assert_eq!((call.accepted_at, call.ended_at), (Some(at(2000)), Some(at(7500))));
        assert!(!call.inferred);
        assert!(store.call(app(), "overdue").await.unwrap().unwrap().inferred);
        assert!(store.call(app(), "none").await.unwrap().is_none());
        assert!(store.call(other.unwrap(), "ended").await.unwrap().is_none());
        store.close().await;
    }

    async fn pages_of_calls_have_no_gap_and_no_repeat(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        // Many of one time.
        for number in 0..25 {
            rows.call(&format!("c{number:02}"), number / 10, "", "");
        }
        rows.write().await;
        let mut filter = CallFilter { limit: 4, ..CallFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = store.calls(&filter).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some((last.first_at, last.sdk_app_id, last.call_id.clone()));
            seen.extend(page.into_iter().map(|call| call.call_id));
        }
        let mut wanted: Vec<String> = (0..25).map(|number| format!("c{number:02}")).collect();
        wanted.reverse();
        assert_eq!(seen, wanted);
        store.close().await;
    }

    async fn a_users_calls_have_direction_outcome_and_peers(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        let ended = ", accept_event_at, end_event_at, result";
        rows.call("talked", 1, ended, ", @2, @9, 'normal_end'");
        rows.call("missed", 2, ended, ", null, @9, 'not_answer'");
        rows.call("going", 3, "", "");
        let over = ", joined_at, last_joined_at, call_ended_at, call_result";
        rows.member("talked", "ann", 1, over, "true, @1, @1, @9, 'normal_end'");
        rows.member("talked", "bob", 1, over, "false, @2, @2, @9, 'normal_end'");
        rows.member("missed", "bob", 2, over, "true, @2, @2, @9, 'not_answer'");
        rows.member("missed", "ann", 2, over, "false, null, null, @9, 'not_answer'");
        rows.member("going", "ann", 3, "", "false");
        for number in 0..12 {
            rows.member("going", &format!("x{number:02}"), 4, "", "false");
        }
        rows.write().await;

        let filter = UserCallFilter {
            app: app(),
            account: "ann".into(),
            direction: None,
            outcome: None,
            after: None,
            limit: 2,
        };
        let page = store.user_calls(&filter).await.unwrap();
        let short = |call: &trtc_callbacks::store::UserCall| {
            (call.call.call_id.clone(), call.direction.clone(), call.outcome.clone())
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(short(&page[0]), ("going".into(), "incoming".into(), None));
        assert_eq!(page[0].peers.len(), 10);
        assert_eq!(page[0].peers[0], "x00");
        assert_eq!(short(&page[1]), ("missed".into(), "incoming".into(), text("missed")));
        let after = Some((page[1].at, page[1].call.call_id.clone()));
        let rest = store.user_calls(&UserCallFilter { after, ..filter.clone() }).await.unwrap();
        assert_eq!(rest.len(), 1);
        assert_eq!(short(&rest[0]), ("talked".into(), "outgoing".into(), text("answered")));
        assert_eq!(rest[0].peers, ["bob"]);
        for (direction, outcome, wanted) in [
            (text("outgoing"), None, 1),
            (text("incoming"), None, 2),
            (text("sideways"), None, 0),
            (None, text("answered"), 1),
            (text("incoming"), text("missed"), 1),
            (None, text("busy"), 0),
        ] {
            let filter = UserCallFilter { direction, outcome, ..filter.clone() };
            assert_eq!(store.user_calls(&filter).await.unwrap().len(), wanted, "{filter:?}");
        }
        let members = store.call_members(app(), "going").await.unwrap().rows;
        assert_eq!((members.len(), members[0].account.as_str()), (13, "ann"));
        store.close().await;
    }

    async fn sessions_are_filtered_and_paged(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        let more = ", owner, enters_missing, properties";
        for session in 0..9 {
            rows.room("again", session, more, ", 'olga', 0, '{\"a\":1}'");
        }
        rows.room("once", 4, more, ", 'pia', 0, null");
        rows.sql += "update room_sessions set state = 'open', family = 'live' where room_id = 'once';";
        let sessions = "sdk_app_id, room_id, session, gifts, gift_coins, gift_senders, top_senders, top_receivers, battles, \
                     admins, metadata";
        rows.add("live_sessions", sessions, &format!("{APP}, 'once', 4, 1, 2, 3, '[]', '[]', 0, '[]', '{{}}'"));
        rows.write().await;

        let mut filter = RoomFilter { limit: 3, ..RoomFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = store.rooms(&filter).await.unwrap();
            let Some(last) = page.last() else { break };
            filter.after = Some((last.started_at, last.sdk_app_id, last.room_id.clone(), last.session));
            seen.extend(page.into_iter().map(|room| (room.session, room.room_id)));
        }
        let mut wanted: Vec<(i64, String)> = (0..9).map(|session| (session, "again".to_owned())).collect();
        wanted.insert(5, (4, "once".to_owned()));
        wanted.reverse();
        assert_eq!(seen, wanted);

        let all = RoomFilter { limit: 100, ..RoomFilter::default() };
        let text = |text: &str| Some(text.to_owned());
        for (filter, wanted) in [
            (RoomFilter { app: Some(app()), ..all.clone() }, 10),
            (RoomFilter { app: AppId::parse(OTHER_APP), ..all.clone() }, 0),
            (RoomFilter { state: text("open"), ..all.clone() }, 1),
            (RoomFilter { state: text("ended"), ..all.clone() }, 9),
            (RoomFilter { family: text("live"), ..all.clone() }, 1),
            (RoomFilter { room_id: text("again"), ..all.clone() }, 9),
            (RoomFilter { owner: text("pia"), ..all.clone() }, 1),
            (RoomFilter { since: Some(at(4)), until: Some(at(6)), ..all.clone() }, 3),
        ] {
            assert_eq!(store.rooms(&filter).await.unwrap().len(), wanted, "{filter:?}");
        }
        let room = session(&store, "again", 8).await;
        assert_eq!(room.properties.as_deref(), Some("{\"a\":1}"));
        assert_eq!((room.from_at, room.occupancy.as_str()), (at(8), "[]"));
        let key = |room_id: &str, session| RoomKey { app: app(), room_id: room_id.into(), session };
        assert!(store.room(&key("none", 1)).await.unwrap().is_none());
        let sessions = store.live_sessions(&[key("again", 8), key("once", 4)]).await.unwrap();
        assert_eq!((sessions.len(), sessions[0].gift_coins), (1, 2));
        assert!(store.live_sessions(&[]).await.unwrap().is_empty());
        store.close().await;
    }

    async fn visits_end_by_event_or_rule_and_belong_to_one_session(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        rows.room("r", 0, ", until_at, ended_at, enters_missing", ", @100, @90, 2");
        rows.room("r", 100, ", enters_missing", ", 0");
        rows.mark("r", "stays", 10, 1, true, "enter");
        rows.mark("r", "leaves", 20, 2, true, "enter");
        rows.mark("r", "leaves", 30, 3, false, "kicked");
        rows.mark("r", "twice", 40, 4, true, "enter");
        rows.mark("r", "twice", 50, 5, true, "heartbeat_recover");
        rows.mark("r", "twice", 60, 6, false, "leave");
        // Whose enters are not known, two of one event; and a second leave.
        rows.mark("r", "lost1", 70, 7, false, "leave");
        rows.mark("r", "lost2", 70, 7, false, "leave");
        rows.mark("r", "late", 95, 8, true, "enter");
        // The next session.
        rows.mark("r", "stays", 110, 9, false, "leave");
        rows.mark("r", "late", 120, 10, true, "enter");
        rows.write().await;

        let room = session(&store, "r", 0).await;
        let mut page = DetailPage { limit: 2, ..DetailPage::default() };
        let mut visits = Vec::new();
        loop {
            let next = store.visits(&room, &page).await.unwrap();
            visits.extend(next.visits);
            page.after = next.next;
            if page.after.is_none() { break }
        }
        let short: Vec<_> = visits
            .iter()
            .map(|visit| {
                let ms = |time: Option<UnixMillis>| time.map(|time| time.0 - NOW.0);
                let times = (ms(visit.entered_at), ms(visit.left_at));
                (visit.account.as_str(), times, visit.left_cause.as_deref(), visit.inferred)
            })
            .collect();
        assert_eq!(
            short,
            [
                ("late", (Some(95), Some(95)), None, true),
                ("twice", (Some(50), Some(60)), Some("leave"), false),
                ("twice", (Some(40), Some(50)), None, true),
                ("leaves", (Some(20), Some(30)), Some("kicked"), false),
                ("stays", (Some(10), Some(90)), None, true),
                ("lost2", (None, Some(70)), Some("leave"), false),
                ("lost1", (None, Some(70)), Some("leave"), false),
            ]
        );
        assert_eq!(visits[3].left_by.as_deref(), Some("by"));
        assert_eq!(visits[3].event_id.to_string(), id(2));
        let page = DetailPage { account: Some("twice".into()), limit: 9, after: None };
        assert_eq!(store.visits(&room, &page).await.unwrap().visits.len(), 2);

        let page = DetailPage { limit: 9, ..DetailPage::default() };
        let open = store.visits(&session(&store, "r", 100).await, &page).await.unwrap().visits;
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].left_at, open[0].inferred), (None, false));
        store.close().await;
    }

    async fn the_rooms_of_an_account_are_listed_with_their_ends(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        rows.room("r", 100, ", enters_missing, name, until_at, ended_at", ", 0, 'First', @200, @190");
        rows.room("r", 200, ", enters_missing, name", ", 0, 'Second'");
        for (room, account, at, event, enters) in [
            ("r", "ann", 110, 1, true),
            ("r", "ann", 120, 2, false),
            ("r", "ann", 130, 3, true),
            // Of the next session: no end of the visit before.
            ("r", "ann", 210, 4, true),
            ("s", "ann", 215, 5, true),
            ("r", "ann", 220, 6, true),
            ("r", "bob", 230, 7, true),
        ] {
            rows.mark(room, account, at, event, enters, if enters { "enter" } else { "kicked" });
        }
        rows.write().await;
        let mut after = None;
        let mut told = Vec::new();
        loop {
            let list = UserVisitFilter { app: app(), account: "ann".to_owned(), after: None, limit: 0 };
            let (visits, next) = list.part(&*store, (after, 2)).await.unwrap();
            told.extend(visits.into_iter().map(|visit| {
                let left = visit.left_at.map(|left| left.0 - NOW.0);
                let session = visit.session.map(|_| visit.name.unwrap_or_default());
                (visit.room_id, visit.entered_at.0 - NOW.0, left, visit.left_cause, visit.inferred, session)
            }));
            let Some(next) = next else { break };
            after = Some(next);
        }
        let text = |text: &str| text.to_owned();
        let (first, second) = (Some(text("First")), Some(text("Second")));
        assert_eq!(
            told,
            [
                (text("r"), 220, None, None, false, second.clone()),
                (text("s"), 215, None, None, false, None),
                (text("r"), 210, Some(220), None, true, second),
                (text("r"), 130, Some(190), None, true, first.clone()),
                (text("r"), 110, Some(120), Some(text("kicked")), false, first),
            ]
        );
        store.close().await;
    }

    async fn a_page_of_visits_scans_a_bounded_number_of_leaves(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        rows.room("r", 0, ", enters_missing", ", 1");
        // It left before all others.
        rows.mark("r", "lost", 100_000, 1, false, "leave");
        rows.write().await;
        let others = i64::from(MARKS_SCANNED_MAX) + 5;
        database.execute(&mark_rows(&database, others)).await;

        let room = session(&store, "r", 0).await;
        // Behind all that have a beginning.
        let mut place = store.visits(&room, &DetailPage { limit: 1, ..DetailPage::default() }).await.unwrap().visits[0].place();
        place.entered = false;
        place.at = at(1_000_000);
        let mut page = DetailPage { limit: 9, after: Some(place), account: None };
        let first = store.visits(&room, &page).await.unwrap();
        assert!(first.visits.is_empty());
        page.after = first.next;
        assert!(page.after.is_some());
        let second = store.visits(&room, &page).await.unwrap();
        let accounts: Vec<_> = second.visits.iter().map(|visit| visit.account.as_str()).collect();
        assert_eq!((accounts, second.next), (vec!["lost"], None));
        store.close().await;
    }

    async fn seats_changes_and_gifts_belong_to_one_session(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        rows.room("r", 0, ", until_at, ended_at, enters_missing", ", @100, @90, 0");
        let seat = "sdk_app_id, room_id, seat, at, event_id, account";
        for (event, (seat_number, at, account)) in [
            (1, 10, "'ann'"),
            (1, 20, "'ann'"),
            (1, 30, "null"),
            (1, 40, "'ann'"),
            (1, 50, "'bob'"),
            (2, 15, "'eve'"),
            (1, 110, "'next'"),
        ]
        .into_iter()
        .enumerate()
        {
            let event = id(u32::try_from(event).unwrap());
            rows.add("seat_marks", seat, &format!("{APP}, 'r', {seat_number}, @{at}, '{event}', {account}"));
        }
        let change = "sdk_app_id, room_id, at, event_id, ordinal, family, kind";
        for (ordinal, at) in [(1, 5), (0, 5), (0, 150)] {
            let event = id(1);
            rows.add("room_changes", change, &format!("{APP}, 'r', @{at}, '{event}', {ordinal}, 'room', 'k{ordinal}'"));
        }
        let gift = "sdk_app_id, room_id, at, event_id, sender, receivers, count, coins";
        for number in 0..5 {
            let event = id(number);
            let receivers = if number == 3 { "[\"zed\",\"a\\\"b\"]" } else { "[\"zedd\"]" };
            rows.add("gifts", gift, &format!("{APP}, 'r', @7, '{event}', 's{number}', '{receivers}', 1, 9"));
        }
        rows.write().await;

        let room = session(&store, "r", 0).await;
        let stays: Vec<_> = store.seats(&room).await.unwrap().rows.into_iter().map(|stay| {
            let ms = |time: UnixMillis| time.0 - NOW.0;
            (stay.seat, stay.account, ms(stay.taken_at), stay.left_at.map(ms), stay.inferred)
        }).collect();
        assert_eq!(
            stays,
            [
                (1, "ann".to_owned(), 10, Some(30), false),
                (2, "eve".to_owned(), 15, Some(90), true),
                (1, "ann".to_owned(), 40, Some(50), false),
                (1, "bob".to_owned(), 50, Some(90), true),
            ]
        );
        let changes = store.room_changes(&room).await.unwrap().rows;
        assert_eq!(changes.iter().map(|change| change.kind.as_str()).collect::<Vec<_>>(), ["k0", "k1"]);

        let mut page = DetailPage { limit: 2, ..DetailPage::default() };
        let mut senders = Vec::new();
        loop {
            let next = store.gifts(&room, &page).await.unwrap();
            let Some(last) = next.last() else { break };
            page.after = Some(last.place());
            senders.extend(next.into_iter().map(|gift| gift.sender.unwrap()));
        }
        assert_eq!(senders, ["s4", "s3", "s2", "s1", "s0"]);
        for (account, wanted) in [("s2", 1), ("zed", 1), ("a\"b", 1), ("zedd", 4), ("ze", 0), ("b", 0)] {
            let page = DetailPage { account: Some(account.into()), limit: 9, after: None };
            assert_eq!(store.gifts(&room, &page).await.unwrap().len(), wanted, "{account}");
        }
        store.close().await;
    }

    async fn battles_and_recordings_are_summed_up(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        rows.room("r", 0, ", until_at, enters_missing", ", @100, 0");
        let battle = "sdk_app_id, battle_id, at, event_id, room_id, stage, is_proposer, score, duration_ms, ending";
        for (name, at, event, room, stage, proposes, score) in [
            ("won", 10, 1, "r", "start", true, "null"),
            ("won", 10, 1, "other", "start", false, "null"),
            ("won", 20, 2, "r", "end", false, "7"),
            ("won", 20, 2, "other", "end", false, "9"),
            ("tied", 30, 3, "r", "end", false, "4"),
            ("tied", 30, 3, "other", "end", false, "4"),
            ("going", 40, 4, "r", "start", true, "null"),
            ("elsewhere", 40, 5, "other", "start", true, "null"),
        ] {
            let event = id(event);
            let values = format!("{APP}, '{name}', @{at}, '{event}', '{room}', '{stage}', {proposes}, {score}, 5000, 'time_up'");
            rows.add("battle_marks", battle, &values);
        }
        let recording = "sdk_app_id, task_id, at, event_id, call_id, room_id, state, files, message";
        for (task, at, event, rest) in [
            ("t1", 10, 1, "'c', 'r', 'started', null, null"),
            ("t1", 20, 2, "null, null, 'uploading', '[{\"name\":\"a\"}]', 'slow'"),
            ("t1", 30, 3, "null, null, null, '[{\"name\":\"a\"},{\"name\":\"b\"}]', null"),
            ("t2", 200, 4, "null, 'r', 'started', null, null"),
        ] {
            let event = id(event);
            rows.add("recording_marks", recording, &format!("{APP}, '{task}', @{at}, '{event}', {rest}"));
        }
        rows.write().await;

        let room = session(&store, "r", 0).await;
        let battles = store.battles(&room).await.unwrap().rows;
        let names: Vec<_> = battles.iter().map(|battle| battle.battle_id.as_str()).collect();
        assert_eq!(names, ["won", "tied", "going"]);
        assert_eq!(battles[0].winner.as_deref(), Some("other"));
        assert_eq!((battles[1].winner.as_deref(), battles[2].winner.as_deref()), (None, None));
        assert_eq!((battles[0].started_at, battles[0].ended_at), (Some(at(10)), Some(at(20))));
        assert_eq!((battles[0].rooms[0].room_id.as_str(), battles[0].rooms[0].score), ("r", Some(7)));
        assert!(battles[0].rooms[0].is_proposer && !battles[0].rooms[1].is_proposer);

        for subject in [Subject::Call(app(), "c".into()), Subject::Room(Box::new(room))] {
            let tasks = store.recordings(&subject).await.unwrap().rows;
            assert_eq!(tasks.len(), 1, "{subject:?}");
            assert_eq!(tasks[0].state.as_deref(), Some("uploading"));
            assert_eq!(tasks[0].message.as_deref(), Some("slow"));
            assert_eq!((tasks[0].started_at, tasks[0].last_at), (at(10), at(30)));
            let files: Vec<_> = tasks[0].files.iter().map(|file| file.name.as_deref()).collect();
            assert_eq!(files, [Some("a"), Some("b")]);
        }
        let none = store.recordings(&Subject::Call(app(), "none".into())).await.unwrap().rows;
        assert!(none.is_empty());
        store.close().await;
    }

    async fn anomalies_are_filtered_and_paged(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        let columns = "sdk_app_id, kind, subject, session, happened_at, found_at, resolved_at, detail";
        for number in 0..7 {
            let resolved = if number % 2 == 0 { "@9" } else { "null" };
            let kind = if number < 3 { "silence" } else { "call_without_end" };
            rows.add("anomalies", columns, &format!("{APP}, '{kind}', 's{number}', 0, @5, @6, {resolved}, 'd'"));
        }
        rows.write().await;
        let mut filter = AnomalyFilter { limit: 2, ..AnomalyFilter::default() };
        let mut seen = Vec::new();
        loop {
            let page = store.anomalies(&filter).await.unwrap();
            let Some(last) = page.last() else { break };
            let last = last.clone();
            filter.after = Some((last.happened_at, last.sdk_app_id, last.kind, last.subject, last.session));
            seen.extend(page.into_iter().map(|anomaly| anomaly.subject));
        }
        assert_eq!(seen, ["s2", "s1", "s0", "s6", "s5", "s4", "s3"]);
        let all = AnomalyFilter { limit: 100, ..AnomalyFilter::default() };
        for (filter, wanted) in [
            (AnomalyFilter { app: AppId::parse(OTHER_APP), ..all.clone() }, 0),
            (AnomalyFilter { kind: Some("silence".into()), ..all.clone() }, 3),
            (AnomalyFilter { subject: Some("s1".into()), ..all.clone() }, 1),
            (AnomalyFilter { resolved: Some(true), ..all.clone() }, 4),
            (AnomalyFilter { resolved: Some(false), ..all.clone() }, 3),
            (AnomalyFilter { since: Some(at(6)), ..all.clone() }, 0),
            (AnomalyFilter { until: Some(at(6)), ..all.clone() }, 7),
        ] {
            assert_eq!(store.anomalies(&filter).await.unwrap().len(), wanted, "{filter:?}");
        }
        store.close().await;
    }

    async fn an_event_counts_once_for_any_span_length(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        let columns = "sdk_app_id, width_s, at, command, result, family, events, lag_ms, lag_ms_max";
        // NOW is at noon. Each event is counted in its minute and in its hour; of the hour before the minutes are gone.
        for (width, at, command, result, family, events) in [
            (3600, -HOUR, "Call.End", "normal_end", "call", 10),
            (3600, -HOUR, "Live.Start", "", "live", 3),
            (60, 0, "Call.End", "normal_end", "call", 1),
            (60, 60_000, "Call.End", "not_answer", "call", 2),
            (3600, 0, "Call.End", "normal_end", "call", 1),
            (3600, 0, "Call.End", "not_answer", "call", 2),
        ] {
            let values = format!("{APP}, {width}, @{at}, '{command}', '{result}', '{family}', {events}, 50, {events}");
            rows.add("summed_event_counts", columns, &values);
        }
        // This is not added up yet.
        let values = format!("{APP}, @60000, 'Call.End', 'not_answer', 'call', 4, 50, 4");
        rows.add("new_event_counts", &columns.replace("width_s, ", ""), &values);
        rows.write().await;
        let filter = |step, by, since: i64, until: i64| CountFilter {
            app: None,
            since: at(since),
            until: at(until),
            step,
            by,
        };
        let counts = async |filter: CountFilter| -> Vec<(i64, String, i64)> {
            let counts = store.counts(&filter).await.unwrap();
            let short = |count: trtc_callbacks::store::Count| (count.at.0 - NOW.0, count.group_name, count.events);
            counts.into_iter().map(short).collect()
        };
        let row = |at, name: &str, events| (at, name.to_owned(), events);
        // Spans are whole, however the ends are asked for.
        for (since, until) in [(-HOUR, HOUR), (-1, 1), (-HOUR + 7, HOUR - 7)] {
            assert_eq!(
                counts(filter(Step::Hour, CountBy::Family, since, until)).await,
                [row(-HOUR, "call", 10), row(-HOUR, "live", 3), row(0, "call", 7)]
            );
        }
        let day = filter(Step::Day, CountBy::Command, -1, 1);
        assert_eq!(counts(day).await, [row(-12 * HOUR, "Call.End", 17), row(-12 * HOUR, "Live.Start", 3)]);
        let minutes = filter(Step::Minute, CountBy::Result, -HOUR, HOUR);
        assert_eq!(counts(minutes).await, [row(0, "normal_end", 1), row(60_000, "not_answer", 6)]);
        // So many spans and no more: the latest.
        for (step, first, behind) in [
            (Step::Minute, 0, Some(60_000)),
            (Step::Hour, 0, None),
            (Step::Day, -12 * HOUR, None),
        ] {
            let until = first + step.spans_max() * step.length_ms();
            for (until, wanted) in [(until, Some(first)), (until + step.length_ms(), behind)] {
                let counts = counts(filter(step, CountBy::Command, first - HOUR, until)).await;
                assert_eq!(counts.first().map(|count| count.0), wanted, "{step:?} until {until}");
            }
        }
        let other = CountFilter { app: AppId::parse(OTHER_APP), ..filter(Step::Hour, CountBy::Family, -HOUR, HOUR) };
        assert!(counts(other).await.is_empty());
        let hour = store.counts(&filter(Step::Hour, CountBy::Family, 0, 1)).await.unwrap();
        assert_eq!((hour[0].lag_ms, hour[0].lag_ms_max), (150, 4));
        store.close().await;
    }

    async fn an_id_of_any_kind_is_found(database: Database) {
        let store = store(&database).await;
        let mut rows = Rows::new(&database);
        rows.call("x", 1, "", "").member("other", "x", 1, "", "false");
        rows.room("x", 1, ", enters_missing", ", 0").room("x", 5, ", owner, enters_missing", ", 'own', 0");
        rows.mark("x", "seen", 2, 9, true, "enter");
        rows.write().await;
        let sdk_app_id = app().as_i64();
        assert_eq!(
            store.find("x").await.unwrap(),
            [
                SearchHit::Call { sdk_app_id, call_id: "x".into() },
                SearchHit::Room { sdk_app_id, room_id: "x".into(), session: 5 },
                SearchHit::Account { sdk_app_id, account: "x".into() },
            ]
        );
        let owner = SearchHit::Account { sdk_app_id, account: "own".into() };
        assert_eq!(store.find("own").await.unwrap(), [owner]);
        let viewer = SearchHit::Account { sdk_app_id, account: "seen".into() };
        assert_eq!(store.find("seen").await.unwrap(), [viewer]);
        for nothing in ["", "none", "a\0b", "%", &id(7)] {
            assert!(store.find(nothing).await.unwrap().is_empty(), "{nothing:?}");
        }
        store.close().await;
    }

    async fn events_are_found_by_their_body(database: Database) {
        let store = store(&database).await;
        let events = event_rows(&database, 60_010);
        database.execute(&events).await;
        let all = EventFilter { limit: 100, ..EventFilter::default() };
        let text = |text: &str| Some(text.to_owned());
        for (filter, wanted) in [
            (EventFilter { operator: text("u7"), ..all.clone() }, 1),
            (EventFilter { platform: text("Web"), ..all.clone() }, 100),
            (EventFilter { text: text("\"n\":59999,\"%_\""), ..all.clone() }, 1),
            (EventFilter { text: text("\"N\":59999"), ..all.clone() }, 0),
            (EventFilter { text: text("%"), operator: text("u7"), ..all.clone() }, 1),
            (EventFilter { undecoded: true, ..all.clone() }, 1),
        ] {
            assert_eq!(store.events(&filter).await.unwrap().len(), wanted, "{filter:?}");
        }
        // A page looks through so many and says where to go on, until the end.
        for order in [Order::Newest { after: None }, Order::Oldest { after: None }] {
            let mut filter = EventFilter { operator: text("u7"), order, ..all.clone() };
            let mut found = 0;
            let mut pages = 0;
            loop {
                let page = store.event_page(&filter).await.unwrap();
                (found, pages) = (found + page.events.len(), pages + 1);
                let Some(after) = page.next else { break };
                let after = Some(after);
                filter.order = match order {
                    Order::Newest { .. } => Order::Newest { after },
                    Order::Oldest { .. } => Order::Oldest { after },
                    Order::Arrived { .. } => Order::Arrived { after },
                };
            }
            assert_eq!((found, pages), (1, 60_010 / EVENTS_SCANNED_MAX as usize + 1));
        }
        let page = store.event_page(&all).await.unwrap();
        assert_eq!(page.events.len(), 100);
        let last = page.events.last().unwrap();
        assert_eq!(page.next, Some((last.event_time, last.id)));
        let order = Order::Newest { after: page.next };
        let behind = store.event_page(&EventFilter { order, ..all.clone() }).await.unwrap();
        assert!(behind.events[0].event_time <= last.event_time && behind.events[0].id != last.id);
        store.close().await;
    }
}

/// A statement that has so many accounts come into the room `r`, one each ms, and then leave.
fn mark_rows(database: &Database, rows: i64) -> String {
    let columns = "sdk_app_id, room_id, account, at, event_id, family, enters";
    let moment = |ms: &str| {
        if database.is_postgres() {
            format!("timestamptz 'epoch' + ({} + {ms} + n) * interval '1 millisecond'", NOW.0)
        } else {
            format!("{} + {ms} + n", NOW.0)
        }
    };
    let numbers = if database.is_postgres() {
        format!("select n from generate_series(1, {rows}) n")
    } else {
        format!(
            "with recursive numbers (n) as (select 1 union all select n + 1 from numbers where n < {rows})
             select n from numbers"
        )
    };
    format!(
        "insert into room_marks ({columns})
         select {APP}, 'r', 'a' || n, {}, '{}', 'room', enters = 1
         from ({numbers}) as numbers, (select 1 as enters union all select 0) as sides",
        format_args!("case when enters = 1 then {} else {} end", moment("0"), moment("200000")),
        id(9),
    )
}

/// Statements that put so many events into the table, one each ms.
fn event_rows(database: &Database, rows: i64) -> String {
    let first = NOW.0 - rows;
    let columns = "id, sdk_app_id, family, command, event_time, received_at, operator, platform, payload, decode_error";
    if database.is_postgres() {
        format!(
            "insert into events ({columns}) select gen_random_uuid(), {APP}, 'call', 'c', moment, moment, 'u' || n, 'Web',
                 ('{{\"n\":' || n || ',\"%_\":1}}')::json, case when n = 9 then 'x' end
             from (select n, timestamptz 'epoch' + ({first} + n) * interval '1 millisecond' as moment
                   from generate_series(0, {rows} - 1) n) as numbers"
        )
    } else {
        format!(
            "insert into events ({columns})
             with recursive numbers (n) as (select 0 union all select n + 1 from numbers where n < {rows} - 1)
             select printf('%08d-0000-4000-8000-%012d', n, n), {APP}, 'call', 'c', {first} + n, {first} + n, 'u' || n,
                 'Web', '{{\"n\":' || n || ',\"%_\":1}}', case when n = 9 then 'x' end
             from numbers"
        )
    }
}
