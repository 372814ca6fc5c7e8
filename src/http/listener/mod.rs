//! Accepts connections, and bounds what a client can make the server wait for or keep.

pub(crate) mod accept;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod fd_limit;
pub(crate) mod preamble;
pub(crate) mod proxy_header;
pub(crate) mod proxy_protocol;
pub(crate) mod slot;
pub(crate) mod slots;
pub(crate) mod stop;
pub(crate) mod tls;
