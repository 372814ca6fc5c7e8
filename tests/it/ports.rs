//! Ports for servers that are stopped and started again.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::{LazyLock, Mutex};

/// Those that were given to a test of this process, which may not listen yet, or not listen for a while.
static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);

/// A port that nothing listens on, that no other test has, and that no outgoing connection gets: those begin at 32768. A client that
/// tries again and again to reach a server that is away would otherwise connect to itself one day, and keep the port.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1000 {
        let random = uuid::Uuid::now_v7().as_u128() % 12_000;
        let port = 20_000 + u16::try_from(random).unwrap();
        let is_free = TcpListener::bind(("127.0.0.1", port)).is_ok();
        if is_free && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
    panic!("no port is free between 20000 and 32000");
}
