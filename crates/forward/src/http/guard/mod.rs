//! Which addresses may be sent to: the egress guard.
//!
//! Operators write the URLs, but DNS, redirects and typing errors do not ask them. So the guard judges twice, as each way alone
//! leaves a hole: the host of the parsed URL when a client is made, since the resolver is never asked about an address that
//! stands in the URL; and every answer of the resolver, since a name says nothing about where it leads.

use std::net::IpAddr;
use std::sync::Arc;

use protocol::source_filter::Networks;
use url::{Host, Url};

use crate::http::address::AddressClass;
use crate::http::blocked_address::{BlockedAddress, Objection};
use crate::http::error::UrlError;

/// Judges where events may be sent. Clones share the list.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    reach: Reach,
}

/// Which addresses are in reach beside those that never are.
#[derive(Debug, Clone)]
enum Reach {
    /// A destination's: public ones by TLS, and these own networks.
    Configured(Arc<Networks>),
    /// A developer's own machine, by an address or by any name for it.
    Loopback,
    /// A developer's own networks, and public addresses by TLS.
    OwnNetworks,
}

impl Default for Reach {
    fn default() -> Self {
        Self::Configured(Arc::default())
    }
}

/// How an address came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A name led to it.
    Name,
    /// The operator wrote the address itself, which is permission enough for an own network.
    Literal,
    /// It is the proxy, which the operator chose, and which is in an own network as a rule.
    Proxy,
}

/// What is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// With TLS.
    Tls,
    /// Without: readable on the way, so never on public networks.
    Plain,
}

impl Guard {
    /// A guard that lets through to these own networks too (`forwarding.allow_networks`).
    #[must_use]
    pub fn new(allowed: Networks) -> Self {
        Self { reach: Reach::Configured(Arc::new(allowed)) }
    }

    /// A guard that lets through to this machine only. For the command `listen`, whose user writes the URL for one run; no
    /// configuration leads to it.
    #[must_use]
    pub fn loopback_only() -> Self {
        Self { reach: Reach::Loopback }
    }

    /// A guard that lets through to every own network, by name too, and to public addresses by TLS. For `listen --allow-remote`; no
    /// configuration leads to it.
    #[must_use]
    pub fn own_networks() -> Self {
        Self { reach: Reach::OwnNetworks }
    }

    /// Judges the URL of a destination, when the configuration is loaded. With a `proxy`, names are the proxy's to judge.
    ///
    /// # Errors
    /// It is no URL for HTTP, its host is an address that is not to be sent to, or nothing could ever be sent to it.
    pub fn check_url(&self, url: &Url, proxy: Option<&Url>) -> Result<(), UrlError> {
        let transport = transport(url).ok_or(UrlError::Scheme)?;
        if let Some(proxy) = proxy {
            self.check_proxy(proxy)?;
        }
        let plain = transport == Transport::Plain;
        match literal(url)? {
            Some(address) => {
                self.objection(address, Source::Literal, transport).map_or(Ok(()), |objection| {
                    Err(BlockedAddress::literal(address, objection).into())
                })
            }
            None if plain && proxy.is_some() => Err(UrlError::PlainToProxy),
            None if plain && !self.may_reach_own_names() => Err(UrlError::PlainToName),
            None => Ok(()),
        }
    }

    /// Whether a name could ever lead to an own network, which plain HTTP is for.
    fn may_reach_own_names(&self) -> bool {
        match &self.reach {
            Reach::Configured(allowed) => !allowed.is_empty(),
            Reach::Loopback | Reach::OwnNetworks => true,
        }
    }

    /// Judges the servers of a NATS destination, when the configuration is loaded. `requires_tls`: whatever they ask for.
    ///
    /// # Errors
    /// One is an address that is not to be sent to, or nothing could ever be sent to it.
    pub fn check_servers(&self, servers: &[Url], requires_tls: bool) -> Result<(), UrlError> {
        for server in servers {
            let is_plain = !requires_tls && server.scheme() != "tls";
            // Of a scheme that it does not know, the URL's parser takes an address for a name.
            let host = Host::parse(server.host_str().ok_or(UrlError::Scheme)?);
            let address = match host.map_err(|_| UrlError::Unusable)? {
                Host::Ipv4(address) => IpAddr::from(address),
                Host::Ipv6(address) => address.into(),
                Host::Domain(_) if is_plain && !self.may_reach_own_names() => {
                    return Err(UrlError::PlainToServer);
                }
                Host::Domain(_) => continue,
            };
            let objection = self.objection(address, Source::Literal, transport_of(is_plain));
            if let Some(objection) = objection {
                return Err(BlockedAddress::literal(address, objection).into());
            }
        }
        Ok(())
    }

    /// Judges what the host of a NATS server leads to. All its addresses have to do: the library takes any of them.
    #[cfg(feature = "nats")]
    pub(crate) fn check_resolved(
        &self,
        host: &str,
        addresses: &[IpAddr],
        is_plain: bool,
    ) -> Result<(), BlockedAddress> {
        let is_name = matches!(Host::parse(host), Ok(Host::Domain(_)) | Err(_));
        let source = if is_name { Source::Name } else { Source::Literal };
        let objection = |address: &IpAddr| {
            let objection = self.objection(*address, source, transport_of(is_plain));
            objection.map(|objection| (*address, objection))
        };
        let blocked: Vec<_> = addresses.iter().filter_map(objection).collect();
        if blocked.is_empty() { Ok(()) } else { Err(BlockedAddress::name(host, blocked)) }
    }

    fn check_proxy(&self, proxy: &Url) -> Result<(), UrlError> {
        if transport(proxy) != Some(Transport::Plain) {
            return Err(UrlError::Proxy);
        }
        let address = literal(proxy)?;
        let objection =
            address.and_then(|at| self.objection(at, Source::Proxy, Transport::Plain).zip(address));
        match objection {
            Some((objection, address)) => Err(BlockedAddress::literal(address, objection).into()),
            None => Ok(()),
        }
    }

    /// Drops the addresses that are not to be sent to.
    ///
    /// # Errors
    /// None is left; none at all where there was none to begin with.
    pub(crate) fn allowed_of(
        &self,
        host: &str,
        addresses: impl Iterator<Item = IpAddr>,
        source: Source,
        transport: Transport,
    ) -> Result<Vec<IpAddr>, BlockedAddress> {
        let (mut allowed, mut blocked) = (Vec::new(), Vec::new());
        for address in addresses {
            match self.objection(address, source, transport) {
                None => allowed.push(address),
                Some(objection) => blocked.push((address, objection)),
            }
        }
        if allowed.is_empty() && !blocked.is_empty() {
            return Err(BlockedAddress::name(host, blocked));
        }
        Ok(allowed)
    }

    fn objection(
        &self,
        address: IpAddr,
        source: Source,
        transport: Transport,
    ) -> Option<Objection> {
        match (AddressClass::of(address), &self.reach) {
            // Invariant: no setting leads around this line.
            (AddressClass::Forbidden(kind), _) => Some(Objection::Forbidden(kind)),
            (_, Reach::Loopback) => {
                let is_here = address.to_canonical().is_loopback();
                (!is_here).then_some(Objection::NotLoopback)
            }
            (AddressClass::Restricted(_), Reach::OwnNetworks) => None,
            (AddressClass::Restricted(kind), Reach::Configured(allowed)) => {
                let may = source != Source::Name || allowed.holds(address);
                (!may).then_some(Objection::Restricted(kind))
            }
            (AddressClass::Public, _) => (transport == Transport::Plain && source != Source::Proxy)
                .then_some(Objection::PlainToPublic),
        }
    }
}

fn transport_of(is_plain: bool) -> Transport {
    if is_plain { Transport::Plain } else { Transport::Tls }
}

/// How a URL is spoken to; absent where that is not HTTP.
pub(crate) fn transport(url: &Url) -> Option<Transport> {
    match url.scheme() {
        "https" => Some(Transport::Tls),
        "http" => Some(Transport::Plain),
        _ => None,
    }
}

/// The address that a URL has for its host, in whatever spelling it was written; absent where it has a name.
fn literal(url: &Url) -> Result<Option<IpAddr>, UrlError> {
    match url.host().ok_or(UrlError::Scheme)? {
        Host::Domain(_) => Ok(None),
        Host::Ipv4(address) => Ok(Some(address.into())),
        Host::Ipv6(address) => Ok(Some(address.into())),
    }
}

#[cfg(test)]
mod tests;
