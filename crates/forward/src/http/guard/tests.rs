//! Tests of the guard.

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
    for url in ["nats://169.254.169.254", "tls://0xa9fea9fe:4222", "nats://[::ffff:a9fe:a9fe]"] {
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
    for url in ["http://localhost:3000/", "http://127.0.0.9/", "https://[::1]/", "http://a.test/"] {
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
