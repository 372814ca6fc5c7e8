//! Addresses that the egress guard refuses, and why.

use std::fmt;
use std::net::IpAddr;

use protocol::diagnostic::Hint;

/// A host that is not sent to, as each of its addresses is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockedAddress {
    /// Absent where the address itself stands in the URL.
    name: Option<String>,
    blocked: Vec<(IpAddr, Objection)>,
}

impl BlockedAddress {
    /// The addresses that a name led to.
    pub(crate) fn name(name: &str, blocked: Vec<(IpAddr, Objection)>) -> Self {
        Self { name: Some(name.to_owned()), blocked }
    }

    /// The address that a URL has for its host.
    pub(crate) fn literal(address: IpAddr, objection: Objection) -> Self {
        Self { name: None, blocked: vec![(address, objection)] }
    }
}

/// The most addresses that a text names.
const SHOWN_MAX: usize = 4;

impl fmt::Display for BlockedAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.blocked.iter().take(SHOWN_MAX).map(|(address, objection)| {
            let kind = match objection {
                Objection::Forbidden(kind) | Objection::Restricted(kind) => kind,
                Objection::PlainToPublic => "a public address, without TLS",
                Objection::NotLoopback => "which is not this machine",
            };
            format!("{address}, {kind}")
        });
        let list = list.collect::<Vec<_>>().join("; ");
        let more = self.blocked.len().saturating_sub(SHOWN_MAX);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        match &self.name {
            None => write!(f, "nothing is sent to {list}"),
            Some(name) => {
                write!(f, "`{name}` resolves to an address that is not allowed: {list}{more}")
            }
        }
    }
}

impl std::error::Error for BlockedAddress {}

impl Hint for BlockedAddress {
    fn hint(&self) -> Option<String> {
        let networks = self.blocked.iter().filter_map(|(address, objection)| {
            let address = address.to_canonical();
            let length = if address.is_ipv4() { 32 } else { 128 };
            matches!(objection, Objection::Restricted(_)).then(|| format!("\"{address}/{length}\""))
        });
        let networks: Vec<_> = networks.take(SHOWN_MAX).collect();
        if !networks.is_empty() {
            return Some(format!("add {} to forwarding.allow_networks", networks.join(", ")));
        }
        if self.blocked.iter().any(|(_, objection)| *objection == Objection::NotLoopback) {
            let hint = "`listen` sends to this machine; `--allow-remote` lets it send to others";
            return Some(hint.to_owned());
        }
        let is_plain = |(_, objection): &(_, _)| *objection == Objection::PlainToPublic;
        Some(if self.blocked.iter().any(is_plain) {
            "use `https://` or `tls://`: the events could be read on the way".to_owned()
        } else {
            "no setting allows it; is the host right?".to_owned()
        })
    }
}

/// Why an address is not sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Objection {
    Forbidden(&'static str),
    Restricted(&'static str),
    PlainToPublic,
    NotLoopback,
}
