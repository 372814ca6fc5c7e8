//! `[[apps]]`: whose callbacks are taken, and what is to be registered for them at the vendor. The keys are explained in
//! [`super::DEFAULTS`].
#![expect(missing_docs, reason = "each key is explained once, in config/default.toml")]

use std::path::PathBuf;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use crate::settings::error::SettingsError;
use crate::tencent_api::{CallbackConfig, Endpoint, Finding, Product, Region, Rule, Severity};
use protocol::diagnostic::{Diagnostic, Hint};

/// Stands for all usual commands of a product, alone or among others.
const ALL: &str = "all";

/// One of `[[apps]]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSettings {
    pub sdk_app_id: String,
    #[serde(default)]
    pub callback_tokens: Vec<SecretString>,
    #[serde(default)]
    pub rtc_keys: Vec<SecretString>,
    #[serde(default)]
    pub secret_key: Option<SecretString>,
    #[serde(default)]
    pub secret_key_file: Option<PathBuf>,
    #[serde(default)]
    pub identifier: Option<String>,
    #[serde(default, deserialize_with = "region")]
    pub region: Option<Region>,
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default)]
    pub callbacks: CallbackSettings,
}

/// `[apps.callbacks]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallbackSettings {
    #[serde(default)]
    pub url: Option<String>,
    #[serde(default)]
    pub call: Option<Vec<String>>,
    #[serde(default)]
    pub room: Option<Vec<String>>,
    #[serde(default)]
    pub live: Option<Vec<String>>,
}

impl AppSettings {
    /// An app of which nothing but its id is known.
    #[must_use]
    pub fn new(sdk_app_id: impl Into<String>) -> Self {
        Self { sdk_app_id: sdk_app_id.into(), ..Self::default() }
    }

    /// Whether a secret key is set, by itself or in a file.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.secret_key.is_some() || self.secret_key_file.is_some()
    }

    /// Whether it is said where the vendor's API is to be called for the app.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.host.is_some() || self.region.is_some()
    }

    /// Checks what is said of the vendor. The file of the key is read by those who need the key.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        let wrong = |key: &str, found: Diagnostic| {
            let of = format_args!("key `apps.{key}` of app {}: ", self.sdk_app_id);
            Err(found.prefixed(of).into())
        };
        if self.secret_key.is_some() && self.secret_key_file.is_some() {
            let found = Diagnostic::new("`secret_key` is set too", "set one of both");
            return wrong("secret_key_file", found);
        }
        if let Some(Err(error)) = self.host.as_deref().map(Endpoint::parse) {
            return wrong("host", error.diagnostic());
        }
        let callbacks = &self.callbacks;
        let named = |product| callbacks.words(product).is_some_and(|words| !words.is_empty());
        if callbacks.url.is_none() && Product::ALL.into_iter().any(named) {
            let found = Diagnostic::new("there are commands, and no URL", "set its `url` too");
            return wrong("callbacks", found);
        }
        for product in Product::ALL {
            let Some(wanted) = callbacks.wanted(product) else { continue };
            // An unknown command may be a new one: let it be registered.
            let is_wrong = |finding: &Finding| {
                finding.severity == Severity::Error && finding.rule != Rule::CommandUnknown
            };
            if let Some(finding) = wanted.findings(product, None).into_iter().find(is_wrong) {
                let key = match finding.rule {
                    Rule::CommandForeign => product.as_str(),
                    _ => "url",
                };
                return wrong(&format!("callbacks.{key}"), finding.diagnostic);
            }
        }
        Ok(())
    }
}

impl CallbackSettings {
    /// What is to be registered for a product; absent where no URL is set, or the product is to be left as it is.
    #[must_use]
    pub fn wanted(&self, product: Product) -> Option<CallbackConfig> {
        self.wanted_at(self.url.as_deref()?, product)
    }

    /// The same for another URL.
    #[must_use]
    pub fn wanted_at(&self, url: &str, product: Product) -> Option<CallbackConfig> {
        let commands = match self.words(product) {
            Some([]) => return None,
            Some(words) => commands(product, words),
            None => commands(product, &[]),
        };
        Some(CallbackConfig::new(url, commands))
    }

    /// The commands as set: absent where the usual ones are wanted, empty where the product is to be left as it is.
    #[must_use]
    pub fn words(&self, product: Product) -> Option<&[String]> {
        match product {
            Product::Call => self.call.as_deref(),
            Product::Room => self.room.as_deref(),
            Product::Live => self.live.as_deref(),
        }
    }
}

/// The commands that a list of words means: `all` stands for the usual ones of the product, and so does no word.
#[must_use]
pub fn commands(product: Product, words: &[String]) -> Vec<String> {
    let usual = || product.usual_commands().map(str::to_owned);
    if words.is_empty() {
        return usual().collect();
    }
    let mut commands: Vec<String> = Vec::new();
    let has_all = words.iter().any(|word| word == ALL);
    commands.extend(usual().filter(|_| has_all));
    for word in words.iter().filter(|word| *word != ALL) {
        // What is usual may be named beside `all`; what is named twice otherwise is a finding.
        if !has_all || !commands.contains(word) {
            commands.push(word.clone());
        }
    }
    commands
}

fn region<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Region>, D::Error> {
    let name = String::deserialize(input)?;
    name.parse().map(Some).map_err(|_| {
        let names: Vec<&str> = Region::ALL.iter().map(|region| region.as_str()).collect();
        serde::de::Error::custom(format!(
            "`{name}` is not a region; there are {}",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::{env, error, file};
    use crate::settings::{Settings, Sources};

    fn app(text: &str) -> AppSettings {
        let (_file, sources) = file(&format!("[[apps]]\nsdk_app_id = 1\n{text}"));
        Settings::load(&sources).unwrap().apps.remove(0)
    }

    fn wrong(text: &str) -> String {
        let (_file, sources) = file(&format!("[[apps]]\nsdk_app_id = 1\n{text}"));
        error(&sources)
    }

    const URL: &str = "https://rtc.example.com/callback";

    #[test]
    fn a_url_alone_wants_the_usual_commands_of_every_product() {
        let callbacks = app(&format!("callbacks.url = '{URL}'")).callbacks;
        for product in Product::ALL {
            let usual = CallbackConfig::new(URL, product.usual_commands());
            assert_eq!(callbacks.wanted(product), Some(usual));
        }
        assert_eq!(app("region = 'seoul'").callbacks.wanted(Product::Call), None);
    }

    #[test]
    fn a_product_may_have_other_or_more_commands_or_none() {
        let more = "Follow.CallbackAfterFollowAdd";
        let text = format!(
            "[apps.callbacks]\nurl = '{URL}'\ncall = ['Call.CallbackAfterEndCall']\nroom = []\n\
             live = ['{more}', 'all']"
        );
        let callbacks = app(&text).callbacks;
        let of = |product| callbacks.wanted(product).map(|wanted| wanted.commands);
        assert_eq!(of(Product::Call).unwrap(), ["Call.CallbackAfterEndCall"]);
        assert_eq!(of(Product::Room), None);
        let live = of(Product::Live).unwrap();
        assert_eq!(live.len(), Product::Live.usual_commands().count() + 1);
        assert_eq!(live.last().unwrap(), more);
    }

    #[test]
    fn invalid_callbacks_are_refused_and_new_commands_are_not() {
        let said = wrong("callbacks.url = 'https://rtc.example.com/?a=b'");
        assert!(said.contains("`apps.callbacks.url` of app 1: "), "{said}");
        assert!(said.contains("query") && said.contains("\nhint: "), "{said}");
        let foreign = "call = ['Room.CallbackAfterCreateRoom']";
        let said = wrong(&format!("[apps.callbacks]\nurl = '{URL}'\n{foreign}"));
        assert!(said.contains("`apps.callbacks.call` of app 1: "), "{said}");
        let said = wrong("callbacks.call = ['Call.CallbackAfterEndCall']");
        assert!(said.contains("hint: set its `url` too"), "{said}");
        let said = wrong("host = 'http://api.example.com'");
        assert!(said.contains("`apps.host` of app 1: plain HTTP"), "{said}");
        let said = wrong("region = 'mars'");
        assert!(said.contains("`mars` is not a region; there are china, singapore"), "{said}");
        let said = wrong("secret_key = 'a'\nsecret_key_file = 'b'");
        assert!(said.contains("`secret_key` is set too"), "{said}");
        let said = wrong("callbacks.urls = 'x'");
        assert!(said.contains("did you mean `apps.callbacks.url`?"), "{said}");
        app(&format!("[apps.callbacks]\nurl = '{URL}'\ncall = ['Call.CallbackAfterTomorrow']"));
    }

    #[test]
    fn variables_apply_to_the_only_app_or_the_named_one() {
        let mut sources = env(&[
            ("TRTC_SECRET_KEY", "s3cret"),
            ("TRTC_REGION", "china"),
            ("TRTC_CALLBACK_URL", URL),
        ]);
        sources.sdk_app_ids = vec!["1".into(), "2".into()];
        assert!(error(&sources).contains("there are 2"));
        let key_of = |sources: &Sources, id: &str| {
            let apps = Settings::load(sources).unwrap().apps;
            apps.into_iter().find(|app| app.sdk_app_id == id).unwrap()
        };
        sources.app = Some("3".into());
        let app = key_of(&sources, "3");
        assert!(app.secret_key.is_some() && key_of(&sources, "1").secret_key.is_none());
        assert_eq!(app.region, Some(Region::China));
        assert_eq!(app.callbacks.url.as_deref(), Some(URL));
        // They name their own app: then they say nothing of the other.
        sources.env.insert("TRTC_SDK_APP_ID".into(), "1".into());
        assert!(key_of(&sources, "3").secret_key.is_none());
        assert!(key_of(&sources, "1").secret_key.is_some());
        let said = error(&env(&[("TRTC_SDK_APP_ID", "1"), ("TRTC_REGION", "mars")]));
        assert!(said.contains("TRTC_REGION: `mars` is not a region\nhint: give `china`"), "{said}");
    }
}
