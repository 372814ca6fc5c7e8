//! One callback of the simulated traffic.

use crate::event::Payload;
use crate::time::UnixMillis;
use crate::{AppId, Delivery, event_query};

/// One callback, and when it is to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimedDelivery {
    /// When it happens and is sent. The body tells the same time, in ms or in s, unless the delivery was disturbed.
    pub at: UnixMillis,
    /// The command as it stands in query and body; now and then an alias of a typed command.
    pub command: &'static str,
    /// The body: JSON as the vendor writes it.
    pub body: String,
    /// `OptPlatform` of the query.
    pub platform: &'static str,
    /// `ClientIP` of the query.
    pub client_ip: String,
}

impl TimedDelivery {
    /// The request, unsigned.
    #[must_use]
    pub fn delivery(&self, app: AppId) -> Delivery {
        let ip = Some(self.client_ip.as_str());
        let query = event_query::query(app, self.command, ip, Some(self.platform), None);
        Delivery::of_payload(query, &Payload::Json(self.body.clone()))
    }
}
