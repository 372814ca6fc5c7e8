//! Which machine sent this request, and may it?

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net};

/// Ranges of addresses, each as `203.0.113.0/24` or one address alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks(Vec<IpNet>);

impl Networks {
    /// Reads each word of the list as one range.
    ///
    /// # Errors
    /// The first word that is none.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let range = |word: &'a str| network(word).ok_or(word);
        words.into_iter().map(range).collect::<Result<_, _>>().map(Self)
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no range at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of the ranges holds every address there is, of IPv4 or of IPv6.
    #[must_use]
    pub fn holds_everybody(&self) -> bool {
        self.0.iter().any(|range| range.prefix_len() == 0)
    }

    /// Whether `address` is in one of the ranges. One of IPv4 that is written as one of IPv6 counts as what it is.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|range| range.contains(&address))
    }
}

/// A range, or one address as the range of itself. `::ffff:10.0.0.0/104` is the range of IPv4 that it means: no peer is
/// compared in that form.
fn network(word: &str) -> Option<IpNet> {
    let word = word.trim();
    let range = match word.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => word.parse().ok()?,
    };
    let IpNet::V6(wide) = range else {
        return Some(range);
    };
    let mapped = wide.addr().to_ipv4_mapped().zip(wide.prefix_len().checked_sub(96));
    Some(match mapped {
        Some((address, prefix)) => Ipv4Net::new(address, prefix).ok()?.into(),
        None => range,
    })
}

/// The ranges that the vendor says its callbacks come from, replaced while requests are checked. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct VendorNetworks(Arc<RwLock<Option<Arc<Networks>>>>);

impl VendorNetworks {
    /// The ranges in force; absent until the first are known.
    #[must_use]
    pub fn get(&self) -> Option<Arc<Networks>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts these ranges in force, from the next request on. Does nothing where there are none: that would lock
    /// everybody out.
    pub fn set(&self, networks: Networks) {
        if !networks.is_empty() {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(networks));
        }
    }
}

/// Whether the same ranges are in force.
impl PartialEq for VendorNetworks {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for VendorNetworks {}

/// Whose requests are taken, by the address they come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    sources: Networks,
    vendor: Option<VendorNetworks>,
    proxies: Networks,
}

impl Admission {
    /// Takes requests from `sources`; from everybody where that is empty. What a peer of `proxies` says in
    /// `X-Forwarded-For` is believed, and nobody else's.
    #[must_use]
    pub fn new(sources: Networks, proxies: Networks) -> Self {
        Self { sources, vendor: None, proxies }
    }

    /// Takes requests from the vendor's ranges too, and from everybody until they are known: an event that is turned
    /// away is lost.
    #[must_use]
    pub fn with_vendor(self, networks: VendorNetworks) -> Self {
        Self { vendor: Some(networks), ..self }
    }

    /// The vendor's ranges, where requests are taken from them.
    #[must_use]
    pub fn vendor(&self) -> Option<&VendorNetworks> {
        self.vendor.as_ref()
    }

    /// Whether a request is taken. `peer` is the address that opened the connection, absent where it is unknown; `forwarded` are
    /// the lines of the header `X-Forwarded-For` in their order.
    ///
    /// # Errors
    /// The address that is not to be taken from; none where there is no telling it.
    pub fn check<'a, I>(&self, peer: Option<IpAddr>, forwarded: I) -> Result<(), Option<IpAddr>>
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: DoubleEndedIterator,
    {
        let vendor = match &self.vendor {
            None if self.sources.is_empty() => return Ok(()),
            None => None,
            Some(networks) => match networks.get() {
                None => return Ok(()),
                known => known,
            },
        };
        let held = |client| {
            self.sources.holds(client) || vendor.as_ref().is_some_and(|list| list.holds(client))
        };
        match peer.and_then(|peer| self.client(peer, forwarded).ok()) {
            Some(client) if held(client) => Ok(()),
            foreign => Err(foreign),
        }
    }

    /// The word of the header that stands where an address should and is none, escaped and cut; absent where the address is
    /// known, or there is no peer.
    #[must_use]
    pub fn unreadable<'a, I>(&self, peer: Option<IpAddr>, forwarded: I) -> Option<String>
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: DoubleEndedIterator,
    {
        let word = self.client(peer?, forwarded).err()?;
        let escaped = word.trim_ascii().escape_ascii().take(SHOWN_CHARS_MAX);
        Some(escaped.map(char::from).collect())
    }

    /// Who sent the request: the peer, or, as each proxy of ours appends the address it was asked from, the last one in
    /// the header that is not of such a proxy. Where that is no address, the word that is none. Where all are proxies of ours, the first
    /// of them asked.
    fn client<'a, I>(&self, peer: IpAddr, forwarded: I) -> Result<IpAddr, &'a [u8]>
    where
        I: IntoIterator<Item = &'a [u8]>,
        I::IntoIter: DoubleEndedIterator,
    {
        let mut client = peer.to_canonical();
        let lines = forwarded.into_iter().rev();
        for word in lines.flat_map(|line| line.rsplit(|byte| *byte == b',')) {
            if !self.proxies.holds(client) {
                break;
            }
            client = address(word).ok_or(word)?;
        }
        Ok(client)
    }
}

/// How much is shown of a word that is no address.
const SHOWN_CHARS_MAX: usize = 60;

/// One word of the header. Some proxies write the port too, or the brackets alone that it needs.
fn address(word: &[u8]) -> Option<IpAddr> {
    let word = std::str::from_utf8(word).ok()?.trim();
    let with_port = || word.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || {
        let inner = word.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let address = word.parse::<IpAddr>().ok().or_else(with_port).or_else(in_brackets);
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admission(sources: &[&str], proxies: &[&str]) -> Admission {
        let read = |words: &[&str]| Networks::parse(words.iter().copied()).unwrap();
        Admission::new(read(sources), read(proxies))
    }

    fn client(proxies: &[&str], peer: &str, lines: &[&str]) -> Option<String> {
        let peer = peer.parse().unwrap();
        let lines = lines.iter().map(|line| line.as_bytes());
        admission(&[], proxies).client(peer, lines).ok().map(|client| client.to_string())
    }

    #[test]
    fn a_range_is_an_address_or_a_cidr_and_nothing_else() {
        let networks =
            Networks::parse(["203.0.113.0/24", " 198.51.100.7", "2001:db8::/32"]).unwrap();
        for (address, held) in [
            ("203.0.113.255", true),
            ("203.0.114.0", false),
            ("198.51.100.7", true),
            ("198.51.100.8", false),
            ("2001:db8:1::1", true),
            ("2001:db9::1", false),
            ("::ffff:203.0.113.1", true),
        ] {
            assert_eq!(networks.holds(address.parse().unwrap()), held, "{address}");
        }
        let mapped = Networks::parse(["::ffff:10.0.0.0/104"]).unwrap();
        assert!(mapped.holds("10.1.2.3".parse().unwrap()));
        assert!(!mapped.holds("11.1.2.3".parse().unwrap()));
        for word in ["", "localhost", "10.0.0.0/33", "10.0.0", "2001:db8::/129", "10.0.0.1-9"] {
            assert_eq!(Networks::parse(["10.0.0.1", word]), Err(word));
        }
    }

    #[test]
    fn without_a_list_every_peer_is_admitted() {
        assert_eq!(admission(&[], &[]).check(None, []), Ok(()));
        assert_eq!(admission(&[], &["10.0.0.1"]).check(None, [&b"nonsense"[..]]), Ok(()));
    }

    #[test]
    fn with_a_list_an_unknown_peer_is_rejected() {
        let admission = admission(&["0.0.0.0/0", "::/0"], &[]);
        assert_eq!(admission.check(None, []), Err(None));
        assert_eq!(admission.check(Some("192.0.2.1".parse().unwrap()), []), Ok(()));
    }

    #[test]
    fn the_header_is_read_from_its_end_and_only_behind_own_proxies() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        for (peer, lines, expected) in [
            ("192.0.2.1", &["203.0.113.1"][..], Some("192.0.2.1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &["203.0.113.1"], Some("203.0.113.1")),
            ("::ffff:10.0.0.1", &["203.0.113.1"], Some("203.0.113.1")),
            ("10.0.0.1", &["::ffff:203.0.113.1"], Some("203.0.113.1")),
            ("fd00::1", &["2001:db8::1"], Some("2001:db8::1")),
            // The client wrote the first address itself.
            ("10.0.0.1", &["203.0.113.1, 192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["203.0.113.1", "192.0.2.1"], Some("192.0.2.1")),
            ("10.0.0.1", &["203.0.113.1,192.0.2.1 ,\t10.0.0.2", "10.0.0.3"], Some("192.0.2.1")),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], Some("10.0.0.3")),
            ("10.0.0.1", &["203.0.113.1:4711"], Some("203.0.113.1")),
            ("10.0.0.1", &["[2001:db8::1]:4711"], Some("2001:db8::1")),
            ("10.0.0.1", &["[2001:db8::1]"], Some("2001:db8::1")),
            ("10.0.0.1", &["192.0.2.1, [fd00::2]:80 , [::ffff:10.0.0.2]"], Some("192.0.2.1")),
            ("10.0.0.1", &["[203.0.113.1]"], None),
            ("10.0.0.1", &["[2001:db8::1"], None),
            ("10.0.0.1", &["2001:db8::1]:80"], None),
            ("10.0.0.1", &["unknown"], None),
            ("10.0.0.1", &[""], None),
            ("10.0.0.1", &["203.0.113.1, "], None),
            ("10.0.0.1", &["203.0.113.1, unknown, 10.0.0.2"], None),
        ] {
            assert_eq!(client(&proxies, peer, lines).as_deref(), expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn an_invalid_address_is_shown_escaped_and_cut() {
        let admission = admission(&["203.0.113.0/24"], &["10.0.0.0/8"]);
        let shown = |peer: &str, line: &[u8]| admission.unreadable(peer.parse().ok(), [line]);
        assert_eq!(shown("10.0.0.1", b"203.0.113.9, _hidden , 10.0.0.2").unwrap(), "_hidden");
        assert_eq!(shown("10.0.0.1", b"a\"\x1b[31m\xff\n").unwrap(), "a\\\"\\x1b[31m\\xff");
        assert_eq!(shown("10.0.0.1", &[b'x'; 5000]).unwrap().len(), SHOWN_CHARS_MAX);
        assert_eq!(shown("10.0.0.1", b"192.0.2.1"), None);
        assert_eq!(shown("192.0.2.1", b"_hidden"), None);
        assert_eq!(admission.unreadable(None, [&b"x"[..]]), None);
    }

    #[test]
    fn the_vendors_list_admits_all_until_set_and_is_never_emptied() {
        let read = |words: &[&str]| Networks::parse(words.iter().copied()).unwrap();
        let list = VendorNetworks::default();
        let admission = admission(&["192.0.2.1"], &[]).with_vendor(list.clone());
        let taken = |address: &str| admission.check(Some(address.parse().unwrap()), []).is_ok();
        assert!(taken("198.51.100.1"));
        assert_eq!(admission.check(None, []), Ok(()));
        list.set(read(&["203.0.113.0/24"]));
        for address in ["203.0.113.9", "192.0.2.1"] {
            assert!(taken(address), "{address}");
        }
        assert!(!taken("198.51.100.1"));
        assert_eq!(admission.check(None, []), Err(None));
        list.set(Networks::default());
        assert!(taken("203.0.113.9") && !taken("198.51.100.1"));
        list.set(read(&["198.51.100.0/24"]));
        assert!(!taken("203.0.113.9") && taken("198.51.100.1"));
    }

    proptest! {
        #[test]
        fn a_header_from_an_untrusted_peer_is_ignored(
            peer: IpAddr,
            lines in prop::collection::vec(
                "((203\\.0\\.113\\.[1-9]|10\\.0\\.0\\.1|[a-z,: .0-9]{0,9}),? ?){0,5}", 0..4),
        ) {
            let admission = admission(&["203.0.113.0/24"], &["10.0.0.0/8"]);
            let networks = Networks::parse(["203.0.113.0/24", "10.0.0.0/8"]).unwrap();
            prop_assume!(!networks.holds(peer));
            let lines = lines.iter().map(String::as_bytes);
            prop_assert_eq!(admission.check(Some(peer), lines), Err(Some(peer.to_canonical())));
        }

        #[test]
        fn a_forged_prefix_of_the_forwarded_header_has_no_effect(
            forged in prop::collection::vec(any::<u8>(), 0..60),
            client: IpAddr,
        ) {
            let admission = admission(&["203.0.113.0/24"], &["10.0.0.1"]);
            prop_assume!(client.to_canonical() != IpAddr::from([10, 0, 0, 1]));
            let peer = Some(IpAddr::from([10, 0, 0, 1]));
            let own = client.to_string();
            let honest = admission.check(peer, [own.as_bytes()]);
            let line = [&forged[..], b", ", own.as_bytes()].concat();
            prop_assert_eq!(admission.check(peer, [line.as_slice()]), honest);
            prop_assert_eq!(admission.check(peer, [forged.as_slice(), own.as_bytes()]), honest);
        }
    }
}
