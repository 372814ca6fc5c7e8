//! The header of the PROXY protocol, versions 1 and 2: from the first bytes of a connection to the address of its client.
//!
//! Of the protocol's fields only the source address is used. See
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The signature of version 2.
pub(crate) const V2_SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const V1_PREFIX: &[u8] = b"PROXY ";
/// Maximum size of version 1, in bytes, with its end of line.
const V1_BYTES_MAX: usize = 107;
/// Size of what stands before the addresses of version 2, in bytes.
const V2_FIXED_BYTES: usize = 16;
/// Maximum size of version 2, in bytes. The format allows 64 KiB; load balancers send a few hundred.
const V2_BYTES_MAX: usize = 4096;
/// The type of the field that holds a checksum of the header.
const TLV_CRC32C: u8 = 3;

/// Who opened the connection to the load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// This client.
    Client(SocketAddr),
    /// The load balancer itself, for a health check.
    LoadBalancer,
    /// A client whose address the load balancer does not state as one of TCP.
    Unknown,
}

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    pub(crate) source: Source,
    /// Its size, in bytes: behind it comes what the client sent.
    pub(crate) length: usize,
}

/// Why bytes are not a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum InvalidHeader {
    /// They begin otherwise.
    Missing,
    /// It is malformed, in this way.
    Malformed(&'static str),
}

use InvalidHeader::{Malformed, Missing};

impl ProxyHeader {
    /// Reads a header from the first bytes of a connection; `None` while there are too few. More bytes never change a
    /// result.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Self>, InvalidHeader> {
        let begins = |signature: &[u8]| {
            let both = bytes.len().min(signature.len());
            bytes.get(..both) == signature.get(..both)
        };
        if begins(V2_SIGNATURE) {
            parse_v2(bytes)
        } else if begins(V1_PREFIX) {
            parse_v1(bytes)
        } else {
            Err(Missing)
        }
    }
}

fn parse_v1(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidHeader> {
    let most = bytes.get(..V1_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = most.windows(2).position(|pair| pair == b"\r\n") else {
        let is_over = most.len() == V1_BYTES_MAX;
        return if is_over { Err(Malformed("its line has no end")) } else { Ok(None) };
    };
    let line = most.get(V1_PREFIX.len()..end).unwrap_or_default();
    let line = std::str::from_utf8(line).map_err(|_| Malformed("its line is not text"))?;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let source = if family == "UNKNOWN" {
        // What follows is to be ignored.
        Source::Unknown
    } else {
        let words: Vec<_> = words.collect();
        let &[source, destination, source_port, destination_port] = words.as_slice() else {
            return Err(Malformed("its line has not two addresses and two ports"));
        };
        let address = |word: &str| -> Option<IpAddr> {
            match family {
                "TCP4" => word.parse().ok().map(IpAddr::V4),
                "TCP6" => word.parse().ok().map(IpAddr::V6),
                _ => None,
            }
        };
        let (Some(source), Some(_)) = (address(source), address(destination)) else {
            return Err(Malformed("its addresses are not those of TCP4 or TCP6"));
        };
        let port = |word: &str| -> Option<u16> {
            word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
        };
        let (Some(port), Some(_)) = (port(source_port), port(destination_port)) else {
            return Err(Malformed("its ports are not numbers up to 65535"));
        };
        Source::Client(SocketAddr::new(source, port))
    };
    Ok(Some(ProxyHeader { source, length: end + 2 }))
}

fn parse_v2(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidHeader> {
    let Some(&[version_and_command, kind, high, low]) =
        bytes.get(V2_SIGNATURE.len()..).and_then(|rest| rest.first_chunk())
    else {
        return Ok(None);
    };
    let length = V2_FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if version_and_command >> 4 != 2 {
        return Err(Malformed("its version is neither 1 nor 2"));
    }
    if length > V2_BYTES_MAX {
        return Err(Malformed("it has more than 4096 bytes"));
    }
    let (family, transport) = (kind >> 4, kind & 0xf);
    let is_local = match version_and_command & 0xf {
        0 => true,
        1 if family <= 3 && transport <= 2 => false,
        1 => return Err(Malformed("its address family or transport is unknown")),
        _ => return Err(Malformed("its command is neither LOCAL nor PROXY")),
    };
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    let source = match kind {
        // The rest is to be ignored.
        _ if is_local => Source::LoadBalancer,
        0x11 => Source::Client(client(header, 4, |octets: [u8; 4]| Ipv4Addr::from(octets).into())?),
        0x21 => {
            Source::Client(client(header, 16, |octets: [u8; 16]| Ipv6Addr::from(octets).into())?)
        }
        _ => Source::Unknown,
    };
    Ok(Some(ProxyHeader { source, length }))
}

/// The source of a header of version 2 whose addresses have this size, once the rest of the header is checked.
fn client<const SIZE: usize>(
    header: &[u8],
    size: usize,
    address: impl Fn([u8; SIZE]) -> IpAddr,
) -> Result<SocketAddr, InvalidHeader> {
    let short = Malformed("it is too short for its addresses");
    // Two addresses, then two ports of two bytes.
    let addresses = header.get(V2_FIXED_BYTES..).ok_or(short)?;
    let (addresses, fields) = addresses.split_at_checked(2 * size + 4).ok_or(short)?;
    let source = *addresses.first_chunk::<SIZE>().ok_or(short)?;
    let port = *addresses.get(2 * size..).and_then(|ports| ports.first_chunk()).ok_or(short)?;
    check_fields(header, fields)?;
    Ok(SocketAddr::new(address(source), u16::from_be_bytes(port)))
}

/// Checks the type-length-value fields, and the checksum where one of them is that.
fn check_fields(header: &[u8], mut fields: &[u8]) -> Result<(), InvalidHeader> {
    while !fields.is_empty() {
        let cut = Malformed("a field of it is cut off");
        let (&[kind, high, low], rest) = fields.split_first_chunk().ok_or(cut)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, rest) = rest.split_at_checked(length).ok_or(cut)?;
        if kind == TLV_CRC32C {
            let sum = value.try_into().map_err(|_| Malformed("its checksum is not one"))?;
            let before = header.len() - rest.len() - value.len();
            let zeroed = header.iter().enumerate().map(|(place, byte)| {
                // The checksum counts as zero in itself.
                if (before..before + value.len()).contains(&place) { 0 } else { *byte }
            });
            if crc32c(zeroed) != u32::from_be_bytes(sum) {
                return Err(Malformed("its checksum is wrong"));
            }
        }
        fields = rest;
    }
    Ok(())
}

/// The checksum of Castagnoli, bit by bit: at most 4096 bytes once a connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0x82f6_3b78 } else { sum >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::http::listener::proxy_header::*;

    fn v2(command: u8, kind: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&V2_SIGNATURE[..], &[0x20 | command, kind], &length[..], rest].concat()
    }

    const IPV4: &[u8] = b"\xcb\x00\x71\x07\xc0\x00\x02\x01\x9c\x40\x01\xbb";
    const IPV6: &[u8] = b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x07\
        \x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x9c\x40\x01\xbb";

    fn with_checksum() -> Vec<u8> {
        let noop = b"\x04\0\x02..";
        let empty = v2(1, 0x11, &[IPV4, noop, b"\x03\0\x04\0\0\0\0", noop].concat());
        let sum = crc32c(empty.iter().copied());
        v2(1, 0x11, &[IPV4, noop, b"\x03\0\x04", &sum.to_be_bytes(), noop].concat())
    }

    /// Valid headers, and what they say.
    fn valid() -> Vec<(Vec<u8>, Source)> {
        let client = |address: &str| Source::Client(address.parse().unwrap());
        let four = client("203.0.113.7:40000");
        let six = client("[2001:db8::7]:40000");
        vec![
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 40000 443\r\n".to_vec(), four),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n".to_vec(), six),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Unknown),
            (b"PROXY UNKNOWN ffff::1 ffff::1 65535 65535\r\n".to_vec(), Source::Unknown),
            (v2(1, 0x11, IPV4), four),
            (v2(1, 0x21, IPV6), six),
            (v2(1, 0x11, &[IPV4, b"\x05\0\x03abc\x04\0\0"].concat()), four),
            (with_checksum(), four),
            (v2(0, 0, b""), Source::LoadBalancer),
            // A health check whose other fields are to be ignored.
            (v2(0, 0x11, IPV4), Source::LoadBalancer),
            (v2(0, 0xff, b"\x03\0\x04"), Source::LoadBalancer),
            (v2(1, 0, b""), Source::Unknown),
            // Datagrams, and a socket of Unix.
            (v2(1, 0x12, IPV4), Source::Unknown),
            (v2(1, 0x31, &[b'/'; 216]), Source::Unknown),
        ]
    }

    #[test]
    fn each_version_and_family_gives_the_source() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
        for (header, source) in valid() {
            let length = header.len();
            let found = ProxyHeader::parse(&[&header, &b"POST / HTTP/1.1\r\n"[..]].concat());
            assert_eq!(found, Ok(Some(ProxyHeader { source, length })), "{header:?}");
        }
    }

    #[test]
    fn a_malformed_header_is_named() {
        let mut wrong_sum = with_checksum();
        *wrong_sum.last_mut().unwrap() ^= 1;
        for (bytes, reason) in [
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 40000\r\n".to_vec(), "not two addresses"),
            (b"PROXY TCP4  203.0.113.7 192.0.2.1 40000 443\r\n".to_vec(), "not two addresses"),
            (b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(), "not those of TCP4"),
            (b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n".to_vec(), "not those of TCP4"),
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 2\r\n".to_vec(), "ports are not numbers"),
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n".to_vec(), "ports are not numbers"),
            ([V1_PREFIX, &[b'x'; 200]].concat(), "has no end"),
            (b"PROXY \xff\xff\r\n".to_vec(), "not text"),
            ([&V2_SIGNATURE[..], &b"\x11\x11\0\x0c"[..], IPV4].concat(), "version"),
            (v2(2, 0x11, IPV4), "command"),
            (v2(1, 0x41, IPV4), "unknown"),
            (v2(1, 0x13, IPV4), "unknown"),
            (v2(1, 0x11, &IPV4[..11]), "too short"),
            (v2(1, 0x21, IPV4), "too short"),
            (v2(1, 0x11, &[IPV4, b"\x04\0\x02."].concat()), "cut off"),
            (v2(1, 0x11, &[IPV4, b"\x03\0\x02.."].concat()), "checksum is not one"),
            (wrong_sum, "checksum is wrong"),
            (v2(1, 0x11, &[0; 5000]), "more than 4096"),
        ] {
            let Err(Malformed(found)) = ProxyHeader::parse(&bytes) else { panic!("{bytes:?}") };
            assert!(found.contains(reason), "{found}: {bytes:?}");
        }
        for bytes in [&b"POST / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"\r\n\r\nPOST", b"PROXYING"] {
            assert_eq!(ProxyHeader::parse(bytes), Err(Missing), "{bytes:?}");
        }
    }

    proptest! {
        /// Whatever the bytes are, and wherever they are cut: nothing panics, and once there is a result it stays.
        #[test]
        fn a_cut_gives_no_result_or_the_same(
            which in 0..valid().len() + 2,
            changes in proptest::collection::vec((0..300_usize, any::<u8>()), 0..4),
            more in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let mut bytes = match valid().into_iter().nth(which) {
                Some((header, _)) => header,
                None if which.is_multiple_of(2) => V2_SIGNATURE.to_vec(),
                None => Vec::new(),
            };
            bytes.extend(more);
            for (place, byte) in changes {
                if let Some(changed) = bytes.get_mut(place) {
                    *changed = byte;
                }
            }
            let whole = ProxyHeader::parse(&bytes);
            if let Ok(Some(header)) = whole {
                prop_assert!(header.length <= bytes.len() && header.length <= V2_BYTES_MAX);
            }
            let mut decided = None;
            for cut in 0..=bytes.len() {
                let found = ProxyHeader::parse(&bytes[..cut]);
                if let Some(decided) = decided {
                    prop_assert_eq!(found, decided, "{} of {:?}", cut, bytes);
                } else if found != Ok(None) {
                    decided = Some(found);
                }
            }
        }
    }
}
