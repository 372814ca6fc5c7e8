//! Bodies that something between the vendor and us has compressed.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use futures_util::future::join_all;

use crate::support::{APP, DESTROY_ROOM, Database, OK, Server, destroy_room, settings, stored};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A text as Brotli has it that is not compressed: one block of 16 bits' length, and the empty last one.
fn brotli(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap() - 1;
    // A window of 16 bits (0), not the last block (0), four nibbles of its length (00), the length, and as it is (1).
    let head = length << 4 | 1 << 20;
    let bytes = [&head.to_le_bytes()[..3], text, &[3]];
    bytes.concat()
}

async fn post(server: &Server, app: &str, encodings: &[&str], body: Vec<u8>) -> u16 {
    let url = format!("{}/?SdkAppid={app}&CallbackCommand={DESTROY_ROOM}", server.url);
    let mut request = server.client.post(url).body(body);
    for encoding in encodings {
        request = request.header("Content-Encoding", *encoding);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.text().await.unwrap() == OK, status == 200);
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_body_is_the_same_event_as_a_plain_one() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let body = destroy_room(1);
    let text = body.as_bytes();
    let sent: [(&[&str], Vec<u8>); 9] = [
        (&["gzip"], gzip(text)),
        (&["X-GZip"], gzip(text)),
        (&["deflate"], zlib(text)),
        (&["deflate"], deflate(text)),
        (&["br"], brotli(text)),
        (&["identity"], text.to_vec()),
        (&[], text.to_vec()),
        // What took the encoding off and left its name.
        (&["gzip"], text.to_vec()),
        (&["utf-8"], text.to_vec()),
    ];
    let count = u64::try_from(sent.len()).unwrap();
    for (encodings, body) in sent {
        assert_eq!(post(&server, APP, encodings, body).await, 200, "{encodings:?}");
    }
    let rows = stored(&database).await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].payload.as_bytes(), text);
    assert_eq!((rows[0].room_id.as_deref(), &rows[0].decode_error), (Some("room-1"), &None));
    assert_eq!(server.figures().await.outcome("duplicate"), count - 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_inflates_beyond_the_limit_ends_at_it() {
    let database = Database::sqlite();
    let changes =
        [("TRTC_SERVER__BODY_BYTES_MAX", "65536"), ("TRTC_INGEST__QUEUE_BYTES_MAX", "1048576")];
    let server = Server::start_with(settings(&database, &changes)).await;
    let zeros = vec![b' '; 20 << 20];
    let bombs = [("gzip", gzip(&zeros)), ("deflate", zlib(&zeros)), ("deflate", deflate(&zeros))];
    for (encoding, bomb) in &bombs {
        assert!(bomb.len() < 65_536);
        let posts =
            (0..8).map(|_| post(&server, APP, std::slice::from_ref(encoding), bomb.clone()));
        let statuses = join_all(posts).await;
        assert!(statuses.iter().all(|status| *status == 413), "{encoding}: {statuses:?}");
    }
    // What they took of the memory is given back, and a stranger's is not inflated at all.
    assert_eq!(post(&server, "5", &["gzip"], bombs[0].1.clone()).await, 200);
    let whole = format!("{}{}", destroy_room(1), " ".repeat(65_536 - destroy_room(1).len()));
    assert_eq!(post(&server, APP, &["gzip"], gzip(whole.as_bytes())).await, 200);
    assert_eq!(post(&server, APP, &["gzip"], gzip(format!("{whole} ").as_bytes())).await, 413);
    let figures = server.figures().await;
    assert_eq!(figures.outcome("body_too_large"), 25);
    assert_eq!(figures.outcome("rejected_app_foreign"), 1);
    assert_eq!(figures.outcome("stored"), 1);
    assert_eq!(stored(&database).await[0].payload.as_bytes(), whole.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undecompressible_body_is_stored_with_its_reason() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let whole = gzip(destroy_room(1).as_bytes());
    let sent: [(&[&str], &[u8], &str); 6] = [
        (&["gzip"], &whole[..whole.len() - 5], "content encoding `gzip`: "),
        (&["gzip"], b"\x1f\x8bno", "content encoding `gzip`: "),
        (&["deflate"], &whole, "content encoding `deflate`: "),
        (&["br"], b"\xff\xff\xff", "content encoding `br`: "),
        (&["gzip, gzip"], &whole, "content encoding `gzip, gzip`: not known here"),
        (&["zstd", "gzip"], &whole, "content encoding `zstd, gzip`: not known here"),
    ];
    for (encodings, body, reason) in sent {
        assert_eq!(post(&server, APP, encodings, body.to_vec()).await, 200, "{encodings:?}");
        let rows = stored(&database).await;
        let kept = rows.iter().filter(|row| row.payload.as_bytes() == body);
        let reasons: Vec<&str> = kept.filter_map(|row| row.decode_error.as_deref()).collect();
        assert!(
            reasons.iter().any(|it| it.starts_with(reason) && it.len() > reason.len() - 1),
            "{reasons:?}"
        );
    }
    let rows = stored(&database).await;
    assert_eq!(rows.len(), 6);
    assert!(rows.iter().all(|row| row.command == DESTROY_ROOM && row.id.get_version_num() == 7));
}
