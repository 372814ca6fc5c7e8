//! The routers, and what is a callback path. Trailing and doubled slashes are ignored, as proxies and people add them.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Method, Request};
use axum::response::Response;
use axum::routing::post;

use crate::app_path::AppPath;
use crate::endpoint::{method_not_allowed, not_found, receive};
use crate::receiver::Receiver;

/// The vendor's callbacks on these paths, to be merged into the router of your app: also with a slash at their end, or
/// with two in the place of one. A part `{sdk_app_id}` of a path stands for the app's id, which is compared with what an event of
/// the RTC Engine says beside it.
///
/// # Panics
/// When a path does not begin with `/`.
pub fn callback_router(receiver: Receiver, paths: &[String]) -> Router {
    routes(at(receiver, paths), &spellings(paths))
}

/// The vendor's callbacks and nothing else, for a listener of their own: any other path is answered 404, and observed as
/// [`NotFound`](crate::RequestOutcome::NotFound).
///
/// # Panics
/// When a path does not begin with `/`.
pub fn standalone_router(receiver: Receiver, paths: &[String]) -> Router {
    let receiver = at(receiver, paths);
    let others = PathFallback::new(receiver.clone(), paths);
    let others = Router::new().fallback(elsewhere).with_state(others);
    routes(receiver, paths).fallback_service(others)
}

/// The receiver, which knows the places for an app's id in these paths.
fn at(mut receiver: Receiver, paths: &[String]) -> Arc<Receiver> {
    receiver.app_paths = paths.iter().filter_map(|path| AppPath::of(path)).collect();
    Arc::new(receiver)
}

fn routes<'a>(receiver: Arc<Receiver>, paths: impl IntoIterator<Item = &'a String>) -> Router {
    let callback = post(receive).fallback(method_not_allowed);
    let add = |router: Router<_>, path: &String| router.route(path, callback.clone());
    paths.into_iter().fold(Router::new(), add).with_state(receiver)
}

/// The canonical spelling of a path: `/a/b` for `//a/b/`. Nothing else is normalised: neither `..` nor
/// percent-encoded slashes.
fn folded(path: &str) -> String {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    format!("/{}", steps.join("/"))
}

/// The spellings of these paths that a router can list: up to two trailing slashes, and one doubled slash.
fn spellings(paths: &[String]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = paths.iter().cloned().collect();
    for path in paths {
        let folded = folded(path);
        let doubled = folded.match_indices('/').filter(|_| folded != "/").map(|(place, _)| {
            let (before, behind) = folded.split_at(place);
            format!("{before}/{behind}")
        });
        for spelling in doubled.chain([folded.clone()]) {
            all.extend(["", "/", "//"].map(|end| format!("{spelling}{end}")));
        }
    }
    all
}

/// The fallback for requests to none of the listed spellings.
struct PathFallback {
    receiver: Arc<Receiver>,
    paths: HashSet<String>,
}

impl PathFallback {
    fn new(receiver: Arc<Receiver>, paths: &[String]) -> Arc<Self> {
        Arc::new(Self { receiver, paths: paths.iter().map(|path| folded(path)).collect() })
    }
}

/// Serves another spelling of a callback path; any other path is not found.
async fn elsewhere(State(elsewhere): State<Arc<PathFallback>>, request: Request<Body>) -> Response {
    let path = request.uri().path();
    let is_callback =
        elsewhere.paths.contains(&folded(path)) || elsewhere.receiver.app_in_path(path).is_some();
    if !is_callback {
        return not_found(&elsewhere.receiver, &request);
    }
    let receiver = State(elsewhere.receiver.clone());
    if request.method() == Method::POST {
        receive(receiver, request).await
    } else {
        method_not_allowed(receiver, request).await
    }
}

#[cfg(test)]
mod tests {
    use crate::router::*;

    #[test]
    fn slashes_alone_are_folded() {
        for (path, one) in [
            ("/", "/"),
            ("", "/"),
            ("///", "/"),
            ("//a//b///", "/a/b"),
            ("/a/../b", "/a/../b"),
            ("/a%2Fb/", "/a%2Fb"),
            ("/./a", "/./a"),
        ] {
            assert_eq!(folded(path), one, "{path}");
        }
    }

    #[test]
    fn every_spelling_is_folded_to_its_path() {
        let spellings = spellings(&["/a/b".to_owned(), "/a/b/".to_owned()]);
        for wanted in ["/a/b", "/a/b/", "/a/b//", "//a/b", "//a/b/", "/a//b", "/a//b//"] {
            assert!(spellings.contains(wanted), "{wanted}");
        }
        assert!(spellings.iter().all(|spelling| folded(spelling) == "/a/b"), "{spellings:?}");
    }
}
