//! Servers of NATS killed and stopped, of three that keep a stream together.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::forwarding::{stored_ids, until_known};
use crate::load::{Load, Plan};
use crate::nats_cluster::{NatsCluster, ids};
use crate::scale_out::{NOWHERE, place, rows_are_there};
use crate::server::Place;
use crate::trial::{Kept, Trial, calm, in_full};

/// How long it may take until the destination has all: it is tried again after a pause that grows to a minute.
const PATIENCE: Duration = Duration::from_mins(3);

/// The stream of the destination.
const EVENTS: &str = "EVENTS";

/// These servers as a destination in a file of settings.
pub(crate) fn destination(nats_url: &str) -> String {
    format!(
        "[[forward]]\nname = 'warehouse'\nurl = '{nats_url}'\ncreate_stream = true\nstream = '{EVENTS}'\ntimeout_ms = 2000\n"
    )
}

/// Returns once the stream of the destination has each of these events, and how many of them it has twice.
pub(crate) async fn until_all_are_in(nats_url: &str, stored: &[String]) -> usize {
    let begun = Instant::now();
    loop {
        let ids = ids(nats_url, EVENTS).await;
        let missing = stored.iter().filter(|id| !ids.contains_key(*id)).count();
        if missing == 0 {
            assert_eq!(ids.len(), stored.len(), "events that are not stored");
            return ids.values().filter(|times| **times > 1).count();
        }
        let all = stored.len();
        assert!(begun.elapsed() < PATIENCE, "{missing} of {all} events are not in the stream");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What happens to the servers.
#[derive(Debug, Clone, Copy)]
enum Fault {
    KilledLeader,
    KilledFollower,
    KilledTwo,
    KilledAll,
    StoppedLeader,
}

const ALL: [Fault; 5] = [
    Fault::KilledLeader,
    Fault::KilledFollower,
    Fault::KilledTwo,
    Fault::KilledAll,
    Fault::StoppedLeader,
];
/// Those that stop a stream for longest.
const WORST: [Fault; 2] = [Fault::KilledLeader, Fault::KilledAll];

impl Fault {
    /// Whom it meets.
    fn places(self, leader: usize) -> Vec<usize> {
        match self {
            Self::KilledLeader | Self::StoppedLeader => vec![leader],
            Self::KilledFollower => vec![(leader + 1) % 3],
            Self::KilledTwo => vec![leader, (leader + 1) % 3],
            Self::KilledAll => vec![0, 1, 2],
        }
    }
}

/// One fault after the other. Before each all servers have everything.
async fn break_nats(nats: &mut NatsCluster, stream: &str, faults: &[Fault]) {
    for fault in faults {
        let places = fault.places(nats.leader(stream).await);
        for place in &places {
            match fault {
                Fault::StoppedLeader => nats.server(*place).terminate(),
                _ => nats.server(*place).kill(),
            }
        }
        tokio::time::sleep(Duration::from_secs(in_full(20, 1))).await;
        for place in &places {
            nats.server(*place).run().await;
        }
    }
    nats.leader(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_servers_of_the_stream_lose_no_event() {
    let Some(mut nats) = NatsCluster::start().await else { return };
    let cluster = Cluster::start().await;
    let fault = "of three NATS servers the stream's leader, a follower, two, all are killed, one is stopped (scale-out mode)";
    let trial = Trial::of(fault, &cluster.label().await);
    let receiver = place(&nats.url(), 3, "receiver", NOWHERE);
    let writer = place(&nats.url(), 3, "writer", &cluster.url());
    let (receiving, _writing) = (receiver.start(), writer.start());
    nats.leader("TRTC_INGEST").await;
    let load = Load::start(&Plan::to(&[receiver.address()]));
    break_nats(&mut nats, "TRTC_INGEST", &ALL).await;
    calm().await;
    let sent = load.finish();
    receiving.drained().await;
    rows_are_there(&nats.url(), &cluster.url(), &sent.0).await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&receiver, &receiving).await;
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "the faults were none: {shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_servers_of_a_destination_lose_no_event() {
    let Some(mut nats) = NatsCluster::start().await else { return };
    let fault = "of three NATS servers of a destination the leader, a follower, two, all are killed, one is stopped";
    let trial = Trial::of(fault, "SQLite");
    let place = Place::on_sqlite().with_file(&destination(&nats.url()));
    let serving = place.start();
    let url = place.store_url();
    until_known(&serving, &url, 1).await;
    nats.leader(EVENTS).await;
    let load = Load::start(&Plan::to(&[place.address()]));
    break_nats(&mut nats, EVENTS, in_full(&ALL, &WORST)).await;
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&url).await.and_by(&place, &serving).await;
    trial.judge(&sent, &kept);
    let twice = until_all_are_in(&nats.url(), &stored_ids(&url).await).await;
    eprintln!("{twice} events are in the stream twice");
}
