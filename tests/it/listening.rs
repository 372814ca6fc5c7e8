//! A running `listen`, and a gate before what it talks to.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use crate::process::program;

type Lines = Arc<Mutex<Vec<String>>>;

/// A running `listen`.
pub(crate) struct Listening {
    child: Child,
    printed: Lines,
    said: Lines,
}

fn collect(stream: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let kept = lines.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            kept.lock().unwrap().push(line);
        }
    });
    lines
}

/// Waits for a line that holds this, and returns it.
async fn line_with(lines: &Lines, text: &str) -> String {
    let begun = Instant::now();
    loop {
        let found = lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
        if let Some(line) = found {
            return line;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no {text:?} in {lines:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Listening {
    pub(crate) fn start(folder: &Path, url: &str, more: &[&str]) -> Self {
        let mut child = program(folder)
            .args(["listen", "--forward", url])
            .args(more)
            .env("XDG_STATE_HOME", folder.join("state"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let printed = collect(child.stdout.take().unwrap());
        let said = collect(child.stderr.take().unwrap());
        Self { child, printed, said }
    }

    /// Returns once it takes whatever is stored from then on.
    pub(crate) async fn ready(folder: &Path, url: &str, more: &[&str]) -> Self {
        let listening = Self::start(folder, url, more);
        listening.says("; Ctrl-C ends").await;
        listening
    }

    pub(crate) async fn says(&self, text: &str) -> String {
        line_with(&self.said, text).await
    }

    pub(crate) async fn prints(&self, text: &str) -> String {
        line_with(&self.printed, text).await
    }

    pub(crate) fn printed(&self) -> Vec<String> {
        self.printed.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, and returns its exit code.
    pub(crate) async fn end(&mut self) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "it did not end: {:?}", self.said);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ctrl-C: it ends well, and says what it did.
    pub(crate) async fn interrupt(mut self, summary: &str) {
        self.signal(Signal::INT);
        assert_eq!(self.end().await, Some(0));
        self.says(summary).await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Leads connections to wherever it is told to, or closes them at once.
pub(crate) struct Gate {
    pub(crate) url: String,
    leads_to: Arc<Mutex<Option<String>>>,
    open: Arc<Mutex<Vec<AbortOnDropHandle<()>>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Gate {
    pub(crate) async fn start(address: &str, leads_to: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = Arc::new(Mutex::new(Some(host(leads_to))));
        let open: Arc<Mutex<Vec<AbortOnDropHandle<()>>>> = Arc::default();
        let (leads_to, kept) = (target.clone(), open.clone());
        let serving = async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let Some(target) = target.lock().unwrap().clone() else { continue };
                let pipe = async move {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        // An end of either side is the end of both.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                };
                kept.lock().unwrap().push(AbortOnDropHandle::new(tokio::spawn(pipe)));
            }
        };
        Self { url, leads_to, open, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    pub(crate) fn close(&self) {
        *self.leads_to.lock().unwrap() = None;
        self.open.lock().unwrap().clear();
    }

    pub(crate) fn lead_to(&self, url: &str) {
        *self.leads_to.lock().unwrap() = Some(host(url));
    }
}

/// Host and port of a URL.
fn host(url: &str) -> String {
    url.trim_start_matches("http://").split('/').next().unwrap().to_owned()
}
