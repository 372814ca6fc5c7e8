use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use uuid::Uuid;

use crate::cli::output::{self, say};
use crate::cli::prompt;
use crate::cli::tencent::app::{Vendor, VendorArgs};
use crate::clock::Clock;
use crate::settings::{AppSettings, read_secret};
use crate::tencent_api::{Deleted, TokenConfig};
use protocol::diagnostic::{Diagnostic, Hint};

/// Show, set or delete the token that signs callbacks of Live
///
/// Only Live has a token that is set through the API. The token is never printed.
///
/// Examples:
///   trtc-callbacks callback-token show
///   trtc-callbacks callback-token set --generate --out new-token
///   trtc-callbacks callback-token set --enable
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CallbackTokens {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Show(Show),
    Set(Set),
    Delete(Delete),
}

/// Show whether there is a token, and whether it is used
#[derive(Debug, Args)]
struct Show {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Set the token, or enable or disable signing
///
/// Sends the app's configured token, the first of `callback_tokens`, unless a flag names another. With `--enable` or
/// `--disable` alone, the token stays as it is. A new token is used at once, unless `--disable` says otherwise.
///
/// A server without a token accepts signed requests too: configure its first token 2 minutes after the vendor has it. Each
/// later token must be configured before it is set here, beside the old one, or the server rejects the callbacks.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
struct Set {
    /// File with the token
    #[arg(long, value_name = "FILE", group = "token")]
    token_file: Option<PathBuf>,
    /// The app's configured token
    #[arg(long, group = "token")]
    configured: bool,
    /// A new random token, written to the file of --out
    #[arg(long, group = "token", requires = "out")]
    generate: bool,
    /// File to create for the new token, readable by you only
    #[arg(long, value_name = "FILE", requires = "generate")]
    out: Option<PathBuf>,
    /// Enable signing
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Disable signing
    #[arg(long)]
    disable: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Delete the token, so that callbacks of Live are no longer signed
#[derive(Debug, Args)]
struct Delete {
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

impl CallbackTokens {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        match self.action {
            Action::Show(show) => show.run(clock).await,
            Action::Set(set) => set.run(clock).await,
            Action::Delete(delete) => delete.run(clock).await,
        }
    }
}

/// Whether the server takes what is signed with this token; absent where the settings have none.
fn is_configured(app: &AppSettings, token: &SecretString) -> Option<bool> {
    let same = |own: &SecretString| own.expose_secret() == token.expose_secret();
    let tokens = &app.callback_tokens;
    (!tokens.is_empty()).then(|| tokens.iter().any(same))
}

impl Show {
    async fn run(self, clock: &Clock) -> Result<()> {
        let Vendor { app, client, .. } = self.vendor.open(None, clock)?;
        let found = client.callback_token().await?;
        let token = found.as_ref().and_then(|config| config.token.as_ref());
        let enabled = found.as_ref().and_then(|config| config.enabled);
        let characters = token.map(|token| token.expose_secret().chars().count());
        let known = token.and_then(|token| is_configured(&app, token));
        if self.json {
            let object = json!({
                "app": client.app(),
                "host": client.host(),
                "set": found.is_some(),
                "enabled": enabled,
                "token_characters": characters,
                "configured": known,
            });
            return output::print_json(&format!("{object}\n"));
        }
        if found.is_none() {
            return output::print("live: no token was ever set, callbacks are not signed\n");
        }
        let token = characters.map_or_else(
            || "the vendor does not show the token".to_owned(),
            |characters| format!("a token of {characters} characters (****)"),
        );
        let known = match known {
            Some(true) => ", one of the app's configured tokens",
            Some(false) => ", none of the app's configured tokens",
            None => "",
        };
        let used = match enabled {
            Some(true) => "callbacks are signed with it",
            Some(false) => "callbacks are not signed",
            None => "the vendor does not say whether callbacks are signed",
        };
        output::print(&format!("live: {token}{known}; {used}\n"))
    }
}

impl Set {
    async fn run(self, clock: &Clock) -> Result<()> {
        let Vendor { app, client, .. } = self.vendor.open(None, clock)?;
        let before = client.callback_token().await?;
        let wanted = self.wanted(&app, before.as_ref())?;
        let old = before.unwrap_or_default();
        let text = |token: &Option<SecretString>| {
            token.as_ref().map(|token| token.expose_secret().to_owned())
        };
        let same_token = wanted.token.is_none() || text(&wanted.token) == text(&old.token);
        if same_token && (wanted.enabled.is_none() || wanted.enabled == old.enabled) {
            return output::print("live: as wanted, nothing changed\n");
        }
        let token = wanted.token.as_ref().or(old.token.as_ref());
        if wanted.enabled.or(old.enabled) == Some(true)
            && let Some(token) = token
        {
            warn(is_configured(&app, token));
        }
        client.set_callback_token(&wanted).await?;
        let token = if wanted.token.is_some() { "the token was set" } else { "the token stays" };
        let used = match wanted.enabled {
            Some(true) => ", callbacks are signed with it",
            Some(false) => ", callbacks are not signed",
            None => "",
        };
        output::print(&format!("live: {token}{used}\n"))?;
        say("the vendor may take up to 2 minutes until a change has effect");
        Ok(())
    }

    /// What to send: what is absent stays as it is. The first time the vendor wants both.
    fn wanted(&self, app: &AppSettings, before: Option<&TokenConfig>) -> Result<TokenConfig> {
        let enabled = match (self.enable, self.disable) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            _ if before.is_none() => Some(true),
            _ => None,
        };
        let alone = (self.enable || self.disable) && !self.configured && before.is_some();
        let token = if let Some(path) = &self.token_file {
            let read = read_secret(path);
            Some(read.map_err(|error| error.diagnostic().prefixed("read the token from "))?)
        } else if let Some(out) = &self.out {
            Some(generate(out)?)
        } else if alone {
            None
        } else if let Some(token) = app.callback_tokens.first() {
            Some(token.clone())
        } else {
            bail!(Diagnostic::new(
                format!("app {} has no configured token", app.sdk_app_id),
                "give `--token-file FILE`, or `--generate --out FILE`, or set `callback_tokens` or \
                 TRTC_CALLBACK_TOKEN"
            ));
        };
        Ok(TokenConfig { token, enabled })
    }
}

/// Says what the server has to know, where it may not.
fn warn(is_configured: Option<bool>) {
    match is_configured {
        Some(true) => {}
        Some(false) => {
            let hint = "a server with this configuration rejects them: give it the token too (`callback_tokens`)";
            let problem =
                "warning: callbacks will be signed with a token that is not configured for the app";
            say(&Diagnostic::new(problem, hint).to_string());
        }
        None => say(
            "note: a server without a token takes signed and unsigned callbacks; give it this one in 2 minutes \
             (TRTC_CALLBACK_TOKEN or `callback_tokens`), and it takes signed ones only",
        ),
    }
}

/// Makes a token and the file that holds it, which is there before the vendor knows the token.
fn generate(out: &Path) -> Result<SecretString> {
    // Both are random but for six bits, from the system's source.
    let token = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out)?;
        file.write_all(token.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().with_context(|| format!("write the new token to `{}`", out.display()))?;
    say(&format!("the new token is in `{}`", out.display()));
    Ok(token.into())
}

impl Delete {
    async fn run(self, clock: &Clock) -> Result<()> {
        let Vendor { client, .. } = self.vendor.open(None, clock)?;
        if client.callback_token().await?.is_none() {
            return output::print("live: there is no token\n");
        }
        if !self.yes {
            say(
                "without it, callbacks of live are not signed, and a server that wants a signature rejects them",
            );
            prompt::confirm("give `--yes`")?;
        }
        output::print(match client.delete_callback_token().await? {
            Deleted::Gone(_) => "live: the token was deleted\n",
            Deleted::WasNotThere => "live: the token was deleted by somebody else meanwhile\n",
        })
    }
}
