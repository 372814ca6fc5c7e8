//! A TCP proxy that fails as networks do: it cuts connections while bytes flow, or swallows them and says nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::trial::Random;

/// What it does to what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    Pass,
    /// One piece in twenty is cut in two: the first half goes through, then the connection ends.
    Cut,
    /// Bytes vanish, connections stay open. One that lost bytes never works again.
    Swallow,
}

pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    target: Mutex<SocketAddr>,
    mode: AtomicU8,
    ended: AtomicBool,
    cuts: AtomicU64,
    streams: Mutex<Vec<TcpStream>>,
    random: Mutex<Random>,
}

impl Proxy {
    pub(crate) fn before(target: SocketAddr, random: Random) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", crate::ports::free_port())).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            mode: AtomicU8::new(Mode::Pass as u8),
            ended: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            streams: Mutex::default(),
            random: Mutex::new(random),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                serving.pass_on(stream);
            }
        });
        Self { address, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Where new connections lead to from now on.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap() = target;
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::Relaxed);
    }

    /// How many connections it cut.
    pub(crate) fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::Relaxed) == mode as u8
    }

    fn pass_on(self: &Arc<Self>, near: TcpStream) {
        let target = *self.target.lock().unwrap();
        let Ok(far) = TcpStream::connect(target) else {
            return;
        };
        let broken = Arc::new(AtomicBool::new(false));
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
            let (shared, broken) = (self.clone(), broken.clone());
            std::thread::spawn(move || shared.copy(from, to, &broken));
        }
        let mut streams = self.streams.lock().unwrap();
        // Those that ended are of no use here.
        streams.retain(|stream| stream.peer_addr().is_ok());
        streams.extend([near, far]);
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, broken: &AtomicBool) {
        let mut buffer = vec![0; 4096];
        while let Ok(read) = from.read(&mut buffer) {
            if read == 0 {
                break;
            }
            if self.is(Mode::Swallow) {
                broken.store(true, Ordering::Relaxed);
            }
            if broken.load(Ordering::Relaxed) {
                continue;
            }
            if self.is(Mode::Cut) && self.random.lock().unwrap().below(20) == 0 {
                let _ = to.write_all(&buffer[..read / 2]);
                self.cuts.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}
