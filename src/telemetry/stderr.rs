//! Standard error, written by one thread, so that nobody else ever waits for it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tracing::warn;

/// How much of the log may wait to be written.
const LOG: Bound = Bound { lines: 2048, bytes: 2 << 20 };
/// How many events may wait, or one of any size.
const EVENTS: Bound = Bound { lines: 8192, bytes: 16 << 20 };
/// How long the end of the process waits for the last lines to be written.
const FLUSH_WAIT: Duration = Duration::from_secs(2);
/// How long to wait before a stderr that does not block and took nothing is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// The lines that wait for stderr, and the thread that writes them.
///
/// Lines of the log and events wait apart, each within their own bounds, and events go first: no log line costs an event
/// its place. One thread writes both, so that neither breaks into a line of the other.
pub(crate) struct Stderr {
    waiting: Mutex<LineQueue>,
    /// Something is to be written.
    more: Condvar,
    /// Something was written, or given up.
    fewer: Condvar,
}

/// Told whether the line was written whole. Called by the thread that writes, so it must not block.
type Done = Box<dyn FnOnce(bool) + Send>;

struct Line {
    text: Vec<u8>,
    /// Absent on lines of the log.
    done: Option<Done>,
}

struct LineQueue {
    /// Nobody writes: there is no such thread.
    closed: bool,
    log: Queue,
    events: Queue,
    /// Lines of the log that did not get to stderr.
    dropped: u64,
    /// How many of them the log names.
    dropped_said: u64,
}

struct Bound {
    lines: usize,
    bytes: usize,
}

/// What waits, and the sum of it with what is being written.
struct Queue {
    bound: Bound,
    waiting: VecDeque<Line>,
    lines: usize,
    bytes: usize,
}

impl Queue {
    fn new(bound: Bound) -> Self {
        Self { bound, waiting: VecDeque::new(), lines: 0, bytes: 0 }
    }

    /// Gives the line back where there is no room for it. A single one always has room.
    fn put(&mut self, line: Line) -> Result<(), Line> {
        let bytes = self.bytes.saturating_add(line.text.len());
        if self.lines > 0 && (self.lines >= self.bound.lines || bytes > self.bound.bytes) {
            return Err(line);
        }
        self.lines += 1;
        self.bytes = bytes;
        self.waiting.push_back(line);
        Ok(())
    }

    fn written(&mut self, bytes: usize) {
        self.lines -= 1;
        self.bytes -= bytes;
    }
}

/// The process's own, once somebody has written to it.
static STDERR: OnceLock<Arc<Stderr>> = OnceLock::new();

/// The process's own. The first call starts the thread.
pub(crate) fn stderr() -> &'static Stderr {
    STDERR.get_or_init(|| {
        // A handle of its own: the one of the standard library is locked while it is written, and would keep whoever
        // else uses it waiting.
        match io::stderr().as_fd().try_clone_to_owned() {
            Ok(handle) => Stderr::start(File::from(handle), LOG, EVENTS),
            Err(_) => Stderr::start(io::stderr(), LOG, EVENTS),
        }
    })
}

impl Stderr {
    fn start(to: impl Write + Send + 'static, log: Bound, events: Bound) -> Arc<Self> {
        let (log, events) = (Queue::new(log), Queue::new(events));
        let waiting = LineQueue { closed: false, log, events, dropped: 0, dropped_said: 0 };
        let (more, fewer) = (Condvar::new(), Condvar::new());
        let stderr = Arc::new(Self { waiting: Mutex::new(waiting), more, fewer });
        let served = stderr.clone();
        let thread = std::thread::Builder::new().name("stderr".to_owned());
        if let Err(error) = thread.spawn(move || served.write_all_that_comes(to)) {
            // From here on every line is refused, and counted.
            stderr.lock().closed = true;
            let _ = writeln!(io::stderr(), "error: start the thread that writes the log: {error}");
        }
        stderr
    }

    /// Hands over one line of the log, or drops and counts it where too much waits. Never blocks.
    pub(crate) fn log(&self, text: Vec<u8>) {
        let mut waiting = self.lock();
        let line = Line { text, done: None };
        if waiting.closed || waiting.log.put(line).is_err() {
            waiting.dropped += 1;
        } else {
            self.more.notify_one();
        }
    }

    /// Hands over the line of an event. `done` is told whether it was written, here and now where too much waits. Never
    /// blocks.
    pub(crate) fn event(&self, text: Vec<u8>, done: impl FnOnce(bool) + Send + 'static) {
        let mut waiting = self.lock();
        let line = Line { text, done: Some(Box::new(done)) };
        let refused = if waiting.closed { Err(line) } else { waiting.events.put(line) };
        drop(waiting);
        match refused {
            Ok(()) => self.more.notify_one(),
            Err(Line { done: Some(done), .. }) => done(false),
            Err(Line { done: None, .. }) => {}
        }
    }

    /// Waits until all is written that waits, or given up; whether it was, within `limit`.
    fn flush(&self, limit: Duration) -> bool {
        let unwritten = |waiting: &mut LineQueue| waiting.log.lines + waiting.events.lines > 0;
        let waited = self.fewer.wait_timeout_while(self.lock(), limit, unwritten);
        let (_waiting, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        !waited.timed_out()
    }

    fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn write_all_that_comes(&self, mut to: impl Write) {
        let mut cut_off = false;
        loop {
            let Line { mut text, done } = self.next();
            let bytes = text.len();
            if cut_off {
                // Behind a line that a full disk cut off, the next one begins a line of its own.
                text.insert(0, b'\n');
            }
            let written = write_whole(&mut to, &text);
            cut_off = written.map_or_else(|taken| cut_off || taken > 0, |()| false);
            if written.is_ok() {
                self.say_what_was_dropped();
            }
            self.count(bytes, done, written.is_ok());
        }
    }

    fn next(&self) -> Line {
        let mut waiting = self.lock();
        loop {
            let queues = &mut *waiting;
            let first = queues.events.waiting.pop_front();
            if let Some(line) = first.or_else(|| queues.log.waiting.pop_front()) {
                return line;
            }
            waiting = self.more.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Says once how many lines of the log are missing, when those before them are written.
    fn say_what_was_dropped(&self) {
        let mut waiting = self.lock();
        let lines = waiting.dropped - waiting.dropped_said;
        if lines == 0 || !waiting.log.waiting.is_empty() {
            return;
        }
        waiting.dropped_said = waiting.dropped;
        // It comes back here as a line of the log.
        drop(waiting);
        warn!(lines, "log lines were dropped");
    }

    fn count(&self, bytes: usize, done: Option<Done>, written: bool) {
        let is_event = done.is_some();
        if let Some(done) = done {
            done(written);
        }
        let mut waiting = self.lock();
        if is_event {
            waiting.events.written(bytes);
        } else {
            waiting.log.written(bytes);
            waiting.dropped += u64::from(!written);
        }
        drop(waiting);
        self.fewer.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, LineQueue> {
        // Nothing that is done under it panics.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes all of it, or says how much of it was written.
fn write_whole(to: &mut impl Write, text: &[u8]) -> Result<(), usize> {
    let mut taken = 0;
    while taken < text.len() {
        match to.write(&text[taken..]) {
            Ok(0) => return Err(taken),
            Ok(more) => taken += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Whoever shares the pipe may have turned blocking off, for all who write to it.
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(BUSY_PAUSE),
            Err(_) => return Err(taken),
        }
    }
    Ok(())
}

/// What `tracing` writes one event of the log to: it goes on its way as a whole.
pub(crate) struct LogLine(Vec<u8>);

impl LogLine {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }
}

impl Write for LogLine {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        stderr().log(std::mem::take(&mut self.0));
    }
}

/// Waits until the lines of the log are written, when it is dropped: for the end of a process that logs. For 2 s at most,
/// since stderr may be a pipe that nobody reads.
#[derive(Debug, Default)]
#[must_use = "it does its work when it is dropped"]
pub struct FlushLogs;

impl Drop for FlushLogs {
    fn drop(&mut self) {
        if let Some(stderr) = STDERR.get() {
            stderr.flush(FLUSH_WAIT);
        }
    }
}

/// Writes to stderr why the program ends, behind its log. It never panics, and waits 2 s at most for the log; its own line
/// is waited for by [`FlushLogs`].
pub fn print_error(text: &str) {
    let stderr = stderr();
    // Only where that is in vain is there no room for one line more.
    stderr.flush(FLUSH_WAIT);
    stderr.log(format!("{text}\n").into_bytes());
}

/// How many lines of the log stderr did not take, since the process began.
#[must_use]
pub fn log_lines_dropped() -> u64 {
    STDERR.get().map_or(0, |stderr| stderr.dropped())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, pipe};
    use std::sync::mpsc::sync_channel;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn line(letter: &str, bytes: usize) -> Vec<u8> {
        format!("{}\n", letter.repeat(bytes - 1)).into_bytes()
    }

    #[test]
    fn the_queue_is_bounded_and_always_accepts_a_first_line() {
        let bound = || Bound { lines: 3, bytes: 100 };
        let put = |queue: &mut Queue, bytes| {
            queue.put(Line { text: line("x", bytes), done: None }).is_ok()
        };
        let mut queue = Queue::new(bound());
        assert_eq!([30; 5].map(|bytes| put(&mut queue, bytes)), [true, true, true, false, false]);
        let mut queue = Queue::new(bound());
        assert_eq!([60, 60, 40].map(|bytes| put(&mut queue, bytes)), [true, false, true]);
        let mut queue = Queue::new(bound());
        assert_eq!([1000, 1].map(|bytes| put(&mut queue, bytes)), [true, false]);
        // What is being written counts until it is.
        queue.waiting.pop_front();
        assert!(!put(&mut queue, 1));
        queue.written(1000);
        assert!(put(&mut queue, 1));
    }

    #[test]
    fn a_full_log_refuses_no_event_and_events_go_first() {
        let (mut reader, writer) = pipe().unwrap();
        let (log, events) = (Bound { lines: 5, bytes: 4 << 20 }, Bound { lines: 2, bytes: 100 });
        let stderr = Stderr::start(writer, log, events);
        stderr.log(line("a", 2 << 20));
        // More than a pipe holds, so that it is under way while the others come.
        reader.read_exact(&mut [0]).unwrap();
        for _ in 0..10 {
            stderr.log(line("b", 10));
        }
        let (told, done) = sync_channel(3);
        for _ in 0..3 {
            let told = told.clone();
            stderr.event(line("e", 10), move |written| told.send(written).unwrap());
        }
        assert!(!done.recv_timeout(PATIENCE).unwrap(), "the third is refused at once");
        assert_eq!(stderr.dropped(), 6);
        assert!(!stderr.flush(Duration::from_millis(1)));

        let lines = BufReader::new(reader).lines().map(|line| line.unwrap()[..1].to_owned());
        let lines: String = lines.take(7).collect();
        assert_eq!(lines, "aeebbbb");
        assert!(stderr.flush(PATIENCE));
        assert_eq!([done.recv(), done.recv()], [Ok(true), Ok(true)]);
    }

    #[test]
    fn after_a_partial_write_the_next_line_starts_on_its_own() {
        /// A disk with so much room.
        struct Disk(usize, std::io::PipeWriter);
        impl Write for Disk {
            fn write(&mut self, text: &[u8]) -> io::Result<usize> {
                let taken = text.len().min(self.0);
                self.0 -= taken;
                if taken == 0 {
                    // Somebody makes room.
                    self.0 = 1000;
                    return Err(ErrorKind::StorageFull.into());
                }
                self.1.write(&text[..taken])
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (reader, writer) = pipe().unwrap();
        let stderr = Stderr::start(Disk(5, writer), LOG, EVENTS);
        let (told, done) = sync_channel(2);
        for letter in ["a", "b"] {
            let told = told.clone();
            stderr.event(line(letter, 10), move |written| told.send(written).unwrap());
        }
        let mut lines = BufReader::new(reader).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "aaaaa");
        assert_eq!(lines.next().unwrap().unwrap(), "bbbbbbbbb");
        assert_eq!([done.recv(), done.recv()], [Ok(false), Ok(true)]);
    }
}
