//! Queues the rooms of the RTC Engine that no new fact of their own queues: those of robots that are new, and those that
//! count as ended by now.

use crate::error::StoreError;
use crate::sessions::queue::{SLOT_MS, SettlerConnection};
use crate::sessions::sweep::SWEEP_ROWS;
use protocol::UnixMillis;

/// The length of an hour, the unit of time of the queue of rooms of the RTC Engine. In ms.
pub const RTC_HOUR_MS: i64 = 3_600_000;

impl SettlerConnection {
    /// Queues the rooms in which robots stayed that are known since the last time. Returns how many robots there were.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn queue_rooms_of_new_robots(&mut self) -> Result<usize, StoreError> {
        let sql = "select sdk_app_id, account from rtc_robots where is_new
             order by rtc_robots.sdk_app_id, rtc_robots.account limit $1";
        let robots: Vec<(i64, String)> = self.0.rows(sql, &[i64::from(SWEEP_ROWS).into()]).await?;
        for (app, account) in &robots {
            let args = [(*app).into(), account.as_str().into()];
            self.0.begin().await?;
            // A mark that is written from now on queues its room itself, and then the robot is known. The slot is that of
            // now: a room that is being settled without it stays in the queue.
            let rooms = |table: &str| {
                format!(
                    "insert into rtc_settle_queue (sdk_app_id, room_id, at, slot)
                     select sdk_app_id, room_id, cast(min(@ms(at)) / {RTC_HOUR_MS} as bigint), @clock / {SLOT_MS}
                     from {table} where sdk_app_id = $1 and account = $2
                     group by sdk_app_id, room_id order by sdk_app_id, room_id @bytewise
                     on conflict do nothing"
                )
            };
            self.0.execute(&rooms("rtc_room_marks"), &args).await?;
            self.0.execute(&rooms("rtc_repaired_marks"), &args).await?;
            let sql = "update rtc_robots set is_new = false where sdk_app_id = $1 and account = $2";
            self.0.execute(sql, &args).await?;
            self.0.commit().await?;
        }
        Ok(robots.len())
    }

    /// Queues open rooms that count as ended by `now`. Returns their number.
    ///
    /// # Errors
    /// When the store refuses it.
    pub async fn queue_overdue_rtc_rooms(&mut self, now: UnixMillis) -> Result<u64, StoreError> {
        let sql = format!(
            "insert into rtc_settle_queue (sdk_app_id, room_id, at, slot)
             select sdk_app_id, room_id, cast(@ms(started_at) / {RTC_HOUR_MS} as bigint), 0 from rtc_room_sessions
             where state = 'open' and overdue_at < @at(1) order by overdue_at limit $2
             on conflict do nothing"
        );
        self.0.execute(&sql, &[now.0.into(), i64::from(SWEEP_ROWS).into()]).await
    }
}
