//! From names to addresses that may be sent to.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::guard::{Guard, Source, Transport};

/// The most addresses of a name that are tried. The time for a connection is shared between them.
const ADDRESSES_MAX: usize = 16;

/// The most lookups of one destination that run at once.
const LOOKUPS_MAX: usize = 2;

/// Asks `names`, and drops what the guard does not allow.
pub(crate) struct GuardedResolver {
    pub(crate) names: Arc<dyn Resolve>,
    pub(crate) guard: Guard,
    pub(crate) source: Source,
    pub(crate) transport: Transport,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let answer = self.names.resolve(name);
        let (guard, source, transport) = (self.guard.clone(), self.source, self.transport);
        Box::pin(async move {
            let addresses = answer.await?.map(|address| address.ip());
            let mut addresses = guard.allowed_of(&host, addresses, source, transport)?;
            if addresses.is_empty() {
                return Err(no_address());
            }
            addresses.truncate(ADDRESSES_MAX);
            // The client puts in the port of the URL.
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

fn no_address() -> Box<dyn Error + Send + Sync> {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address").into()
}

/// The resolver of the system.
///
/// It blocks a thread for as long as the system takes, which may be longer than the request that asked has time. A permit
/// stays with the thread, so a name server that does not answer holds two threads of a destination and not one for each
/// request.
pub(crate) struct SystemResolver(Arc<Semaphore>);

impl SystemResolver {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(LOOKUPS_MAX)))
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let permits = Arc::clone(&self.0);
        Box::pin(async move {
            let permit = permits.acquire_owned().await?;
            let lookup = spawn_blocking(move || {
                let addresses = (name.as_str(), 0).to_socket_addrs();
                drop(permit);
                addresses
            });
            Ok(Box::new(lookup.await??) as Addrs)
        })
    }
}
