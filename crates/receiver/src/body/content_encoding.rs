//! Decompression of bodies that a proxy has compressed.

use std::io::{self, Read};

use axum::http::{HeaderMap, header};
use brotli_decompressor::BrotliDecoderParameter::BROTLI_DECODER_PARAM_LARGE_WINDOW;
use brotli_decompressor::Decompressor;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// Approximate memory of a gzip or deflate decoder beside its input and output, in bytes.
const DEFLATE_BYTES: usize = 64 << 10;
/// The same of a Brotli decoder beside its window.
const BROTLI_BYTES: usize = 1 << 20;
/// Maximum expansion of deflate.
const DEFLATE_RATIO_MAX: usize = 1032;
/// Length to which an unknown encoding's name is cut.
const NAME_CHARS_MAX: usize = 40;
/// Size of one step of decompression, in bytes.
const PART_BYTES: usize = 8 << 10;

/// A supported compression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    Gzip,
    Deflate,
    Brotli,
}

/// The `Content-Encoding` of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Identity.
    Plain,
    /// One supported compression.
    Compressed(Compression),
    /// Several encodings, or an unknown one: the names, escaped and cut.
    Unknown(String),
}

impl Encoding {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::CONTENT_ENCODING).iter().peekable();
        if lines.peek().is_none() {
            return Self::Plain;
        }
        let lines: Vec<String> =
            lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect();
        let names = lines.iter().flat_map(|line| line.split(',')).map(str::trim);
        let names: Vec<String> = names.map(str::to_ascii_lowercase).collect();
        let says_something = |name: &&str| !["", "identity"].contains(name);
        let names: Vec<&str> = names.iter().map(String::as_str).filter(says_something).collect();
        match names.as_slice() {
            [] => Self::Plain,
            ["gzip" | "x-gzip"] => Self::Compressed(Compression::Gzip),
            ["deflate"] => Self::Compressed(Compression::Deflate),
            ["br"] => Self::Compressed(Compression::Brotli),
            names => {
                let names = names.join(", ");
                Self::Unknown(names.escape_default().take(NAME_CHARS_MAX).collect())
            }
        }
    }
}

/// Why decompression failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The result exceeds the body limit.
    TooLarge,
    /// The data is corrupt or of another format.
    Broken(io::Error),
}

impl Compression {
    /// Its name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
        }
    }

    /// Upper bound of the memory that decompression needs, result included.
    pub(crate) fn memory(self, body: &[u8], bytes_max: usize) -> usize {
        match self {
            Self::Gzip | Self::Deflate => {
                DEFLATE_BYTES + body.len().saturating_mul(DEFLATE_RATIO_MAX).min(bytes_max)
            }
            Self::Brotli => BROTLI_BYTES + brotli_window(body) + bytes_max,
        }
    }

    /// Decompresses the body. Stops with an error once the result exceeds `bytes_max`.
    pub(crate) fn inflate(self, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Gzip => read(MultiGzDecoder::new(body), bytes_max),
            Self::Deflate if is_zlib(body) => read(ZlibDecoder::new(body), bytes_max),
            // Raw deflate: not what the name means, but some clients send it.
            Self::Deflate => read(DeflateDecoder::new(body), bytes_max),
            Self::Brotli => {
                let mut decoder = Decompressor::new(body, PART_BYTES);
                // Windows of up to 1 GiB are an extension that `br` does not include.
                decoder.set_parameter(BROTLI_DECODER_PARAM_LARGE_WINDOW, 0);
                read(decoder, bytes_max)
            }
        }
    }
}

fn read(mut decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, Failure> {
    let mut inflated = Vec::new();
    let mut part = [0; PART_BYTES];
    loop {
        let length = match decoder.read(&mut part) {
            Ok(0) => return Ok(inflated),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Broken(error)),
        };
        let left = bytes_max - inflated.len();
        if length > left {
            return Err(Failure::TooLarge);
        }
        if inflated.capacity() - inflated.len() < length {
            inflated.reserve_exact(inflated.len().clamp(length, left));
        }
        inflated.extend_from_slice(&part[..length]);
    }
}

/// Whether it starts with a zlib header (RFC 1950), the format that `deflate` means.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [method, flags, ..] if method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0)
}

/// The window size in the header of a Brotli body, in bytes (RFC 7932, 9.1).
fn brotli_window(body: &[u8]) -> usize {
    let first = body.first().copied().unwrap_or(0);
    let bits = match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, ..) => 16,
        (_, 0, 0) => 17,
        (_, 0, small) => 8 + small,
        (_, large, _) => 17 + large,
    };
    1 << bits
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use axum::http::HeaderValue;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use crate::body::content_encoding::*;

    const TEXT: &[u8] = br#"{"CallbackCommand":"C2C.CallbackAfterSendMsg"}"#;
    /// [`TEXT`], by Node.
    const BROTLI: &str = "8b16807b2243616c6c6261636b436f6d6d616e64223a224332432e43616c6c6261636b416674657253656e644d7367227d03";

    fn encoding(lines: &[&str]) -> Encoding {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("content-encoding", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        Encoding::of(&headers)
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn one_known_encoding_is_read_in_any_spelling() {
        for (lines, expected) in [
            (&[][..], Encoding::Plain),
            (&["identity"], Encoding::Plain),
            (&[""], Encoding::Plain),
            (&["GZip "], Encoding::Compressed(Compression::Gzip)),
            (&["x-gzip"], Encoding::Compressed(Compression::Gzip)),
            (&["identity, deflate"], Encoding::Compressed(Compression::Deflate)),
            (&["br"], Encoding::Compressed(Compression::Brotli)),
            (&["gzip, br"], Encoding::Unknown("gzip, br".into())),
            (&["gzip", "gzip"], Encoding::Unknown("gzip, gzip".into())),
            (&["zstd"], Encoding::Unknown("zstd".into())),
            (&["\u{e9}\t`"], Encoding::Unknown("\\u{e9}\\t`".into())),
        ] {
            assert_eq!(encoding(lines), expected, "{lines:?}");
        }
        let Encoding::Unknown(long) = encoding(&[&"x".repeat(1000)]) else { panic!("it is known") };
        assert_eq!(long.len(), NAME_CHARS_MAX);
    }

    #[test]
    fn a_compressed_body_within_the_limit_is_restored() {
        let mut zlib = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(TEXT).unwrap();
        let mut deflate = DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(TEXT).unwrap();
        let (head, tail) = TEXT.split_at(7);
        for (compression, body) in [
            (Compression::Gzip, gzip(TEXT)),
            (Compression::Gzip, [gzip(head), gzip(tail)].concat()),
            (Compression::Deflate, zlib.finish().unwrap()),
            (Compression::Deflate, deflate.finish().unwrap()),
            (Compression::Brotli, hex::decode(BROTLI).unwrap()),
        ] {
            assert_eq!(compression.inflate(&body, TEXT.len()).unwrap(), TEXT, "{compression:?}");
            let short = compression.inflate(&body, TEXT.len() - 1);
            assert!(matches!(short, Err(Failure::TooLarge)), "{compression:?}");
            let cut = compression.inflate(&body[..body.len() - 1], TEXT.len());
            assert!(matches!(cut, Err(Failure::Broken(_))), "{compression:?}");
        }
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert!(bomb.len() < 20_000);
        let limit = 100_000;
        assert!(matches!(Compression::Gzip.inflate(&bomb, limit), Err(Failure::TooLarge)));
        assert_eq!(Compression::Gzip.memory(&bomb, limit), DEFLATE_BYTES + limit);
        let whole = Compression::Gzip.inflate(&gzip(&vec![7; limit]), limit).unwrap();
        assert_eq!((whole.len(), whole.capacity()), (limit, limit));
    }

    #[test]
    fn the_window_of_brotli_is_known_from_its_first_byte() {
        for (first, bits) in
            [(0x0b, 22), (0x0f, 24), (0x10, 16), (0x01, 17), (0x71, 15), (0x21, 10)]
        {
            assert_eq!(brotli_window(&[first]), 1 << bits, "{first:#x}");
        }
    }
}
