//! Signatures of every fixture, verified by the official libraries of Standard Webhooks of `PyPI` and npm.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use forward::envelope::{ClientIp, envelope};
use forward::signature::Delivery;
use protocol::UnixMillis;
use serde::Serialize;

use crate::envelopes::{NOW, columns, files};
use crate::signatures::{NEW, NEXT, OLD, secrets};

/// A delivery, the secrets that verify it, and those that must not.
#[derive(Serialize)]
struct Case {
    headers: BTreeMap<&'static str, String>,
    body: String,
    good: Vec<&'static str>,
    bad: Vec<&'static str>,
}

/// A delivery of each fixture with one, two and three secrets, as they are sent now.
fn cases() -> Vec<Case> {
    let now = UnixMillis::default().plus(SystemTime::UNIX_EPOCH.elapsed().unwrap());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/fixtures");
    let mut cases = Vec::new();
    for file in files(&folder) {
        let delivery = protocol::Delivery::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        let Some(event) = delivery.event(NOW) else { continue };
        let event = columns(event, 512);
        let body = envelope(&event, ClientIp::Included);
        let all = [NEXT, NEW, OLD];
        for count in 1..=all.len() {
            let (good, bad) = all.split_at(count);
            let delivery = Delivery {
                id: event.id,
                destination: "billing",
                attempt: 1,
                replay: false,
                body: &body,
            };
            cases.push(Case {
                headers: delivery.headers(&secrets(good), now).into_iter().collect(),
                body: body.clone(),
                good: good.to_vec(),
                bad: bad.to_vec(),
            });
        }
    }
    assert!(cases.len() > 300, "{}", cases.len());
    cases
}

/// A library, and how it is run.
struct Library {
    variable: &'static str,
    program: &'static str,
    /// Takes the file of cases as its argument, and prints how many verifications were as they must be.
    script: &'static str,
}

const PYPI: Library = Library {
    variable: "TEST_WEBHOOKS_PYPI",
    program: "python3",
    script: r#"
import json, sys
from standardwebhooks import Webhook, WebhookVerificationError
def verifies(secret, case, body):
    try:
        Webhook(secret).verify(body.encode(), case["headers"])
        return True
    except WebhookVerificationError:
        return False
count = 0
for case in json.load(open(sys.argv[1], encoding="utf-8")):
    for secret in case["good"]:
        assert verifies(secret, case, case["body"]), case
        assert not verifies(secret, case, case["body"] + " "), case
        count += 1
    for secret in case["bad"]:
        assert not verifies(secret, case, case["body"]), case
        count += 1
print(count)
"#,
};

const NPM: Library = Library {
    variable: "TEST_WEBHOOKS_NPM",
    program: "node",
    script: r#"
const { Webhook, WebhookVerificationError } = require("standardwebhooks");
const assert = require("node:assert");
function verifies(secret, sent, body) {
    try {
        new Webhook(secret).verify(Buffer.from(body), sent.headers);
        return true;
    } catch (error) {
        if (error instanceof WebhookVerificationError) return false;
        throw error;
    }
}
let count = 0;
for (const sent of JSON.parse(require("node:fs").readFileSync(process.argv[1], "utf8"))) {
    for (const secret of sent.good) {
        assert(verifies(secret, sent, sent.body), JSON.stringify(sent));
        assert(!verifies(secret, sent, sent.body + " "), JSON.stringify(sent));
        count += 1;
    }
    for (const secret of sent.bad) {
        assert(!verifies(secret, sent, sent.body), JSON.stringify(sent));
        count += 1;
    }
}
console.log(count);
"#,
};

impl Library {
    /// Where `scripts/webhook-packages` put it; absent where it could not, which only a developer's machine may.
    fn folder(&self) -> Option<PathBuf> {
        let folder = std::env::var_os(self.variable).filter(|folder| !folder.is_empty());
        if folder.is_none() {
            assert!(
                std::env::var_os("CI").is_none(),
                "{} is not set: scripts/webhook-packages installs what it names",
                self.variable
            );
            // Past the test harness, which would keep it to itself.
            let line = format!("\nskipped: {} is not set, run ./scripts/test\n", self.variable);
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        folder.map(PathBuf::from)
    }

    fn verifies_every_fixture(&self) {
        let Some(folder) = self.folder() else { return };
        let cases = cases();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(serde_json::to_string(&cases).unwrap().as_bytes()).unwrap();
        let is_node = self.program == "node";
        let output = Command::new(self.program)
            .args([if is_node { "-e" } else { "-c" }, self.script])
            .args(is_node.then_some("--"))
            .arg(file.path())
            .env("PYTHONPATH", &folder)
            .env("NODE_PATH", &folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}", said.chars().take(2_000).collect::<String>());
        let count = String::from_utf8(output.stdout).unwrap();
        assert_eq!(count.trim(), (cases.len() * 3).to_string(), "each with each of three secrets");
    }
}

#[test]
fn the_library_of_pypi_verifies_every_fixture() {
    PYPI.verifies_every_fixture();
}

#[test]
fn the_library_of_npm_verifies_every_fixture() {
    NPM.verifies_every_fixture();
}
