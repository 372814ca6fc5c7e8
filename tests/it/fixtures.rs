//! Every fixture: decoded, and replayed over HTTP against the real server on both stores.

use std::collections::{BTreeMap, HashSet};

use protocol::Command;
use serde_json::{Value, json};
use trtc_callbacks::store::StoredEvent;

use crate::support::{APP, Expected, Fixture, NOW, Server, fixtures, on_both_stores, stored};

on_both_stores! {
    async fn every_fixture_becomes_the_expected_row(database: Database) {
        let server = Server::start(&database).await;
        let mut known = HashSet::new();
        for fixture in fixtures() {
            server.post(&fixture.delivery).await;
            let rows = stored(&database).await;
            let new: Vec<_> = rows.into_iter().filter(|row| known.insert(row.id)).collect();
            let [row] = new.as_slice() else {
                panic!("{}: {} new rows", fixture.name, new.len());
            };
            check_row(&fixture, row);
        }
        server.stop().await;
    }

    async fn fixtures_sent_again_ten_times_add_no_after_row(database: Database) {
        let server = Server::start(&database).await;
        let fixtures = fixtures();
        let mut expected = 0;
        for round in 0..11 {
            for fixture in &fixtures {
                server.post(&fixture.delivery).await;
                let repeatable = fixture.stored.id_version == 8;
                expected += i64::from(round == 0 || !repeatable);
            }
        }
        assert_eq!(database.rows().await, expected);
        let figures = server.figures().await;
        let sent = 11 * fixtures.len() as u64;
        assert_eq!(figures.outcome("stored"), u64::try_from(expected).unwrap());
        assert_eq!(figures.outcome("duplicate"), sent - u64::try_from(expected).unwrap());
        server.stop().await;
    }
}

fn check_row(fixture: &Fixture, row: &StoredEvent) {
    let found = Expected {
        family: row.family.clone(),
        command: row.command.clone(),
        command_sent: row.command_sent.clone(),
        event_time: (row.event_time != NOW).then_some(row.event_time.0),
        call_id: row.call_id.clone(),
        room_id: row.room_id.clone(),
        operator: row.operator.clone(),
        client_ip: row.client_ip.clone(),
        platform: row.platform.clone(),
        id_version: row.id.get_version_num(),
        undecoded: row.decode_error.is_some(),
    };
    assert_eq!(found, fixture.stored, "{}", fixture.name);
    assert_eq!(row.received_at, NOW, "{}", fixture.name);
    assert_eq!(row.app.to_string(), APP);
    assert_eq!(row.payload.as_bytes(), fixture.delivery.bytes().unwrap(), "{}", fixture.name);
}

#[test]
fn every_command_has_a_fixture() {
    let shown: HashSet<String> =
        fixtures().into_iter().map(|fixture| fixture.stored.command).collect();
    let missing: Vec<_> = Command::all()
        .filter(|command| !shown.contains(command.name))
        .map(|command| command.name)
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_fixture_decodes_as_before() {
    let mut families: BTreeMap<String, serde_json::Map<String, Value>> = BTreeMap::new();
    for fixture in fixtures() {
        let event = fixture.delivery.event(NOW).unwrap();
        let id = match event.id.get_version_num() {
            8 => event.id.to_string(),
            _ => "random".to_owned(),
        };
        let mut shown = json!({
            "id": id,
            "command": event.command,
            "kind": event.kind,
            "body": event.body,
            "decode_error": event.decode_error,
        });
        remove_nulls(&mut shown);
        let (folder, name) = fixture.name.split_once('/').unwrap();
        families.entry(folder.to_owned()).or_default().insert(name.to_owned(), shown);
    }
    for (family, events) in families {
        insta::assert_json_snapshot!(family, events);
    }
}

/// Fields that a body does not have say nothing.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(elements) => elements.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}
