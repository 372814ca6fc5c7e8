//! One callback of the simulated traffic.

use crate::event::Payload;
use crate::recorded_request::APP_HEADER;
use crate::simulate::rtc::body;
use crate::time::UnixMillis;
use crate::{AppId, Delivery, Dialect, event_query};

/// One callback, and when it is to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedDelivery {
    /// When it is sent. A body of the kits tells the same time, in ms or in s, unless the delivery was disturbed; one of the RTC
    /// Engine has it as `CallbackTs`, a little after what it tells.
    pub at: UnixMillis,
    /// Which dialect it speaks.
    pub dialect: Dialect,
    /// The command as it stands in query and body, now and then an alias of a typed command; the vendor's constant of an event of
    /// the RTC Engine.
    pub command: &'static str,
    /// The body: JSON as the vendor writes it.
    pub body: String,
    /// `OptPlatform` of the query; empty in the RTC Engine's dialect, which has no query.
    pub platform: &'static str,
    /// `ClientIP` of the query, likewise.
    pub client_ip: String,
}

impl TimedDelivery {
    /// The request, unsigned.
    #[must_use]
    pub fn delivery(&self, app: AppId) -> Delivery {
        let payload = Payload::Json(self.body.clone());
        match self.dialect {
            Dialect::Im => {
                let ip = Some(self.client_ip.as_str());
                let query = event_query::query(app, self.command, ip, Some(self.platform), None);
                Delivery::of_payload(query, &payload)
            }
            Dialect::RtcEngine => Delivery {
                dialect: self.dialect,
                headers: [(APP_HEADER.to_owned(), app.to_string())].into(),
                ..Delivery::of_payload(String::new(), &payload)
            },
        }
    }

    /// The same callback once more, at `at`: the RTC Engine tells the time of each try.
    pub(crate) fn tried_again(&self, at: UnixMillis) -> Self {
        let body = match self.dialect {
            Dialect::Im => self.body.clone(),
            Dialect::RtcEngine => body::sent_at(&self.body, at),
        };
        Self { at, body, ..self.clone() }
    }
}
