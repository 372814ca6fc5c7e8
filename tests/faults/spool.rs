//! The spool itself is in trouble: damaged, full, or on a disk that is.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::cluster::{Cluster, Stop};
use crate::load::{Load, Outcome, Plan};
use crate::server::{Place, Serving};
use crate::small_disk::SmallDisk;
use crate::trial::{Kept, Trial, calm, while_it_lasts};

/// Where the spool is by default.
const SPOOL: &str = "data/spool.db";
/// The first number of the load after a damage.
const LATER: u64 = 1_000_000;

/// What is to be seen after a start with a damaged spool.
struct After {
    /// Events that the spool held, and those of them that are in the store now.
    spooled: BTreeSet<u64>,
    salvaged: BTreeSet<u64>,
    /// Files that were moved out of the way.
    aside: Vec<PathBuf>,
    /// What `/readyz` says.
    ready: String,
    damaged: u64,
}

/// Spools for a while, stops, does `damage` to the file, and starts again: events are taken as if nothing was.
async fn start_with_damage(fault: &'static str, damage: impl Fn(&Path)) -> After {
    let mut cluster = Cluster::start().await;
    let trial = Trial::of(fault, &cluster.label().await);
    let place = Place::on(&cluster.url());
    let serving = place.start();
    cluster.stop(Stop::Fast);
    let load = Load::start(&Plan::to(&[place.address()]));
    calm().await;
    // So many that the pages which any spool has hardly count.
    serving.until_spooled(600).await;
    let (attempts, _) = load.finish();
    let spooled = attempts.iter().map(|attempt| attempt.number).collect();
    assert!(attempts.iter().all(|attempt| attempt.outcome == Outcome::Answered));
    serving.terminate();
    let spool = place.folder().join(SPOOL);
    damage(&spool);

    cluster.start_again().await;
    let serving = place.start();
    let load = Load::start(&Plan::to(&[place.address()]).numbered_from(LATER));
    while_it_lasts().await;
    let sent = load.finish();
    serving.drained().await;
    let ready = serving.ops("/readyz").await.expect("it is answered");
    assert_eq!(ready.0, 200, "events are kept: {}", ready.1);
    assert!(!place.errors().is_empty(), "nothing was said about it");
    let kept = Kept::in_store(&cluster.url()).await.and_by(&place, &serving).await;
    let (kept, salvaged) = kept.only_from(LATER);
    trial.judge(&sent, &kept);
    let damaged = serving.figures().await.value("trtc_spool_damaged_total");
    After { spooled, salvaged, aside: put_aside(&spool), ready: ready.1, damaged }
}

/// The files that were moved out of the way.
fn put_aside(spool: &Path) -> Vec<PathBuf> {
    let files = spool.parent().unwrap().read_dir().unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|file| {
            let name = file.file_name().unwrap().to_string_lossy();
            let begins = ["spool.db.damaged-", "spool.db.salvaged-"];
            let moment = begins.iter().find_map(|begin| name.strip_prefix(begin));
            moment.is_some_and(|moment| moment.bytes().all(|byte| byte.is_ascii_digit()))
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_garbage_spool_is_quarantined_and_events_are_accepted() {
    let after = start_with_damage(
        "the spool file is garbage at the start (events from then on)",
        |spool| {
            std::fs::write(spool, "no database at all\n".repeat(4096)).unwrap();
        },
    )
    .await;
    assert_eq!(after.aside.len(), 1, "{:?}", after.aside);
    assert!(after.ready.contains("damaged"), "{}", after.ready);
    assert_eq!(after.damaged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_spool_is_quarantined_and_its_rest_is_stored() {
    let after = start_with_damage(
        "the spool file is cut short at the start (events from then on)",
        |spool| {
            let file = File::options().write(true).open(spool).unwrap();
            let length = file.metadata().unwrap().len();
            // The end of a page, as where a disk failed.
            file.set_len(length / 4096 / 2 * 4096).unwrap();
        },
    )
    .await;
    assert_eq!(after.aside.len(), 1, "{:?}", after.aside);
    assert!(after.ready.contains("damaged"), "{}", after.ready);
    let (salvaged, all) = (after.salvaged.len(), after.spooled.len());
    assert!(
        salvaged * 10 > all * 4,
        "half of the file is whole, and {salvaged} of {all} were read"
    );
    assert!(after.salvaged.is_subset(&after.spooled), "events that nobody sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_spool_record_is_quarantined_and_the_rest_is_stored() {
    let after = start_with_damage(
        "a byte of the spool file is another at the start (events from then on)",
        |spool| {
            let mut bytes = std::fs::read(spool).unwrap();
            let (begin, text) = (bytes.len() / 2, b"Operator_Account");
            let at = bytes[begin..].windows(text.len()).position(|bytes| bytes == text);
            // In a body: still JSON, and another event.
            bytes[begin + at.expect("it holds events")] = b'X';
            std::fs::write(spool, bytes).unwrap();
        },
    )
    .await;
    let missing = after.spooled.difference(&after.salvaged).count();
    // None, where the event was sent twice and the other record is whole.
    assert!(missing <= 1, "{missing} of {}", after.spooled.len());
    assert_eq!(after.damaged, 1);
    assert_eq!(after.aside, Vec::<PathBuf>::new());
}

/// The database stays away until the spool takes nothing more; then it is back, and `room` is made for the spool.
async fn no_room(
    fault: &'static str,
    place: Place,
    cluster: &mut Cluster,
    room: impl FnOnce(&Serving),
) {
    let trial = Trial::of(fault, &cluster.label().await).with_last_resort();
    let serving = place.start();
    // A busy machine may start without its store, whose tables would be made while it is to be back.
    serving.until_the_store_takes_events().await;
    let load = Load::start(&Plan::to(&[place.address()]).padded(4000));
    calm().await;
    cluster.stop(Stop::Fast);
    while_it_lasts().await;
    serving.until("/readyz", 503).await;
    place.until_logged(100).await;
    room(&serving);
    cluster.start_again().await;
    calm().await;
    let sent = load.finish();
    serving.drained().await;
    replay(&place);
    serving.drained().await;
    let kept = Kept::in_store(&cluster.url()).await.and_by(&place, &serving).await;
    let shown = trial.judge(&sent, &kept);
    assert!(shown.spooled > 0, "the spool took what it could: {shown:?}");
    serving.until("/readyz", 200).await;
}

/// Brings the events of the error log into the store, as `docs/operate/outages.md` tells operators to.
fn replay(place: &Place) {
    let log = place.folder().join("errors.log");
    File::create(&log).unwrap().write_all(place.not_stored().as_bytes()).unwrap();
    let url = format!("http://{}/", place.address());
    let output = place.program().args(["replay", "errors.log", "--to", &url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_beyond_a_full_spool_are_replayed_from_the_error_log() {
    let mut cluster = Cluster::start().await;
    let place = Place::on(&cluster.url()).with("TRTC_SPOOL__BYTES_MAX", "1048576");
    let fault = "PostgreSQL is stopped until the spool is full (`spool.bytes_max`)";
    no_room(fault, place, &mut cluster, |_| {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_beyond_a_full_disk_are_replayed_from_the_error_log() {
    let mut cluster = Cluster::start().await;
    let place = Place::on(&cluster.url());
    let data = place.folder().join("data");
    std::fs::create_dir(&data).unwrap();
    if let Some(disk) = SmallDisk::mount(&data, 4) {
        disk.fill(1 << 20);
        let fault = "the disk under the spool is full while PostgreSQL is stopped";
        no_room(fault, place, &mut cluster, |_| disk.make_room()).await;
    } else {
        eprintln!(
            "no file system may be mounted here: a limit on the size of files stands in for it"
        );
        let fault = "files may not grow (RLIMIT_FSIZE) while PostgreSQL is stopped";
        // 1 MiB, in blocks of 512 bytes. Its signal would end the process: ignored, a write fails instead.
        let limited = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 2048; exec \"$0\" \"$@\""];
        let place = place.launched_by(&limited);
        no_room(fault, place, &mut cluster, lift_limit).await;
    }
}

#[cfg(target_os = "linux")]
fn lift_limit(serving: &Serving) {
    use rustix::process::{Resource, Rlimit, prlimit};
    let unlimited = Rlimit { current: None, maximum: None };
    prlimit(Some(serving.pid()), Resource::Fsize, unlimited).unwrap();
}

#[cfg(not(target_os = "linux"))]
fn lift_limit(_: &Serving) {
    // Nothing else can do it from outside; the database is back, and that must do.
}
