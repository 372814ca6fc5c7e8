//! What only a live room has, on the page of a room.

use askama::Template;
use serde::Deserialize;

use crate::http::query::Query;
use crate::http::ui::filters::{Form, FormBuilder};
use crate::http::ui::html::{
    Html, account, account_or, badge, id, link, list as listed, moment, moment_or, nothing, number,
    number_or, room_at_href, span, visible, words,
};
use crate::http::ui::page::shown;
use crate::store::{Battle, GiftRow, Gifts, Live, Room, RoomKey, Store, StoreError};
use protocol::UnixMillis;

/// What may stand in the query of a room's page: the conditions and places of its two lists.
pub(crate) const PARAMETERS: [&str; 5] = ["user", "after", "giver", "gifts_after", "app"];

/// What only live rooms have, on the page of one session.
#[derive(Template)]
#[template(path = "live_part.html")]
pub(crate) struct LivePart {
    compared: Vec<Compared>,
    has_statistic: bool,
    senders: Vec<Top>,
    receivers: Vec<Top>,
    admins: Html,
    metadata: Vec<(String, String)>,
    /// The names of what is not whole.
    pub(crate) cut: Vec<String>,
    battles: Vec<BattleRow>,
    gifts: Vec<Gift>,
    gifts_form: Form,
    gifts_older: Option<String>,
    is_later: bool,
}

/// One figure of the vendor's statistic beside what the events say.
struct Compared {
    what: &'static str,
    theirs: String,
    ours: String,
    difference: String,
}

struct Top {
    account: Html,
    gifts: String,
    coins: String,
}

struct BattleRow {
    id: Html,
    started: Html,
    ended: Html,
    lasted: String,
    ending: Html,
    rooms: Vec<Side>,
    tied: bool,
}

struct Side {
    room: Html,
    owner: Html,
    score: String,
    is_proposer: bool,
    has_won: bool,
}

struct Gift {
    at: Html,
    sender: Html,
    receivers: Html,
    what: Html,
    count: String,
    each: String,
    coins: String,
    event: Html,
}

impl LivePart {
    /// `None` of other rooms, and where it has not been settled yet.
    pub(crate) async fn read(
        store: &dyn Store,
        room: &Room,
        key: &RoomKey,
        query: &Query,
        now: UnixMillis,
    ) -> Result<Option<Self>, StoreError> {
        if room.family != "live" {
            return Ok(None);
        }
        let mut asked = FormBuilder::new(
            crate::http::ui::html::room_href(room.sdk_app_id, &room.room_id, room.session),
            query,
            now,
        );
        let account = asked.text("giver", "From or to account");
        let gifts_form = asked.done(&PARAMETERS);
        let keys = [key.clone()];
        let sessions = store.live_sessions(&keys).await?;
        let Some(live) = sessions.first() else { return Ok(None) };
        let gifts = Gifts { room: room.clone(), account };
        let gifts = shown(store, &gifts, (&gifts_form, query, "gifts_after")).await?;
        let battles = store.battles(room).await?;
        let app = room.sdk_app_id;
        Ok(Some(Self {
            compared: compared(room, live),
            has_statistic: live
                .total_viewers
                .or(live.total_gifts_sent)
                .or(live.total_gift_coins)
                .is_some(),
            senders: top(app, &live.top_senders),
            receivers: top(app, &live.top_receivers),
            admins: accounts(app, Some(&live.admins)),
            metadata: metadata(&live.metadata),
            cut: cut_names(live.cut.as_deref(), &[("battles", battles.is_cut)]),
            battles: battles.rows.iter().map(|battle| battle_row(room, battle, now)).collect(),
            gifts: gifts.rows.iter().map(|gift| gift_row(app, gift)).collect(),
            gifts_form,
            gifts_older: gifts.older,
            is_later: gifts.is_later,
        }))
    }
}

/// What the vendor's statistic says, what the events do, and by how much the one is more than the other.
fn compared(room: &Room, live: &Live) -> Vec<Compared> {
    let row = |what, theirs: Option<i64>, ours: Option<i64>| {
        let difference = theirs.zip(ours).map(|(theirs, ours)| theirs.saturating_sub(ours));
        let difference = match difference {
            Some(more) if more > 0 => format!("+{}", number(more)),
            Some(fewer) if fewer < 0 => number(fewer),
            Some(_) => "none".to_owned(),
            None => "–".to_owned(),
        };
        Compared { what, theirs: number_or(theirs), ours: number_or(ours), difference }
    };
    vec![
        row("Viewers (who came twice counts twice)", live.total_viewers, Some(room.entries)),
        row("Viewers, each once", None, Some(room.visitors)),
        row("Gifts", live.total_gifts_sent, Some(live.gifts)),
        row("Coins", live.total_gift_coins, Some(live.gift_coins)),
        row("Who gave gifts", live.total_gift_senders, Some(live.gift_senders)),
        row("Likes", live.total_likes, None),
    ]
}

/// As the read model writes it.
#[derive(Deserialize)]
struct Ranked {
    account: String,
    gifts: i64,
    coins: i64,
}

fn top(app: i64, json: &str) -> Vec<Top> {
    let ranked: Vec<Ranked> = serde_json::from_str(json).unwrap_or_default();
    let row = |ranked: Ranked| Top {
        account: account(app, &ranked.account),
        gifts: number(ranked.gifts),
        coins: number(ranked.coins),
    };
    ranked.into_iter().map(row).collect()
}

/// The names in a column of those that are cut, and of further things that are.
pub(crate) fn cut_names(column: Option<&str>, more: &[(&str, bool)]) -> Vec<String> {
    let names: Option<Vec<String>> = column.and_then(|json| serde_json::from_str(json).ok());
    let more = more.iter().filter(|(_, is_cut)| *is_cut).map(|(name, _)| (*name).to_owned());
    let names = names.unwrap_or_default().into_iter().chain(more);
    names.map(|name| name.replace('_', " ")).collect()
}

/// A list of accounts in JSON.
fn accounts(app: i64, json: Option<&str>) -> Html {
    let accounts: Vec<String> =
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    listed(accounts.iter().take(50).map(|text| account(app, text)))
}

fn metadata(json: &str) -> Vec<(String, String)> {
    let pairs: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).unwrap_or_default();
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    pairs
        .into_iter()
        .map(|(key, value)| (visible(&key).into_owned(), visible(&text(value)).into_owned()))
        .collect()
}

fn battle_row(room: &Room, battle: &Battle, now: UnixMillis) -> BattleRow {
    let started = battle.started_at.or(battle.created_at);
    let side = |side: &crate::store::BattleRoom| Side {
        room: if side.room_id == room.room_id {
            id(&side.room_id)
        } else {
            link(
                &room_at_href(room.sdk_app_id, &side.room_id, started.unwrap_or(room.started_at)),
                &side.room_id,
            )
        },
        owner: account_or(room.sdk_app_id, side.owner.as_deref()),
        score: number_or(side.score),
        is_proposer: side.is_proposer,
        has_won: battle.winner.as_ref() == Some(&side.room_id),
    };
    let until = battle.ended_at.unwrap_or(now);
    BattleRow {
        id: id(&battle.battle_id),
        started: moment_or(started),
        ended: moment_or(battle.ended_at),
        lasted: battle
            .started_at
            .map_or_else(|| "–".to_owned(), |from| span(until.0.saturating_sub(from.0))),
        ending: battle.ending.as_deref().map_or_else(nothing, badge),
        rooms: battle.rooms.iter().map(side).collect(),
        tied: battle.ended_at.is_some()
            && battle.winner.is_none()
            && battle.rooms.iter().all(|side| side.score.is_some()),
    }
}

fn gift_row(app: i64, gift: &GiftRow) -> Gift {
    Gift {
        at: moment(gift.at),
        sender: account_or(app, gift.sender.as_deref()),
        receivers: accounts(app, gift.receivers.as_deref()),
        what: gift.gift_id.as_deref().map_or_else(nothing, id),
        count: number_or(gift.count),
        each: number_or(gift.coins),
        coins: number_or(gift.worth()),
        event: words(&format!("/events/{}", gift.event_id), "event"),
    }
}
