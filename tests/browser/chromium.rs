//! One Chromium for all tests, and its DevTools protocol.
//!
//! Spoken over a pipe, so that Chromium ends with this process, however that ends, and no port is open. Messages are
//! read as plain JSON: a typed library knows the protocol of one version of Chromium, and drops what a newer one says
//! otherwise, among it the requests that the tests are to see. It would also take long to build.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::seen::Seen;

/// How long an answer may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_mins(1);
/// How much of what Chromium says on stderr is kept.
const SAID_LINES: usize = 20;

static CHROMIUM: LazyLock<Result<Chromium, String>> = LazyLock::new(Chromium::launch);

/// The one that all tests share; each page has cookies and storage of its own.
pub(crate) fn chromium() -> &'static Chromium {
    CHROMIUM.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) struct Chromium {
    /// Where its files are, until it has ended.
    pub(crate) folder: PathBuf,
    to: Mutex<ChildStdin>,
    last_id: AtomicU64,
    talk: Arc<Talk>,
}

/// What the threads that listen to Chromium write.
#[derive(Default)]
struct Talk {
    /// Who waits for which answer.
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// What was seen in each session: that of a page, and those of its frames and workers.
    sessions: Mutex<HashMap<String, Arc<Mutex<Seen>>>>,
    /// The end of its stderr.
    said: Mutex<VecDeque<String>>,
}

impl Chromium {
    pub(crate) fn launch() -> Result<Self, String> {
        let program = std::env::var("TEST_CHROMIUM").ok().filter(|path| !path.is_empty());
        let program = program.ok_or(
            "TEST_CHROMIUM is not set: run ./scripts/test, which finds or installs a Chromium, or set it to one's path",
        )?;
        let folder = tempfile::Builder::new().prefix("trtc-chromium.").tempdir();
        // The script removes it.
        let folder = folder.map_err(|error| format!("make a folder for Chromium: {error}"))?.keep();
        let mut child = Command::new("sh")
            .args(["-c", include_str!("launch.sh"), "launch.sh"])
            .arg(&folder)
            .arg(&program)
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .args(flags())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("run sh: {error}"))?;
        let talk = Arc::new(Talk::default());
        let to = child.stdin.take().unwrap();
        let (from, says) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (listening, hearing) = (talk.clone(), talk.clone());
        std::thread::spawn(move || listening.keep_what_is_said(BufReader::new(says)));
        std::thread::spawn(move || {
            hearing.listen(BufReader::new(from));
            // Nobody waits for what will not come.
            hearing.waiting.lock().unwrap().clear();
            let _ = child.wait();
        });
        Ok(Self { folder, to: Mutex::new(to), last_id: AtomicU64::new(0), talk })
    }

    /// Does something in a session, the browser itself where there is none; returns what Chromium answers.
    ///
    /// # Errors
    /// What Chromium says against it, such as that the page is gone.
    ///
    /// # Panics
    /// When Chromium has ended or does not answer.
    pub(crate) async fn ask(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<Value, String> {
        let (answers, answer) = oneshot::channel();
        self.send(session, method, params, Some(answers));
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        let fail = |what: &str| -> ! { panic!("{method}: {what}; it said:\n{}", self.talk.said()) };
        let answer = answer.unwrap_or_else(|_| fail("Chromium does not answer"));
        let mut answer = answer.unwrap_or_else(|_| fail("Chromium has ended"));
        match answer.get("error") {
            Some(error) => Err(format!("{method}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    /// Does what cannot fail in a browser that works.
    pub(crate) async fn must(&self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.ask(session, method, params).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Says who writes down what happens in a session.
    pub(crate) fn watch(&self, session: &str, seen: Arc<Mutex<Seen>>) {
        self.talk.sessions.lock().unwrap().insert(session.to_owned(), seen);
    }

    /// Forgets all sessions of a page.
    pub(crate) fn forget(&self, seen: &Arc<Mutex<Seen>>) {
        self.talk.sessions.lock().unwrap().retain(|_, other| !Arc::ptr_eq(other, seen));
    }

    fn send(
        &self,
        session: Option<&str>,
        method: &str,
        params: Value,
        answers: Option<oneshot::Sender<Value>>,
    ) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut message = json!({ "id": id, "method": method });
        message["params"] = params;
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        if let Some(answers) = answers {
            self.talk.waiting.lock().unwrap().insert(id, answers);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let mut to = self.to.lock().unwrap();
        if let Err(error) = to.write_all(&bytes).and_then(|()| to.flush()) {
            panic!("Chromium does not listen ({error}); it said:\n{}", self.talk.said());
        }
    }
}

/// Nothing of Chromium's own goes over the network, and nothing at all beyond this machine.
fn flags() -> Vec<&'static str> {
    let mut flags = vec![
        "--headless=new",
        "--remote-debugging-pipe",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-default-apps",
        "--disable-extensions",
        "--disable-sync",
        "--disable-features=Translate,OptimizationHints,MediaRouter",
        "--no-default-browser-check",
        "--no-first-run",
        "--disable-breakpad",
        // /dev/shm is small in containers.
        "--disable-dev-shm-usage",
        "--disable-gpu",
        // Pages of several tests are open at once, and none is to wait for being looked at.
        "--disable-background-timer-throttling",
        "--disable-backgrounding-occluded-windows",
        "--disable-renderer-backgrounding",
        // The same pictures everywhere.
        "--force-color-profile=srgb",
        "--font-render-hinting=none",
        "--hide-scrollbars",
        "--lang=en-US",
        "--mute-audio",
        "--password-store=basic",
        "--use-mock-keychain",
    ];
    // Its sandbox refuses root, and only root.
    if rustix::process::geteuid().is_root() {
        flags.push("--no-sandbox");
    }
    flags
}

impl Talk {
    /// Reads messages, each ended by a NUL, to the end.
    fn listen(&self, mut from: impl BufRead) {
        let mut bytes = Vec::new();
        while matches!(from.read_until(0, &mut bytes), Ok(read) if read > 0) {
            bytes.pop_if(|last| *last == 0);
            match serde_json::from_slice(&bytes) {
                Ok(message) => self.take(message),
                Err(error) => eprintln!("Chromium sent no JSON: {error}"),
            }
            bytes.clear();
        }
    }

    fn take(&self, mut message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(waiter) = self.waiting.lock().unwrap().remove(&id) {
                // Who gave up waiting has said so.
                let _ = waiter.send(message);
            }
            return;
        }
        let session = message["sessionId"].as_str().unwrap_or_default().to_owned();
        let Some(seen) = self.sessions.lock().unwrap().get(&session).cloned() else {
            return;
        };
        let params = message["params"].take();
        let method = message["method"].as_str().unwrap_or_default();
        match method {
            // A frame or a worker, which waits until it is watched as well.
            "Target.attachedToTarget" => {
                let child = params["sessionId"].as_str().unwrap_or_default();
                self.sessions.lock().unwrap().insert(child.to_owned(), seen);
                watch_all(child);
            }
            // It would keep the page waiting for ever.
            "Page.javascriptDialogOpening" => {
                seen.lock().unwrap().take(method, &params);
                let accept = json!({ "accept": true });
                tell(&session, "Page.handleJavaScriptDialog", accept);
            }
            _ => seen.lock().unwrap().take(method, &params),
        }
    }

    fn keep_what_is_said(&self, says: impl BufRead) {
        for line in says.lines().map_while(Result::ok) {
            // It looks for a desktop, and says at length that there is none.
            if line.contains("dbus") {
                continue;
            }
            let mut said = self.said.lock().unwrap();
            if said.len() == SAID_LINES {
                said.pop_front();
            }
            said.push_back(line);
        }
    }

    fn said(&self) -> String {
        let said = self.said.lock().unwrap();
        said.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

/// Does something and waits for no answer, as the thread that reads them must.
fn tell(session: &str, method: &str, params: Value) {
    chromium().send(Some(session), method, params, None);
}

/// Has everything reported that [`Seen`] looks at.
pub(crate) fn watch_all(session: &str) {
    let children = json!({ "autoAttach": true, "waitForDebuggerOnStart": true, "flatten": true });
    tell(session, "Runtime.enable", json!({}));
    tell(session, "Network.enable", json!({}));
    tell(session, "Log.enable", json!({}));
    tell(session, "Target.setAutoAttach", children);
    tell(session, "Runtime.runIfWaitingForDebugger", json!({}));
}
