//! Posting deliveries as the vendor would.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use secrecy::SecretString;

use crate::cli::own_server;
use crate::clock::Clock;
use crate::settings::Settings;
use protocol::diagnostic::Diagnostic;
use protocol::{AppId, Delivery, response, verify};

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
    tokens: Vec<(AppId, SecretString)>,
    token: Option<SecretString>,
    clock: Clock,
}

impl TargetArgs {
    /// Takes the tokens from the settings where the flag gives none.
    pub(crate) fn open(self, settings: &Settings, clock: &Clock) -> Result<Target> {
        let unused = ["TRTC_CALLBACK_TOKEN", "TRTC_CALLBACK_TOKEN_FILE"]
            .into_iter()
            .find(|name| std::env::var_os(name).is_some());
        if let (Some(name), None, true) = (unused, &self.token, settings.apps.is_empty()) {
            bail!(Diagnostic::new(
                format!("{name} is set, but no app"),
                "set TRTC_SDK_APP_ID too, or give `--token`"
            ));
        }
        let target = match &self.to {
            Some(url) => Target::open("--to", url, settings, clock)?,
            None => Target::of_configuration(settings, clock)?,
        };
        Ok(Target { token: self.token.map(SecretString::from), ..target })
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
        let tokens = settings.apps.iter().filter_map(|app| {
            let id = AppId::parse(&app.sdk_app_id)?;
            Some((id, app.callback_tokens.first()?.clone()))
        });
        Ok(Self {
            client,
            flag,
            // Without its path, which may be a secret.
            origin: parsed.origin().ascii_serialization(),
            distance: if near { Distance::Near } else { Distance::Far },
            url: url.to_owned(),
            tokens: tokens.collect(),
            token: None,
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

    /// Posts one delivery, signed anew where there is a token, and expects the OK envelope.
    pub(crate) async fn post(&self, delivery: &Delivery) -> Result<()> {
        let body = delivery.bytes().map_err(anyhow::Error::msg)?;
        let separator = if self.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{separator}{}", self.url, self.signed(&delivery.query));
        let mut request = self.client.post(url).body(body);
        for (name, value) in &delivery.headers {
            request = request.header(name, value);
        }
        let answer = request.send().await.map_err(|error| {
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
        if status != reqwest::StatusCode::OK || text != response::OK {
            let start: String = text.chars().take(200).collect();
            let hint = "check that the server is configured with this app and this token";
            let is_forbidden = status == reqwest::StatusCode::FORBIDDEN;
            bail!(Diagnostic {
                problem: format!("answered {status}: {start}"),
                hint: is_forbidden.then(|| hint.to_owned()),
            });
        }
        Ok(())
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
        let configured =
            self.tokens.iter().find(|(id, _)| Some(*id) == app).map(|(_, token)| token);
        if let Some(token) = self.token.as_ref().or(configured) {
            let now = self.clock.now().as_secs().to_string();
            signed.append_pair("Sign", &verify::sign(token, &now));
            signed.append_pair("RequestTime", &now);
        }
        signed.finish()
    }
}
