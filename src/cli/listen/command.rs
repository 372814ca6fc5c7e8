use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use uuid::Uuid;

use crate::access::Scope;
use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::listen::api_source::ApiSource;
use crate::cli::listen::filter_options::FilterOptions;
use crate::cli::listen::machine_secret::machine_secret;
use crate::cli::listen::receiver::Receiver;
use crate::cli::listen::relay::{Relay, Tally};
use crate::cli::listen::report::Form;
use crate::cli::listen::source::Source;
use crate::cli::listen::store_source::StoreSource;
use crate::cli::listen::suspension::Suspension;
use crate::cli::output::{self, say};
use crate::clock::Clock;
use crate::store;
use forward::destination::checked::TlsFiles;
use forward::destination::secret::SigningSecret;
use forward::destination::target::Target;
use forward::http::{Client, ClientSettings, Guard};
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;

/// How long the service may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Send events to a service on this machine as they are stored, for development
///
/// Posts events signed, one at a time, as forwarding does, and does not affect its
/// destinations. Reconnects after an outage of the server or a sleep of this
/// machine, and sends what was stored meanwhile.
///
/// Examples:
///   trtc-callbacks listen --forward http://localhost:3000/hook
///   trtc-callbacks listen --forward http://localhost:3000 --command 'Call.*'
///   trtc-callbacks listen --forward http://localhost:3000 --since 10m
///   trtc-callbacks listen --forward http://localhost:3000 --from http://ops:9090
///   trtc-callbacks listen --print-secret
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Listen {
    /// URL to post events to, such as http://localhost:3000/hook
    #[arg(long, value_name = "URL", required_unless_present = "print_secret")]
    forward: Option<String>,
    #[command(flatten)]
    filter: FilterOptions,
    /// Begin with events received since then: 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d
    #[arg(long, value_name = "TIME", conflicts_with = "event")]
    since: Option<String>,
    /// Send this event again, and end; may be repeated
    #[arg(long, value_name = "ID", conflicts_with_all = ["app", "family", "command", "room", "call"])]
    event: Vec<Uuid>,
    /// Read from the operations listener of this server, with a token of the scope `read` (TRTC_OPS__TOKEN) [default: the store]
    #[arg(long, value_name = "URL", conflicts_with = "store")]
    from: Option<String>,
    /// Allow a URL on another machine
    #[arg(long)]
    allow_remote: bool,
    /// Sign with this secret (whsec_…) [default: a secret created once for this machine]
    #[arg(long, value_name = "SECRET")]
    secret: Option<SecretString>,
    /// Print the secret that events are signed with, and end
    #[arg(long)]
    print_secret: bool,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Listen {
    pub(crate) async fn run(self, clock: Clock) -> Result<()> {
        let secret = self.signing_secret()?;
        if self.print_secret {
            return output::print(&format!("{}\n", secret.encode().expose_secret()));
        }
        let since = self.since.as_deref().map(|text| time(text, clock.now())).transpose()?;
        let suspension = Arc::new(Suspension::new(clock.clone()));
        let mut relay = Relay {
            filter: self.filter.compile()?,
            receiver: Receiver {
                client: self.client().await?,
                secret,
                clock: clock.clone(),
                form: if self.json { Form::Json } else { Form::Text },
            },
            source: self.source().await?,
            suspension: suspension.clone(),
            clock,
            command: self.command(),
            tally: Tally::default(),
        };
        if self.secret.is_none() {
            say("signed with the secret of this machine: `listen --print-secret` shows it");
        }
        let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
        let work = async {
            if self.event.is_empty() {
                relay.run(since).await
            } else {
                relay.send_again(&self.event).await
            }
        };
        let done = tokio::select! {
            biased;
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            never = suspension.watch() => match never {},
            done = work => done,
        };
        say(&relay.tally.summary(&relay.command));
        done
    }

    fn signing_secret(&self) -> Result<SigningSecret> {
        match &self.secret {
            Some(secret) => SigningSecret::parse(secret).context("`--secret`"),
            None => machine_secret(),
        }
    }

    /// What sends to the URL; its host is looked up and judged.
    async fn client(&self) -> Result<Client> {
        let url = self.forward.as_deref().unwrap_or_default();
        let Target::Http(url) = Target::parse(url).context("`--forward`")? else {
            let problem = "`--forward` is not the URL of an HTTP service";
            bail!(Diagnostic::new(problem, "give one such as http://localhost:3000/hook"));
        };
        let settings = ClientSettings {
            url,
            timeout: TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            tls: TlsFiles::default(),
            proxy: None,
        };
        let guard = if self.allow_remote { Guard::own_networks() } else { Guard::loopback_only() };
        let client = Client::new(settings, guard).context("`--forward`")?;
        client.check_host().await.context("`--forward`")?;
        Ok(client)
    }

    async fn source(&self) -> Result<Box<dyn Source>> {
        let settings = self.config.load(Some(&self.store), None)?;
        if let Some(url) = &self.from {
            let token = settings.token_for(Scope::Read)?;
            return Ok(Box::new(ApiSource::new(url, token, self.filter.query())?));
        }
        let url = store::display_url(&settings.store.url);
        let store = store::open(&settings.store_options().to_read()).await;
        let store = store.with_context(|| format!("open the store {url}"))?;
        Ok(Box::new(StoreSource { store, url }))
    }

    /// The command that goes on, for people to copy. Without its secret.
    fn command(&self) -> String {
        let mut words = vec!["trtc-callbacks".to_owned(), "listen".to_owned()];
        let mut option = |name: &str, value: Option<&String>| {
            words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.clone()]));
        };
        option("--forward", self.forward.as_ref());
        option("--from", self.from.as_ref());
        words.extend(self.filter.arguments());
        words.extend(self.allow_remote.then(|| "--allow-remote".to_owned()));
        words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

fn time(text: &str, now: UnixMillis) -> Result<UnixMillis> {
    UnixMillis::parse(text, now).ok_or_else(|| {
        let hint = "give 2026-01-31, 2026-01-31T08:00:00Z, or an age such as 30m, 2h, 7d";
        anyhow!(Diagnostic::new(format!("`--since {text}` is not a time"), hint))
    })
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("http://localhost:3000/hook"), "http://localhost:3000/hook");
        assert_eq!(quoted("Call.*"), "'Call.*'");
        assert_eq!((quoted(""), quoted("a'b")), ("''".to_owned(), r"'a'\''b'".to_owned()));
    }
}
