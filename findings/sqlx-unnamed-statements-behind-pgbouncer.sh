#!/usr/bin/env bash
# Software: sqlx 0.9.0 with PgBouncer 1.18.0 in `pool_mode = transaction`.
#
# One would guess: a single statement outside of a transaction works behind a pooler in transaction mode once it is prepared without
# a name (`persistent(false)`), since Parse, Bind and Execute go out together; and `statement_cache_capacity(0)`, which drivers name for
# poolers, leaves no statement behind.
#
# What happens: sqlx waits between Parse and Bind, with a Sync after each. PgBouncer takes the session back at the first Sync, so that
# Bind may go to another one, which has no such statement (26000). Within an explicit transaction it works. Without a cache each query
# is still prepared under a name of its own, and stays with the session: three queries leave three.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [[ -z "${TEST_POSTGRES_URL:-}" ]]; then
    exec "$root/scripts/with-postgres" "${BASH_SOURCE[0]}"
fi
# shellcheck source=scripts/pgbouncer
source "$root/scripts/pgbouncer"
find_pgbouncer
[[ -n "$TEST_PGBOUNCER" ]] || exit 2

folder=$(mktemp -d /tmp/finding.XXXXXX)
pooler=
trap '[[ -z $pooler ]] || kill "$pooler"; rm -rf "$folder"' EXIT
cd "$folder"
port=$((20000 + RANDOM % 12000))
place=${TEST_POSTGRES_URL#*@}
cat >pgbouncer.ini <<END
[databases]
* = host=${place%%:*} port=$(sed 's/.*:\([0-9]*\).*/\1/' <<<"$place") user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $port
auth_type = any
unix_socket_dir =
pool_mode = transaction
server_round_robin = 1
END
chmod a+rx . && chmod a+r pgbouncer.ini
run=()
if [[ -n "${TEST_POSTGRES_OWNER:-}" ]]; then
    run=(runuser -u "$TEST_POSTGRES_OWNER" --)
fi
"${run[@]}" "$TEST_PGBOUNCER" pgbouncer.ini 2>pgbouncer.log &
pooler=$!

cargo init --quiet --bin --name finding .
cat >>Cargo.toml <<'END'
sqlx = { version = "=0.9.0", default-features = false, features = ["runtime-tokio", "postgres"] }
tokio = { version = "1", features = ["rt", "macros", "time"] }
END
cat >src/main.rs <<'END'
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection, Row};

fn result<T>(result: Result<T, sqlx::Error>) -> String {
    match result {
        Ok(_) => "works".to_owned(),
        Err(error) => error.as_database_error().and_then(|error| error.code()).unwrap_or_default().to_string(),
    }
}

async fn connect(options: PgConnectOptions) -> PgConnection {
    options.extra_float_digits(None).connect().await.unwrap()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let options: PgConnectOptions = url.parse().unwrap();
    // Two sessions at once, so that the pooler has two to give out.
    let (mut one, mut two) = (connect(options.clone()).await, connect(options.clone()).await);
    let busy = "select pg_sleep(0.5)";
    let (a, b) = tokio::join!(sqlx::raw_sql(busy).execute(&mut one), sqlx::raw_sql(busy).execute(&mut two));
    (a.unwrap(), b.unwrap());
    let ask = || sqlx::query("select $1::bigint").bind(1_i64);
    println!("unnamed, alone: {}", result(ask().persistent(false).fetch_one(&mut one).await));
    let mut transaction = two.begin().await.unwrap();
    println!("unnamed, in a transaction: {}", result(ask().persistent(false).fetch_one(&mut *transaction).await));
    transaction.commit().await.unwrap();
    // To PostgreSQL itself.
    let direct: PgConnectOptions = std::env::args().nth(2).unwrap().parse().unwrap();
    let mut uncached = connect(direct.statement_cache_capacity(0)).await;
    for _ in 0..3 {
        ask().fetch_one(&mut uncached).await.unwrap();
    }
    let left = "select count(*)::text from pg_prepared_statements";
    let left: String = sqlx::raw_sql(left).fetch_one(&mut uncached).await.unwrap().get(0);
    println!("left behind without a cache: {left}");
}
END
cargo build --quiet 2>build.log || { cat build.log >&2; exit 2; }
kill -0 "$pooler" || { cat pgbouncer.log >&2; exit 2; }
./target/debug/finding "postgres://postgres@127.0.0.1:$port/postgres" "$TEST_POSTGRES_URL" | tee output
[[ $(cat output) == "unnamed, alone: 26000
unnamed, in a transaction: works
left behind without a cache: 3" ]]
