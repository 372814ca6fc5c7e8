//! Scale-out mode: receivers, `JetStream`, writers and PostgreSQL, broken at random.

use std::iter::repeat_with;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, Stop};
use crate::forwarding::{number, until_more};
use crate::load::{Attempt, Load, Plan};
use crate::nats_server::NatsServer;
use crate::server::{Place, Serving};
use crate::trial::{Kept, Random, Trial, calm, full, in_full, while_it_lasts};

/// How long it may take until all is stored: what a writer held is given to another after 30 s, more than once.
const PATIENCE: Duration = Duration::from_mins(4);

/// A store where nobody listens: a receiver needs none.
pub(crate) const NOWHERE: &str = "postgres://nobody@127.0.0.1:1/none";

/// A server of this role; so many servers of NATS keep its stream.
pub(crate) fn place(nats_url: &str, replicas: usize, role: &str, store: &str) -> Place {
    Place::on(store)
        .with("TRTC_STREAM_URL", nats_url)
        .with("TRTC_STREAM_ROLE", role)
        .with("TRTC_STREAM__REPLICAS", &replicas.to_string())
}

/// Returns when the stream has nothing left for writers.
async fn all_is_stored(nats_url: &str) {
    let servers: Vec<&str> = nats_url.split(',').collect();
    let client = async_nats::connect(servers).await.unwrap();
    let stream = async_nats::jetstream::new(client).get_stream("TRTC_INGEST").await.unwrap();
    let begun = Instant::now();
    loop {
        let info = stream.consumer_info("writer").await.unwrap();
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return;
        }
        let (pending, held) = (info.num_pending, info.num_ack_pending);
        assert!(begun.elapsed() < PATIENCE, "{pending} are not given, {held} are not stored");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Returns when each event that was answered OK is a row. What a writer stored whose acknowledgement was lost is given again after
/// 30 s, which is waited for in full length only.
pub(crate) async fn rows_are_there(nats_url: &str, store_url: &str, sent: &[Attempt]) {
    let begun = Instant::now();
    loop {
        let missing = Kept::in_store(store_url).await.missing(sent);
        if missing == 0 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{missing} events have no row");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if full() {
        all_is_stored(nats_url).await;
    }
}

/// Holds that events and their counts are the same in each hour: counts are added up, so one that was made twice would show.
async fn assert_each_counted_once(cluster: &Cluster) {
    const DIFFERING: &str = "
        with counted as (
            select command, at, sum(events)::bigint as events from event_counts where width_s = 3600 group by 1, 2
        ), stored as (
            select command, date_trunc('hour', event_time) as at, count(*) as events from events group by 1, 2
        )
        select count(*) from counted full join stored using (command, at)
        where counted.events is distinct from stored.events";
    assert_eq!(number(&cluster.url(), DIFFERING).await, 0, "events and their counts differ");
}

/// Holds that the tables are what follows from the events, read once from the beginning.
fn assert_each_change_once(place: &Place) {
    let output = place.program().args(["rebuild", "--dry-run", "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (events, right) = (&report["events"], &report["tables"]["event_counts"]["right"]);
    assert!(events.as_u64() > Some(0) && right.as_u64() > Some(0), "nothing was read: {report}");
    assert_eq!(report["faults"], 0, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn scale_out_broken_at_random_loses_no_event() {
    let Some(mut nats) = NatsServer::start().await else { return };
    let mut cluster = Cluster::start().await;
    let fault = "receivers, writers, NATS and PostgreSQL killed at random (scale-out mode)";
    let trial = Trial::of(fault, &cluster.label().await).with_cuts();
    let each = in_full(3, 2);
    let receivers = repeat_with(|| place(&nats.url(), 1, "receiver", NOWHERE)).take(each);
    let writers = repeat_with(|| place(&nats.url(), 1, "writer", &cluster.url())).take(each);
    let places: Vec<Place> = receivers.chain(writers).collect();
    let mut serving: Vec<Option<Serving>> =
        places.iter().map(|place| Some(place.start())).collect();
    let targets: Vec<SocketAddr> = places[..each].iter().map(Place::address).collect();
    let load = Load::start(&Plan::to(&targets));
    let mut random = Random::new();
    // Each fault once, and then at random.
    for round in 0..in_full(24, 5) {
        calm().await;
        let fault = if round < 5 { round } else { random.below(5) };
        match fault {
            0 | 1 => {
                let of_role = usize::try_from(random.below(u64::try_from(each).unwrap())).unwrap();
                let one = if fault == 0 { of_role } else { each + of_role };
                serving[one].take().unwrap().kill();
                calm().await;
                serving[one] = Some(places[one].start());
            }
            2 => {
                nats.kill();
                while_it_lasts().await;
                nats.run().await;
            }
            3 => {
                cluster.stop(Stop::Immediate);
                while_it_lasts().await;
                cluster.start_again().await;
            }
            _ => {
                nats.kill();
                cluster.stop(Stop::Fast);
                while_it_lasts().await;
                cluster.start_again().await;
                nats.run().await;
            }
        }
    }
    calm().await;
    let sent = load.finish();
    for receiver in serving.iter().take(each).flatten() {
        receiver.drained().await;
    }
    all_is_stored(&nats.url()).await;
    let mut kept = Kept::in_store(&cluster.url()).await;
    for (place, receiver) in places.iter().zip(&serving).take(each) {
        kept = kept.and_by(place, receiver.as_ref().expect("it runs")).await;
    }
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "the faults were none: {shown:?}");
    assert_each_counted_once(&cluster).await;
}

/// Which of two writers stores events.
async fn storing(writers: &[Option<Serving>; 2]) -> usize {
    let batches = async |writer: &Option<Serving>| {
        writer.as_ref().unwrap().figures().await.value("trtc_batch_rows_count")
    };
    let before = [batches(&writers[0]).await, batches(&writers[1]).await];
    let begun = Instant::now();
    loop {
        for one in [0, 1] {
            if batches(&writers[one]).await > before[one] {
                return one;
            }
        }
        assert!(begun.elapsed() < PATIENCE, "no writer stores events");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_ends_hands_its_events_over() {
    let Some(nats) = NatsServer::start().await else { return };
    let cluster = Cluster::start().await;
    let fault = "of two writers the one that stores is stopped (SIGTERM) and killed (`kill -9`), again and again";
    let trial = Trial::of(fault, &cluster.label().await);
    let receiver = place(&nats.url(), 1, "receiver", NOWHERE);
    let places = [(); 2].map(|()| place(&nats.url(), 1, "writer", &cluster.url()));
    let receiving = receiver.start();
    let mut writers = places.each_ref().map(|place| Some(place.start()));
    // Few, since each has a room of its own, which is computed again at the end.
    let load = Load::start(&Plan::to(&[receiver.address()]).light(u64::MAX));
    for round in 0..in_full(20, 4) {
        let one = storing(&writers).await;
        let mut ended = writers[one].take().unwrap();
        if round % 2 == 0 {
            ended.terminate();
        } else {
            ended.kill();
        }
        // The other one goes on alone.
        let rows = "select count(*) from events";
        let before = number(&cluster.url(), rows).await;
        until_more(&cluster.url(), rows, before + 100).await;
        writers[one] = Some(places[one].start());
    }
    let sent = load.finish();
    receiving.drained().await;
    all_is_stored(&nats.url()).await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&receiver, &receiving).await;
    let shown = trial.judge(&sent, &kept);
    assert_eq!(shown.spooled, 0, "the stream takes events whoever reads it: {shown:?}");
    assert_each_change_once(&places[0]);
}
