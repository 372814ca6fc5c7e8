//! The API's description of itself, and the forms in which it answers: compressed, and as files.

use std::io::Read;

use flate2::read::GzDecoder;
use forward::derived::DerivedType;
use serde_json::{Value, json};

use crate::support::{DESTROY_ROOM, Database, NOW, Server, destroy_room};

async fn document(server: &Server) -> Value {
    serde_json::from_str(&server.get_ops("/api/v1/openapi.json").await.1).unwrap()
}

/// The operations, each with its path.
fn operations(document: &Value) -> Vec<(&String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path, &item["get"])).collect()
}

#[tokio::test]
async fn every_operation_has_descriptions_and_bounded_parameters() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let document = document(&server).await;
    let operations = operations(&document);
    assert_eq!(operations.len(), 29);
    let (mut words, mut bounds) = (0, 0);
    for (path, operation) in operations {
        for (status, answer) in operation["responses"].as_object().unwrap() {
            let text = answer["description"].as_str().unwrap_or("");
            assert!(!text.is_empty(), "{path} {status} has no description");
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (name, schema) = (&parameter["name"], &parameter["schema"]);
            assert!(!parameter["description"].as_str().unwrap_or("").is_empty(), "{path} {name}");
            assert!(!schema.to_string().contains("null"), "{path} {name} is never null: {schema}");
            words += usize::from(schema["enum"].is_array());
            bounds += usize::from(schema["maximum"].is_number() || schema["maxLength"].is_number());
            let is_narrow = ["enum", "maximum", "maxLength", "pattern", "format", "anyOf", "$ref"];
            let is_narrow = is_narrow.iter().any(|key| !schema[*key].is_null());
            let is_flag = schema["type"] == "boolean";
            assert!(is_narrow || is_flag, "{path} {name} has no bound: {schema}");
        }
    }
    assert!(words >= 12 && bounds > 60, "{words} with words, {bounds} with bounds");
    server.stop().await;
}

#[tokio::test]
async fn webhooks_have_a_schema_for_each_type_that_is_sent() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let document = document(&server).await;
    let webhooks = document["webhooks"].as_object().unwrap();
    let names: Vec<&str> = webhooks.keys().map(String::as_str).collect();
    let derived = DerivedType::ALL.map(DerivedType::name);
    assert_eq!(names.len(), 1 + derived.len());
    for name in derived.into_iter().chain(["event"]) {
        let schema =
            &webhooks[name]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(schema["required"], json!(["type", "timestamp", "id", "data"]), "{name}");
    }
    let text = document["webhooks"].to_string();
    let references = text.split("#/components/schemas/").skip(1);
    for name in references.map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_documented_enums_and_bounds_are_exactly_those_accepted() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    let document = document(&server).await;
    for (path, operation) in operations(&document) {
        if path.contains('{') || path.ends_with("/stream") || path.ends_with("/search") {
            continue;
        }
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let (name, schema) = (parameter["name"].as_str().unwrap(), &parameter["schema"]);
            // It needs an order, and is waited for.
            if name == "wait" {
                continue;
            }
            let words = schema["enum"].as_array().into_iter().flatten();
            let mut good: Vec<String> =
                words.map(|word| word.as_str().unwrap().to_owned()).collect();
            let mut bad =
                if good.is_empty() { Vec::new() } else { vec!["none-of-them".to_owned()] };
            if let (Some(least), Some(most)) =
                (schema["minimum"].as_i64(), schema["maximum"].as_i64())
            {
                good.extend([least.to_string(), most.to_string()]);
                bad.extend([(least - 1).to_string(), (i128::from(most) + 1).to_string()]);
            }
            if let Some(longest) =
                schema["maxLength"].as_u64().filter(|_| schema["pattern"].is_null())
            {
                let longest = usize::try_from(longest).unwrap();
                // Letters of four bytes.
                good.push("%F0%9F%98%80".repeat(longest));
                bad.push("x".repeat(longest + 1));
            }
            for (values, expected) in [(good, 200), (bad, 400)] {
                for value in values {
                    let (status, text) = server.get_ops(&format!("{path}?{name}={value}")).await;
                    assert_eq!(status, expected, "{path}?{name}={value:.60}: {text:.300}");
                }
            }
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn responses_are_gzipped_for_clients_that_accept_it() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    for number in 0..30 {
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    let get = async |path: &str, encoding: &str| {
        let request = server.client.get(format!("{}{path}", server.ops_url));
        let answer = request.header("accept-encoding", encoding).send().await.unwrap();
        let headers = answer.headers().clone();
        (headers, answer.bytes().await.unwrap())
    };
    for path in [
        "/events",
        "/api/v1/events?payload=true",
        "/api/v1/openapi.json",
        "/api/v1/events?format=ndjson",
        "/api/v1/events?format=csv",
    ] {
        let (headers, packed) = get(path, "br, gzip;q=0.9").await;
        assert_eq!(headers["content-encoding"], "gzip", "{path}");
        assert_eq!(headers["vary"], "Accept-Encoding", "{path}");
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        let (headers, plain) = get(path, "identity").await;
        assert!(!headers.contains_key("content-encoding"), "{path}");
        assert!(packed.len() * 2 < plain.len(), "{path}: {} of {}", packed.len(), plain.len());
        // The page says how long ago things were.
        let same = text.len() == plain.len() && text.as_bytes().starts_with(&plain[..40]);
        assert!(same, "{path}: {text:.200}");
    }
    // What is short, and what is no answer of the API and no page.
    for path in ["/api/v1/search?id=nobody", "/livez", "/metrics"] {
        let (headers, _) = get(path, "gzip").await;
        assert!(!headers.contains_key("content-encoding"), "{path}");
    }
    let stream = server.client.get(format!("{}/api/v1/events/stream", server.ops_url));
    let stream = stream.header("accept-encoding", "gzip").send().await.unwrap();
    assert!(!stream.headers().contains_key("content-encoding"));
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn an_export_is_a_file_with_a_name() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    for (path, name) in [
        ("/events?format=csv", "events.csv"),
        ("/calls?format=ndjson", "calls.ndjson"),
        ("/live-sessions?format=csv", "live_sessions.csv"),
        ("/recordings?format=csv", "recordings.csv"),
        ("/rtc-tasks?format=csv", "rtc_tasks.csv"),
        ("/anomalies?format=csv", "anomalies.csv"),
        ("/statistics?format=csv", "statistics.csv"),
        ("/users/1400000001/ann/visits?format=csv", "visits.csv"),
    ] {
        let answer =
            server.client.get(format!("{}/api/v1{path}", server.ops_url)).send().await.unwrap();
        let expected = format!("attachment; filename=\"{name}\"");
        assert_eq!(answer.headers()["content-disposition"], expected.as_str(), "{path}");
    }
    let answer =
        server.client.get(format!("{}/api/v1/events", server.ops_url)).send().await.unwrap();
    assert!(!answer.headers().contains_key("content-disposition"));
    server.stop().await;
}

#[tokio::test]
async fn a_sum_of_delays_is_named_as_a_sum() {
    let database = Database::sqlite();
    let server = Server::start(&database).await;
    for number in [1, 2] {
        // Each happened a second and some ms before it arrives.
        server.clock.set(NOW);
        server.post_body(DESTROY_ROOM, destroy_room(number)).await;
    }
    let (_, text) = server.get_ops("/api/v1/statistics?step=hour").await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let count = &answer["items"][0];
    assert_eq!((&count["events"], &count["lag_ms_max"]), (&2.into(), &1002.into()), "{text}");
    assert_eq!(count["lag_ms_sum"], 2003, "{text}");
    assert!(count.get("lag_ms").is_none(), "{text}");
    server.stop().await;
}
