//! PostgreSQL is away, stands still, or refuses.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sqlx::{Connection, Executor, PgConnection};

use crate::cluster::{Cluster, Stop};
use crate::load::{Load, Plan};
use crate::proxy::{Mode, Proxy};
use crate::server::Place;
use crate::trial::{Kept, Random, Shown, Trial, calm, while_it_lasts};

/// A server in traffic on a PostgreSQL that something is about to happen to.
struct Stage {
    trial: Trial,
    place: Place,
    serving: crate::server::Serving,
    load: Load,
}

impl Stage {
    async fn set(fault: &'static str, cluster: &Cluster) -> Self {
        Self::set_through(fault, cluster, cluster.port()).await
    }

    /// The server reaches PostgreSQL through another port than its own.
    async fn set_through(fault: &'static str, cluster: &Cluster, port: u16) -> Self {
        let trial = Trial::of(fault, &cluster.label().await);
        let place = Place::on(&Cluster::url_through(port));
        let serving = place.start();
        let load = Load::start(&Plan::to(&[place.address()]));
        calm().await;
        Self { trial, place, serving, load }
    }

    /// The fault has passed: what was answered must be there, and some of it came through the spool.
    async fn judge(self, cluster: &Cluster) -> Shown {
        calm().await;
        let sent = self.load.finish();
        self.serving.drained().await;
        let kept = Kept::in_store(&cluster.url()).await.and_by(&self.place, &self.serving).await;
        let shown = self.trial.judge(&sent, &kept);
        assert!(shown.spooled > 0, "the fault was none: {shown:?}");
        self.serving.until("/readyz", 200).await;
        shown
    }
}

async fn stop_and_start(fault: &'static str, how: Stop) {
    let mut cluster = Cluster::start().await;
    let stage = Stage::set(fault, &cluster).await;
    cluster.stop(how);
    while_it_lasts().await;
    cluster.start_again().await;
    stage.judge(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_restart_of_postgres_loses_no_event() {
    stop_and_start("PostgreSQL is stopped (fast) and started again", Stop::Fast).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immediate_restart_of_postgres_loses_no_event() {
    stop_and_start("PostgreSQL is stopped (immediate) and started again", Stop::Immediate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_database_loses_no_event() {
    let cluster = Cluster::start().await;
    let stage = Stage::set("PostgreSQL is frozen (SIGSTOP), then goes on", &cluster).await;
    cluster.freeze();
    while_it_lasts().await;
    cluster.thaw();
    stage.judge(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_connections_cut_mid_statement_lose_no_event() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::before(address(&cluster), Random::new());
    let fault = "connections to PostgreSQL are cut while bytes flow";
    let stage = Stage::set_through(fault, &cluster, proxy.port()).await;
    proxy.set(Mode::Cut);
    while_it_lasts().await;
    proxy.set(Mode::Pass);
    assert!(proxy.cuts() > 3, "only {} connections were cut", proxy.cuts());
    // Whether one of them needed the spool is chance: another attempt may be in time.
    calm().await;
    let sent = stage.load.finish();
    stage.serving.drained().await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&stage.place, &stage.serving).await;
    stage.trial.judge(&sent, &kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_drops_all_packets_loses_no_event() {
    let cluster = Cluster::start().await;
    let proxy = Proxy::before(address(&cluster), Random::new());
    let fault = "what is sent to PostgreSQL vanishes, connections stay open";
    let stage = Stage::set_through(fault, &cluster, proxy.port()).await;
    proxy.set(Mode::Swallow);
    while_it_lasts().await;
    proxy.set(Mode::Pass);
    stage.judge(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_loses_no_event() {
    let cluster = Cluster::start().await;
    let stage = Stage::set("the database is made read-only, then writable again", &cluster).await;
    cluster.execute("alter system set default_transaction_read_only = on").await;
    cluster.execute("select pg_reload_conf()").await;
    while_it_lasts().await;
    cluster.execute("alter system reset default_transaction_read_only").await;
    cluster.execute("select pg_reload_conf()").await;
    stage.judge(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_on_the_events_table_loses_no_event() {
    let cluster = Cluster::start().await;
    let stage = Stage::set("an exclusive lock is held on `events`", &cluster).await;
    let mut holder = cluster.session().await;
    let mut lock = holder.begin().await.unwrap();
    lock.execute("lock table events in access exclusive mode").await.unwrap();
    while_it_lasts().await;
    lock.rollback().await.unwrap();
    stage.judge(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_a_free_connection_loses_no_event() {
    let cluster = Cluster::start_with(20).await;
    let stage = Stage::set("other sessions take all of `max_connections`", &cluster).await;
    let mut first = cluster.session().await;
    let mut others: Vec<PgConnection> = Vec::new();
    let begun = Instant::now();
    // The server gets its connections back for moments, until the others have them all.
    let of_server = "from pg_stat_activity where application_name = 'trtc-callbacks'";
    loop {
        while let Ok(session) = PgConnection::connect(&cluster.url()).await {
            others.push(session);
        }
        let end = format!("select count(pg_terminate_backend(pid)) {of_server}");
        let ended: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(end)).fetch_one(&mut first).await.unwrap();
        if ended == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "the server keeps its connections");
    }
    while_it_lasts().await;
    drop((first, others));
    stage.judge(&cluster).await;
}

fn address(cluster: &Cluster) -> SocketAddr {
    ([127, 0, 0, 1], cluster.port()).into()
}
