//! Gzip compression of responses, if the client accepts it.

use std::io::{self, Write};

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{StreamExt, stream};

/// Minimum size of a compressed response, in bytes.
const BYTES_MIN: u64 = 1024;
/// Larger responses are compressed on a blocking thread. In bytes.
const BYTES_QUICK: usize = 64 << 10;
/// Compressed content types. The event stream is not among them, as each event must arrive at once.
const KINDS: [&str; 5] = [
    "text/html",
    "application/json",
    "application/problem+json",
    "text/csv",
    "application/x-ndjson",
];

/// Compresses the response where the client accepts it and the size justifies it.
pub(crate) async fn compressed(request: Request, next: Next) -> Response {
    let wanted = request.method() == Method::GET && takes_gzip(request.headers());
    let mut response = next.run(request).await;
    let kind = response.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if !KINDS.contains(&kind) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    response.headers_mut().append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if !wanted || response.body().size_hint().upper().is_some_and(|bytes| bytes < BYTES_MIN) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(head, Body::from_stream(gzip(body)))
}

/// Whether `Accept-Encoding` allows gzip, by name or wildcard.
fn takes_gzip(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
    let words = lines.filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    let mut any = None;
    for word in words {
        let (name, weight) = word.split_once(';').unwrap_or((word, ""));
        let weight = weight.trim().strip_prefix("q=").map(str::trim);
        let is_taken =
            weight.is_none_or(|weight| weight.parse().is_ok_and(|weight: f32| weight > 0.0));
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => return is_taken,
            "*" => any = Some(is_taken),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

/// Compresses chunk by chunk, so that a long response is never in memory as a whole.
fn gzip(body: Body) -> impl futures_util::Stream<Item = Result<Bytes, axum::Error>> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let parts = body.into_data_stream();
    stream::try_unfold(Some((parts, encoder)), |state| async move {
        let Some((mut parts, encoder)) = state else { return Ok(None) };
        let Some(part) = parts.next().await else {
            let end = encoder.finish().map_err(axum::Error::new)?;
            return Ok(Some((Bytes::from(end), None)));
        };
        let (bytes, encoder) = written(encoder, part?).await.map_err(axum::Error::new)?;
        Ok(Some((bytes, Some((parts, encoder)))))
    })
}

type Encoder = GzEncoder<Vec<u8>>;

async fn written(encoder: Encoder, part: Bytes) -> io::Result<(Bytes, Encoder)> {
    if part.len() <= BYTES_QUICK {
        return write(encoder, &part);
    }
    let done = tokio::task::spawn_blocking(move || write(encoder, &part));
    done.await.map_err(io::Error::other)?
}

fn write(mut encoder: Encoder, part: &[u8]) -> io::Result<(Bytes, Encoder)> {
    encoder.write_all(part)?;
    // Flushes, so that this part is sent without waiting for the next one.
    encoder.flush()?;
    Ok((Bytes::from(std::mem::take(encoder.get_mut())), encoder))
}

#[cfg(test)]
mod tests {
    use crate::http::ops::compression::*;

    #[test]
    fn gzip_is_negotiated_by_accept_encoding() {
        let takes = |text: &'static str| {
            takes_gzip(
                &[(header::ACCEPT_ENCODING, HeaderValue::from_static(text))].into_iter().collect(),
            )
        };
        for text in ["gzip", "br, gzip", "GZIP;q=0.5", "deflate, *;q=0.1", "x-gzip"] {
            assert!(takes(text), "{text}");
        }
        for text in ["", "br", "gzip;q=0", "gzip; q=0.000, *", "identity", "*;q=0"] {
            assert!(!takes(text), "{text}");
        }
    }
}
