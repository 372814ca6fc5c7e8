//! The addresses that callbacks come from, as the vendor lists them.

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::client::{Call, Client};
use crate::error::{Action, VendorError};

/// Which of the vendor's addresses. The list names them for Chat's callbacks; that those of Call, Room and Live come
/// from there too is stated nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Egress {
    /// China, Hong Kong included (type 5).
    China,
    /// Everywhere else (type 6).
    Overseas,
}

impl Egress {
    /// Both.
    pub const ALL: [Self; 2] = [Self::China, Self::Overseas];
}

/// The addresses of one [`Egress`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpList {
    /// Single addresses are networks of one.
    pub networks: Vec<IpNet>,
    /// Entries that are neither address nor network, shortened.
    pub unreadable: Vec<String>,
}

impl Client {
    /// The addresses that the vendor's callbacks come from (`ConfigSvc/GetIPList`). They change: ask again from time to
    /// time.
    ///
    /// # Errors
    /// The call failed.
    pub async fn ip_list(&self, egress: Egress) -> Result<IpList, VendorError> {
        let query = match egress {
            Egress::China => "&nettype=5",
            Egress::Overseas => "&nettype=6",
        };
        let action = Action { product: None, name: "GetIPList" };
        let call = Call { action, service: "ConfigSvc", query, body: json!({}), secret: None };
        let (answer, receipt) = self.call(&call).await?;
        let Value::Array(entries) = &answer.ip_list else {
            return Err(self.not_understood(action, "`IPList` is not a list", receipt));
        };
        let mut list = IpList { networks: Vec::new(), unreadable: Vec::new() };
        for entry in entries {
            match entry.as_str().and_then(network) {
                Some(network) => list.networks.push(network),
                None => list.unreadable.push(entry.to_string().chars().take(60).collect()),
            }
        }
        Ok(list)
    }
}

fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse().ok().map(|address: std::net::IpAddr| address.into()))
}
