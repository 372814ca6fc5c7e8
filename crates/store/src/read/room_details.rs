//! Reads what happened within one session of a room: seats, changes, gifts, battles and recordings.

use std::collections::BTreeMap;

use crate::error::StoreError;
use crate::model::read_models::{Battle, BattleRoom, GiftRow, Room, RoomChangeRow, Stay};
use crate::query::filters::DetailPage;
use crate::query::limits::DETAILS_MAX;
use crate::query::page::Details;
use crate::read::rooms::within;
use crate::sql::builder::{Reader, Statement};
use crate::sql::from_row::from_row;
use protocol::UnixMillis;

pub(crate) async fn seats<R: Reader>(reader: &R, room: &Room) -> Result<Details<Stay>, StoreError> {
    let mut sql = reader.statement(
        "with facts as (
             select m.seat, m.at, m.event_id, m.account,
                    sum(case when m.account is null then -1 else 1 end)
                        over (partition by m.seat, m.at) as balance
             from seat_marks m where",
    );
    // Of one time the state before decides: who sat there got up first, and else somebody sat down; see `projections::session::moment`.
    within(&mut sql, room).push(
        "), moments as (
             select facts.*,
                    row_number() over (partition by seat, at, account is null order by event_id) as place,
                    max(case when balance > 0 then at end) over earlier as taken,
                    max(case when balance < 0 then at end) over earlier as freed
             from facts
             window earlier as (partition by seat order by at
                                range between unbounded preceding and @tick preceding)),
         steps as (
             select seat, at, account,
                    2 * place + case when (account is not null)
                                    = (taken is not null and (freed is null or freed < taken))
                                then 1 else 0 end as step
             from moments),
         marks as (
             select seat, at, step, account,
                    lag(account) over chair as before, lead(at) over chair as next_at
             from steps
             window chair as (partition by seat order by at, step)),
         stays as (
             select marks.*,
                    sum(case when account = before then 0 else 1 end)
                        over (partition by seat order by at, step) as stay,
                    row_number() over (partition by seat order by at desc, step desc) as behind
             from marks),
         joined as (
             select seat, account, min(at) as taken_at, max(next_at) as left_at,
                    min(behind) as behind
             from stays where account is not null group by seat, account, stay)
         select cast(seat as bigint) as seat, account, @ms(taken_at) as taken_at,
                case when behind > 1 then @ms(left_at) end as left_at, false as inferred
         from joined order by joined.taken_at, joined.seat, joined.behind desc limit ",
    );
    sql.number(i64::from(DETAILS_MAX) + 1);
    let mut stays: Details<Stay> = reader.fetch_details(sql, DETAILS_MAX, Stay::bytes).await?;
    for stay in stays.rows.iter_mut().filter(|stay| stay.left_at.is_none()) {
        // A mark of the session may be a little behind its end.
        stay.left_at = room.ended_at.map(|ended| ended.max(stay.taken_at));
        stay.inferred = stay.left_at.is_some();
    }
    Ok(stays)
}

pub(crate) async fn changes<R: Reader>(
    reader: &R,
    room: &Room,
) -> Result<Details<RoomChangeRow>, StoreError> {
    let mut sql = reader.statement(
        "select @ms(at) as at, @text(event_id) as event_id, kind, by_account, account, name, owner,
                cause, @text(properties) as properties
         from room_changes m where",
    );
    // Of one time: created first, destroyed last.
    within(&mut sql, room).push(
        " order by m.at, case m.kind when 'create' then 0 when 'destroy' then 2 else 1 end,
                   m.event_id, m.ordinal limit ",
    );
    sql.number(i64::from(DETAILS_MAX) + 1);
    reader.fetch_details(sql, DETAILS_MAX, RoomChangeRow::bytes).await
}

pub(crate) async fn gifts<R: Reader>(
    reader: &R,
    room: &Room,
    page: &DetailPage,
) -> Result<Vec<GiftRow>, StoreError> {
    let mut sql = reader.statement(
        "select @ms(at) as at, @text(event_id) as event_id, sender, @text(receivers) as receivers,
                gift_id, count, coins
         from gifts m where",
    );
    within(&mut sql, room);
    if let Some(account) = &page.account {
        // The list is compact and its texts are written as this writes one: each stands behind a comma or the bracket.
        let quoted = format!(",{}", serde_json::Value::from(account.as_str()));
        sql.push(" and (m.sender = ").text(account);
        sql.push(" or @strpos(',' || substr(@text(m.receivers), 2), ").text(&quoted).push(") > 0)");
    }
    if let Some(after) = &page.after {
        sql.push(" and (m.at, m.event_id) < (").time(after.at).push(", ");
        sql.id(after.event_id).push(")");
    }
    sql.push(" order by m.at desc, m.event_id desc limit ").number(page.limit.into());
    reader.fetch_page(sql, GiftRow::bytes).await
}

/// A battle's own columns.
struct BattleRow {
    battle_id: String,
    created_at: Option<UnixMillis>,
    started_at: Option<UnixMillis>,
    ended_at: Option<UnixMillis>,
    duration_ms: Option<i64>,
    ending: Option<String>,
}

from_row! { BattleRow: battle_id, created_at, started_at, ended_at, duration_ms, ending; }

/// How many rooms of battles are read.
const BATTLE_ROOMS_MAX: u32 = 5000;

/// A room's columns in a battle.
struct BattleRoomRow {
    battle_id: String,
    room_id: String,
    proposals: i64,
    owner: Option<String>,
    score: Option<i64>,
}

from_row! { BattleRoomRow: battle_id, room_id, proposals, owner, score; }

impl BattleRow {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.battle_id.len()
    }
}

impl BattleRoomRow {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.battle_id.len() + self.room_id.len()
    }
}

/// Adds the battles of which this session has marks, as the table `ids`.
fn of_room(sql: &mut Statement, room: &Room) {
    sql.push("with ids as (select m.battle_id from battle_marks m where");
    within(sql, room).push(" group by m.battle_id order by min(m.at), m.battle_id limit ");
    sql.number(i64::from(DETAILS_MAX) + 1).push(") ");
}

pub(crate) async fn battles<R: Reader>(
    reader: &R,
    room: &Room,
) -> Result<Details<Battle>, StoreError> {
    let mut sql = reader.statement("");
    of_room(&mut sql, room);
    // As the view `battles`, which would sum up all there are.
    sql.push(
        "select battle_id, @ms(created) as created_at, @ms(started) as started_at,
                @ms(ended) as ended_at, duration_ms, ending
         from (
             select b.battle_id,
                    min(coalesce(b.created_at, case when b.stage = 'create' then b.at end)) as created,
                    min(coalesce(b.started_at, case when b.stage = 'start' then b.at end)) as started,
                    min(coalesce(b.ended_at, case when b.stage = 'end' then b.at end)) as ended,
                    max(b.duration_ms) as duration_ms, max(b.ending) as ending, min(b.at) as first_at
             from ids join battle_marks b on b.battle_id = ids.battle_id and b.sdk_app_id = ",
    );
    sql.number(room.sdk_app_id);
    sql.push(" group by b.battle_id) as battles order by first_at, battle_id");
    let rows: Details<BattleRow> = reader.fetch_details(sql, DETAILS_MAX, BattleRow::bytes).await?;
    let (mut rooms, rooms_cut) = battle_rooms(reader, room).await?;
    let battle = |row: BattleRow| {
        let rooms = rooms.remove(&row.battle_id).unwrap_or_default();
        Battle {
            winner: row.ended_at.and_then(|_| winner(&rooms)),
            battle_id: row.battle_id,
            created_at: row.created_at,
            started_at: row.started_at,
            ended_at: row.ended_at,
            duration_ms: row.duration_ms,
            ending: row.ending,
            rooms,
        }
    };
    let is_cut = rows.is_cut || rooms_cut;
    Ok(Details { rows: rows.rows.into_iter().map(battle).collect(), is_cut })
}

/// The room with the greatest score, where no other has it too.
fn winner(rooms: &[BattleRoom]) -> Option<String> {
    let most = rooms.iter().filter_map(|room| room.score).max()?;
    let mut best = rooms.iter().filter(|room| room.score == Some(most));
    let first = best.next()?;
    best.next().is_none().then(|| first.room_id.clone())
}

/// The rooms of each battle, by battle, and whether there are more.
async fn battle_rooms<R: Reader>(
    reader: &R,
    room: &Room,
) -> Result<(BTreeMap<String, Vec<BattleRoom>>, bool), StoreError> {
    let mut sql = reader.statement("");
    of_room(&mut sql, room);
    sql.push(
        "select b.battle_id, b.room_id,
                cast(max(case when b.is_proposer then 1 else 0 end) as bigint) as proposals,
                max(b.owner) as owner, max(case when b.stage = 'end' then b.score end) as score
         from ids join battle_marks b on b.battle_id = ids.battle_id and b.sdk_app_id = ",
    );
    sql.number(room.sdk_app_id);
    sql.push(
        " group by b.battle_id, b.room_id order by b.battle_id, proposals desc, b.room_id limit ",
    );
    sql.number(i64::from(BATTLE_ROOMS_MAX) + 1);
    let mut rooms: BTreeMap<String, Vec<BattleRoom>> = BTreeMap::new();
    let found = reader.fetch_details(sql, BATTLE_ROOMS_MAX, BattleRoomRow::bytes).await?;
    for row in found.rows {
        rooms.entry(row.battle_id).or_default().push(BattleRoom {
            room_id: row.room_id,
            is_proposer: row.proposals > 0,
            owner: row.owner,
            score: row.score,
        });
    }
    Ok((rooms, found.is_cut))
}
