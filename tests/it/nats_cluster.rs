//! Three nats-servers that keep streams together.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Info, Stream};
use futures_util::StreamExt;

use crate::nats_server::NatsServer;
use crate::ports::free_port;

/// How long an election and the copying of what a server missed may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// When a server was heard of that runs: heartbeats come each second.
const SEEN_WITHIN: Duration = Duration::from_millis(1500);
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(1);

/// They are killed when it is dropped.
pub(crate) struct NatsCluster(Vec<NatsServer>);

impl NatsCluster {
    pub(crate) async fn start() -> Option<Self> {
        let routes = [(); 3].map(|()| format!("127.0.0.1:{}", free_port()));
        let all = routes.each_ref().map(|route| format!("nats://{route}")).join(", ");
        let mut servers = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            let mut server = NatsServer::prepare(&format!(
                "server_name: n{place}\ncluster {{ name: c\nlisten: {route}\nroutes: [{all}] }}"
            ))?;
            server.run().await;
            servers.push(server);
        }
        Some(Self(servers))
    }

    /// All of them, as a destination or a stream of ours names them.
    pub(crate) fn url(&self) -> String {
        let addresses: Vec<String> = self.0.iter().map(NatsServer::address).collect();
        format!("nats://{}", addresses.join(",nats://"))
    }

    pub(crate) fn server(&mut self, place: usize) -> &mut NatsServer {
        &mut self.0[place]
    }

    /// The place of a stream's leader, once there is one and the others have all that it has.
    pub(crate) async fn leader(&self, stream: &str) -> usize {
        let begun = Instant::now();
        loop {
            let stream = stream_of(&self.url(), stream).await;
            let info = stream.as_ref().map(Stream::cached_info);
            if let Some(leader) = info.and_then(leader_of_whole) {
                return leader;
            }
            let cluster = info.map(|info| &info.cluster);
            assert!(begun.elapsed() < PATIENCE, "the stream is not whole: {cluster:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A stream, as one of these servers knows it; `None` where nobody does.
async fn stream_of(url: &str, name: &str) -> Option<Stream> {
    let servers: Vec<&str> = url.split(',').collect();
    let client = async_nats::connect(servers).await.ok()?;
    let mut context = async_nats::jetstream::new(client);
    // While nobody leads the servers, nobody answers.
    context.set_timeout(ANSWER);
    context.get_stream(name).await.ok()
}

/// The ids in a stream, and how often each is there.
pub(crate) async fn ids(url: &str, stream: &str) -> BTreeMap<String, usize> {
    let stream = stream_of(url, stream).await.expect("the stream is there");
    let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
    let consumer = stream.create_consumer(config).await.unwrap();
    let (mut ids, mut left) = (BTreeMap::new(), consumer.cached_info().num_pending);
    while left > 0 {
        let batch = consumer.batch().max_messages(1000).expires(Duration::from_secs(5));
        let mut batch = batch.messages().await.unwrap();
        while let Some(message) = batch.next().await {
            let message = message.unwrap();
            let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id"));
            *ids.entry(id.expect("it has an id").to_string()).or_default() += 1;
            // What comes while it is read is read too.
            left = left.saturating_sub(1);
        }
    }
    ids
}

/// The place of the leader where both others have what it has, as far as it knows since just now: who was killed counts as
/// current for some seconds.
fn leader_of_whole(info: &Info) -> Option<usize> {
    let cluster = info.cluster.as_ref()?;
    let is_whole = cluster.replicas.len() == 2
        && cluster.replicas.iter().all(|other| other.current && other.active < SEEN_WITHIN);
    let place = cluster.leader.as_ref()?.strip_prefix('n')?.parse().ok()?;
    is_whole.then_some(place)
}
