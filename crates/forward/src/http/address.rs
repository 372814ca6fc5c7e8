//! What kind of address this is: public, of somebody's own network, or one that nothing is ever sent to.
//!
//! What is not known to be public is taken for an own network, so a range that is assigned one day is refused until then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is, with words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressClass {
    /// Anybody's.
    Public,
    /// Of an own network, or reserved: needs the operator's permission.
    Restricted(&'static str),
    /// Never to be sent to, whatever is configured.
    Forbidden(&'static str),
}

const METADATA: AddressClass = AddressClass::Forbidden("a cloud's metadata address");

/// Metadata and platform services outside of the link-local range.
const METADATA_V4: [Ipv4Addr; 3] = [
    Ipv4Addr::new(100, 100, 100, 200), // Alibaba Cloud
    Ipv4Addr::new(168, 63, 129, 16),   // Azure
    Ipv4Addr::new(192, 0, 0, 192),     // Oracle Cloud
];

/// The same of IPv6. AWS has a whole range, see [`is_metadata_v6`].
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), // Google Cloud
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe), // Oracle Cloud
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),  // Scaleway
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1), // Akamai
    Ipv6Addr::new(0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200), // Alibaba Cloud
];

impl AddressClass {
    /// The class of an address; of one of IPv6 that carries one of IPv4, the class of what it carries.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// The same, but not public.
    fn not_public(self) -> Self {
        if self == Self::Public { Self::Restricted("a reserved address") } else { self }
    }
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    use AddressClass::{Forbidden, Public, Restricted};
    match address.octets() {
        [0, ..] => Forbidden("an unspecified address"),
        _ if address.is_link_local() => Forbidden("a link-local address"),
        _ if METADATA_V4.contains(&address) => METADATA,
        _ if address.is_multicast() => Forbidden("a multicast address"),
        _ if address.is_broadcast() => Forbidden("the broadcast address"),
        _ if address.is_loopback() => Restricted("a loopback address"),
        _ if address.is_private() => Restricted("a private address"),
        [100, 64..=127, ..] => Restricted("a shared address of a carrier (CGNAT)"),
        // Protocol assignments, the relays of 6to4, benchmarks, and what is for later.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => {
            Restricted("a reserved address")
        }
        _ if address.is_documentation() => Restricted("a reserved address"),
        _ => Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    use AddressClass::{Forbidden, Public, Restricted};
    match address.segments() {
        _ if address.is_unspecified() => Forbidden("an unspecified address"),
        _ if address.is_multicast() => Forbidden("a multicast address"),
        _ if address.is_unicast_link_local() => Forbidden("a link-local address"),
        _ if is_metadata_v6(address) => METADATA,
        _ if address.is_loopback() => Restricted("a loopback address"),
        // IPv4-compatible, and translated without state (SIIT).
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] => of_v4(v4(high, low)).not_public(),
        // NAT64, which DNS64 answers with where there is no IPv4; and 6to4.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => of_v4(v4(high, low)),
        [0x64, 0xff9b, 1, ..] => of_local_nat64(address),
        // It carries two addresses of IPv4, one of them disguised, and nobody uses it any more.
        [0x2001, 0, ..] => Forbidden("an address of a Teredo tunnel"),
        _ if address.is_unique_local() => Restricted("a private address"),
        // Protocol assignments and documentation.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => {
            Restricted("a reserved address")
        }
        [0x2000..=0x3fff, ..] => Public,
        _ => Restricted("a reserved address"),
    }
}

fn is_metadata_v6(address: Ipv6Addr) -> bool {
    METADATA_V6.contains(&address) || matches!(address.segments(), [0xfd00, 0xec2, ..])
}

/// NAT64 with a prefix of the network's own (RFC 8215). Where in it the address of IPv4 stands depends on the length of that
/// prefix, which the address does not tell: it is forbidden where one of the places that RFC 6052 has holds what a cloud serves
/// its metadata from. The other forbidden kinds do not count: the unused bits of another length would look like them.
fn of_local_nat64(address: Ipv6Addr) -> AddressClass {
    let bytes = address.octets();
    // The ninth byte is left out by the shorter prefixes.
    let places = [[6, 7, 9, 10], [7, 9, 10, 11], [9, 10, 11, 12], [12, 13, 14, 15]];
    let carried = places.map(|place| Ipv4Addr::from(place.map(|at| bytes[at])));
    if carried.iter().any(|v4| v4.is_link_local() || METADATA_V4.contains(v4)) {
        return METADATA;
    }
    AddressClass::Restricted("an address of the network's own NAT64")
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use AddressClass::{Forbidden, Public, Restricted};

    fn class(address: &str) -> AddressClass {
        AddressClass::of(address.parse().unwrap())
    }

    #[test]
    fn metadata_and_its_like_are_forbidden_in_every_form() {
        let addresses = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.0.1",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "::",
            "fe80::1",
            "febf:ffff::1",
            "fe80::a9fe:a9fe",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "fd00:42::42",
            "fd00:a9fe:a9fe::1",
            "fd00:100::100:200",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "::ffff:0:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b::0.0.0.0",
            "64:ff9b:1::169.254.169.254",
            "64:ff9b:1:a9fe:a9:fe00::",
            "64:ff9b:1:a9:fe:a9fe::",
            "64:ff9b:1:7:a9:fea9:fe00:0",
            "64:ff9b:1::100.100.100.200",
            "2002:a9fe:a9fe::1",
            "2002:6464:64c8::",
            "2001::1",
            "2001:0:a9fe:a9fe:8000:63bf:3fff:fdd2",
        ];
        for address in addresses {
            assert!(matches!(class(address), Forbidden(_)), "{address}: {:?}", class(address));
        }
    }

    #[test]
    fn own_networks_and_reserved_ranges_are_restricted() {
        let addresses = [
            "127.0.0.1",
            "127.255.255.254",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "240.0.0.1",
            "255.255.255.254",
            "::1",
            "fc00::1",
            "fd12:3456::1",
            "fec0::1",
            "100::1",
            "5f00::1",
            "4000::1",
            "2001:2::1",
            "2001:20::1",
            "2001:db8::1",
            "3fff:fff::1",
            "::10.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:0:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:a00:1::1",
        ];
        for address in addresses {
            assert!(matches!(class(address), Restricted(_)), "{address}: {:?}", class(address));
        }
    }

    #[test]
    fn the_rest_is_public() {
        let addresses = [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "168.63.129.17",
            "172.15.255.255",
            "172.32.0.0",
            "169.253.255.255",
            "192.0.1.1",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2001:200::1",
            "2606:4700::1111",
            "2a00:1450::1",
            "3fff:1000::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ];
        for address in addresses {
            assert_eq!(class(address), Public, "{address}");
        }
    }
}
