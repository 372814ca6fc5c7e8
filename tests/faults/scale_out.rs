//! Scale-out mode: receivers, `JetStream`, writers and PostgreSQL, broken at random.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Stop};
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

#[tokio::test(flavor = "multi_thread")]
async fn scale_out_broken_at_random_loses_no_event() {
    let Some(mut nats) = NatsServer::start().await else { return };
    let mut cluster = Cluster::start().await;
    let fault = "receivers, writers, NATS and PostgreSQL killed at random (scale-out mode)";
    let trial = Trial::of(fault, &cluster.label().await).with_cuts();
    let places = [
        place(&nats.url(), 1, "receiver", NOWHERE),
        place(&nats.url(), 1, "receiver", NOWHERE),
        place(&nats.url(), 1, "writer", &cluster.url()),
        place(&nats.url(), 1, "writer", &cluster.url()),
    ];
    let mut serving: Vec<Option<Serving>> =
        places.iter().map(|place| Some(place.start())).collect();
    let load = Load::start(&Plan::to(&[places[0].address(), places[1].address()]));
    let mut random = Random::new();
    // Each fault once, and then at random.
    for round in 0..in_full(24, 5) {
        calm().await;
        let fault = if round < 5 { round } else { random.below(5) };
        match fault {
            0 | 1 => {
                let one = usize::try_from(2 * fault + random.below(2)).unwrap();
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
    let mut kept_by = Vec::new();
    for receiver in serving.iter_mut().take(2) {
        let receiver = receiver.take().unwrap();
        receiver.drained().await;
        kept_by.push(receiver);
    }
    all_is_stored(&nats.url()).await;
    let kept = Kept::in_store(&cluster.url()).await;
    let kept = kept.and_by(&places[0], &kept_by[0]).await.and_by(&places[1], &kept_by[1]).await;
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "the faults were none: {shown:?}");
    // Counts are added up, so a change that was made twice would show.
    let mut session = cluster.session().await;
    let differing = "select (select count(*) from events) - (select sum(events) from event_counts \
                     where width_s = 3600)::bigint";
    let differing: i64 = sqlx::query_scalar(differing).fetch_one(&mut session).await.unwrap();
    assert_eq!(differing, 0, "events and their counts differ");
}
