//! The machine's clock jumps. libfaketime stands between the server and it.

use std::time::Duration;

use crate::cluster::{Cluster, Stop};
use crate::load::{Load, Plan};
use crate::server::Place;
use crate::trial::{Kept, Trial, calm};

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_an_hour_and_back_loses_no_event() {
    let library = std::env::var("TEST_FAKETIME").ok().filter(|library| !library.is_empty()).expect(
        "TEST_FAKETIME is not set: run ./scripts/test, which finds or installs libfaketime",
    );
    let mut cluster = Cluster::start().await;
    let label = cluster.label().await;
    let trial = Trial::of(
        "the clock jumps an hour ahead, two back, and home, the second with PostgreSQL stopped",
        &label,
    );
    let folder = tempfile::tempdir().unwrap();
    let offset = folder.path().join("offset");
    let jump = |hours: &str| {
        // Never half a file: the server reads it all the time.
        let new = folder.path().join("new");
        std::fs::write(&new, hours).unwrap();
        std::fs::rename(&new, &offset).unwrap();
    };
    jump("+0");
    let place = Place::on(&cluster.url())
        .with("LD_PRELOAD", &library)
        .with("FAKETIME_TIMESTAMP_FILE", offset.to_str().unwrap())
        .with("FAKETIME_CACHE_DURATION", "1")
        // A jump is of the wall clock only: what is measured goes on.
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let serving = place.start();
    let load = Load::start(&Plan::to(&[place.address()]));
    calm().await;
    jump("+1h");
    calm().await;
    cluster.stop(Stop::Fast);
    calm().await;
    jump("-1h");
    calm().await;
    cluster.start_again().await;
    calm().await;
    jump("+0");
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&place, &serving).await;
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "{shown:?}");
    let mut session = cluster.session().await;
    // The clock did jump: without a fault, a row is received within seconds of being written.
    let span: f64 = sqlx::query_scalar(
        "select extract(epoch from max(received_at) - min(received_at))::float8 from events",
    )
    .fetch_one(&mut session)
    .await
    .unwrap();
    assert!(span > Duration::from_hours(1).as_secs_f64() * 1.9, "it jumped by {span} s only");
}
