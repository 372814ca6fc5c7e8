//! Three servers with a stream of three replicas.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use forward::nats::{Client, Creation, check};
use serde_json::{Value, json};

use crate::server::{Server, ask, client, destination, eventually, free_ports, publish};

struct Cluster(Vec<Server>);

impl Cluster {
    async fn start() -> Option<Self> {
        let (ports, routes): ([u16; 3], [u16; 3]) = (free_ports(), free_ports());
        let all = routes.map(|port| format!("nats://127.0.0.1:{port}")).join(", ");
        let mut servers = Vec::new();
        for (place, (port, route)) in ports.into_iter().zip(routes).enumerate() {
            let config = format!(
                "server_name: n{place}\ncluster {{ name: c\nlisten: 127.0.0.1:{route}\nroutes: [{all}] }}"
            );
            let mut server = Server::prepare(port, &config, "")?;
            server.run().await;
            servers.push(server);
        }
        Some(Self(servers))
    }

    fn url(&self) -> String {
        self.0.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    fn client(&self) -> Client {
        client(&self.url(), |settings| settings.in_flight_max = 16)
    }

    /// The place of the stream's leader, as one of the servers knows it.
    async fn leader(&self, ask_of: usize) -> Option<usize> {
        let plain = self.0[ask_of].plain().await;
        let info = ask(&plain, "STREAM.INFO.TRTC_EVENTS", &json!({})).await;
        let name = info["cluster"]["leader"].as_str()?.to_owned();
        name.strip_prefix('n')?.parse().ok()
    }
}

/// The ids in a stream, and how often each is there.
async fn stored(plain: &async_nats::Client) -> HashMap<String, usize> {
    let info = ask(plain, "STREAM.INFO.TRTC_EVENTS", &json!({})).await;
    let last = info["state"]["last_seq"].as_u64().unwrap();
    let mut ids = HashMap::new();
    for seq in 1..=last {
        let message = ask(plain, "STREAM.MSG.GET.TRTC_EVENTS", &json!({ "seq": seq })).await;
        let Value::String(headers) = &message["message"]["hdrs"] else { continue };
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, headers).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let id = text.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: ")).unwrap();
        *ids.entry(id.trim().to_owned()).or_default() += 1;
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_loses_no_acked_event_and_doubles_none() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let target = destination(&cluster.url(), |settings| settings.create_stream = true).nats;
    let client = cluster.client();
    eventually("the stream is created", || async {
        let report = check(&client, &target, Creation::AsConfigured).await;
        report.is_ok_and(|report| !report.streams.is_empty())
    })
    .await;
    let report = check(&client, &target, Creation::Never).await.unwrap();
    assert!(report.findings.is_empty(), "three replicas: {report:?}");
    let leader = cluster.leader(0).await.unwrap();

    // Each goes on with its event until it is acked, as the forwarder does.
    let (next, acked) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicU64::new(0)));
    let stop = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let (client, next, acked, stop) =
                (client.clone(), next.clone(), acked.clone(), stop.clone());
            tokio::spawn(async move {
                let (mut ids, mut slowest) = (Vec::new(), Duration::ZERO);
                while !stop.load(Ordering::Relaxed) {
                    let number = u128::from(next.fetch_add(1, Ordering::Relaxed));
                    let started = tokio::time::Instant::now();
                    while publish(&client, number, 200).await.result.is_err() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    slowest = slowest.max(started.elapsed());
                    acked.fetch_add(1, Ordering::Relaxed);
                    ids.push(uuid::Uuid::from_u128(number).to_string());
                }
                (ids, slowest)
            })
        })
        .collect();
    let reached = |count: u64| {
        let acked = acked.clone();
        async move {
            eventually("enough are acked", || async { acked.load(Ordering::Relaxed) >= count })
                .await;
        }
    };
    reached(500).await;
    cluster.0[leader].kill();
    let before = acked.load(Ordering::Relaxed);
    reached(before + 500).await;
    stop.store(true, Ordering::Relaxed);
    let (mut ids, mut slowest) = (Vec::new(), Duration::ZERO);
    for sender in senders {
        let (of_one, slow) = sender.await.unwrap();
        ids.extend(of_one);
        slowest = slowest.max(slow);
    }
    eprintln!("{} acked, the slowest after {slowest:?}", ids.len());
    let stored = stored(&cluster.0[(leader + 1) % 3].plain().await).await;
    for id in &ids {
        assert_eq!(stored.get(id), Some(&1), "{id}");
    }
    assert_eq!(stored.len(), ids.len(), "every event was tried until it was acked");
}
