//! Posting deliveries as the vendor would.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use secrecy::SecretString;

use crate::cli::own_server;
use crate::clock::Clock;
use crate::settings::{AppSettings, ProxyProtocol, Settings};
use protocol::diagnostic::Diagnostic;
use protocol::recorded_request::SIGN_HEADER;
use protocol::rtc::sign;
use protocol::{AppId, Delivery, Dialect, response, verify};

/// The app that events are made up for where none is configured.
const SAMPLE_APP: &str = "1400000001";

/// The app that events are made up for: the first that is configured.
pub(crate) fn app(settings: &Settings) -> Result<AppId> {
    let app = settings.apps.first().map_or(SAMPLE_APP, |app| app.sdk_app_id.as_str());
    AppId::parse(app).ok_or_else(|| anyhow!("`{app}` is not a valid SDKAppID"))
}

/// Where to, and as whom.
#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Callback URL [default: of the configured server]
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Sign with this token; other users of this machine may see it, unlike a configured one
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Sign events of the RTC Engine with this callback key; visible likewise
    #[arg(long, value_name = "KEY")]
    rtc_key: Option<String>,
}

/// What requests of one dialect are signed with.
#[derive(Debug, Clone, Default)]
struct Secrets {
    /// That of a flag, which counts for every app.
    given: Option<SecretString>,
    /// The first of each configured app.
    configured: Vec<(AppId, SecretString)>,
}

impl Secrets {
    fn configured(settings: &Settings, of: fn(&AppSettings) -> &[SecretString]) -> Self {
        let configured = settings
            .apps
            .iter()
            .filter_map(|app| Some((AppId::parse(&app.sdk_app_id)?, of(app).first()?.clone())));
        Self { given: None, configured: configured.collect() }
    }

    fn of(&self, app: Option<AppId>) -> Option<&SecretString> {
        let configured = self.configured.iter().find(|(id, _)| Some(*id) == app);
        self.given.as_ref().or(configured.map(|(_, secret)| secret))
    }
}

/// How much of a server's configuration and machine is known to be ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distance {
    /// It is the server of the configuration.
    Own,
    /// It is on this machine, as its URL says.
    Near,
    /// It may be anywhere.
    Far,
}

/// One server to post to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    client: reqwest::Client,
    /// What gave the URL.
    flag: &'static str,
    url: String,
    /// The URL as errors show it.
    origin: String,
    /// Whether it is the server of the configuration, and how near it is.
    distance: Distance,
    tokens: Secrets,
    rtc_keys: Secrets,
    clock: Clock,
}

impl TargetArgs {
    /// Takes tokens and keys from the settings where the flags give none.
    pub(crate) fn open(self, settings: &Settings, clock: &Clock) -> Result<Target> {
        for (variables, flag, given) in [
            (["TRTC_CALLBACK_TOKEN", "TRTC_CALLBACK_TOKEN_FILE"], "--token", &self.token),
            (["TRTC_RTC_KEY", "TRTC_RTC_KEY_FILE"], "--rtc-key", &self.rtc_key),
        ] {
            let unused = variables.into_iter().find(|name| std::env::var_os(name).is_some());
            if let (Some(name), None, true) = (unused, given, settings.apps.is_empty()) {
                bail!(Diagnostic::new(
                    format!("{name} is set, but no app"),
                    format!("set TRTC_SDK_APP_ID too, or give `{flag}`")
                ));
            }
        }
        let mut target = match &self.to {
            Some(url) => Target::open("--to", url, settings, clock)?,
            None => Target::of_configuration(settings, clock)?,
        };
        target.tokens.given = self.token.map(SecretString::from);
        target.rtc_keys.given = self.rtc_key.map(SecretString::from);
        Ok(target)
    }
}

impl Target {
    /// The server at `url`, which was given with `flag`. Signs with the tokens of the settings.
    pub(crate) fn open(
        flag: &'static str,
        url: &str,
        settings: &Settings,
        clock: &Clock,
    ) -> Result<Self> {
        Self::open_with(flag, url, (settings, clock), crate::tencent_api::http_client())
    }

    /// The server that the configuration is of.
    fn of_configuration(settings: &Settings, clock: &Clock) -> Result<Self> {
        let own = own_server::reached(settings.server.listen).ip();
        let is_required = settings.server.proxy_protocol == ProxyProtocol::Required;
        if is_required && settings.trusted_proxies()?.holds(own) {
            bail!(Diagnostic::new(
                format!(
                    "connections from {own} must begin with a PROXY protocol header (`server.proxy_protocol`)"
                ),
                "give the load balancer's URL with `--to`"
            ));
        }
        let client = crate::tencent_api::http_client().no_proxy();
        let client = match own_server::tls(settings)? {
            Some(tls) => client.tls_backend_preconfigured(tls),
            None => client,
        };
        let url = own_server::callback_url(settings);
        let target = Self::open_with("--to", &url, (settings, clock), client)?;
        Ok(Self { distance: Distance::Own, ..target })
    }

    fn open_with(
        flag: &'static str,
        url: &str,
        (settings, clock): (&Settings, &Clock),
        client: reqwest::ClientBuilder,
    ) -> Result<Self> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!(Diagnostic::new(
                format!("`{flag} {url}` is not an HTTP URL"),
                "give one such as http://127.0.0.1:8080/"
            ));
        }
        let parsed = reqwest::Url::parse(url).with_context(|| format!("`{flag} {url}`"))?;
        // Longer than the vendor's 2 s, so that a slow answer is seen as one.
        let client =
            client.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(10));
        // A proxy is for elsewhere, and cannot reach this machine's own ports.
        let host = parsed.host_str().unwrap_or("");
        let near = host == "localhost" || host.starts_with("127.") || host == "[::1]";
        let client = if near { client.no_proxy() } else { client };
        // Plain HTTP needs no CA, and a machine may have none.
        let plain = parsed.scheme() == "http";
        let client = if plain { client.tls_certs_only(std::iter::empty()) } else { client };
        let client = client.build().context("prepare the HTTP client")?;
        Ok(Self {
            client,
            flag,
            // Without its path, which may be a secret.
            origin: parsed.origin().ascii_serialization(),
            distance: if near { Distance::Near } else { Distance::Far },
            url: url.to_owned(),
            tokens: Secrets::configured(settings, |app| &app.callback_tokens),
            rtc_keys: Secrets::configured(settings, |app| &app.rtc_keys),
            clock: clock.clone(),
        })
    }

    /// The server without its path, which may be a secret.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn distance(&self) -> Distance {
        self.distance
    }

    /// Posts one delivery, signed anew where there is a token or a key, and expects the answer of its dialect.
    pub(crate) async fn post(&self, delivery: &Delivery) -> Result<()> {
        let answer = self.request(delivery)?.send().await.map_err(|error| {
            // The whole URL holds the signature and, maybe, a secret path.
            let text = format!("{:#}", anyhow::Error::new(error.without_url()));
            anyhow!(Diagnostic::new(
                format!("post to {}: {text}", self.origin),
                format!(
                    "check that the server is running and that `{}` is its callback URL",
                    self.flag
                )
            ))
        })?;
        let status = answer.status();
        let text = answer.text().await.map_err(reqwest::Error::without_url)?;
        if status != reqwest::StatusCode::OK || !is_taken(delivery.dialect, &text) {
            let start: String = text.chars().take(200).collect();
            let hint = match delivery.dialect {
                Dialect::Im => "check that the server is configured with this app and this token",
                Dialect::RtcEngine => {
                    "check that the server is configured with this app and this key"
                }
            };
            let is_forbidden = status == reqwest::StatusCode::FORBIDDEN;
            bail!(Diagnostic {
                problem: format!("answered {status}: {start}"),
                hint: is_forbidden.then(|| hint.to_owned()),
            });
        }
        Ok(())
    }

    /// The request, signed as its dialect says.
    fn request(&self, delivery: &Delivery) -> Result<reqwest::RequestBuilder> {
        let body = delivery.bytes().map_err(anyhow::Error::msg)?;
        let mut headers = delivery.headers.clone();
        let query = match delivery.dialect {
            Dialect::Im => self.signed(&delivery.query),
            Dialect::RtcEngine => {
                headers.insert("content-type".to_owned(), "application/json".to_owned());
                // Without a key, a recorded signature goes along: it fits as long as the body is the same.
                if let Some(key) = self.rtc_keys.of(delivery.app()) {
                    headers.insert(SIGN_HEADER.to_owned(), sign::sign(key, &body));
                }
                delivery.query.clone()
            }
        };
        let url = match (query.as_str(), self.url.contains('?')) {
            ("", _) => self.url.clone(),
            (query, true) => format!("{}&{query}", self.url),
            (query, false) => format!("{}?{query}", self.url),
        };
        let mut request = self.client.post(url).body(body);
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        Ok(request)
    }

    /// The query with a fresh signature in origin of its own.
    fn signed(&self, query: &str) -> String {
        let pairs = form_urlencoded::parse(query.as_bytes());
        let is_sign = |key: &str| ["sign", "requesttime"].contains(&key.to_lowercase().as_str());
        let mut app = None;
        let mut signed = form_urlencoded::Serializer::new(String::new());
        for (key, value) in pairs.filter(|(key, _)| !is_sign(key)) {
            if key.eq_ignore_ascii_case("sdkappid") {
                app = AppId::parse(&value);
            }
            signed.append_pair(&key, &value);
        }
        if let Some(token) = self.tokens.of(app) {
            let now = self.clock.now().as_secs().to_string();
            signed.append_pair("Sign", &verify::sign(token, &now));
            signed.append_pair("RequestTime", &now);
        }
        signed.finish()
    }
}

/// Whether a body of status 200 says that the event was taken. The RTC Engine reads none, but a server that speaks its dialect
/// answers JSON.
fn is_taken(dialect: Dialect, body: &str) -> bool {
    match dialect {
        Dialect::Im => body == response::OK,
        Dialect::RtcEngine => serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;
    use protocol::Command;

    const APP: &str = "1400000007";

    fn target(variables: &[(&str, &str)], url: &str, rtc_key: Option<&str>) -> Target {
        let env = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let sources =
            Sources { env: env.collect(), sdk_app_ids: vec![APP.to_owned()], ..Sources::default() };
        let settings = Settings::load(&sources).unwrap();
        let (to, rtc_key) = (Some(url.to_owned()), rtc_key.map(str::to_owned));
        let args = TargetArgs { to, token: None, rtc_key };
        args.open(&settings, &Clock::system()).unwrap()
    }

    fn entered() -> Delivery {
        let command = Command::find("EVENT_TYPE_ENTER_ROOM").unwrap();
        Delivery::sample(command, AppId::parse(APP).unwrap())
    }

    #[test]
    fn an_event_of_the_rtc_engine_is_signed_in_a_header() {
        const URL: &str = "http://127.0.0.1:1/rtc?tenant=a";
        let configured = [("TRTC_RTC_KEY", "k3y\nold"), ("TRTC_CALLBACK_TOKEN", "t0ken")];
        for (variables, flag, key) in [
            (&configured[..], None, "k3y"),
            (&configured, Some("f1ag"), "f1ag"),
            (&[], Some("k"), "k"),
        ] {
            let delivery = entered();
            let request = target(variables, URL, flag).request(&delivery).unwrap().build().unwrap();
            assert_eq!(request.url().as_str(), URL, "no query of its own");
            let header = |name: &str| request.headers()[name].to_str().unwrap();
            assert_eq!(header("SdkAppId"), APP);
            assert_eq!(header("Content-Type"), "application/json");
            let body = delivery.bytes().unwrap();
            assert_eq!(request.body().unwrap().as_bytes().unwrap(), body);
            assert_eq!(header("Sign"), sign::sign(&key.into(), &body));
        }
    }

    #[test]
    fn a_recorded_signature_is_sent_unless_there_is_a_key() {
        let mut delivery = entered();
        delivery.headers.insert(SIGN_HEADER.to_owned(), "cmVjb3JkZWQ=".to_owned());
        let sign = |key: Option<&str>| {
            let target = target(&[], "http://127.0.0.1:1/", key);
            let request = target.request(&delivery).unwrap().build().unwrap();
            request.headers()["sign"].to_str().unwrap().to_owned()
        };
        assert_eq!(sign(None), "cmVjb3JkZWQ=");
        assert_ne!(sign(Some("k")), "cmVjb3JkZWQ=");
    }

    #[test]
    fn requests_of_the_kits_are_signed_by_the_token_alone() {
        let command = Command::find("Call.CallbackAfterEndCall").unwrap();
        let delivery = Delivery::sample(command, AppId::parse(APP).unwrap());
        let variables = [("TRTC_RTC_KEY", "k3y"), ("TRTC_CALLBACK_TOKEN", "t0ken")];
        let target = target(&variables, "http://127.0.0.1:1/", None);
        let request = target.request(&delivery).unwrap().build().unwrap();
        assert!(request.url().query().unwrap().contains("&Sign="), "{}", request.url());
        assert!(request.headers().get("sign").is_none());
    }

    #[test]
    fn each_dialect_has_an_answer_of_its_own() {
        assert!(is_taken(Dialect::RtcEngine, r#"{"code":0}"#));
        assert!(!is_taken(Dialect::RtcEngine, "<html>"));
        assert!(is_taken(Dialect::Im, response::OK));
        assert!(!is_taken(Dialect::Im, r#"{"code":0}"#));
    }
}
