//! PostgreSQL fails over to a standby while events are taken and forwarded.

use std::net::SocketAddr;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::forwarding::{TWICE_MAX, number, stored_ids, until_known, until_more};
use crate::load::{Load, Plan};
use crate::proxy::Proxy;
use crate::receiver::Receiver;
use crate::server::Place;
use crate::trial::{Kept, Random, Trial, calm, in_full};

/// The last position that events have.
const END: &str = "select position from feed_head";
/// Up to where the destination has them.
const DELIVERED: &str = "select position from destinations";

fn address(cluster: &Cluster) -> SocketAddr {
    ([127, 0, 0, 1], cluster.port()).into()
}

/// The server's address of PostgreSQL stays the same: `store.url` names one host, behind which a proxy knows the primary.
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_standby_loses_no_event_and_no_delivery() {
    let mut primary = Cluster::start().await;
    let mut standby = primary.standby().await;
    let fault = "the primary is killed (`kill -9`), then its synchronous standby is promoted, while events are forwarded";
    let trial = Trial::of(fault, &primary.label().await);
    let proxy = Proxy::before(address(&primary), Random::new());
    let receiver = Receiver::start().await;
    let place = receiver.of(Place::on(&Cluster::url_through(proxy.port())));
    let serving = place.start();
    until_known(&serving, &primary.url(), 1).await;
    let load = Load::start(&Plan::to(&[place.address()]));
    let failovers = in_full(5, 1);
    for failover in 1..=failovers {
        calm().await;
        until_more(&primary.url(), DELIVERED, 0).await;
        let numbered = number(&primary.url(), END).await;
        let stored = stored_ids(&primary.url()).await;
        primary.kill();
        // Nobody listens there, then somebody who takes no writes: a proxy that does not look, or not yet.
        tokio::time::sleep(in_full(Duration::from_secs(10), Duration::from_millis(1500))).await;
        proxy.lead_to(address(&standby));
        tokio::time::sleep(in_full(Duration::from_secs(10), Duration::from_millis(1500))).await;
        standby.promote().await;
        // Events go on to the store and to the destination, with positions after those that there were.
        let url = standby.url();
        let delivered = number(&url, DELIVERED).await;
        assert!(number(&url, END).await >= numbered, "positions were lost");
        until_more(&url, END, numbered).await;
        until_more(&url, DELIVERED, delivered).await;
        let kept = stored_ids(&url).await;
        let kept: std::collections::BTreeSet<&String> = kept.iter().collect();
        let lost = stored.iter().filter(|id| !kept.contains(id)).count();
        assert_eq!(lost, 0, "committed, and not at the standby");
        // What it left behind in memory goes with it.
        primary.start_again().await;
        primary = standby;
        if failover == failovers {
            break;
        }
        standby = primary.standby().await;
    }
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let url = primary.url();
    let kept = Kept::in_store(&url).await.and_by(&place, &serving).await;
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "the fault was none: {shown:?}");
    receiver.has(&stored_ids(&url).await).await;
    receiver.has_one_position_for_each();
    let (_, twice) = receiver.counts();
    eprintln!("{failovers} failovers: {twice} deliveries twice");
    assert!(twice <= TWICE_MAX * failovers, "{twice} deliveries came twice");
}
