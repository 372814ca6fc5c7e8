//! Read models depend on the set of events, not on their order: whole scenarios, permuted and repeated, end the same.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use proptest::prelude::*;
use protocol::UnixMillis;
use protocol::simulate::{Generator, Kind, Options};
use protocol::{AppId, Apps, Event, Query};
use trtc_callbacks::projections::table::Row;
use trtc_callbacks::projections::{Batch, Change, TABLES, changes};
use trtc_callbacks::store::EventInsert;
use uuid::Uuid;

use crate::models::{dump, folded};
use crate::support::{APP, Database, NOW};
use crate::{rtc_rooms, rtc_tasks};

/// How many orders of scenarios are tried in memory, unless `PROPTEST_CASES` says more.
const CASES: u32 = 10_000;
/// How many sets of scenarios are stored, each four times, unless `PROPTEST_CASES` says more.
const STORED_CASES: u32 = 2;

pub(crate) type Told = (Event, Vec<Change>);

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

fn start() -> UnixMillis {
    UnixMillis(NOW.0 - 86_400_000)
}

pub(crate) fn told(seed: u64, kinds: impl IntoIterator<Item = Kind>) -> Vec<Told> {
    let mut generator = Generator::new(seed, app(), start(), Options::tiny());
    let apps = Apps::new().with(app(), Vec::new());
    let mut at = start();
    let mut told = Vec::new();
    for kind in kinds {
        let scenario = generator.scenario(kind, at);
        at = UnixMillis(at.0 + 60_000);
        for timed in scenario.deliveries {
            let query = Query::parse(&timed.delivery(app()).query);
            let verified = apps.verify(query, NOW).unwrap();
            let event = Event::decode(&verified, timed.body.as_bytes(), NOW);
            let changes = changes(&event);
            told.push((event, changes));
        }
    }
    told.sort_by_key(|(event, _)| event.id);
    told
}

/// A number that is another one for each of the two.
fn mixed(seed: u64, number: usize) -> u64 {
    let mut mixed = seed.wrapping_add((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Each of `count` once or twice, in any order, in parts of 1 to 9.
pub(crate) fn disorder(count: usize, seed: u64) -> Vec<Vec<usize>> {
    let again = (0..count).filter(|number| mixed(seed, *number).is_multiple_of(3));
    let mut order: Vec<usize> = (0..count).chain(again).collect();
    let mut keyed: Vec<(u64, usize)> =
        order.drain(..).enumerate().map(|(place, it)| (mixed(seed ^ 1, place), it)).collect();
    keyed.sort_unstable();
    let mut parts = Vec::new();
    while !keyed.is_empty() {
        let length = 1 + usize::try_from(mixed(seed ^ 2, keyed.len()) % 9).unwrap();
        let rest = keyed.split_off(length.min(keyed.len()));
        parts.push(keyed.into_iter().map(|(_, it)| it).collect());
        keyed = rest;
    }
    parts
}

/// What tables hold after these parts were written to them one after the other.
fn written<'a>(told: &'a [Told], parts: &[Vec<usize>]) -> Vec<Vec<Row<'a>>> {
    let mut tables: Vec<Vec<Row<'a>>> = TABLES.iter().map(|_| Vec::new()).collect();
    let mut stored = BTreeSet::<Uuid>::new();
    for part in parts {
        let new = part.iter().map(|place| &told[*place]);
        let new: Vec<&Told> = new.filter(|(event, _)| stored.insert(event.id)).collect();
        let batch = Batch::of(new.into_iter().flat_map(|(_, changes)| changes));
        for (table, rows) in batch.tables() {
            let place = TABLES.iter().position(|of| of.name == table.name).unwrap();
            let mut all = std::mem::take(&mut tables[place]);
            all.extend(rows.iter().cloned());
            tables[place] = table.merged(all);
        }
    }
    tables
}

/// A hundred of each kind.
static POOL: LazyLock<Vec<Vec<Told>>> = LazyLock::new(|| {
    let scenarios = |seed| Kind::ALL.into_iter().map(move |kind| told(seed, [kind]));
    let tasks = (0..20).map(|seed| rtc_tasks::told(seed, start()));
    let rooms = (0..20).map(|seed| rtc_rooms::told(seed, start()));
    (0..100).flat_map(scenarios).chain(tasks).chain(rooms).collect()
});

pub(crate) fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").map_or(usual, |cases| cases.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(CASES)))]

    #[test]
    fn a_scenario_is_independent_of_event_order_and_repeats(
        scenario: prop::sample::Index, seed: u64
    ) {
        let told = &POOL[scenario.index(POOL.len())];
        let all = vec![(0..told.len()).collect()];
        let sorted = written(told, &all);
        prop_assert!(sorted.iter().flatten().next().is_some());
        prop_assert_eq!(written(told, &disorder(told.len(), seed)), sorted);
    }
}

pub(crate) async fn store_all(database: &Database, told: &[Told], parts: &[Vec<usize>]) {
    let store = database.store().await;
    store.migrate().await.unwrap();
    store.upkeep(NOW).await.unwrap();
    for part in parts {
        let mut entries: Vec<EventInsert> = part
            .iter()
            .map(|place| EventInsert::copied(&told[*place].0, &told[*place].1))
            .collect();
        entries.sort_by_key(|entry| entry.event.id);
        store.insert(&entries).await.unwrap();
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_stores_equal_the_fold_of_the_sorted_events_in_any_order() {
    for seed in 0..cases(STORED_CASES) {
        let seed = u64::from(seed);
        let mut told = told(seed, Kind::ALL.into_iter().chain(Kind::ALL));
        told.extend(rtc_tasks::told(seed, start()));
        told.extend(rtc_rooms::told(seed, start()));
        told.sort_by_key(|(event, _)| event.id);
        let sorted: Vec<usize> = (0..told.len()).collect();
        let in_one_go: Vec<Vec<usize>> = sorted.chunks(500).map(<[usize]>::to_vec).collect();
        let fold = Batch::of(told.iter().flat_map(|(_, changes)| changes));
        for parts in [in_one_go, disorder(told.len(), seed)] {
            let (sqlite, postgres) = (Database::sqlite(), Database::postgres().await);
            store_all(&sqlite, &told, &parts).await;
            store_all(&postgres, &told, &parts).await;
            for table in TABLES {
                let folded = folded(&fold, table);
                assert!(!folded.is_empty(), "no scenario tells of {}", table.name);
                assert_eq!(dump(&sqlite, table).await, folded, "seed {seed}, {}", table.name);
                assert_eq!(dump(&postgres, table).await, folded, "seed {seed}, {}", table.name);
            }
        }
    }
}
