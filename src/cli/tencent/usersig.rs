use std::io::{IsTerminal, Read};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::cli::output::{self, say};
use crate::cli::tencent::app::KeyArgs;
use crate::clock::Clock;
use crate::registration::client;
use crate::registration::client::RegistrationError;
use crate::settings::shown_path;
use crate::tencent_api::UserSig;
use protocol::AppId;
use protocol::UnixMillis;
use protocol::diagnostic::Diagnostic;
use protocol::letters::replaced;

/// The longest validity that the vendor knows.
const EXPIRE_MAX: Duration = Duration::from_hours(50 * 365 * 24);
/// More holds no `UserSig`. In bytes.
const INPUT_BYTES_MAX: u64 = 64 << 10;

/// Create and inspect UserSigs, which authenticate users and API calls
///
/// For debugging rejected signatures.
///
/// Examples:
///   trtc-callbacks usersig make --identifier alice --expire 1h
///   trtc-callbacks usersig make | trtc-callbacks usersig inspect
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct UserSigs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Make(Make),
    Inspect(Inspect),
}

/// Print a new UserSig; anyone who has it can act as that account
#[derive(Debug, Args)]
struct Make {
    /// Validity: seconds, or a time such as 30m, 24h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = expire)]
    expire: Duration,
    /// Account it is for [default: as configured, or administrator]
    #[arg(long, value_name = "NAME")]
    identifier: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
}

/// Print the fields and validity of a UserSig and, with a key, check its signature
#[derive(Debug, Args)]
struct Inspect {
    /// UserSig, or a file with one [default: standard input, as for -]
    #[arg(value_name = "USERSIG")]
    from: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

impl UserSigs {
    pub(crate) fn run(self, clock: &Clock) -> Result<()> {
        match self.action {
            Action::Make(make) => make.run(clock),
            Action::Inspect(inspect) => inspect.run(clock),
        }
    }
}

/// Reads a length of time.
fn expire(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let span = || {
        text.parse::<jiff::Span>().ok()?.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).ok()
    };
    let length = seconds.or_else(|| Duration::try_from(span()?).ok());
    length
        .filter(|length| (Duration::from_secs(1)..=EXPIRE_MAX).contains(length))
        .ok_or_else(|| "give 1 second to 50 years, such as 600, 30m, 24h or 7d".to_owned())
}

impl Make {
    fn run(self, clock: &Clock) -> Result<()> {
        let (_, app) = self.key.app(None)?;
        let id = client::app_id(&app)?;
        let key = client::secret_key(&app)?.ok_or(RegistrationError::NoKey(id))?;
        let identifier = self.identifier.as_deref().or(app.identifier.as_deref());
        let identifier = identifier.unwrap_or(client::IDENTIFIER);
        let ticket = UserSig::new(id, identifier, &key, clock.now(), self.expire)?;
        if std::io::stdout().is_terminal() {
            say(&format!(
                "until {}, anyone with this UserSig can act as {} in app {id}",
                ticket.expires_at(),
                replaced(identifier)
            ));
        }
        output::print(&format!("{}\n", ticket.encode().expose_secret()))
    }
}

impl Inspect {
    fn run(self, clock: &Clock) -> Result<()> {
        let text = read(self.from.as_deref())?;
        let ticket = UserSig::decode(text.trim())?;
        let right = self.signature(&ticket)?;
        let now = clock.now();
        let (made, ends) = (UnixMillis(ticket.time_s.saturating_mul(1000)), ticket.expires_at());
        let expired = now > ends;
        if self.json {
            let object = json!({
                "version": ticket.version,
                "identifier": ticket.identifier,
                "sdk_app_id": ticket.sdk_app_id,
                "time_s": ticket.time_s,
                "expire_s": ticket.expire_s,
                "userbuf": ticket.userbuf,
                "expired": expired,
                "signature_right": right,
            });
            return output::print_json(&format!("{object}\n"));
        }
        let state = if expired { "expired" } else { "valid" };
        let signature = match right {
            Some(true) => "right, made with this key",
            Some(false) => "wrong: made with another key, or changed",
            None => "not checked, since no key of this app is given or configured",
        };
        let UserSig { version, identifier, sdk_app_id, expire_s, userbuf, .. } = &ticket;
        let userbuf = userbuf.as_ref().map_or("none".to_owned(), |text| replaced(text));
        output::print(&format!(
            "version     {}\nidentifier  {}\nsdk_app_id  {sdk_app_id}\nmade        {made}\n\
             expire      {expire_s} s\nends        {ends}, {state}\nuserbuf     {userbuf}\nsignature   {signature}\n",
            replaced(version),
            replaced(identifier),
        ))
    }

    /// Whether it was signed with the key of the app that is named, or of its own; absent where there is no key.
    fn signature(&self, ticket: &UserSig) -> Result<Option<bool>> {
        let mut key = self.key.clone();
        if key.app.is_none() {
            let own = ticket.sdk_app_id.to_string();
            if AppId::parse(&own).is_none() {
                return Ok(None);
            }
            key.app = Some(own);
        }
        let (_, app) = key.app(None)?;
        let key = client::secret_key(&app)?;
        Ok(key.map(|key| ticket.is_signed_with(&key)))
    }
}

/// The text of the argument, of the file that it names, or of standard input.
fn read(from: Option<&str>) -> Result<String> {
    let mut text = String::new();
    let most = INPUT_BYTES_MAX;
    match from {
        None | Some("-") => {
            let read = std::io::stdin().take(most).read_to_string(&mut text);
            read.context("read a UserSig from standard input")?;
        }
        Some(path) if Path::new(path).is_file() => {
            let file = std::fs::File::open(path);
            let read = file.and_then(|file| file.take(most).read_to_string(&mut text));
            read.with_context(|| format!("read a UserSig from `{path}`"))?;
        }
        // Every zlib stream begins so in base64. One that is spoilt may have a `/` in it, and is not to be shown.
        Some(given) if given.starts_with("eJ") => given.clone_into(&mut text),
        Some(given) => bail!("there is no file {}", shown_path(given.as_ref())),
    }
    if text.trim().is_empty() {
        bail!(Diagnostic::new(
            "no UserSig was given",
            "give one, or a file with one, or pipe it to standard input"
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use crate::cli::tencent::usersig::*;

    #[test]
    fn a_validity_is_read_in_seconds_or_with_its_unit() {
        let seconds = |text| expire(text).map(|length| length.as_secs());
        assert_eq!(seconds("600"), Ok(600));
        assert_eq!(seconds("30m"), Ok(1800));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("7d"), Ok(604_800));
        for wrong in ["0", "-5", "-1h", "soon", "51y", "999999999999", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
