//! Who may use the operations listener: tokens with scopes, what each gets of every route, and the log of it.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::process::{Serving, program};
use crate::support::{DESTROY_ROOM, Database, Server, destroy_room, eventually, settings};

/// A token of each scope, the least first.
const TOKENS: [(&str, &str); 4] = [
    ("TRTC_OPS_METRICS_TOKEN", "metr1cs"),
    ("TRTC_OPS_READ_TOKEN", "r3ad"),
    ("TRTC_OPS_EXPORT_TOKEN", "exp0rt"),
    ("TRTC_OPS__TOKEN", "adm1n"),
];
/// Pages whose paths have no section of the navigation.
const PAGES: [&str; 11] = [
    "/calls/1400000001/c",
    "/room-sessions/1400000001/r",
    "/room-sessions/1400000001/r/1",
    "/rtc-room-sessions/1400000001/r",
    "/rtc-room-sessions/1400000001/r/string/1",
    "/recordings/1400000001/t",
    "/rtc-tasks/1400000001/t",
    "/events/00000000-0000-8000-8000-000000000000",
    "/forward/billing",
    "/search?id=x",
    "/users/1400000001/alice",
];

fn client() -> reqwest::Client {
    let client =
        trtc_callbacks::tencent_api::http_client().redirect(reqwest::redirect::Policy::none());
    client.timeout(Duration::from_secs(20)).build().unwrap()
}

async fn ask(url: &str, token: &str) -> reqwest::Response {
    client().get(url).bearer_auth(token).send().await.unwrap()
}

/// The paths of the pages in the navigation.
async fn sections(ops_url: &str) -> Vec<String> {
    let html = ask(&format!("{ops_url}/"), "adm1n").await.text().await.unwrap();
    let navigation = html.split("</nav>").next().unwrap();
    let hrefs = navigation.split("<nav").nth(1).unwrap().split("href=\"").skip(1);
    hrefs.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_scope_gets_exactly_what_it_allows() {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, &TOKENS)).await;
    let ops = &server.ops_url;
    let document = ask(&format!("{ops}/api/v1/openapi.json"), "r3ad").await.text().await.unwrap();
    let document: Value = serde_json::from_str(&document).unwrap();
    let scopes = ["metrics", "read", "export", "admin"];
    let rank = |scope: &str| scopes.iter().position(|it| *it == scope).unwrap();
    // Each route with the scope that it needs.
    let mut routes = vec![("/metrics".to_owned(), rank("metrics"))];
    let sections = sections(ops).await;
    assert_eq!(sections.len(), 12, "{sections:?}");
    routes.extend(sections.into_iter().map(|path| (path, rank("read"))));
    routes.extend(PAGES.map(|path| (path.to_owned(), rank("read"))));
    let mut exports = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        assert_eq!(item.as_object().unwrap().len(), 1, "{path} has another method than GET");
        let needs = item["get"]["security"][0]["token"][0].as_str().unwrap();
        assert_eq!(item["get"]["security"][1]["session"][0], needs, "{path}");
        assert!(item["get"]["responses"]["403"].is_object(), "{path}");
        let parts: Vec<&str> = path
            .split('/')
            .map(|part| match part {
                "{app}" => "1400000001",
                "{id}" => "00000000-0000-8000-8000-000000000000",
                "{kind}" => "string",
                "{session}" => "1",
                part if part.starts_with('{') => "x",
                part => part,
            })
            .collect();
        let path = parts.join("/");
        let parameters = item["get"]["parameters"].as_array().into_iter().flatten();
        let is_asked = |it: &&Value| it["in"] == "query" && it["required"] == true;
        let asked = parameters.clone().find(is_asked).and_then(|it| it["name"].as_str());
        let path = asked.map_or_else(|| path.clone(), |name| format!("{path}?{name}=x"));
        if parameters.into_iter().any(|parameter| parameter["name"] == "format") {
            exports += 1;
            for form in ["csv", "ndjson"] {
                routes.push((format!("{path}?format={form}"), rank("export")));
            }
        }
        routes.push((path, rank(needs)));
    }
    assert!(exports >= 14 && routes.len() >= 80, "{exports} exports, {} routes", routes.len());
    for (path, needs) in &routes {
        for (has, (_, token)) in TOKENS.iter().enumerate() {
            let answer = ask(&format!("{ops}{path}"), token).await;
            let status = answer.status().as_u16();
            if has >= *needs {
                assert!([200, 303, 307, 404].contains(&status), "{path} of {token}: {status}");
                continue;
            }
            assert_eq!(status, 403, "{path} of {token}");
            if !path.starts_with("/api/") {
                let html = answer.text().await.unwrap();
                assert!(html.contains("This page needs the scope “read”"), "{path}: {html}");
                continue;
            }
            // A route asks for its own scope first, and for that of exports then.
            let missing = scopes[(*needs).min(has + 1)];
            let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
            let expected = format!("Bearer error=\"insufficient_scope\", scope=\"{missing}\"");
            assert_eq!(challenge, expected, "{path}");
            let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert_eq!((&problem["status"], &problem["scope"]), (&403.into(), &missing.into()));
            let detail = problem["detail"].as_str().unwrap();
            let said = format!("the scope `{}` is missing: the token `{}`", missing, scopes[has]);
            assert!(detail.contains(&said), "{detail}");
        }
    }
    server.stop().await;
}

async fn sign_in(ops_url: &str, token: &str) -> reqwest::Response {
    let form = client().post(format!("{ops_url}/sign-in")).body(format!("token={token}"));
    form.send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_the_scope_of_its_token() {
    let database = Database::sqlite();
    let server = Server::start_with(settings(&database, &TOKENS)).await;
    let refused = sign_in(&server.ops_url, "metr1cs").await;
    assert_eq!(refused.status(), 403);
    let html = refused.text().await.unwrap();
    assert!(html.contains("has the scope “metrics”: the dashboard needs “read”"), "{html}");
    for (token, name, export) in
        [("r3ad", "read", 403), ("exp0rt", "export", 200), ("adm1n", "ops.token", 200)]
    {
        let answer = sign_in(&server.ops_url, token).await;
        assert_eq!(answer.status(), 303, "{token}");
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
        let ask = async |path: &str| {
            let request = client().get(format!("{}{path}", server.ops_url));
            request.header("Cookie", cookie).send().await.unwrap()
        };
        let html = ask("/calls").await.text().await.unwrap();
        assert!(html.contains(&format!("Signed in with the token {name}\"")), "{html}");
        assert_eq!(ask("/api/v1/calls").await.status(), 200);
        assert_eq!(ask("/api/v1/calls?format=csv").await.status(), export, "{token}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_rotated_in_its_file_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (file, config) = (folder.path().join("token"), folder.path().join("my.toml"));
    fs::write(&file, "0ld\n").unwrap();
    let table = format!(
        "[[ops.tokens]]\nname = \"team\"\ntoken_file = \"{}\"\nscopes = [\"read\"]\n",
        file.display()
    );
    fs::write(&config, table).unwrap();
    let serving = Serving::start(folder.path(), &["--config", "my.toml"]);
    let calls = format!("{}/api/v1/calls", serving.ops_url);
    let status = async |token: &str| ask(&calls, token).await.status().as_u16();
    let cookie = sign_in(&serving.ops_url, "0ld").await.headers()["set-cookie"].clone();
    let cookie = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
    let signed_in = async || {
        let request = client().get(&calls).header("Cookie", &cookie);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((status("0ld").await, status("n3w").await, signed_in().await), (200, 401, 200));
    fs::write(&file, "n3w\n0ld\n").unwrap();
    let line = serving.next_error(|line| line["message"] == "a changed token is in force");
    assert_eq!((&line["token"], &line["tokens"]), (&"team".into(), &2.into()));
    assert_eq!((status("0ld").await, status("n3w").await, signed_in().await), (200, 200, 200));
    fs::write(&file, "n3w\n").unwrap();
    serving.next_error(|line| line["message"] == "a changed token is in force");
    assert_eq!((status("0ld").await, status("n3w").await), (401, 200));
    assert_eq!(signed_in().await, 401, "the session ends with its token");
    fs::write(&file, "").unwrap();
    let line = serving.next_error(|line| line["level"] == "ERROR");
    assert_eq!(line["reason"], "key `ops.tokens.token_file` of `team` is empty");
    assert_eq!(status("n3w").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_exported_and_no_value() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program(folder.path());
    command.envs(TOKENS).env("TRTC_LOG__FILTER", "info,audit=debug");
    let serving = Serving::start_as(command, &[]).with_store();
    let url = format!("{}/?SdkAppid=1400000001&CallbackCommand={DESTROY_ROOM}", serving.url);
    client().post(url).body(destroy_room(1)).send().await.unwrap();
    let one = format!("{}/api/v1/events?format=json", serving.ops_url);
    let is_there = async || ask(&one, "r3ad").await.text().await.unwrap().contains("room-1");
    eventually("the event is stored", is_there).await;
    let audit = |message: &str| {
        let line = serving.next_error(|line| line["target"] == "audit");
        assert_eq!(line["message"], message, "{line}");
        assert_eq!(line["peer"], "127.0.0.1", "{line}");
        for secret in ["r3ad", "exp0rt", "alice", "room-1"] {
            assert!(!line.to_string().contains(secret), "{secret} stands in {line}");
        }
        line
    };
    let export = format!("{}/api/v1/events?room=room-1&app=1400000001&format=csv", serving.ops_url);
    assert_eq!(ask(&export, "r3ad").await.status(), 403);
    let line = audit("refused: the token lacks the scope");
    assert_eq!((&line["token"], &line["needs"]), (&"read".into(), &"export".into()));
    let text = ask(&export, "exp0rt").await.text().await.unwrap();
    let begun = audit("an export begins");
    let ended = audit("an export ended");
    for line in [&begun, &ended] {
        assert_eq!((&line["token"], &line["format"]), (&"export".into(), &"csv".into()));
        assert_eq!(
            (&line["route"], &line["filters"]),
            (&"/api/v1/events".into(), &"app,room".into())
        );
    }
    assert_eq!((&ended["rows"], &ended["bytes"]), (&1.into(), &text.len().into()));
    assert_eq!(ended["whole"], true);
    let account = format!("{}/api/v1/users/1400000001/alice/calls?format=ndjson", serving.ops_url);
    ask(&account, "adm1n").await.text().await.unwrap();
    let line = audit("an export begins");
    assert_eq!(line["route"], "/api/v1/users/{app}/{account}/calls");
    assert_eq!(line["token"], "ops.token");
    audit("an export ended");
    let cookie = sign_in(&serving.ops_url, "r3ad").await.headers()["set-cookie"].clone();
    let line = audit("signed in to the dashboard");
    assert_eq!((&line["token"], &line["scope"]), (&"read".into(), &"read".into()));
    let out = client().post(format!("{}/sign-out", serving.ops_url));
    out.header("Cookie", cookie.to_str().unwrap().split(';').next().unwrap()).send().await.unwrap();
    assert_eq!(audit("signed out of the dashboard")["token"], "read");
}
