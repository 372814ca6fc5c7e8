//! A disk that stalls: some syncs take a second or two, and are over in time.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::load::{Load, Plan};
use crate::server::{Place, Serving};
use crate::trial::{Kept, Shown, Trial, in_full};

/// How long stalls take, in ms; in the short form one of them.
fn stalls(short: &'static [u64]) -> &'static [u64] {
    in_full(&[900, 1300, 1700], short)
}

/// What starts a program whose every 15th sync takes so long, in each of its threads and processes. The tracer is no
/// parent of it, so that it is signalled as ever, and ends with it.
fn launcher(millis: u64) -> Vec<String> {
    let strace = std::env::var("TEST_STRACE").ok().filter(|path| !path.is_empty());
    let strace =
        strace.expect("TEST_STRACE is not set: run ./scripts/test, which finds or installs strace");
    let inject = format!("inject=fsync,fdatasync:delay_enter={}:when=20+15", millis * 1000);
    let words =
        ["-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e", "trace=fsync,fdatasync"];
    let words = [strace.as_str()].into_iter().chain(words).chain(["-e", &inject]);
    words.map(str::to_owned).collect()
}

fn fault(millis: u64, rate: u64) -> &'static str {
    match (millis, rate) {
        (900, 20) => "each 15th sync takes 0.9 s, at 20 events/s",
        (900, _) => "each 15th sync takes 0.9 s, at 500 events/s",
        (1300, 20) => "each 15th sync takes 1.3 s, at 20 events/s",
        (1300, _) => "each 15th sync takes 1.3 s, at 500 events/s",
        (_, 20) => "each 15th sync takes 1.7 s, at 20 events/s",
        _ => "each 15th sync takes 1.7 s, at 500 events/s",
    }
}

/// Traffic that does not wait for its answers, once the store takes events.
async fn traffic(place: &Place, serving: &Serving, rate: u64) -> Load {
    serving.until_the_store_takes_events().await;
    let load = Load::start(&Plan::to(&[place.address()]).at_all_times(rate));
    tokio::time::sleep(Duration::from_secs(in_full(30, 12))).await;
    load
}

/// Each event came in time, and all but one in so many into the store itself.
fn judge(shown: &Shown, millis: u64, one_in: u64) {
    assert!(shown.worst_ms >= millis / 2, "no sync stalled: {shown:?}");
    assert!(shown.spooled * one_in <= shown.sent, "too many went to the spool: {shown:?}");
}

async fn on_sqlite(rate: u64) {
    for &millis in stalls(&[1700]) {
        let trial = Trial::of(fault(millis, rate), "SQLite, the spool on the same disk");
        let trial = trial.numbered(millis);
        let place = Place::on_sqlite().launched_by(&launcher(millis));
        let serving = place.start();
        let sent = traffic(&place, &serving, rate).await.finish();
        serving.drained().await;
        let kept = Kept::in_store(&place.store_url()).await.and_by(&place, &serving).await;
        judge(&trial.judge(&sent, &kept), millis, 10);
    }
}

async fn on_postgres(rate: u64) {
    for &millis in stalls(&[900]) {
        let cluster = Cluster::start_launched_by(launcher(millis)).await;
        let trial = Trial::of(fault(millis, rate), &cluster.label().await).numbered(millis);
        let place = Place::on(&cluster.url());
        let serving = place.start();
        let sent = traffic(&place, &serving, rate).await.finish();
        serving.drained().await;
        let kept = Kept::in_store(&cluster.url()).await.and_by(&place, &serving).await;
        // Each process of PostgreSQL's stalls by itself, and all wait for whichever does. Two of the longer stalls, one right
        // behind the other, outlast the budget: only the spool can take what came during the first.
        let one_in = if millis == 900 { 10 } else { 2 };
        judge(&trial.judge(&sent, &kept), millis, one_in);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalling_disk_loses_no_event_on_sqlite() {
    on_sqlite(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalling_disk_loses_no_event_on_sqlite_at_500_per_second() {
    on_sqlite(500).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalling_disk_loses_no_event_on_postgres() {
    on_postgres(20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalling_disk_loses_no_event_on_postgres_at_500_per_second() {
    on_postgres(500).await;
}
