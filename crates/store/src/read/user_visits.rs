//! Reads the rooms an account came into.

use crate::error::StoreError;
use crate::model::read_models::UserVisit;
use crate::query::filters::UserVisitFilter;
use crate::read::next_marks::{next_of_enters, place_enters};
use crate::sql::builder::Reader;
use crate::sql::from_row::{from_row, id};
use protocol::UnixMillis;

/// An enter, the session it is of, and the account's next mark in that session.
struct Entered {
    room_id: String,
    family: String,
    at: UnixMillis,
    event_id: uuid::Uuid,
    session: Option<i64>,
    name: Option<String>,
    ended_at: Option<UnixMillis>,
    next_at: Option<UnixMillis>,
    next_enters: Option<bool>,
    next_cause: Option<String>,
}

from_row! {
    Entered: room_id, family, at, event_id = id, session, name, ended_at, next_at, next_enters, next_cause;
}

pub(crate) async fn user_visits<R: Reader>(
    reader: &R,
    filter: &UserVisitFilter,
) -> Result<Vec<UserVisit>, StoreError> {
    let app = filter.app.as_i64();
    let mut sql = reader.statement(
        "with page as (
             select m.sdk_app_id, m.room_id, m.account, m.family, m.at, m.event_id, r.session, r.name,
                    r.ended_at, coalesce(r.from_at, m.at) as from_at, r.until_at
             from (select * from room_marks where enters and sdk_app_id = ",
    );
    sql.number(app).push(" and account = ").text(&filter.account);
    if let Some((at, event_id, room_id)) = &filter.after {
        sql.push(" and (at, event_id, room_id) < (").time(*at).push(", ");
        sql.id(*event_id).push(", ").text(room_id).push(")");
    }
    sql.push(" order by at desc, event_id desc, room_id desc limit ").number(filter.limit.into());
    // Sessions are disjoint, so a mark is of one at most.
    sql.push(
        ") as m left join room_sessions r on r.sdk_app_id = m.sdk_app_id and r.room_id = m.room_id
              and r.from_at <= m.at and (r.until_at is null or m.at < r.until_at))",
    );
    place_enters(&mut sql);
    sql.push(
        " select room_id, family, @ms(at) as at, @text(event_id) as event_id, session, name,
                @ms(ended_at) as ended_at",
    );
    next_of_enters(&mut sql);
    sql.push(" from placed order by placed.at desc, placed.event_id desc, placed.room_id desc");
    let rows: Vec<Entered> = reader.fetch(sql).await?;
    Ok(rows.into_iter().map(|row| row.visit(app)).collect())
}

impl Entered {
    fn visit(self, sdk_app_id: i64) -> UserVisit {
        let left = self.next_enters == Some(false);
        UserVisit {
            sdk_app_id,
            room_id: self.room_id,
            session: self.session,
            family: self.family,
            name: self.name,
            entered_at: self.at,
            // A mark of the session may be a little behind its end.
            left_at: self.next_at.or_else(|| self.ended_at.map(|ended| ended.max(self.at))),
            left_cause: self.next_cause.filter(|_| left),
            inferred: !left && (self.next_at.is_some() || self.ended_at.is_some()),
            event_id: self.event_id,
        }
    }
}
