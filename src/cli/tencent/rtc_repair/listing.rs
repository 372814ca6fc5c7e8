//! What the vendor lists, page by page and within bounds.

use std::collections::HashSet;

use anyhow::{Result, bail};

use crate::cli::tencent::rtc_repair::compare::{Session, united};
use crate::tencent_api::{
    CloudClient, CloudError, PAGE_ROWS, ROOMS_SPAN, RoomLife, Span, USERS_SPAN, UserStay,
};
use protocol::AppId;
use protocol::diagnostic::Diagnostic;

/// How many sessions one repair takes.
const SESSIONS_MAX: usize = 100_000;
/// How many rows of users are read of one session.
const STAYS_MAX: usize = 200_000;

/// What was listed, and how much of it cannot be read.
pub(crate) struct Listed<T> {
    pub(crate) rows: Vec<T>,
    pub(crate) unreadable: u64,
}

impl<T> Listed<T> {
    pub(crate) fn nothing() -> Self {
        Self { rows: Vec::new(), unreadable: 0 }
    }
}

/// Asks for one app.
pub(crate) struct Listing<'a> {
    pub(crate) client: &'a CloudClient,
    pub(crate) app: AppId,
    /// What is to be repaired, with some time around it.
    pub(crate) span: Span,
}

impl Listing<'_> {
    /// Every session within the span, each once.
    pub(crate) async fn sessions(&self) -> Result<Listed<RoomLife>> {
        let mut listed = Listed::nothing();
        let mut known = HashSet::new();
        for part in self.span.parts(ROOMS_SPAN) {
            for number in 0.. {
                if too_many(number, listed.rows.len(), SESSIONS_MAX) {
                    let problem = format!("app {} has too many sessions in that time", self.app);
                    let hint = "repair a shorter time at once, with `--since` and `--until`";
                    bail!(Diagnostic::new(problem, hint));
                }
                let page = self.client.rooms(self.app, part, number).await?;
                listed.unreadable += page.unreadable;
                let new = page.rows.into_iter().filter(|life| known.insert(life.comm_id.clone()));
                listed.rows.extend(new);
                if page.is_last {
                    break;
                }
            }
        }
        Ok(listed)
    }

    /// The spans in which the users of a session are to be asked for.
    pub(crate) fn parts(&self, session: &Session) -> impl Iterator<Item = Span> + Clone + use<> {
        let life = &session.life;
        let end = life.destroyed_s.map_or(self.span.until_s, |end| end.saturating_add(1));
        let from_s = life.created_s.saturating_sub(1).max(self.span.from_s);
        Span { from_s, until_s: end.min(self.span.until_s).max(from_s + 1) }.parts(USERS_SPAN)
    }

    /// The stays in a session; `None` where there are too many.
    pub(crate) async fn stays(
        &self,
        session: &Session,
    ) -> Result<Option<Listed<UserStay>>, CloudError> {
        let mut listed = Listed::nothing();
        for part in self.parts(session) {
            for number in 0.. {
                if too_many(number, listed.rows.len(), STAYS_MAX) {
                    return Ok(None);
                }
                let page = self.client.users(self.app, &session.life.comm_id, part, number).await?;
                listed.unreadable += page.unreadable;
                listed.rows.extend(page.rows);
                if page.is_last {
                    break;
                }
            }
        }
        Ok(Some(Listed { rows: united(listed.rows), ..listed }))
    }
}

/// Whether a list does not end: pages that are full of what is known already do not count among its rows.
fn too_many(page: u32, rows: usize, rows_max: usize) -> bool {
    rows > rows_max || page as usize > rows_max / PAGE_ROWS as usize
}
