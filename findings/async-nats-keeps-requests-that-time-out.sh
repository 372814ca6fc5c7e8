#!/usr/bin/env bash
# Software: async-nats 0.51.0 (crates.io), with nats-server 2.9.10 (Debian 12's package 2.9.10-1+b3).
#
# One would guess: `Client::request` that ends by its timeout leaves nothing behind, as a future that is dropped does. (The client of Go
# takes its entry out again.)
#
# What happens: the entry by which an answer finds its request is taken out only by an answer. A request that nobody answers keeps it for
# as long as the connection lives. So a client grows by every request that times out: at a service that hangs, or when it publishes
# to a JetStream stream with `no_ack`. Requests that are answered leave nothing.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[[ -z "$server" ]] || kill "$server" 2>/dev/null; rm -rf "$folder"' EXIT
cd "$folder"

cat >Cargo.toml <<'EOF'
[package]
name = "see"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
async-nats = { version = "=0.51.0", default-features = false, features = ["ring"] }
futures-util = "0.3"
tokio = { version = "1", features = ["macros", "rt", "time"] }

[profile.dev]
debug = false
EOF
mkdir src
cat >src/main.rs <<'EOF'
use std::time::Duration;

use async_nats::{Client, Request};
use futures_util::StreamExt;
use futures_util::future::join_all;

/// Resident memory, in KiB.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// 200 times 1,000 requests at once. Each ends before the next thousand begins.
async fn requests(client: &Client, subject: &str, wait: Duration) {
    for _ in 0..200 {
        let one = || client.send_request(subject.to_owned(), Request::new().timeout(Some(wait)));
        join_all((0..1000).map(|_| one())).await;
        // What is still in the client's queue goes out.
        client.flush().await.unwrap();
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let service = async_nats::connect(&url).await.unwrap();
    let mut answered = service.subscribe("answered").await.unwrap();
    let mut ignored = service.subscribe("ignored").await.unwrap();
    service.flush().await.unwrap();
    tokio::spawn(async move {
        while let Some(request) = answered.next().await {
            service.publish(request.reply.unwrap(), "".into()).await.unwrap();
        }
    });
    tokio::spawn(async move { while ignored.next().await.is_some() {} });
    let client = async_nats::connect(&url).await.unwrap();
    // What the allocator and buffers need once.
    requests(&client, "answered", Duration::from_secs(60)).await;
    for (name, subject, wait) in [
        ("answered", "answered", Duration::from_secs(60)),
        ("timed out", "ignored", Duration::from_millis(1)),
    ] {
        let before = resident();
        requests(&client, subject, wait).await;
        let bytes = (resident() - before) * 1024 / 200_000;
        println!("200,000 requests, {name}: {bytes} bytes each remain");
    }
}
EOF

install() {
    apt-get download -qq nats-server=2.9.10-1+b3 && dpkg-deb -x nats-server_2.9.10-1+b3_*.deb nats && cargo build -q
}
if ! install >install.log 2>&1; then
    cat install.log >&2
    echo "error: the packages could not be had" >&2
    exit 2
fi

printf 'listen: 127.0.0.1:-1\nports_file_dir: "."\n' >config
nats/usr/sbin/nats-server -c config 2>server.log &
server=$!
ports="nats-server_$server.ports"
until [[ -s "$ports" ]]; do sleep 0.1; done
url=$(grep -o 'nats://127[^"]*' "$ports" | head -n 1)
target/debug/see "$url" | tee seen
remain() { sed -n "s/.*$1: \(-\{0,1\}[0-9]*\) bytes.*/\1/p" seen; }
(($(remain answered) < 20 && $(remain 'timed out') > 80))
