//! The destinations of forwarding: `[[forward]]` and `[forwarding]`.

use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use crate::settings::error::SettingsError;
use crate::settings::secrets::read_secret;
use crate::settings::tree::Settings;
use forward::destination::checked::check_together;
use forward::destination::target::{Target, TargetKind};
use forward::destination::{Destination, DestinationSettings};
use forward::filter::Filter;
use forward::http::{ClientSettings, Guard};
#[cfg(feature = "nats")]
use forward::nats;
use protocol::diagnostic::{Diagnostic, Hint};
use protocol::source_filter::Networks;

/// The keys of a destination's table, which the defaults show in a comment only. Those below `forward.headers` are the names of
/// headers.
pub(super) const FORWARD_KEYS: [&str; 27] = [
    "name",
    "url",
    "secrets",
    "secrets_file",
    "unsigned",
    "apps",
    "families",
    "commands",
    "rooms",
    "calls",
    "headers",
    "in_flight_max",
    "rate_max",
    "timeout_ms",
    "connect_timeout_ms",
    "order",
    "order_wait_s",
    "retry_schedule_s",
    "include_client_ip",
    "tls_ca",
    "tls_certificate",
    "tls_key",
    "proxy",
    "stream",
    "subject_prefix",
    "credentials_file",
    "create_stream",
];

/// The name of the destination that `TRTC_FORWARD_URL` makes.
const DEFAULT: &str = "default";

impl Settings {
    /// The destinations, checked whole, and the guard of what may be sent where.
    ///
    /// # Errors
    /// The first key that is wrong, of the first destination that is.
    pub fn destinations(&self) -> Result<(Vec<Destination>, Guard), SettingsError> {
        self.checked_destinations(self.forward.clone())
    }

    fn checked_destinations(
        &self,
        all: Vec<DestinationSettings>,
    ) -> Result<(Vec<Destination>, Guard), SettingsError> {
        let guard = self.guard()?;
        let mut destinations = Vec::with_capacity(all.len());
        for settings in all {
            let checked = Destination::check(settings, read);
            let destination = checked.map_err(|error| error.diagnostic())?;
            let wrong = |key: &str, found: Diagnostic| {
                let of = format!("key `forward.{key}` of destination `{}`: ", destination.name);
                SettingsError::from(found.prefixed(of))
            };
            may_send(&destination, &guard).map_err(|found| wrong("url", found))?;
            destinations.push(destination);
        }
        check_together(&destinations).map_err(|error| error.diagnostic())?;
        Ok((destinations, guard))
    }

    /// Which events a destination gets; `None` where there is no such destination. Its secrets are not read.
    pub(crate) fn destination_filter(&self, name: &str) -> Result<Option<Filter>, SettingsError> {
        let Some(mut settings) = self.forward.iter().find(|of| of.name == name).cloned() else {
            return Ok(None);
        };
        if settings.secrets.is_empty() {
            settings.unsigned |= settings.secrets_file.take().is_some();
        }
        let checked = Destination::check(settings, read);
        Ok(Some(checked.map_err(|error| error.diagnostic())?.filter))
    }

    /// Judges where events may be sent.
    fn guard(&self) -> Result<Guard, SettingsError> {
        let networks = self.forwarding.allow_networks.iter().map(String::as_str);
        let networks = Networks::parse(networks).map_err(|word| {
            let problem = format!(
                "key `forwarding.allow_networks`: `{word}` is not an address or a range of addresses"
            );
            SettingsError::new(problem, "give ranges such as 10.0.3.0/24")
        })?;
        Ok(Guard::new(networks))
    }

    pub(super) fn check_forwarding(&self) -> Result<(), SettingsError> {
        let (least, most) = (1000, 1_000_000_000_000);
        if !(least..=most).contains(&self.forwarding.backlog_events_max) {
            let value = self.forwarding.backlog_events_max;
            let problem =
                format!("key `forwarding.backlog_events_max`: {value} is out of its range");
            return Err(SettingsError::new(problem, format!("give {least} to {most}")));
        }
        let (least, most) = (10, 60_000);
        if !(least..=most).contains(&self.forwarding.number_interval_ms) {
            let value = self.forwarding.number_interval_ms;
            let problem =
                format!("key `forwarding.number_interval_ms`: {value} is out of its range");
            return Err(SettingsError::new(problem, format!("give {least} to {most}")));
        }
        // Files of secrets are read by those who send.
        let mut all = self.forward.clone();
        for settings in all.iter_mut().filter(|settings| settings.secrets.is_empty()) {
            settings.unsigned |= settings.secrets_file.take().is_some();
        }
        self.checked_destinations(all).map(|_| ())
    }

    /// The destinations as people are told of them: name, and the URL without what may be secret.
    #[must_use]
    pub(crate) fn forwarded(&self) -> Vec<(String, String)> {
        let shown = |settings: &DestinationSettings| {
            let target = Target::parse(settings.url.expose_secret());
            let target = target.map_or_else(|_| "no URL".to_owned(), |target| target.to_string());
            (settings.name.clone(), target)
        };
        self.forward.iter().map(shown).collect()
    }
}

/// Whether there could ever be sent to a destination.
fn may_send(destination: &Destination, guard: &Guard) -> Result<(), Diagnostic> {
    match destination.target.kind() {
        TargetKind::Http => {
            let client = ClientSettings::of(destination);
            client.and_then(|client| guard.check_url(&client.url, client.proxy.as_ref()))
        }
        #[cfg(feature = "nats")]
        TargetKind::Nats => {
            let client = nats::ClientSettings::of(destination);
            client.and_then(|client| guard.check_servers(client.servers(), client.requires_tls()))
        }
        #[cfg(not(feature = "nats"))]
        TargetKind::Nats => {
            let hint = "give an https:// URL, or build with the Cargo feature `nats`";
            return Err(Diagnostic::new("this build has no NATS", hint));
        }
    }
    .map_err(|error| error.diagnostic())
}

/// Gives the destination `default` what variables say of it; makes it where there is none.
pub(super) fn apply_variables(
    destinations: &mut Vec<DestinationSettings>,
    url: Option<String>,
    secret: Option<String>,
) -> Result<(), SettingsError> {
    let place = destinations.iter().position(|destination| destination.name == DEFAULT);
    let destination = match (place, url) {
        (Some(place), url) => {
            let Some(destination) = destinations.get_mut(place) else { return Ok(()) };
            if let Some(url) = url {
                destination.url = url.into();
            }
            destination
        }
        (None, Some(url)) => {
            destinations.push(DestinationSettings::new(DEFAULT, url));
            let Some(destination) = destinations.last_mut() else { return Ok(()) };
            destination
        }
        (None, None) => {
            if secret.is_none() {
                return Ok(());
            }
            let problem = "TRTC_FORWARD_SECRET is set, and no destination is called `default`";
            let hint = "set TRTC_FORWARD_URL too, or `secrets` in the `[[forward]]` table";
            return Err(SettingsError::new(problem, hint));
        }
    };
    if let Some(secret) = secret {
        // One a line, so that a file can hold the new and the old one.
        let lines = secret.lines().map(str::trim).filter(|line| !line.is_empty());
        destination.secrets = lines.map(SecretString::from).collect();
        destination.secrets_file = None;
    }
    Ok(())
}

fn read(path: &Path) -> Result<SecretString, Diagnostic> {
    read_secret(path).map_err(|error| error.diagnostic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::{env, error, file};

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const URL: (&str, &str) = ("TRTC_FORWARD_URL", "https://billing.example/hook");

    #[test]
    fn the_variables_make_one_destination() {
        let settings =
            Settings::load(&env(&[URL, ("TRTC_FORWARD_SECRET", &format!("{SECRET}\n{SECRET}\n"))]));
        let (destinations, _) = settings.unwrap().destinations().unwrap();
        let [destination] = destinations.as_slice() else { panic!("{destinations:?}") };
        assert_eq!((destination.name.as_str(), destination.secrets.len()), ("default", 2));
        assert!(error(&env(&[URL])).contains("there is no secret"));
        let said = error(&env(&[("TRTC_FORWARD_SECRET", SECRET)]));
        assert!(said.contains("set TRTC_FORWARD_URL too"), "{said}");
        let said = error(&env(&[URL, ("TRTC_FORWARD_SECRET", "s3cret")]));
        assert!(said.contains("`whsec_`") && !said.contains("s3cret"), "{said}");
    }

    #[test]
    fn the_variables_change_the_table_of_their_name() {
        let table = "[[forward]]\nname = 'default'\nurl = 'http://127.0.0.1:1/a'\nrate_max = 7\nunsigned = false";
        let (_file, mut sources) = file(table);
        sources.env.insert(URL.0.into(), URL.1.into());
        sources.env.insert("TRTC_FORWARD_SECRET".into(), SECRET.into());
        let settings = Settings::load(&sources).unwrap();
        assert_eq!(
            settings.forwarded(),
            [("default".to_owned(), "https://billing.example".to_owned())]
        );
        assert_eq!(settings.destinations().unwrap().0[0].rate_max, 7);
    }

    #[test]
    fn wrong_tables_are_refused_with_their_key() {
        let wrong = |more: &str| {
            let text = format!("[[forward]]\nname = 'a'\nsecrets = ['{SECRET}']\n{more}");
            let (_file, sources) = file(&text);
            error(&sources)
        };
        for (more, said) in [
            ("url = 'https://a.example/'\nrates_max = 1", "did you mean `forward.rate_max`?"),
            ("url = 'http://a.example/'\nheaders = { host = 'b' }", "key `forward.headers`"),
            ("url = 'http://8.8.8.8/'", "key `forward.url` of destination `a`: "),
            ("url = 'http://169.254.169.254/'", "key `forward.url` of destination `a`: "),
            ("url = 'nats://a.example:4222'", "only HTTP has it"),
            (
                "url = 'https://a.example/'\n[forwarding]\nallow_networks = ['x']",
                "`x` is not an address",
            ),
            ("url = 'https://a.example/'\n[forwarding]\nbacklog_events_max = 1", "give 1000 to"),
        ] {
            let found = wrong(more);
            assert!(found.contains(said), "{more}: {found}");
        }
    }

    #[cfg(feature = "nats")]
    #[test]
    fn servers_of_nats_are_judged_by_the_guard() {
        let load = |url: &str, more: &str| {
            let text = format!("[[forward]]\nname = 'a'\nurl = '{url}'\n{more}");
            let (_file, sources) = file(&text);
            Settings::load(&sources).map(|_| ()).map_err(|error| error.to_string())
        };
        for url in ["nats://127.0.0.1", "nats://10.0.0.1:1,nats://10.0.0.2", "tls://u:p@a.example"]
        {
            assert_eq!(load(url, ""), Ok(()), "{url}");
        }
        let named = "nats://nats:4222";
        assert!(load(named, "").unwrap_err().contains("readable on the way"));
        assert_eq!(load(named, "[forwarding]\nallow_networks = ['10.0.0.0/8']"), Ok(()));
        assert_eq!(load(named, "tls_ca = '/nowhere/ca.pem'"), Ok(()));
        let said = load("tls://u:s3cret@a.example,tls://b.example,tls://v:s3cret@c.example", "");
        let said = said.unwrap_err();
        assert!(said.contains("different users") && !said.contains("s3cret"), "{said}");
        assert!(load("nats://169.254.169.254", "").is_err());
    }

    #[cfg(not(feature = "nats"))]
    #[test]
    fn a_build_without_nats_says_so() {
        let (_file, sources) = file("[[forward]]\nname = 'a'\nurl = 'nats://a.example:4222'");
        assert!(error(&sources).contains("this build has no NATS"), "{}", error(&sources));
    }

    #[test]
    fn a_file_of_secrets_is_read_by_who_sends() {
        let text =
            "[[forward]]\nname = 'a'\nurl = 'https://a.example/'\nsecrets_file = '/nowhere/secret'";
        let (_file, sources) = file(text);
        let settings = Settings::load(&sources).unwrap();
        let said = settings.destinations().unwrap_err().to_string();
        assert!(said.contains("`/nowhere/secret`"), "{said}");
    }
}
