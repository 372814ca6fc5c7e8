//! The disk under a server of NATS is full. Such a server may neither answer nor end when it is told to, even with room again: it
//! is killed.

use crate::cluster::Cluster;
use crate::forwarding::{stored_ids, until_known};
use crate::load::{Load, Plan};
use crate::nats_nodes::{destination, until_all_are_in};
use crate::nats_server::NatsServer;
use crate::scale_out::{NOWHERE, place, rows_are_there};
use crate::server::Place;
use crate::small_disk::SmallDisk;
use crate::trial::{Kept, Trial, calm, while_it_lasts};

/// A server whose streams are on a small disk; `None`, which is said, where there is none or no disk may be mounted.
async fn on_small_disk() -> Option<(NatsServer, SmallDisk)> {
    let mut nats = NatsServer::prepare("")?;
    std::fs::create_dir(nats.store()).unwrap();
    let Some(disk) = SmallDisk::mount(&nats.store(), 32) else {
        eprintln!("SKIPPED: no file system may be mounted here");
        return None;
    };
    nats.run().await;
    Some((nats, disk))
}

async fn start_with_room(nats: &mut NatsServer, disk: &SmallDisk) {
    nats.kill();
    disk.make_room();
    nats.run().await;
}

/// What `doctor` prints.
fn doctor(place: &Place) -> String {
    String::from_utf8(place.program().arg("doctor").output().unwrap().stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_the_stream_loses_no_event() {
    let Some((mut nats, disk)) = on_small_disk().await else { return };
    let cluster = Cluster::start().await;
    let fault = "the disk under the stream is full, then its server is killed and has room (scale-out mode)";
    let trial = Trial::of(fault, &cluster.label().await);
    let receiver = place(&nats.url(), 1, "receiver", NOWHERE);
    let writer = place(&nats.url(), 1, "writer", &cluster.url());
    let (receiving, _writing) = (receiver.start(), writer.start());
    let load = Load::start(&Plan::to(&[receiver.address()]));
    calm().await;
    disk.fill(0);
    while_it_lasts().await;
    let (status, ready) = receiving.ops("/readyz").await.expect("it is answered");
    assert!(status == 200 && ready.contains("stream: not available"), "{status} {ready}");
    let said = doctor(&receiver);
    assert!(said.contains("fail  stream: ") && said.contains("disks have room"), "{said}");
    start_with_room(&mut nats, &disk).await;
    calm().await;
    let sent = load.finish();
    receiving.drained().await;
    rows_are_there(&nats.url(), &cluster.url(), &sent.0).await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&receiver, &receiving).await;
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "the fault was none: {shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_under_a_destination_loses_no_event() {
    let Some((mut nats, disk)) = on_small_disk().await else { return };
    let fault = "the disk under a NATS destination is full, then its server is killed and has room";
    let trial = Trial::of(fault, "SQLite");
    let place = Place::on_sqlite().with_file(&destination(&nats.url()));
    let serving = place.start();
    let url = place.store_url();
    until_known(&serving, &url, 1).await;
    let load = Load::start(&Plan::to(&[place.address()]));
    calm().await;
    disk.fill(0);
    while_it_lasts().await;
    let figures = serving.figures().await;
    let state = figures.value("trtc_forward_state{destination=\"warehouse\"}");
    assert_eq!(state, 1, "it is failing: {}", figures.0);
    let said = doctor(&place);
    let names = said.contains("fail  forwarding: destination `warehouse`: ");
    assert!(names && said.contains("is a disk full"), "{said}");
    start_with_room(&mut nats, &disk).await;
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    let kept = Kept::in_store(&url).await.and_by(&place, &serving).await;
    trial.judge(&sent, &kept);
    until_all_are_in(&nats.url(), &stored_ids(&url).await).await;
    let figures = serving.figures().await;
    let dead = "trtc_forward_events_total{destination=\"warehouse\",result=\"dead\"}";
    assert_eq!(figures.value(dead), 0, "an outage uses up no attempt: {}", figures.0);
}
