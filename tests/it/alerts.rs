//! The alerts of `deploy/prometheus`: that they fire and stay quiet as they should, that the server has each series they name
//! from its start, and that the documents say what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::documents::leads_somewhere;
use crate::process::Serving;
use crate::reference::all_series;
use crate::support::Figures;

/// Their unit tests.
const TESTS: [&str; 2] = ["alerts_test.yml", "alerts_week_test.yml"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rules() -> String {
    fs::read_to_string(root().join("deploy/prometheus/alerts.yml")).unwrap()
}

/// The program that checks rules; `None` where there is none, which only a developer's machine may.
fn promtool() -> Option<PathBuf> {
    let named = std::env::var_os("TEST_PROMTOOL").filter(|path| !path.is_empty());
    let path = PathBuf::from(named.unwrap_or_else(|| "promtool".into()));
    let mut version = Command::new(&path);
    version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if version.status().is_ok_and(|status| status.success()) {
        return Some(path);
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "TEST_PROMTOOL is not set: scripts/promtool installs what it names"
    );
    eprintln!("SKIPPED: there is no promtool on this machine");
    None
}

fn said(output: &Output) -> String {
    let (out, errors) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(errors))
}

/// What promtool says of a file of `deploy/prometheus`.
fn promtool_accepts(words: [&str; 2], file: &str) {
    let Some(promtool) = promtool() else { return };
    let folder = root().join("deploy/prometheus");
    let output = Command::new(promtool).current_dir(folder).args(words).arg(file).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn promtool_accepts_the_alerts() {
    promtool_accepts(["check", "rules"], "alerts.yml");
}

#[test]
fn each_alert_fires_on_its_condition_and_is_quiet_beside_it() {
    for file in TESTS {
        promtool_accepts(["test", "rules"], file);
    }
}

/// An alert, as the file has it.
#[derive(Default)]
struct Alert {
    name: String,
    expression: String,
    severity: String,
    texts: Vec<String>,
    runbook: String,
}

/// Reads the file, in the manner it is written in: `key: value`, and blocks that are indented further.
fn alerts() -> Vec<Alert> {
    let text = rules();
    let mut alerts: Vec<Alert> = Vec::new();
    let mut key = String::new();
    for line in text.lines().map(|line| line.trim_start().trim_start_matches("- ")) {
        let words = line.split_once(':').filter(|(key, _)| {
            !key.is_empty() && key.bytes().all(|letter| letter.is_ascii_lowercase())
        });
        let value = words.map_or(line, |(found, value)| {
            found.clone_into(&mut key);
            value.trim()
        });
        if key == "alert" {
            alerts.push(Alert { name: value.to_owned(), ..Alert::default() });
            key.clear();
        }
        let Some(alert) = alerts.last_mut() else { continue };
        match key.as_str() {
            "expr" => {
                alert.expression.push_str(value);
                alert.expression.push(' ');
            }
            "severity" => value.clone_into(&mut alert.severity),
            "summary" | "description" => alert.texts.push(value.to_owned()),
            "runbook" => value.clone_into(&mut alert.runbook),
            _ => {}
        }
    }
    alerts
}

#[test]
fn each_alert_has_severity_texts_and_a_runbook() {
    let alerts = alerts();
    assert!(alerts.len() > 30, "{}", alerts.len());
    for alert in &alerts {
        assert!(["page", "ticket"].contains(&alert.severity.as_str()), "{}", alert.name);
        assert!(alert.texts.len() >= 2, "{}", alert.name);
        assert!(leads_somewhere(&alert.runbook), "{}: {}", alert.name, alert.runbook);
    }
    let names: BTreeSet<&str> = alerts.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(names.len(), alerts.len(), "two have one name");
}

#[test]
fn each_alert_is_tested() {
    let read = |file| fs::read_to_string(root().join("deploy/prometheus").join(file)).unwrap();
    let tests = TESTS.map(read).concat();
    for alert in alerts() {
        let named = format!("  - name: {}\n", alert.name);
        let (_, test) = tests.split_once(&named).unwrap_or_else(|| panic!("{}", alert.name));
        let test = test.split("  - name: ").next().unwrap();
        assert!(test.contains(&format!("alertname=\"{}\"", alert.name)), "{}", alert.name);
        assert!(test.contains("job=\"loud\""), "{}", alert.name);
    }
}

#[test]
fn the_table_of_alerts_is_that_of_the_rules() {
    let page = fs::read_to_string(root().join("docs/operate/monitoring.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| `Trtc"));
    let rows = rows.map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let (name, severity) = (cells.next().unwrap().trim_matches('`'), cells.next().unwrap());
        let (_, link) = row.rsplit_once("](").unwrap();
        (name.to_owned(), (severity.to_owned(), link.split_once(')').unwrap().0.to_owned()))
    });
    let link = |alert: &Alert| match alert.runbook.strip_prefix("docs/operate/").map(str::to_owned)
    {
        Some(link) => link.strip_prefix("monitoring.md").map_or(link.clone(), str::to_owned),
        None => alert.runbook.replacen("docs", "..", 1),
    };
    let wanted = alerts().into_iter().map(|it| (it.name.clone(), (it.severity.clone(), link(&it))));
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), wanted.collect());
}

/// The series that an expression names: the metric, and the labels that it asks for.
fn series(expression: &str) -> BTreeSet<(String, String)> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let mut found = BTreeSet::new();
    for (at, _) in expression.match_indices("trtc_").chain(expression.match_indices("process_")) {
        let rest = &expression[at..];
        let name = &rest[..rest.find(|letter| !is_part(letter)).unwrap_or(rest.len())];
        let labels = rest[name.len()..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
        found.insert((name.to_owned(), labels.map_or("", |(labels, _)| labels).to_owned()));
    }
    found
}

/// The values of a metric that `/metrics` shows, by their labels as text.
fn shown<'a>(text: &'a str, name: &str) -> Vec<(&'a str, &'a str)> {
    let of = |line: &'a str| {
        let (series, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        (series.is_empty() || series.starts_with('{')).then_some((series, value))
    };
    text.lines().filter_map(of).collect()
}

/// Whether a series has what a selector asks for. Of patterns there is one: that of all rejections.
fn has(series: &str, selector: &str) -> bool {
    selector.split(',').filter(|part| !part.is_empty()).all(|part| {
        if let Some((label, value)) = part.split_once("=~") {
            let beginning = value.trim_matches('"').strip_suffix(".*").unwrap();
            return series.contains(&format!("{label}=\"{beginning}"));
        }
        match part.split_once("!=") {
            Some((label, value)) => !series.contains(&format!("{label}={value}")),
            None => series.contains(part),
        }
    })
}

/// Shown only once there is something to show, as the reference says; each is a gauge or a time, and none counts.
const LATER: [&str; 3] =
    ["trtc_registration_drift", "trtc_vendor_networks", "trtc_vendor_list_seconds"];

#[tokio::test(flavor = "multi_thread")]
async fn each_series_of_an_alert_is_there_from_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("cert.pem"), signed.cert.pem()).unwrap();
    fs::write(folder.path().join("key.pem"), signed.signing_key.serialize_pem()).unwrap();
    // The store is away, so that what only it could bring is missing.
    let config = "[store]\nurl = \"postgres://nobody@127.0.0.1:1/none\"\n\
                  [server]\ntls_certificate = \"cert.pem\"\ntls_key = \"key.pem\"\n\
                  [[forward]]\nname = \"billing\"\nurl = \"http://127.0.0.1:9/hook\"\ncommands = [\"*\", \"trtc.call.ended\"]\n\
                  secrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\n";
    fs::write(folder.path().join("my.toml"), config).unwrap();
    let serving = Serving::start_without_store(folder.path(), &["--config", "my.toml"]);
    let Figures(text) = serving.figures().await;
    let mut missing = Vec::new();
    for alert in alerts() {
        for (name, selector) in series(&alert.expression) {
            let shown = shown(&text, &name);
            let found = shown.iter().filter(|(series, _)| has(series, &selector));
            let values: Vec<&str> = found.map(|(_, value)| *value).collect();
            if values.is_empty() && !LATER.contains(&name.as_str()) {
                missing.push(format!("{}: {name}{{{selector}}}", alert.name));
            }
            if name.ends_with("_total") {
                assert!(values.iter().all(|value| *value == "0"), "{name}: {values:?}");
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
    drop(serving);
}

#[test]
fn promtool_finds_no_fault_in_the_metrics() {
    let Some(promtool) = promtool() else { return };
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(all_series().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
}
