//! Load at a fixed rate: when each request is due is known before, and its latency counts from then, so that one that had
//! to wait for a slow answer before it counts its wait too.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::contender::ENVELOPE;
use crate::corpus::Corpus;
use crate::figures::{float, whole};

/// How long after the last request was due those that wait are still sent.
const LATE_MAX: Duration = Duration::from_secs(2);

/// What is sent, and how fast.
#[derive(Clone, Copy)]
pub(crate) struct Pace<'a> {
    pub(crate) corpus: &'a Corpus,
    pub(crate) from: usize,
    pub(crate) connections: u32,
    pub(crate) rate: f64,
    pub(crate) duration: Duration,
}

/// How it was answered.
pub(crate) struct Answered {
    /// In us, the shortest first. Those that were never sent are in it with what they waited until that was given up.
    pub(crate) latencies: Vec<u64>,
    pub(crate) oks: u64,
    pub(crate) seconds: f64,
}

impl Pace<'_> {
    pub(crate) fn run(&self, port: u16) -> Result<Answered> {
        let total = whole(self.rate * self.duration.as_secs_f64());
        ensure!(
            self.from + total <= self.corpus.len(),
            "{total} more requests are needed\nhint: set BENCH_REQUESTS to more"
        );
        let next = AtomicUsize::new(0);
        // Every connection is open before the first request is due.
        let start = Instant::now() + Duration::from_millis(50);
        let parts: Vec<Result<Part>> = std::thread::scope(|scope| {
            let send = || self.send(port, start, total, &next);
            let threads: Vec<_> = (0..self.connections).map(|_| scope.spawn(send)).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("a sender does not panic"))
                .collect()
        });
        let seconds = start.elapsed().as_secs_f64();
        let mut answered = Answered { latencies: Vec::with_capacity(total), oks: 0, seconds };
        for sent in parts {
            let Part { latencies, oks } = sent?;
            answered.latencies.extend(latencies);
            answered.oks += oks;
        }
        answered.latencies.sort_unstable();
        Ok(answered)
    }

    /// Sends what is due next over one connection, until nothing is left.
    fn send(&self, port: u16, start: Instant, total: usize, next: &AtomicUsize) -> Result<Part> {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let give_up = start + self.duration + LATE_MAX;
        let mut done = Part::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= total {
                return Ok(done);
            }
            let due = start + Duration::from_secs_f64(float(number) / self.rate);
            // Threads that sleep wake within some 50 us; timers of a runtime have whole ms.
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if Instant::now() < give_up {
                exchange(&mut stream, self.corpus.request(self.from + number))?;
                done.oks += 1;
            }
            let latency = due.elapsed().as_micros();
            done.latencies.push(u64::try_from(latency).unwrap_or(u64::MAX));
        }
    }
}

#[derive(Default)]
struct Part {
    latencies: Vec<u64>,
    oks: u64,
}

fn exchange(stream: &mut TcpStream, request: &[u8]) -> Result<()> {
    stream.write_all(request).context("send a request")?;
    let mut answer = [0_u8; 1024];
    let mut length = 0;
    while !answer[..length].ends_with(ENVELOPE.as_bytes()) {
        let read = stream.read(&mut answer[length..]).context("read an answer")?;
        length += read;
        let text = String::from_utf8_lossy(&answer[..length]);
        ensure!(read > 0, "an answer is none: {text:?}");
    }
    ensure!(answer.starts_with(b"HTTP/1.1 200 "), "an answer is not 200");
    Ok(())
}
