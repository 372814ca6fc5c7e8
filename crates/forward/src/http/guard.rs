//! Which addresses may be sent to: the egress guard.
//!
//! Operators write the URLs, but DNS, redirects and typing errors do not ask them. So the guard judges twice, as each way alone
//! leaves a hole: the host of the parsed URL when a client is made, since the resolver is never asked about an address that
//! stands in the URL; and every answer of the resolver, since a name says nothing about where it leads.

use std::net::IpAddr;
use std::sync::Arc;

use protocol::source_filter::Networks;
use url::{Host, Url};

use super::address::AddressClass;
use super::blocked_address::{BlockedAddress, Objection};
use super::error::UrlError;

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
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;
    use protocol::diagnostic::Hint;

    use super::*;

    fn guard(networks: &[&str]) -> Guard {
        Guard::new(Networks::parse(networks.iter().copied()).unwrap())
    }

    fn check(guard: &Guard, url: &str) -> Result<(), UrlError> {
        guard.check_url(&Url::parse(url).unwrap(), None)
    }

    #[test]
    fn servers_of_nats_are_judged_as_urls_are() {
        let judged = |guard: &Guard, url: &str, requires_tls: bool| {
            guard.check_servers(&[Url::parse(url).unwrap()], requires_tls)
        };
        let (none, own) = (guard(&[]), guard(&["10.0.0.0/8"]));
        for url in ["nats://127.0.0.1:4222", "tls://a.example", "tls://8.8.8.8", "nats://[::1]"] {
            assert_eq!(judged(&none, url, false), Ok(()), "{url}");
        }
        for url in ["nats://169.254.169.254", "tls://0xa9fea9fe:4222", "nats://[::ffff:a9fe:a9fe]"]
        {
            assert!(matches!(judged(&own, url, true), Err(UrlError::Blocked(_))), "{url}");
        }
        assert!(matches!(judged(&none, "nats://8.8.8.8", false), Err(UrlError::Blocked(_))));
        assert_eq!(judged(&none, "nats://8.8.8.8", true), Ok(()));
        assert_eq!(judged(&none, "nats://a.example", false), Err(UrlError::PlainToServer));
        assert_eq!(judged(&none, "nats://a.example", true), Ok(()));
        assert_eq!(judged(&own, "nats://a.example", false), Ok(()));
    }

    #[test]
    fn a_public_url_needs_tls() {
        let guard = Guard::default();
        check(&guard, "https://hooks.example.com/trtc").unwrap();
        check(&guard, "https://1.1.1.1/").unwrap();
        let error = check(&guard, "http://1.1.1.1/").unwrap_err();
        assert_eq!(error.to_string(), "nothing is sent to 1.1.1.1, a public address, without TLS");
        assert!(error.hint().unwrap().contains("https://"));
        let error = check(&guard, "http://hooks.example.com/").unwrap_err();
        assert_eq!(error, UrlError::PlainToName);
        check(&self::guard(&["10.0.0.0/8"]), "http://hooks.example.com/").unwrap();
    }

    #[test]
    fn an_own_address_in_the_url_is_permission() {
        let urls = [
            "http://127.0.0.1:8080/hook",
            "https://10.0.3.7/",
            "http://[::1]:3000/",
            "https://[fd12::7]/",
            "http://100.64.0.1/",
        ];
        for url in urls {
            check(&Guard::default(), url).unwrap();
        }
    }

    #[test]
    fn the_guard_of_listen_lets_through_to_this_machine_only() {
        let guard = Guard::loopback_only();
        for url in
            ["http://localhost:3000/", "http://127.0.0.9/", "https://[::1]/", "http://a.test/"]
        {
            check(&guard, url).unwrap();
        }
        for url in ["http://10.0.3.7/", "https://1.1.1.1/", "http://[fd12::7]/"] {
            let error = check(&guard, url).unwrap_err();
            assert!(error.hint().unwrap().contains("`--allow-remote`"), "{url}: {error}");
        }
        let judged = |guard: &Guard, address: &str| {
            let address = std::iter::once(address.parse().unwrap());
            guard.allowed_of("a.test", address, Source::Name, Transport::Plain).is_ok()
        };
        assert!(judged(&guard, "127.0.0.1") && judged(&guard, "::ffff:127.0.0.1"));
        assert!(!judged(&guard, "10.0.3.7") && !judged(&guard, "1.1.1.1"));
        let remote = Guard::own_networks();
        assert!(judged(&remote, "127.0.0.1") && judged(&remote, "10.0.3.7"));
        assert!(!judged(&remote, "1.1.1.1"), "readable on the way");
        for guard in [guard, remote] {
            assert!(!judged(&guard, "169.254.169.254") && !judged(&guard, "::ffff:a9fe:a9fe"));
            check(&guard, "http://169.254.169.254/").unwrap_err();
        }
    }

    #[test]
    fn no_spelling_of_a_metadata_address_passes() {
        let hosts = [
            "169.254.169.254",
            "0xa9fea9fe",
            "0xa9.0xfe.0xa9.0xfe",
            "0251.0376.0251.0376",
            "2852039166",
            "169.254.43518",
            "169.16689662",
            "169.254.169.254.",
            "１６９.254.169.254",
            "169。254。169。254",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[0:0:0:0:0:ffff:a9fe:a9fe]",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "[fe80::a9fe:a9fe]",
            "0",
            "[::]",
        ];
        let everything = guard(&["0.0.0.0/0", "::/0", "169.254.169.254"]);
        for host in hosts {
            for scheme in ["http", "https"] {
                let error = check(&everything, &format!("{scheme}://{host}/")).unwrap_err();
                assert!(matches!(error, UrlError::Blocked(_)), "{host}: {error}");
                assert!(error.hint().unwrap().contains("no setting"), "{host}");
            }
        }
    }

    #[test]
    fn urls_that_are_not_of_http_are_refused() {
        for url in ["nats://127.0.0.1", "ftp://example.com", "data:,x", "unix:/run/x"] {
            assert_eq!(check(&Guard::default(), url), Err(UrlError::Scheme), "{url}");
        }
    }

    #[test]
    fn a_proxy_is_plain_and_resolves_names_itself() {
        let guard = Guard::default();
        let check = |url: &str, proxy: &str| {
            guard.check_url(&Url::parse(url).unwrap(), Some(&Url::parse(proxy).unwrap()))
        };
        check("https://hooks.example.com/", "http://10.0.0.1:4750").unwrap();
        check("https://hooks.example.com/", "http://proxy.internal:4750").unwrap();
        check("http://10.0.3.7/", "http://proxy.internal:4750").unwrap();
        let error = check("http://hooks.example.com/", "http://10.0.0.1:4750").unwrap_err();
        assert_eq!(error, UrlError::PlainToProxy);
        let error = check("https://hooks.example.com/", "https://proxy.internal").unwrap_err();
        assert_eq!(error, UrlError::Proxy);
        for (url, proxy) in [
            ("https://hooks.example.com/", "http://169.254.169.254:80"),
            ("https://169.254.169.254/", "http://10.0.0.1:4750"),
        ] {
            assert!(matches!(check(url, proxy), Err(UrlError::Blocked(_))), "{url} {proxy}");
        }
    }

    #[test]
    fn a_name_needs_its_own_addresses_in_the_list() {
        let resolve = |guard: &Guard, addresses: &[&str]| {
            let addresses: Vec<IpAddr> = addresses.iter().map(|a| a.parse().unwrap()).collect();
            guard.allowed_of("hooks.test", addresses.into_iter(), Source::Name, Transport::Tls)
        };
        let error = resolve(&Guard::default(), &["10.0.3.7", "fd12::1"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "`hooks.test` resolves to an address that is not allowed: 10.0.3.7, a private address; fd12::1, a private address"
        );
        assert_eq!(
            error.hint().unwrap(),
            "add \"10.0.3.7/32\", \"fd12::1/128\" to forwarding.allow_networks"
        );
        let error = resolve(&Guard::default(), &["::ffff:10.0.3.7"]).unwrap_err();
        assert_eq!(error.hint().unwrap(), "add \"10.0.3.7/32\" to forwarding.allow_networks");
        let left = resolve(&guard(&["10.0.3.7/32"]), &["10.0.3.7", "10.0.3.8", "1.1.1.1"]).unwrap();
        assert_eq!(left, ["10.0.3.7".parse::<IpAddr>().unwrap(), "1.1.1.1".parse().unwrap()]);
        assert_eq!(resolve(&Guard::default(), &[]), Ok(vec![]));
    }

    const METADATA_V4: [u32; 3] = [0x6464_64c8, 0xa83f_8110, 0xc000_00c0];

    const METADATA_V6: [u128; 5] = [
        0xfd20_00ce_0000_0000_0000_0000_0000_0254,
        0xfd00_00c1_0000_0000_0000_0000_a9fe_a9fe,
        0xfd00_0042_0000_0000_0000_0000_0000_0042,
        0xfd00_a9fe_a9fe_0000_0000_0000_0000_0001,
        0xfd00_0100_0000_0000_0000_0000_0100_0200,
    ];

    /// What the guard must never let through, by bits and not by its own code.
    fn is_never(address: IpAddr) -> bool {
        let serves_metadata = |bits: u32| bits >> 16 == 0xa9fe || METADATA_V4.contains(&bits);
        let never_v4 = |bits: u32| {
            serves_metadata(bits) || bits >> 24 == 0 || bits >> 28 == 0xe || bits == u32::MAX
        };
        let bits = match address {
            IpAddr::V4(address) => return never_v4(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        let part =
            |shift: u32, length: u32| u32::try_from((bits >> shift) & ((1 << length) - 1)).unwrap();
        match bits >> 32 {
            _ if bits == 1 => false,
            0 | 0xffff | 0xffff_0000 | 0x0064_ff9b_0000_0000_0000_0000 => never_v4(part(0, 32)),
            _ if bits >> 112 == 0x2002 => never_v4(part(80, 32)),
            _ if bits >> 80 == 0x0064_ff9b_0001 => {
                serves_metadata(part(64, 16) << 16 | part(40, 16))
                    || serves_metadata(part(64, 8) << 24 | part(32, 24))
                    || serves_metadata(part(24, 32))
                    || serves_metadata(part(0, 32))
            }
            _ => {
                METADATA_V6.contains(&bits)
                    || bits >> 118 == 0x3fa
                    || bits >> 120 == 0xff
                    || bits >> 96 == 0xfd00_0ec2
                    || bits >> 96 == 0x2001_0000
            }
        }
    }

    fn addresses() -> impl Strategy<Value = IpAddr> {
        let v4 = prop_oneof![
            any::<u32>(),
            any::<u16>().prop_map(|low| 0xa9fe_0000 | u32::from(low)),
            proptest::sample::select(&METADATA_V4),
            Just(u32::MAX),
            any::<u32>().prop_map(|bits| bits >> 8),
            any::<u32>().prop_map(|bits| 0xe000_0000 | (bits >> 4)),
        ];
        let carrier = prop_oneof![
            Just(0u128),
            Just(0xffff << 32),
            Just(0xffff_0000 << 32),
            Just(0x0064_ff9b << 96),
        ];
        let v6 = prop_oneof![
            any::<u128>(),
            proptest::sample::select(&METADATA_V6),
            // A NAT64 of the network's own, with an address at each place that there is for it.
            (v4.clone(), proptest::sample::select(&[0, 24]))
                .prop_map(|(low, shift)| { (0x0064_ff9b_0001 << 80) | (u128::from(low) << shift) }),
            v4.clone().prop_map(|low| {
                let (high, low) = (u128::from(low >> 16), u128::from(low & 0xffff));
                (0x0064_ff9b_0001 << 80) | (high << 64) | (low << 40)
            }),
            v4.clone().prop_map(|low| {
                let (high, low) = (u128::from(low >> 24), u128::from(low & 0x00ff_ffff));
                (0x0064_ff9b_0001 << 80) | (high << 64) | (low << 32)
            }),
            any::<u128>().prop_map(|bits| (0x3fa << 118) | (bits >> 10)),
            any::<u128>().prop_map(|bits| (0xff << 120) | (bits >> 8)),
            any::<u128>().prop_map(|bits| (0xfd00_0ec2 << 96) | (bits >> 32)),
            any::<u128>().prop_map(|bits| (0x2001_0000 << 96) | (bits >> 32)),
            (carrier, v4.clone()).prop_map(|(prefix, low)| prefix | u128::from(low)),
            (any::<u128>(), v4.clone()).prop_map(|(bits, second)| {
                (0x2002 << 112) | (u128::from(second) << 80) | (bits >> 48)
            }),
        ];
        prop_oneof![
            v4.prop_map(|bits| Ipv4Addr::from_bits(bits).into()),
            v6.prop_map(|bits| Ipv6Addr::from_bits(bits).into()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn the_never_list_is_refused_whatever_is_configured(
            address in addresses(),
            source in prop_oneof![Just(Source::Name), Just(Source::Literal), Just(Source::Proxy)],
            transport in prop_oneof![Just(Transport::Tls), Just(Transport::Plain)],
        ) {
            let own = address.to_string();
            let everything = guard(&["0.0.0.0/0", "::/0", &own]);
            let allowed = everything.objection(address, source, transport).is_none();
            prop_assert!(!(allowed && is_never(address)), "{address}");
            // Nor is anything else refused that the operator allows.
            let is_public = AddressClass::of(address) == AddressClass::Public;
            let is_readable = is_public && transport == Transport::Plain && source != Source::Proxy;
            prop_assert_eq!(allowed, !is_never(address) && !is_readable, "{}", address);
        }

        #[test]
        fn an_empty_list_lets_names_lead_to_public_addresses_only(address in addresses()) {
            let objection = Guard::default().objection(address, Source::Name, Transport::Tls);
            prop_assert_eq!(objection.is_none(), AddressClass::of(address) == AddressClass::Public);
            let plain = Guard::default().objection(address, Source::Name, Transport::Plain);
            prop_assert!(plain.is_some());
        }
    }
}
