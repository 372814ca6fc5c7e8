//! Reads what happened within one life of a room: seats, changes, gifts, battles and recordings.

use std::collections::{BTreeMap, HashSet};

use super::read_rooms::within;
use super::statement::{Reader, Statement};
use super::{
    Battle, BattleRoom, DETAILS_MAX, DetailPage, GiftRow, JsonText, Recording, Room, RoomChangeRow,
    Stay, StoreError, Subject,
};
use crate::clock::UnixMillis;

pub(super) async fn seats<R: Reader>(reader: &R, room: &Room) -> Result<Vec<Stay>, StoreError> {
    let mut sql = reader.statement(
        "with facts as (
             select m.seat, m.at, m.event_id, m.account,
                    sum(case when m.account is null then -1 else 1 end)
                        over (partition by m.seat, m.at) as balance
             from seat_marks m where",
    );
    // Of one time the state before decides: who sat there got up first, and else somebody sat down; see `handlers::moment`.
    within(&mut sql, room).push(
        "), moments as (
             select facts.*,
                    row_number() over (partition by seat, at, account is null order by event_id) as place,
                    max(case when balance > 0 then at end) over earlier as taken,
                    max(case when balance < 0 then at end) over earlier as freed
             from facts
             window earlier as (partition by seat order by at
                                range between unbounded preceding and @tick() preceding)),
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
    sql.number(DETAILS_MAX.into());
    let mut stays: Vec<Stay> = reader.fetch(sql).await?;
    for stay in stays.iter_mut().filter(|stay| stay.left_at.is_none()) {
        // A mark of the life may be a little behind its end.
        stay.left_at = room.ended_at.map(|ended| ended.max(stay.taken_at));
        stay.inferred = stay.left_at.is_some();
    }
    Ok(stays)
}

pub(super) async fn changes<R: Reader>(
    reader: &R,
    room: &Room,
) -> Result<Vec<RoomChangeRow>, StoreError> {
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
    sql.number(DETAILS_MAX.into());
    reader.fetch(sql).await
}

pub(super) async fn gifts<R: Reader>(
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
        sql.push(" or @place()',' || substr(@text(m.receivers), 2), ").text(&quoted).push(") > 0)");
    }
    if let Some(after) = &page.after {
        sql.push(" and (m.at, m.event_id) < (").time(after.at).push(", ");
        sql.id(after.event_id).push(")");
    }
    sql.push(" order by m.at desc, m.event_id desc limit ").number(page.limit.into());
    reader.fetch(sql).await
}

/// A battle's own columns.
#[derive(sqlx::FromRow)]
struct BattleRow {
    battle_id: String,
    created_at: Option<UnixMillis>,
    started_at: Option<UnixMillis>,
    ended_at: Option<UnixMillis>,
    duration_ms: Option<i64>,
    ending: Option<String>,
}

/// A room's columns in a battle.
#[derive(sqlx::FromRow)]
struct BattleRoomRow {
    battle_id: String,
    room_id: String,
    proposals: i64,
    owner: Option<String>,
    score: Option<i64>,
}

/// Adds the battles of which this life has marks, as the table `ids`.
fn of_room(sql: &mut Statement, room: &Room) {
    sql.push("with ids as (select m.battle_id from battle_marks m where");
    within(sql, room).push(" group by m.battle_id order by min(m.at), m.battle_id limit ");
    sql.number(DETAILS_MAX.into()).push(") ");
}

pub(super) async fn battles<R: Reader>(reader: &R, room: &Room) -> Result<Vec<Battle>, StoreError> {
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
    let rows: Vec<BattleRow> = reader.fetch(sql).await?;
    let mut rooms = battle_rooms(reader, room).await?;
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
    Ok(rows.into_iter().map(battle).collect())
}

/// The room with the greatest score, where no other has it too.
fn winner(rooms: &[BattleRoom]) -> Option<String> {
    let most = rooms.iter().filter_map(|room| room.score).max()?;
    let mut best = rooms.iter().filter(|room| room.score == Some(most));
    let first = best.next()?;
    best.next().is_none().then(|| first.room_id.clone())
}

/// The rooms of each battle, by battle.
async fn battle_rooms<R: Reader>(
    reader: &R,
    room: &Room,
) -> Result<BTreeMap<String, Vec<BattleRoom>>, StoreError> {
    let mut sql = reader.statement("");
    of_room(&mut sql, room);
    sql.push(
        "select b.battle_id, b.room_id,
                cast(max(case when b.is_proposer then 1 else 0 end) as bigint) as proposals,
                max(b.owner) as owner, max(case when b.stage = 'end' then b.score end) as score
         from ids join battle_marks b on b.battle_id = ids.battle_id and b.sdk_app_id = ",
    );
    sql.number(room.sdk_app_id);
    sql.push(" group by b.battle_id, b.room_id order by b.battle_id, proposals desc, b.room_id");
    let mut rooms: BTreeMap<String, Vec<BattleRoom>> = BTreeMap::new();
    for row in reader.fetch::<BattleRoomRow>(sql).await? {
        rooms.entry(row.battle_id).or_default().push(BattleRoom {
            room_id: row.room_id,
            is_proposer: row.proposals > 0,
            owner: row.owner,
            score: row.score,
        });
    }
    Ok(rooms)
}

/// What one event says of a recording task.
#[derive(sqlx::FromRow)]
struct RecordingMark {
    sdk_app_id: i64,
    task_id: String,
    at: UnixMillis,
    call_id: Option<String>,
    room_id: Option<String>,
    state: Option<String>,
    files: Option<String>,
    message: Option<String>,
}

/// How many events of a subject's tasks are read.
const MARKS_MAX: i64 = 20_000;

pub(super) async fn recordings<R: Reader>(
    reader: &R,
    subject: &Subject,
) -> Result<Vec<Recording>, StoreError> {
    let app = match subject {
        Subject::Call(app, _) => app.as_i64(),
        Subject::Room(room) => room.sdk_app_id,
    };
    let mut sql = reader.statement("with ids as (select m.task_id from recording_marks m where");
    match subject {
        Subject::Call(_, call_id) => {
            sql.push(" m.sdk_app_id = ").number(app).push(" and m.call_id = ").text(call_id)
        }
        Subject::Room(room) => within(&mut sql, room),
    };
    sql.push(" group by m.task_id order by min(m.at), m.task_id limit ");
    sql.number(DETAILS_MAX.into()).push(
        ") select b.sdk_app_id, b.task_id, @ms(b.at) as at, b.call_id, b.room_id, b.state,
                  @text(b.files) as files, b.message
           from ids join recording_marks b on b.task_id = ids.task_id and b.sdk_app_id = ",
    );
    // Of one time, in the order in which a task goes.
    sql.number(app).push(
        " order by b.at,
                   case b.state when 'started' then 1 when 'recording' then 2 when 'stopped' then 3
                                when 'uploading' then 4 when 'finished' then 5 when 'failed' then 6 else 0 end,
                   b.event_id limit ",
    );
    sql.number(MARKS_MAX);
    let marks: Vec<RecordingMark> = reader.fetch(sql).await?;
    Ok(tasks(marks))
}

/// One recording for each task, as the view `recordings` has it. Marks come by time.
fn tasks(marks: Vec<RecordingMark>) -> Vec<Recording> {
    let mut tasks: Vec<Recording> = Vec::new();
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut seen: HashSet<(usize, String)> = HashSet::new();
    for mark in marks {
        let place = *places.entry(mark.task_id.clone()).or_insert(tasks.len());
        if place == tasks.len() {
            tasks.push(Recording {
                sdk_app_id: mark.sdk_app_id,
                task_id: mark.task_id,
                call_id: None,
                room_id: None,
                state: None,
                message: None,
                started_at: mark.at,
                last_at: mark.at,
                files: Vec::new(),
            });
        }
        let task = &mut tasks[place];
        task.call_id = task.call_id.take().max(mark.call_id);
        task.room_id = task.room_id.take().max(mark.room_id);
        task.state = mark.state.or(task.state.take());
        task.message = mark.message.or(task.message.take());
        task.last_at = mark.at;
        // What is no list holds no files.
        let files = mark.files.and_then(|text| serde_json::from_str::<Vec<JsonText>>(&text).ok());
        let files = files.into_iter().flatten();
        task.files.extend(files.filter(|file| seen.insert((place, file.get().to_owned()))));
    }
    tasks
}
