//! The style and the scripts of the dashboard, built in. Their paths hold a hash of what they are, so that a browser may
//! keep them for good and a new version is used at once.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
    /// Of its text.
    hash: String,
    path: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    [
        ("dashboard.css", "text/css; charset=utf-8", include_str!("../../../assets/dashboard.css")),
        (
            "dashboard.js",
            "text/javascript; charset=utf-8",
            include_str!("../../../assets/dashboard.js"),
        ),
        ("icon.svg", "image/svg+xml", include_str!("../../../assets/icon.svg")),
    ]
    .map(|(name, kind, text)| {
        let hash = hex::encode(&Sha256::digest(text)[..8]);
        Asset { name, kind, text, path: format!("/assets/{hash}/{name}"), hash }
    })
});

/// Where the style is.
pub(crate) fn css() -> &'static str {
    &ASSETS[0].path
}

/// Where the script is.
pub(crate) fn js() -> &'static str {
    &ASSETS[1].path
}

/// Where the icon is.
pub(crate) fn icon() -> &'static str {
    &ASSETS[2].path
}

/// One of them: they are the same for everybody, and need no sign-in. Under the hash of another version, as replicas have it while one takes the place of the other, it is
/// given too, but not to be kept.
pub(crate) async fn asset(
    Path((version, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let cache =
        if version == asset.hash { "public, max-age=31536000, immutable" } else { "no-cache" };
    let tag = format!("\"{}\"", asset.hash);
    let known =
        headers.get(header::IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.kind)], asset.text).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
