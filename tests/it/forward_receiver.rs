//! A receiver of forwarded events: it notes what comes, and answers as it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// What deliveries are signed with.
pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
    pub(crate) body: Value,
    /// What it was answered.
    pub(crate) status: u16,
}

impl Received {
    pub(crate) fn id(&self) -> String {
        self.body["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Whether it is signed with this secret, as Standard Webhooks says.
    pub(crate) fn is_signed(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let (id, time) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        mac.update(format!("{id}.{time}.{}", self.text).as_bytes());
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|given| given == expected)
    }
}

type Rule = dyn Fn(&Received) -> u16 + Send + Sync;

/// It listens until it is dropped.
pub(crate) struct Receiver {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Received>>>,
    rule: Arc<Mutex<Arc<Rule>>>,
    /// The rooms of requests under way, and how often two were of one room.
    under_way: Arc<Mutex<(Vec<String>, usize)>>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let received: Arc<Mutex<Vec<Received>>> = Arc::default();
        let taken: Arc<Rule> = Arc::new(|_: &Received| 200);
        let rule = Arc::new(Mutex::new(taken));
        let (noted, ruled) = (received.clone(), rule.clone());
        let under_way: Arc<Mutex<(Vec<String>, usize)>> = Arc::default();
        let rooms = under_way.clone();
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| async move {
            let text = String::from_utf8(body.to_vec()).unwrap();
            let headers = headers.iter().map(|(name, value)| {
                (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
            });
            let body = serde_json::from_str(&text).unwrap();
            let mut one = Received { headers: headers.collect(), text, body, status: 0 };
            let room = one.body["data"]["room_id"].as_str().unwrap_or_default().to_owned();
            {
                let (rooms, overlaps) = &mut *rooms.lock().unwrap();
                *overlaps += usize::from(rooms.contains(&room));
                rooms.push(room.clone());
            }
            let rule = ruled.lock().unwrap().clone();
            one.status = rule(&one);
            // Others come in between where they may.
            tokio::task::yield_now().await;
            {
                let (rooms, _) = &mut *rooms.lock().unwrap();
                let place = rooms.iter().position(|other| *other == room).unwrap();
                rooms.swap_remove(place);
            }
            let status = StatusCode::from_u16(one.status).unwrap();
            noted.lock().unwrap().push(one);
            (status, "an answer").into_response()
        });
        let serving = async move { axum::serve(listener, router).await.unwrap() };
        let serving = AbortOnDropHandle::new(tokio::spawn(serving));
        Self { url, received, rule, under_way, _serving: serving }
    }

    /// Answers by this rule from now on.
    pub(crate) fn answer(&self, rule: impl Fn(&Received) -> u16 + Send + Sync + 'static) {
        *self.rule.lock().unwrap() = Arc::new(rule);
    }

    /// How often two events of one room were under way at once.
    pub(crate) fn overlaps(&self) -> usize {
        self.under_way.lock().unwrap().1
    }

    /// All that came.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Those that it took.
    pub(crate) fn taken(&self) -> Vec<Received> {
        self.received().into_iter().filter(|one| one.status == 200).collect()
    }

    /// Waits until it took so many.
    pub(crate) async fn took(&self, count: usize) -> Vec<Received> {
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while self.taken().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        assert!(waited.await.is_ok(), "{} of {count} came", self.taken().len());
        self.taken()
    }
}
