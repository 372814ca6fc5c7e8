//! What is registered at the stand-in, and what is to go wrong there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::gate::Asked;
use super::seen::Seen;

/// What is registered for one product of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    #[serde(rename = "Url")]
    pub(crate) url: String,
    #[serde(rename = "CallbackCommandList", default)]
    pub(crate) commands: Vec<String>,
}

/// What goes wrong, after the request was found to be in order.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// A failure with this code, as the services give it.
    Code(i64),
    /// The same as the gateway gives it: without `RequestId`, `ErrorInfo` empty.
    BareCode(i64),
    /// A failure whose text says back what was sent: the whole query and body.
    Echo(i64),
    /// This HTTP status, and a page for people.
    Status(u16),
    /// This text with status 200.
    Text(String),
    /// So many bytes of JSON.
    Long(usize),
    /// A redirect to this place.
    Redirect(String),
    /// So many ms pass before it is answered as usual.
    DelayMs(u64),
    /// The connection ends without an answer, and nothing was done.
    Drop,
    /// What was asked for is done, and the connection ends without an answer.
    DoAndDrop,
    /// Just before, somebody else sets this.
    OthersSet(Config),
    /// Just before, somebody else deletes what there is.
    OthersDelete,
}

/// A fault, for the next `times` requests of this action (`set_callback` or `live_config/set_callback`), or of any.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Planned {
    pub(crate) action: Option<String>,
    pub(crate) times: u32,
    pub(crate) fault: Fault,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) configs: BTreeMap<(i64, String), Config>,
    pub(super) tokens: BTreeMap<i64, (String, bool)>,
    pub(super) faults: Vec<Planned>,
    pub(super) seen: Vec<Seen>,
    /// How many connections there were.
    pub(super) connections: u32,
}

impl State {
    pub(super) fn put(&mut self, app: i64, service: &str, config: Option<Config>) {
        let place = (app, service.to_owned());
        match config {
            Some(config) => _ = self.configs.insert(place, config),
            None => _ = self.configs.remove(&place),
        }
    }

    /// The next fault that is planned for this action.
    pub(super) fn fault(&mut self, asked: &Asked<'_>) -> Option<Fault> {
        self.faults.retain(|planned| planned.times > 0);
        let path = format!("{}/{}", asked.service, asked.action);
        let fits = |planned: &&mut Planned| {
            let named = planned.action.as_deref();
            named.is_none_or(|named| named == asked.action || named == path)
        };
        let planned = self.faults.iter_mut().find(fits)?;
        planned.times -= 1;
        Some(planned.fault.clone())
    }

    /// `set_callback` and `update_callback`.
    pub(super) fn write(
        &mut self,
        app: i64,
        service: &str,
        action: &str,
        body: &Value,
    ) -> Result<Option<Value>, i64> {
        let listed = body["CallbackCommandList"].is_array();
        let config: Config = serde_json::from_value(body.clone()).map_err(|_| 100_002)?;
        let exists = self.configs.contains_key(&(app, service.to_owned()));
        if !listed || !is_fit(service, &config) {
            return Err(100_002);
        }
        match (action, service) {
            ("set_callback", "room_config" | "live_config") if exists => return Err(100_300),
            ("update_callback", _) if !exists => return Err(100_301),
            _ => self.put(app, service, Some(config)),
        }
        Ok(None)
    }

    pub(super) fn get_token(&self, app: i64) -> Result<Option<Value>, i64> {
        let (token, enabled) = self.tokens.get(&app).ok_or(100_302)?;
        Ok(Some(json!({ "Token": token, "IsTokenEnable": enabled })))
    }

    pub(super) fn set_token(&mut self, app: i64, body: &Value) -> Result<Option<Value>, i64> {
        let before = self.tokens.get(&app).cloned();
        let (token, enabled) = (body.get("Token"), body.get("IsTokenEnable"));
        if token.is_none() && enabled.is_none() {
            return Err(100_002);
        }
        let token = match token {
            Some(token) => token.as_str().map(str::to_owned),
            None => before.as_ref().map(|(token, _)| token.clone()),
        };
        let enabled = match enabled {
            Some(enabled) => enabled.as_bool(),
            None => before.map(|(_, enabled)| enabled),
        };
        let (token, enabled) = token.zip(enabled).ok_or(100_002)?;
        if !(1..=128).contains(&token.chars().count()) {
            return Err(100_002);
        }
        self.tokens.insert(app, (token, enabled));
        Ok(None)
    }
}

/// Whether the vendor would take it: a URL by the rules of its console, and commands of the product.
fn is_fit(service: &str, config: &Config) -> bool {
    let families: &[&str] = match service {
        "call_config" => &["Call"],
        "room_config" => &["Room", "Mic"],
        _ => &["Live", "Mic", "Group", "Follow"],
    };
    let rest = ["http://", "https://"].iter().find_map(|scheme| config.url.strip_prefix(scheme));
    let url =
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains([' ', '!', '$', '&', '?']));
    let known = |command: &String| {
        command.split_once('.').is_some_and(|(family, name)| {
            families.contains(&family) && name.starts_with("Callback")
        })
    };
    url && !config.commands.is_empty() && config.commands.iter().all(known)
}
