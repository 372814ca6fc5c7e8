//! Every code that the vendor documents, raised over HTTP.

use protocol::diagnostic::Hint;
use trtc_callbacks::tencent_api::error_codes;
use trtc_callbacks::tencent_api::error_codes::Retry;
use trtc_callbacks::tencent_api::{CallbackConfig, Failure, Product};

use crate::vendor::{client_of, limits, stub};
use crate::vendor_stub::Fault;

/// The codes of the vendor's pages.
const DOCUMENTED: [i64; 43] = [
    60002, 60003, 60004, 60005, 60006, 60007, 60008, 60009, 60010, 60011, 60012, 60013, 60014,
    60015, 60016, 60017, 60018, 60019, 60020, 60021, 60025, 60026, 60027, 60028, 70001, 70003,
    70009, 70013, 70014, 70016, 70020, 70050, 70051, 70107, 70169, 70398, 70402, 70500, 100_001,
    100_002, 100_300, 100_301, 100_302,
];
/// Those that another try may mend.
const SOON: [i64; 6] = [60008, 60013, 60014, 70169, 70500, 100_001];
/// Those that say there were too many calls.
const SLOWLY: [i64; 4] = [60007, 60011, 60018, 60019];

#[test]
fn the_table_has_every_documented_code_once_and_in_order() {
    let table: Vec<i64> = error_codes::CODES.iter().map(|row| row.code).collect();
    assert_eq!(table, DOCUMENTED);
    for row in error_codes::CODES {
        for text in [row.meaning, row.hint] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", row.code);
            assert!(!text.starts_with("The ") && !text.contains("  "), "{}: {text}", row.code);
        }
    }
}

#[tokio::test]
async fn every_documented_code_says_what_it_means_and_what_to_do() {
    let (stub, clock) = stub().await;
    let client = client_of(&stub, &clock, limits());
    for row in error_codes::CODES {
        let expected = match row.code {
            code if SOON.contains(&code) => Retry::Soon,
            code if SLOWLY.contains(&code) => Retry::Slowly,
            _ => Retry::Never,
        };
        assert_eq!(row.retry, expected, "{}", row.code);
        let tries = if expected == Retry::Never { 1 } else { 4 };
        for bare in [false, true] {
            let before = stub.seen().len();
            let fault = if bare { Fault::BareCode(row.code) } else { Fault::Code(row.code) };
            // No code means something else to `set_callback`.
            stub.fail("set_callback", tries, fault);
            let wanted = CallbackConfig::new("https://example.com", Product::Room.usual_commands());
            let error = client.set_callback(Product::Room, &wanted).await.unwrap_err();
            assert_eq!(error.code(), Some(row.code));
            assert_eq!((error.tries, stub.seen().len() - before), (tries, tries as usize));
            assert_eq!(error.request_id.is_some(), !bare);
            let text = error.diagnostic().to_string();
            let (line, hint) = text.split_once("\nhint: ").unwrap();
            assert!(line.starts_with("room set_callback at 127.0.0.1:"), "{line}");
            assert!(line.contains(&format!(": code {}: {}", row.code, row.meaning)), "{line}");
            assert_eq!(line.contains("RequestId Id-"), !bare, "{line}");
            assert_eq!(hint, row.hint);
            let Failure::Refused { info, .. } = error.failure else { panic!("{line}") };
            assert_eq!(info.is_empty(), bare);
        }
    }
    assert_eq!(stub.config(crate::vendor::APP, "room_config"), None);
}
