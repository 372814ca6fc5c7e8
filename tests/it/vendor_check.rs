//! What is said of a callback configuration before the vendor is asked, and how two of them differ.

use protocol::diagnostic::Hint;
use trtc_callbacks::tencent_api::{
    CallbackConfig, CommandSupport, Diff, Endpoint, Product, Region, Rule, Severity,
};

/// The rules that a URL breaks, with one command that breaks none.
fn broken(url: &str, before: Option<&str>) -> Vec<(Severity, Rule)> {
    let config = CallbackConfig::new(url, ["Call.CallbackAfterStartCall"]);
    let findings = config.findings(Product::Call, before);
    findings.iter().map(|finding| (finding.severity, finding.rule)).collect()
}

fn commands(product: Product, commands: &[&str]) -> Vec<(Severity, Rule, String)> {
    let config = CallbackConfig::new("https://example.com/callback", commands.iter().copied());
    let findings = config.findings(product, None).into_iter();
    findings
        .map(|finding| (finding.severity, finding.rule, finding.diagnostic.hint.unwrap()))
        .collect()
}

#[test]
fn a_sound_url_is_taken() {
    for url in [
        "https://example.com",
        "https://a-b.example-1.com:8443/callback/0x-_.~%20",
        "https://8.8.8.8/callback",
    ] {
        assert_eq!(broken(url, None), [], "{url}");
    }
}

#[test]
fn a_url_that_the_vendor_would_refuse_is_an_error() {
    let long = format!("https://{}.com/", "a".repeat(60));
    for (url, rule) in [
        ("", Rule::UrlForm),
        ("example.com", Rule::UrlForm),
        ("ftp://example.com/", Rule::UrlForm),
        ("HTTPS://example.com/", Rule::UrlForm),
        ("https://", Rule::UrlForm),
        ("https://me:secret@example.com/", Rule::UrlForm),
        ("https://example.com:0/", Rule::UrlForm),
        ("https://example.com/?a=b", Rule::UrlQuery),
        ("https://example.com/?", Rule::UrlQuery),
        ("https://example.com/#there", Rule::UrlQuery),
        ("https://example.com/a b", Rule::UrlCharacter),
        ("https://example.com/a\tb", Rule::UrlCharacter),
        ("https://example.com/a!", Rule::UrlCharacter),
        ("https://example.com/$a", Rule::UrlCharacter),
        ("https://example.com/a&b", Rule::UrlCharacter),
        ("https://example.com\\a", Rule::UrlCharacter),
        ("https://example.com/ä", Rule::UrlCharacter),
        ("https://Example.com/", Rule::UrlHost),
        ("https://a_b.example.com/", Rule::UrlHost),
        ("https://-a.example.com/", Rule::UrlHost),
        ("https://a-.example.com/", Rule::UrlHost),
        ("https://a--b.example.com/", Rule::UrlHost),
        ("https://example.com./", Rule::UrlHost),
        ("https://[2001:db8::1]/", Rule::UrlHost),
        (&long, Rule::UrlHost),
    ] {
        assert!(broken(url, None).contains(&(Severity::Error, rule)), "{url}");
    }
}

#[test]
fn a_plain_or_private_url_is_a_warning() {
    let warned = |rule| [(Severity::Warning, rule)];
    assert_eq!(broken("http://example.com/", None), warned(Rule::UrlPlain));
    for host in ["localhost", "callbacks", "127.0.0.1", "10.1.2.3", "192.168.0.1", "100.64.0.1"] {
        assert_eq!(broken(&format!("https://{host}/"), None), warned(Rule::UrlReach), "{host}");
    }
}

#[test]
fn a_port_with_another_as_prefix_is_a_warning() {
    let warned = [(Severity::Warning, Rule::UrlPort)];
    let to = "https://example.com:4433/";
    assert_eq!(broken(to, Some("https://example.com/")), warned);
    assert_eq!(broken("https://example.com/", Some(to)), warned);
    assert_eq!(broken(to, Some("https://example.com:8443/")), []);
    assert_eq!(broken(to, Some("https://example.com:4433/other")), []);
    assert_eq!(broken(to, Some("https://example.org/")), []);
    assert_eq!(broken(to, Some("no URL")), []);
}

#[test]
fn commands_are_checked_against_the_products_list() {
    let of = |product, name: &str| commands(product, &[name]).pop().unwrap();
    let (severity, rule, hint) = of(Product::Call, "Call.CallbackAfterStrtCall");
    assert_eq!((severity, rule), (Severity::Error, Rule::CommandUnknown));
    assert_eq!(hint, "is `Call.CallbackAfterStartCall` meant?");
    let (severity, rule, hint) = of(Product::Room, "Live.CallbackAfterCreateRoom");
    assert_eq!((severity, rule), (Severity::Error, Rule::CommandForeign));
    assert_eq!(hint, "register it for live");
    let (severity, rule, _) = of(Product::Live, "C2C.CallbackAfterSendMsg");
    assert_eq!((severity, rule), (Severity::Error, Rule::CommandForeign));
    let (severity, rule, hint) = of(Product::Room, "Room.CallbackUpdateRoomInfo");
    assert_eq!((severity, rule), (Severity::Warning, Rule::CommandAlias));
    assert_eq!(hint, "name it `Room.CallbackAfterUpdateRoomInfo`");
    for name in ["Group.CallbackAfterSendMsg", "Live.CallbackAfterCloudRecordingChanged"] {
        let (severity, rule, _) = of(Product::Live, name);
        assert_eq!((severity, rule), (Severity::Warning, Rule::CommandDoubtful), "{name}");
    }
    let (severity, rule, hint) = of(Product::Live, "Live.CallbackBeforeSendGift");
    assert_eq!((severity, rule), (Severity::Warning, Rule::GiftsWait));
    assert!(hint.contains("Live.CallbackBeforeCallBackNotBlock"), "{hint}");
    let twice = ["Room.CallbackAfterUpdateRoomInfo", "Room.CallbackUpdateRoomInfo"];
    let twice = commands(Product::Room, &twice);
    assert!(twice.iter().any(|(_, rule, _)| *rule == Rule::CommandTwice));
    assert_eq!(commands(Product::Call, &[]).pop().unwrap().1, Rule::CommandsNone);
}

#[test]
fn the_usual_commands_are_those_the_vendor_lists_and_are_taken() {
    for (product, count) in [(Product::Call, 3), (Product::Room, 6), (Product::Live, 15)] {
        let usual: Vec<&str> = product.usual_commands().collect();
        assert_eq!(usual.len(), count, "{usual:?}");
        assert_eq!(commands(product, &usual), [], "{product}");
    }
    let chat = Product::Live.words().filter(|word| word.standing == CommandSupport::Chat);
    assert_eq!(chat.count(), 4);
}

#[test]
fn a_difference_is_of_sets_under_canonical_names() {
    let before = CallbackConfig::new(
        "https://example.com/",
        ["Room.CallbackUpdateRoomInfo", "Room.Other", "Room.CallbackAfterMemberEnter"],
    );
    let wanted = CallbackConfig::new(
        "https://example.com/",
        ["Room.CallbackAfterMemberEnter", "Room.CallbackAfterUpdateRoomInfo", "Room.Other"],
    );
    let same = Diff::between(Some(&before), &wanted);
    assert!(same.is_empty(), "{same}");
    assert_eq!((same.to_string(), same.kept.len()), (String::new(), 3));

    let wanted = CallbackConfig::new(
        "https://example.com/new",
        ["Room.CallbackAfterMemberEnter", "Room.CallbackAfterCreateRoom"],
    );
    let diff = Diff::between(Some(&before), &wanted);
    assert_eq!(
        diff.to_string(),
        "- https://example.com/\n+ https://example.com/new\n- Room.CallbackUpdateRoomInfo\n- Room.Other\n\
         + Room.CallbackAfterCreateRoom\n"
    );
    let new = Diff::between(None, &wanted);
    assert_eq!((new.url_before, new.removed, new.added.len()), (None, Vec::new(), 2));
}

#[test]
fn regions_and_products_are_read_as_they_are_printed() {
    for region in Region::ALL {
        assert_eq!(region.to_string().parse(), Ok(*region));
        assert_eq!(serde_json::to_value(region).unwrap(), region.as_str());
    }
    for product in Product::ALL {
        assert_eq!(product.to_string().parse(), Ok(product));
        assert_eq!(serde_json::to_value(product).unwrap(), product.as_str());
        let hosts: Vec<&Region> =
            Region::ALL.iter().filter(|region| region.is_documented_for(product)).collect();
        let documented: &[&Region] = match product {
            Product::Call => &[&Region::China, &Region::Singapore, &Region::Seoul],
            Product::Room => &[&Region::China, &Region::Singapore],
            Product::Live => &[&Region::China, &Region::Singapore, &Region::Usa, &Region::Jakarta],
        };
        assert_eq!(hosts, documented);
    }
    let error = "mars".parse::<Region>().unwrap_err().diagnostic().to_string();
    assert!(error.contains("`saudi-arabia`; or the host itself with `--host`"), "{error}");
    assert!(
        "chat"
            .parse::<Product>()
            .unwrap_err()
            .diagnostic()
            .to_string()
            .contains("`call`, `room` or `live`")
    );
}

#[test]
fn a_host_is_called_over_https_unless_it_is_this_machine() {
    let host = |text: &str| Endpoint::parse(text).map(|endpoint| endpoint.host().to_owned());
    for text in ["api.example.com", "https://api.example.com", "https://api.example.com/"] {
        assert_eq!(host(text).unwrap(), "api.example.com");
    }
    assert_eq!(host("api.example.com:8443").unwrap(), "api.example.com:8443");
    for text in ["http://127.0.0.1:9", "http://localhost:9", "http://[::1]:9"] {
        assert!(host(text).is_ok(), "{text}");
    }
    for text in [
        "",
        "a b",
        "https://",
        "https://example.com/v4",
        "https://example.com?a",
        "ftp://example.com",
        "https://me:secret@example.com",
        "http://example.com",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
    ] {
        let error = Endpoint::parse(text).unwrap_err().diagnostic().to_string();
        assert!(error.contains("\nhint: ") && !error.contains("secret"), "{text}: {error}");
    }
}
