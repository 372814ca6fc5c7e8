//! Where the server listens.

use tokio::net::TcpListener;

/// Where the server listens: bound before it runs, so that a caller knows the ports.
#[derive(Debug)]
pub struct Listeners {
    /// For the vendor.
    pub public: TcpListener,
    /// For the operators.
    pub ops: TcpListener,
}
