//! What happened in a page: requests, faults, and which documents are loaded.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

/// Written down as Chromium tells it.
#[derive(Default)]
pub(crate) struct Seen {
    /// Every address that was asked for, in order.
    pub(crate) requests: Vec<String>,
    /// Errors and failed assertions on the console, exceptions, what Chromium itself logs as an error (requests that
    /// failed, breaches of the content security policy), dialogs, crashes.
    pub(crate) faults: Vec<String>,
    /// The document that is in the page now.
    pub(crate) document: Option<String>,
    loaded: HashSet<String>,
    statuses: HashMap<String, u64>,
}

impl Seen {
    /// Takes one message of the DevTools protocol.
    pub(crate) fn take(&mut self, method: &str, params: &Value) {
        match method {
            // A redirect comes as a further one of these.
            "Network.requestWillBeSent" => self.request(&params["request"]["url"]),
            "Network.webSocketCreated" | "Network.webTransportCreated" => {
                self.request(&params["url"]);
            }
            "Network.responseReceived" if params["type"] == "Document" => {
                if let Some(status) = params["response"]["status"].as_u64() {
                    self.statuses.insert(text(&params["loaderId"]), status);
                }
            }
            "Page.frameNavigated" if params["frame"]["parentId"].is_null() => {
                self.document = Some(text(&params["frame"]["loaderId"]));
            }
            "Page.lifecycleEvent" if params["name"] == "load" => {
                self.loaded.insert(text(&params["loaderId"]));
            }
            "Page.javascriptDialogOpening" => {
                self.faults.push(format!("dialog: {}", text(&params["message"])));
            }
            "Runtime.consoleAPICalled"
                if params["type"] == "error" || params["type"] == "assert" =>
            {
                let words = params["args"].as_array().into_iter().flatten().map(argument);
                self.faults.push(format!("console: {}", words.collect::<Vec<_>>().join(" ")));
            }
            "Runtime.exceptionThrown" => {
                self.faults.push(format!("exception: {}", exception(&params["exceptionDetails"])));
            }
            "Log.entryAdded" if params["entry"]["level"] == "error" => {
                let entry = &params["entry"];
                let url = text(&entry["url"]);
                // A guess of Chromium's own, at some time after a page is loaded that names no icon.
                if !url.ends_with("/favicon.ico") {
                    self.faults.push(format!("log: {} {url}", text(&entry["text"])));
                }
            }
            "Inspector.targetCrashed" => self.faults.push("the page crashed".to_owned()),
            _ => {}
        }
    }

    /// The HTTP status of a document that is loaded with all it needs.
    pub(crate) fn loaded(&self, document: &str) -> Option<u64> {
        let status = self.statuses.get(document)?;
        self.loaded.contains(document).then_some(*status)
    }

    fn request(&mut self, url: &Value) {
        self.requests.push(text(url));
    }
}

/// What JavaScript threw.
pub(crate) fn exception(details: &Value) -> String {
    let thrown = argument(&details["exception"]);
    if thrown == "null" { text(&details["text"]) } else { thrown }
}

fn argument(argument: &Value) -> String {
    let value = &argument["value"];
    if value.is_null() { text(&argument["description"]) } else { text(value) }
}

/// A string without its quotes, anything else as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
