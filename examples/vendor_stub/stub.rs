//! The stand-in itself: a real HTTP server that checks what the vendor checks, keeps configurations, and fails as told.
//! Where the vendor's pages leave open what it does, this is the stricter.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::LOCATION;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use trtc_callbacks::clock::Clock;

use super::book::{Config, Fault, Planned, State};
use super::gate::{self, Asked};
use super::reply::{failure, ip_list, reply, success, with_status};
use super::seen::Seen;

/// An app that the stand-in knows.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) id: i64,
    pub(crate) key: String,
    pub(crate) admins: Vec<String>,
    /// Where the app was made. Calls reach it only where the stand-in plays that site.
    pub(crate) site: &'static str,
}

impl App {
    pub(crate) fn new(id: i64, key: &str) -> Self {
        let admins = vec!["administrator".to_owned()];
        Self { id, key: key.to_owned(), admins, site: "singapore" }
    }
}

pub(crate) struct Options {
    pub(crate) apps: Vec<App>,
    /// The site that it plays.
    pub(crate) site: &'static str,
    pub(crate) clock: Clock,
    /// Whether a second passes on a manual clock with each request.
    pub(crate) ticks: bool,
}

impl Options {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { apps: Vec::new(), site: "singapore", clock, ticks: false }
    }
}

/// A running stand-in; it ends with this value.
pub(crate) struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
}

struct Shared {
    options: Options,
    state: Mutex<State>,
}

impl Stub {
    pub(crate) async fn start(listen: SocketAddr, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared { options, state: Mutex::default() });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(accept(listener, shared.clone(), stop.clone(), tasks.clone()));
        Ok(Self { address, shared, stop })
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Plans a fault for the next `times` requests of `action`; behind those that are planned for it already.
    pub(crate) fn fail(&self, action: &str, times: u32, fault: Fault) {
        let action = Some(action.to_owned());
        self.shared.state().faults.push(Planned { action, times, fault });
    }

    /// What is registered for `service`, `live_config` for example.
    pub(crate) fn config(&self, app: i64, service: &str) -> Option<Config> {
        self.shared.state().configs.get(&(app, service.to_owned())).cloned()
    }

    /// Registers by hand, as somebody in the vendor's console would.
    pub(crate) fn put(&self, app: i64, service: &str, config: Option<Config>) {
        self.shared.state().put(app, service, config);
    }

    /// The token of Live and whether it is used.
    pub(crate) fn token(&self, app: i64) -> Option<(String, bool)> {
        self.shared.state().tokens.get(&app).cloned()
    }

    /// The requests so far, refused ones too.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    pub(crate) fn connections(&self) -> u32 {
        self.shared.state().connections
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else { continue };
        shared.state().connections += 1;
        let (shared, stop) = (shared.clone(), stop.clone());
        tasks.spawn(async move {
            let service = service_fn(|request| answer(&shared, request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A client that goes away, and a connection that is dropped on purpose, are no faults of the stand-in's.
            let _ended = stop.run_until_cancelled(connection).await;
        });
    }
}

/// The connection is to end without an answer.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("dropped on purpose")
    }
}

impl std::error::Error for Dropped {}

async fn answer(
    shared: &Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Dropped> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, 1 << 20).collect().await.map_err(|_| Dropped)?.to_bytes();
    let query: Vec<(String, String)> =
        form_urlencoded::parse(head.uri.query().unwrap_or("").as_bytes()).into_owned().collect();
    let path = head.uri.path();
    if let Some(control) = path.strip_prefix("/stub/") {
        return Ok(shared.control(control, &body));
    }
    let place = shared.remember(Seen::new(path, &query));
    let answered = match gate::examine(&shared.options, &head.method, path, &query, &body) {
        Err(code) => Ok(failure(code, true)),
        Ok(asked) => {
            let fault = shared.state().fault(&asked);
            let said = || format!("{} {}", head.uri, String::from_utf8_lossy(&body));
            shared.act_or_fail(&asked, fault, said).await
        }
    };
    if let (Some(place), Ok(response)) = (place, &answered) {
        let body = response.body().clone().collect().await.unwrap_or_default().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        shared.state().seen[place].code = body["ErrorCode"].as_i64();
    }
    answered
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what is to be known of a request, and says where; of so many at most.
    fn remember(&self, seen: Seen) -> Option<usize> {
        const SEEN_MAX: usize = 10_000;
        if self.options.ticks {
            let clock = &self.options.clock;
            clock.set(clock.now().plus(Duration::from_secs(1)));
        }
        let all = &mut self.state().seen;
        let place = (all.len() < SEEN_MAX).then_some(all.len())?;
        all.push(seen);
        Some(place)
    }

    /// Does what is asked for, or what goes wrong with it.
    async fn act_or_fail(
        &self,
        asked: &Asked<'_>,
        fault: Option<Fault>,
        said: impl Fn() -> String,
    ) -> Result<Response<Full<Bytes>>, Dropped> {
        match fault {
            None => {}
            Some(Fault::Code(code)) => return Ok(failure(code, false)),
            Some(Fault::BareCode(code)) => return Ok(failure(code, true)),
            Some(Fault::Echo(code)) => {
                let (info, id) = (said(), said());
                let body = json!({ "ActionStatus": "FAIL", "ErrorCode": code, "ErrorInfo": info,
                    "RequestId": id });
                return Ok(reply(&body));
            }
            Some(Fault::Status(status)) => return Ok(with_status(status, "<h1>an error</h1>")),
            Some(Fault::Text(text)) => return Ok(with_status(200, &text)),
            Some(Fault::Long(bytes)) => {
                let info = "x".repeat(bytes);
                let body = json!({ "ActionStatus": "OK", "ErrorCode": 0, "ErrorInfo": info });
                return Ok(reply(&body));
            }
            Some(Fault::Redirect(to)) => {
                let mut response = with_status(307, "");
                response.headers_mut().extend(to.parse().ok().map(|to| (LOCATION, to)));
                return Ok(response);
            }
            Some(Fault::DelayMs(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Fault::Drop) => return Err(Dropped),
            Some(Fault::DoAndDrop) => {
                self.act(asked);
                return Err(Dropped);
            }
            Some(Fault::OthersSet(config)) => {
                self.state().put(asked.app, asked.service, Some(config));
            }
            Some(Fault::OthersDelete) => self.state().put(asked.app, asked.service, None),
        }
        Ok(self.act(asked))
    }

    /// Does what is asked for.
    fn act(&self, asked: &Asked<'_>) -> Response<Full<Bytes>> {
        let mut state = self.state();
        let result = match (asked.service, asked.action) {
            ("ConfigSvc", _) => return ip_list(asked.nettype),
            (_, "get_callback_token") => state.get_token(asked.app),
            (_, "set_callback_token") => state.set_token(asked.app, &asked.body),
            (_, "delete_callback_token") => {
                state.tokens.remove(&asked.app);
                Ok(None)
            }
            (service, "get_callback") => state
                .configs
                .get(&(asked.app, service.to_owned()))
                .map(|config| Some(json!(config)))
                .ok_or(100_301),
            (service, "delete_callback") => {
                state.put(asked.app, service, None);
                Ok(None)
            }
            (service, action) => state.write(asked.app, service, action, &asked.body),
        };
        match result {
            Err(code) => failure(code, false),
            Ok(None) => success(&json!({})),
            Ok(Some(response)) => success(&json!({ "Response": response })),
        }
    }

    /// What people and demonstrations ask of the stand-in itself.
    fn control(&self, path: &str, body: &[u8]) -> Response<Full<Bytes>> {
        let mut state = self.state();
        match path {
            "state" => {
                let configs = state.configs.iter();
                let configs = configs.map(|((app, service), config)| {
                    json!({ "app": app, "service": service, "config": config })
                });
                reply(&Value::Array(configs.collect()))
            }
            "fault" => match serde_json::from_slice(body) {
                Ok(planned) => {
                    state.faults.push(planned);
                    with_status(200, "planned\n")
                }
                Err(error) => with_status(400, &format!("{error}\n")),
            },
            _ => with_status(404, "there are /stub/state and /stub/fault\n"),
        }
    }
}
