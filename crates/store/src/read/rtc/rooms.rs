//! Reads the RTC Engine's rooms: sessions, stays and what was published.

use crate::error::StoreError;
use crate::model::read_models::SearchHit;
use crate::model::rtc::room::{RtcPublishInterval, RtcRoomSession, RtcSessionKey, RtcStay};
use crate::query::limits::DETAILS_MAX;
use crate::query::page::Details;
use crate::query::rtc_rooms::{RtcPublishIntervals, RtcRoomFilter, RtcStays, RtcStaysOf};
use crate::read::apps::apps;
use crate::sql::builder::{Reader, Statement};
use protocol::AppId;

/// The columns of an [`RtcRoomSession`], of the table `r`.
const SESSION: &str = "select r.sdk_app_id, r.room_id, r.room_id_kind, r.session, r.comm_id, r.state, \
     @ms(r.started_at) as started_at, r.start_estimated, @ms(r.created_at) as created_at, r.creator, \
     @ms(r.ended_at) as ended_at, r.end_inferred, @ms(r.dismissed_at) as dismissed_at, r.room_kind_guessed, \
     @ms(r.last_at) as last_at, r.people, r.people_inside, r.robots, @ms(r.occupied_from) as occupied_from, \
     @ms(r.occupied_until) as occupied_until, @ms(r.ended_at) - @ms(r.started_at) as life_ms, \
     @ms(r.occupied_until) - @ms(r.occupied_from) as occupied_ms, r.is_cut, r.is_repaired \
     from rtc_room_sessions r where ";

/// The columns of an [`RtcStay`], of the table `s`.
const STAY: &str = "select s.sdk_app_id, s.room_id, s.room_id_kind, s.session, @text(s.stay_id) as stay_id, s.account, \
     s.is_robot, @ms(s.started_at) as started_at, @ms(s.earliest_start_at) as earliest_start_at, \
     @ms(s.ended_at) as ended_at, @ms(s.presumed_end_at) as presumed_end_at, \
     @ms(s.ended_at) - @ms(s.started_at) as duration_ms, s.enter_reason, s.exit_reason, s.terminal_type, s.user_type, \
     s.unique_id, @text(s.roles) as roles, s.enters, s.late_stops, @text(s.flags) as flags from rtc_stays s where ";

/// The columns of an [`RtcPublishInterval`], of the table `p`.
const INTERVAL: &str = "select p.sdk_app_id, p.room_id, p.room_id_kind, p.session, \
     @text(p.interval_id) as interval_id, @text(p.stay_id) as stay_id, p.account, p.is_robot, p.track, \
     @ms(p.started_at) as started_at, @ms(p.ended_at) as ended_at, \
     @ms(p.ended_at) - @ms(p.started_at) as duration_ms, p.ended_by, p.start_unknown \
     from rtc_publish_intervals p where ";

pub(crate) async fn sessions<R: Reader>(
    reader: &R,
    filter: &RtcRoomFilter,
) -> Result<Vec<RtcRoomSession>, StoreError> {
    let mut sql = reader.statement(SESSION);
    sql.push("true");
    match filter.app {
        Some(app) => {
            sql.push(" and r.sdk_app_id = ").number(app.as_i64());
        }
        // The index begins with the app.
        None if filter.room_id.is_some() => {
            sql.push(" and r.sdk_app_id in ").numbers(&apps(reader, "rtc_room_sessions").await?);
        }
        None => {}
    }
    if let Some(account) = &filter.account {
        let apps = match filter.app {
            Some(app) => vec![app.as_i64()],
            None => apps(reader, "rtc_stays").await?,
        };
        sql.push(
            " and (r.sdk_app_id, r.room_id, r.room_id_kind, r.session) in (
                  select s.sdk_app_id, s.room_id, s.room_id_kind, s.session from rtc_stays s
                  where s.sdk_app_id in ",
        );
        sql.numbers(&apps).push(" and s.account = ").text(account);
        // No stay begins before its session.
        sql.when_time(" and s.started_at >= ", filter.since).push(")");
    }
    sql.when_text(" and r.state = ", filter.state.as_deref())
        .when_text(" and r.room_id = ", filter.room_id.as_deref())
        .when_text(" and r.room_id_kind = ", filter.room_id_kind.as_deref())
        .when_time(" and r.started_at >= ", filter.since)
        .when_time(" and r.started_at < ", filter.until);
    if let Some((at, app, room_id, kind, session)) = &filter.after {
        sql.push(" and (r.started_at, r.sdk_app_id, r.room_id, r.room_id_kind, r.session) < (");
        sql.time(*at).push(", ").number(*app).push(", ").text(room_id);
        sql.push(", ").text(kind).push(", ").number(*session).push(")");
    }
    sql.push(
        " order by r.started_at desc, r.sdk_app_id desc, r.room_id desc, r.room_id_kind desc, r.session desc
          limit ",
    );
    sql.number(filter.limit.into());
    reader.fetch_page(sql, RtcRoomSession::bytes).await
}

pub(crate) async fn session<R: Reader>(
    reader: &R,
    key: &RtcSessionKey,
) -> Result<Option<RtcRoomSession>, StoreError> {
    let mut sql = reader.statement(SESSION);
    with_key(&mut sql, key);
    reader.fetch_one(sql).await
}

/// Adds the condition that a row is of this session.
fn with_key(sql: &mut Statement, key: &RtcSessionKey) {
    sql.push("(sdk_app_id = ").number(key.app.as_i64()).push(" and room_id = ").text(&key.room_id);
    sql.push(" and room_id_kind = ").text(&key.room_id_kind);
    sql.push(" and session = ").number(key.session).push(")");
}

pub(crate) async fn stays<R: Reader>(
    reader: &R,
    stays: &RtcStays,
) -> Result<Vec<RtcStay>, StoreError> {
    let mut sql = reader.statement(STAY);
    match &stays.of {
        RtcStaysOf::Session(key, account) => {
            with_key(&mut sql, key);
            sql.when_text(" and s.account = ", account.as_deref());
        }
        RtcStaysOf::Account(app, account) => {
            sql.push("s.sdk_app_id = ").number(app.as_i64());
            sql.push(" and s.account = ").text(account);
        }
    }
    if let Some((at, stay_id)) = stays.after {
        sql.push(" and (s.started_at, s.stay_id) < (").time(at).push(", ").id(stay_id).push(")");
    }
    sql.push(" order by s.started_at desc, s.stay_id desc limit ").number(stays.limit.into());
    reader.fetch_page(sql, RtcStay::bytes).await
}

pub(crate) async fn publish_intervals<R: Reader>(
    reader: &R,
    intervals: &RtcPublishIntervals,
) -> Result<Vec<RtcPublishInterval>, StoreError> {
    let mut sql = reader.statement(INTERVAL);
    with_key(&mut sql, &intervals.session);
    sql.when_text(" and p.account = ", intervals.filter.account.as_deref())
        .when_text(" and p.track = ", intervals.filter.track.as_deref());
    if let Some((at, id)) = intervals.after {
        sql.push(" and (p.started_at, p.interval_id) < (").time(at).push(", ").id(id).push(")");
    }
    sql.push(" order by p.started_at desc, p.interval_id desc limit ");
    sql.number(intervals.limit.into());
    reader.fetch_page(sql, RtcPublishInterval::bytes).await
}

pub(crate) async fn stays_of<R: Reader>(
    reader: &R,
    sessions: &[RtcSessionKey],
) -> Result<Details<RtcStay>, StoreError> {
    if sessions.is_empty() {
        return Ok(Details { rows: Vec::new(), is_cut: false });
    }
    let mut sql = reader.statement(STAY);
    for (place, key) in sessions.iter().enumerate() {
        sql.push(if place == 0 { "(" } else { " or " });
        with_key(&mut sql, key);
    }
    sql.push(") order by s.is_robot, s.started_at, s.stay_id limit ");
    sql.number(i64::from(DETAILS_MAX) + 1);
    reader.fetch_details(sql, DETAILS_MAX, RtcStay::bytes).await
}

pub(crate) async fn published_by<R: Reader>(
    reader: &R,
    session: &RtcSessionKey,
    accounts: &[String],
) -> Result<Details<RtcPublishInterval>, StoreError> {
    let mut sql = reader.statement(INTERVAL);
    with_key(&mut sql, session);
    sql.push(" and p.account in ").texts(accounts.iter().map(String::as_str));
    sql.push(" order by p.started_at, p.interval_id limit ").number(i64::from(DETAILS_MAX) + 1);
    reader.fetch_details(sql, DETAILS_MAX, RtcPublishInterval::bytes).await
}

/// The newest session of each room with this id, and the session with this `CommId`.
pub(crate) async fn find<R: Reader>(reader: &R, text: &str) -> Result<Vec<SearchHit>, StoreError> {
    let mut sql = reader.statement(
        "select sdk_app_id, room_id, room_id_kind, max(session) from rtc_room_sessions where sdk_app_id in ",
    );
    sql.numbers(&apps(reader, "rtc_room_sessions").await?).push(" and room_id = ").text(text);
    sql.push(
        " group by sdk_app_id, room_id, room_id_kind order by sdk_app_id, room_id_kind limit 20",
    );
    let mut rows: Vec<(i64, String, String, i64)> = reader.fetch(sql).await?;
    if let Some((app, room_id, second)) = parts_of_comm_id(text) {
        // The session is the time of the create in ms, so it is found by the key.
        let mut sql = reader.statement(
            "select sdk_app_id, room_id, room_id_kind, session from rtc_room_sessions where sdk_app_id = ",
        );
        sql.number(app.as_i64()).push(" and room_id = ").text(room_id).push(" and comm_id = ");
        sql.text(text).push(" and session >= ").number(second.saturating_mul(1000));
        sql.push(" and session < ").number(second.saturating_add(1).saturating_mul(1000));
        sql.push(" order by room_id_kind, session limit 20");
        rows.extend(reader.fetch::<(i64, String, String, i64)>(sql).await?);
    }
    let hit = |(sdk_app_id, room_id, room_id_kind, session)| SearchHit::RtcRoom {
        sdk_app_id,
        room_id,
        room_id_kind,
        session,
    };
    Ok(rows.into_iter().map(hit).collect())
}

/// App, room and second of `<app>_<room>_<second>`.
fn parts_of_comm_id(text: &str) -> Option<(AppId, &str, i64)> {
    let (app, rest) = text.split_once('_')?;
    let (room_id, second) = rest.rsplit_once('_')?;
    Some((AppId::parse(app)?, room_id, second.parse().ok()?))
}

/// The apps in whose rooms this account stayed.
pub(crate) async fn apps_of<R: Reader>(reader: &R, account: &str) -> Result<Vec<i64>, StoreError> {
    let mut found = Vec::new();
    for app in apps(reader, "rtc_stays").await? {
        let mut sql = reader.statement("select sdk_app_id from rtc_stays where sdk_app_id = ");
        sql.number(app).push(" and account = ").text(account).push(" limit 1");
        found.extend(reader.fetch::<(i64,)>(sql).await?.into_iter().map(|(app,)| app));
    }
    Ok(found)
}
