//! What holds for any input at all.

use proptest::prelude::*;
use protocol::event::Payload;
use protocol::{AppId, Apps, Body, Command, Delivery, Dialect, Event, Query, Rejection};
use serde_json::Value as Json;
use trtc_callbacks::projections::table::{Column, Kind, Value};
use trtc_callbacks::projections::{Batch, changes};

use crate::corpus::checks::{check_replaced, places};
use crate::support::{APP, NOW, fixtures};

fn decode(query: &str, body: &[u8]) -> Event {
    let apps = Apps::new().with(AppId::parse(APP).unwrap(), Vec::new());
    let query = Query::parse(&format!("{query}&SdkAppid={APP}"));
    Event::decode(&apps.verify(query, NOW).unwrap(), body, NOW)
}

/// Any command, known or not.
fn command() -> impl Strategy<Value = String> {
    let known: Vec<String> = Command::all().map(|command| command.name.to_owned()).collect();
    prop_oneof![proptest::sample::select(known), ".{0,40}"]
}

/// Any JSON value, of any kind where another is expected.
fn json(depth: u32) -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(depth, 64, 6, |inner| {
        let members = ("[A-Za-z_]{1,12}", inner.clone());
        prop_oneof![
            proptest::collection::vec(inner, 0..6).prop_map(Into::into),
            proptest::collection::vec(members, 0..6)
                .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// The query and the body of a fixture of the dialect of Chat, a place in that body, and any other value for it.
fn replacement() -> impl Strategy<Value = (String, Json, String, Json)> {
    let bodies: Vec<(String, Json)> = fixtures()
        .into_iter()
        .filter(|fixture| fixture.delivery.dialect == Dialect::Im)
        .filter_map(|fixture| {
            let body = serde_json::from_slice(&fixture.delivery.bytes().ok()?).ok()?;
            Some((fixture.delivery.query, body))
        })
        .collect();
    (proptest::sample::select(bodies), any::<prop::sample::Index>(), json(2)).prop_map(
        |((query, body), place, value)| {
            let mut places = places(&body);
            let place = places.swap_remove(place.index(places.len()));
            (query, body, place, value)
        },
    )
}

/// A fixture's query, and its body in which any one value is replaced by any other.
fn mutated_fixture() -> impl Strategy<Value = (String, Vec<u8>)> {
    replacement().prop_map(|(query, mut body, place, value)| {
        if let Some(found) = body.pointer_mut(&place) {
            *found = value;
        }
        (query, serde_json::to_vec(&body).unwrap())
    })
}

fn check_kept(event: &Event, body: &[u8]) -> Result<(), TestCaseError> {
    let unmarked = match event.payload {
        Payload::Json(_) => body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body),
        Payload::Raw(_) => body,
    };
    prop_assert_eq!(event.payload.as_bytes(), unmarked);
    prop_assert!(event.body != Body::Undecoded || event.decode_error.is_some());
    let columns = [&event.call_id, &event.room_id, &event.operator, &event.platform];
    for column in columns.into_iter().flatten() {
        prop_assert!(!column.contains('\0'));
        prop_assert!(!column.is_empty());
    }
    prop_assert_eq!(
        event.id.get_version_num() == 8,
        event.timed && event.kind == protocol::Kind::After
    );
    Ok(())
}

fn check_fits(column: &Column, value: Value<'_>) -> Result<(), TestCaseError> {
    match value {
        Value::Text(json) if column.kind == Kind::Json => {
            prop_assert!(serde_json::from_str::<Json>(json).is_ok(), "{}", json);
        }
        Value::Text(text) => {
            prop_assert!(text.chars().count() <= 255, "{}: {}", column.name, text);
            prop_assert!(!text.contains('\0'));
        }
        Value::Time(time) => prop_assert!((0..=253_402_300_799_000).contains(&time.0)),
        Value::Null | Value::Number(_) | Value::Truth(_) | Value::Id(_) => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn decoding_any_bytes_keeps_them(query in ".{0,80}", body: Vec<u8>) {
        let query = query.replace('#', "");
        check_kept(&decode(&query, &body), &body)?;
    }

    #[test]
    fn decoding_any_json_keeps_it(name in command(), value in json(4)) {
        let body = serde_json::to_vec(&value).unwrap();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("CallbackCommand", &name)
            .finish();
        let event = decode(&query, &body);
        check_kept(&event, &body)?;
        prop_assert!(matches!(event.payload, Payload::Json(_)));
    }

    #[test]
    fn replacing_one_value_keeps_the_body((query, body) in mutated_fixture()) {
        check_kept(&decode(&query, &body), &body)?;
    }

    #[test]
    fn replacing_one_value_changes_no_other_field(
        (query, body, place, value) in replacement()
    ) {
        check_replaced(|body| decode(&query, body), &body, &place, &value.to_string());
    }

    #[test]
    fn replacing_one_value_gives_rows_that_fit_their_columns(
        (query, body) in mutated_fixture()
    ) {
        let changes = changes(&decode(&query, &body));
        for (table, rows) in Batch::of(&changes).tables() {
            for row in rows {
                for (column, value) in table.columns.iter().zip(row) {
                    check_fits(column, *value)?;
                }
            }
        }
    }

    #[test]
    fn an_id_is_the_same_each_time_and_depends_on_every_byte(
        (query, body) in mutated_fixture(), place: prop::sample::Index, byte: u8
    ) {
        let event = decode(&query, &body);
        let again = decode(&query, &body);
        prop_assert_eq!(event.id == again.id, event.id.get_version_num() == 8);
        let mut other = body.clone();
        let place = place.index(other.len());
        if other[place] != byte {
            other[place] = byte;
            prop_assert_ne!(event.id, decode(&query, &other).id);
        }
    }

    #[test]
    fn a_recorded_request_becomes_the_same_event((query, body) in mutated_fixture()) {
        let event = decode(&query, &body);
        let line = Delivery::of_event(&event).to_line();
        let kept = Delivery::parse(&line).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(&kept.bytes().unwrap(), &body);
        let again = decode(&kept.query, &body);
        prop_assert_eq!(&again.command, &event.command);
        prop_assert_eq!(&again.command_sent, &event.command_sent);
        prop_assert_eq!(&again.client_ip, &event.client_ip);
        prop_assert_eq!(&again.platform, &event.platform);
    }

    #[test]
    fn any_query_is_verified_or_rejected_for_a_reason(query in ".{0,200}", token in ".{1,20}") {
        let app = AppId::parse(APP).unwrap();
        let apps = Apps::new().with(app, vec![token.into()]);
        let rejection = apps.verify(Query::parse(&query), NOW).unwrap_err();
        prop_assert!(Rejection::REASONS.contains(&rejection.reason()));
        let ours = apps.verify(Query::parse(&format!("{query}&SdkAppid={APP}")), NOW);
        prop_assert_eq!(ours.unwrap_err().app(), Some(app));
    }
}
