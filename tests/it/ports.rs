//! Ports for servers that are stopped and started again.

use std::net::TcpListener;

/// A port that nothing listens on, and that no outgoing connection gets: those begin at 32768. A client that tries again
/// and again to reach a server that is away would otherwise connect to itself one day, and keep the port.
pub(crate) fn free_port() -> u16 {
    for _ in 0..1000 {
        let random = uuid::Uuid::now_v7().as_u128() % 12_000;
        let port = 20_000 + u16::try_from(random).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free between 20000 and 32000");
}
