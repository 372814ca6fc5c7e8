#!/usr/bin/env bash
# Software: async-nats 0.51.0 (crates.io), with nats-server 2.9.10 (Debian 12's package 2.9.10-1+b3); nats-py 2.16.0 beside it.
#
# One would guess: `nats://user:password@host`, the form that the documentation of NATS and of its other clients uses, connects as that
# user. The crate reads such a URL without an error, and `ServerAddr` has `username()` and `password()` for it.
#
# What happens: nothing in the crate asks for the two. The client says no user, and the server answers "authorization violation", which
# looks like a wrong password; where the server lets strangers in, it goes on as one of them, without any right of the user. nats-py
# connects as the user by the same URL. `ConnectOptions::with_user_and_password` does it in async-nats.
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
tokio = { version = "1", features = ["macros", "rt"] }

[profile.dev]
debug = false
EOF
mkdir src
cat >src/main.rs <<'EOF'
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let (user, password) = (String::from("user"), String::from("password"));
    let address: async_nats::ServerAddr = url.parse().unwrap();
    println!("async-nats reads the user {:?} in the URL", address.username());
    let by_url = async_nats::connect(&url).await;
    println!("async-nats, by the URL: {}", by_url.err().map_or("connected".into(), |error| error.to_string()));
    let by_options = async_nats::ConnectOptions::with_user_and_password(user, password).connect(&url).await;
    println!("async-nats, by options: {}", by_options.err().map_or("connected".into(), |error| error.to_string()));
}
EOF
cat >see.py <<'EOF'
import asyncio
import sys

import nats


async def see():
    try:
        client = await nats.connect(sys.argv[1], allow_reconnect=False)
        print("nats-py, by the URL: connected")
        await client.close()
    except Exception as error:
        print(f"nats-py, by the URL: {error}")


asyncio.run(see())
EOF
install() {
    apt-get download -qq nats-server=2.9.10-1+b3 && dpkg-deb -x nats-server_2.9.10-1+b3_*.deb nats &&
        python3 -m venv python && python/bin/pip install -q nats-py==2.16.0 && cargo build -q
}
if ! install >install.log 2>&1; then
    cat install.log >&2
    echo "error: the packages could not be had" >&2
    exit 2
fi

cat >config <<'EOF'
listen: 127.0.0.1:-1
authorization: { user: user, password: password }
ports_file_dir: "."
EOF
nats/usr/sbin/nats-server -c config 2>server.log &
server=$!
ports="nats-server_$server.ports"
until [[ -s "$ports" ]]; do sleep 0.1; done
url=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["nats"][0])' "$ports")
url=${url/nats:\/\//nats://user:password@}

{ target/debug/see "$url" && python/bin/python see.py "$url"; } | tee seen
cat >stated <<'EOF'
async-nats reads the user Some("user") in the URL
async-nats, by the URL: authorization violation: nats: authorization violation
async-nats, by options: connected
nats-py, by the URL: connected
EOF
diff seen stated && echo "as stated"
