//! The server ends: killed, told to stop, or one of two.

use std::time::Duration;

use crate::cluster::{Cluster, Stop};
use crate::load::{Load, Plan};
use crate::server::Place;
use crate::trial::{Kept, Random, Trial, calm, in_full, while_it_lasts};

/// Kills and starts it again at random moments, and checks what is left.
async fn kill_again_and_again(trial: Trial, place: &Place, store_url: &str) {
    let trial = trial.with_cuts();
    let mut random = Random::new();
    let mut serving = place.start();
    let load = Load::start(&Plan::to(&[place.address()]));
    for _ in 0..in_full(20, 5) {
        tokio::time::sleep(Duration::from_millis(100 + random.below(1500))).await;
        serving.kill();
        serving = place.start();
    }
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(store_url).await.and_by(place, &serving).await;
    trial.judge(&sent, &kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_kills_on_postgres_lose_and_duplicate_no_event() {
    let cluster = Cluster::start().await;
    let trial =
        Trial::of("the server is killed (`kill -9`) at random moments", &cluster.label().await);
    kill_again_and_again(trial, &Place::on(&cluster.url()), &cluster.url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_kills_on_sqlite_lose_and_duplicate_no_event() {
    let trial = Trial::of("the server is killed (`kill -9`) at random moments", "SQLite");
    let place = Place::on_sqlite();
    kill_again_and_again(trial, &place, &place.store_url()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_during_a_database_outage_loses_no_spooled_event() {
    let mut cluster = Cluster::start().await;
    let label = cluster.label().await;
    let trial = Trial::of("the server is killed while PostgreSQL is stopped", &label).with_cuts();
    let place = Place::on(&cluster.url());
    let mut serving = place.start();
    let load = Load::start(&Plan::to(&[place.address()]));
    calm().await;
    cluster.stop(Stop::Fast);
    while_it_lasts().await;
    serving.kill();
    // It does not wait for the database before it takes events again.
    let serving = place.start();
    while_it_lasts().await;
    cluster.start_again().await;
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&place, &serving).await;
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_full_traffic_exits_cleanly_and_loses_no_event() {
    let cluster = Cluster::start().await;
    let trial = Trial::of("SIGTERM in full traffic", &cluster.label().await).with_cuts();
    let place = Place::on(&cluster.url());
    let mut serving = place.start();
    let load = Load::start(&Plan::to(&[place.address()]));
    for _ in 0..in_full(5, 2) {
        calm().await;
        serving.terminate();
        serving = place.start();
    }
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&place, &serving).await;
    trial.judge(&sent, &kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_database_hangs_loses_no_event() {
    let mut cluster = Cluster::start().await;
    let label = cluster.label().await;
    let trial = Trial::of("SIGTERM while PostgreSQL stands still", &label).with_cuts();
    let place = Place::on(&cluster.url());
    let serving = place.start();
    let load = Load::start(&Plan::to(&[place.address()]));
    calm().await;
    // In the middle of a statement, not before one.
    cluster.freeze();
    tokio::time::sleep(Duration::from_millis(300)).await;
    serving.terminate();
    cluster.thaw();
    cluster.stop(Stop::Immediate);
    cluster.start_again().await;
    let serving = place.start();
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&place, &serving).await;
    trial.judge(&sent, &kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_one_of_two_replicas_loses_no_event() {
    let cluster = Cluster::start().await;
    let label = cluster.label().await;
    let trial = Trial::of("one of two replicas is killed (`kill -9`)", &label).with_cuts();
    let places = [Place::on(&cluster.url()), Place::on(&cluster.url())];
    let mut one = places[0].start();
    let other = places[1].start();
    let load = Load::start(&Plan::to(&[places[0].address(), places[1].address()]));
    for _ in 0..in_full(5, 2) {
        calm().await;
        one.kill();
        calm().await;
        one = places[0].start();
    }
    let sent = load.finish();
    one.drained().await;
    other.drained().await;
    let kept = Kept::in_store(&cluster.url()).await;
    let kept = kept.and_by(&places[0], &one).await.and_by(&places[1], &other).await;
    trial.judge(&sent, &kept);
}
