//! What is in force, for people to read, without secrets.

use crate::access::TokenSource;
use crate::settings::sections::ProxyProtocol;
use crate::settings::tree::Settings;
use crate::store;

/// A group of settings: its title, and names and values.
type Section = (&'static str, Vec<(&'static str, String)>);

impl Settings {
    /// The groups that say most of a running server. Apps, addresses and registration are told elsewhere.
    pub(crate) fn summary(&self) -> Vec<Section> {
        vec![
            ("Listeners", self.listeners()),
            ("Access to the operations listener", self.access()),
            ("Store and spool", self.stores_and_spool()),
            ("Retention", self.retained()),
            ("Gaps", self.gaps()),
            ("Answers and log", self.answers()),
            ("Forwarding", self.forwarding()),
        ]
    }

    fn listeners(&self) -> Vec<(&'static str, String)> {
        let server = &self.server;
        let scheme = if server.tls_files().is_some() { "HTTPS" } else { "HTTP" };
        // Readers of this page must not learn where to post to.
        let mut paths: Vec<String> = server.plain_paths().cloned().collect();
        match server.callback_paths.len() - paths.len() {
            0 => {}
            1 => paths.push("one that is not shown".to_owned()),
            more => paths.push(format!("{more} that are not shown")),
        }
        let proxy_protocol = match server.proxy_protocol {
            ProxyProtocol::Off => "off",
            ProxyProtocol::Required => "required from the trusted proxies",
        };
        vec![
            ("Callbacks", format!("{}, {scheme}", server.listen)),
            ("PROXY protocol", proxy_protocol.to_owned()),
            ("Paths", paths.join(", ")),
            ("Largest body", format!("{} bytes", server.body_bytes_max)),
            ("Connections at most", server.connections_max.to_string()),
            ("Operations", self.ops.listen.to_string()),
        ]
    }

    fn access(&self) -> Vec<(&'static str, String)> {
        let token = |source: TokenSource| {
            let place = if source.is_file() { ", from a file" } else { "" };
            ("Token", format!("{}: {}{place}", source.name, source.scope))
        };
        // They were checked when the settings were loaded.
        let mut lines: Vec<_> =
            self.token_sources().unwrap_or_default().into_iter().map(token).collect();
        if lines.is_empty() {
            lines.push(("Tokens", "none: whoever reaches it may read".to_owned()));
        }
        lines
    }

    fn stores_and_spool(&self) -> Vec<(&'static str, String)> {
        let spool = match self.spool.path.display().to_string() {
            path if path.is_empty() => "none".to_owned(),
            path => format!("{path}, {} MiB at most", self.spool.bytes_max >> 20),
        };
        let models = if self.ingest.read_models { "written" } else { "not written" };
        let store = if self.stores() {
            let url = store::display_url(&self.store.url);
            match self.store.direct_url() {
                Some(direct) => format!("{url}, directly {}", store::display_url(direct)),
                None => url,
            }
        } else {
            "none: this server is a receiver".to_owned()
        };
        let stream = match self.stream() {
            Some(stream) => {
                format!("{} at {}, role {}", stream.name, stream.shown(), stream.role.as_str())
            }
            None => "none".to_owned(),
        };
        vec![
            ("Store", store),
            ("Stream", stream),
            ("Spool", spool),
            ("Calls, room sessions and live sessions", models.to_owned()),
            ("An event may take", format!("{} ms to be kept", self.ingest.answer_deadline_ms)),
        ]
    }

    fn retained(&self) -> Vec<(&'static str, String)> {
        let kept = match self.retention.events_days {
            0 => "for good".to_owned(),
            days => format!("{days} days"),
        };
        vec![("Events are kept", kept)]
    }

    fn gaps(&self) -> Vec<(&'static str, String)> {
        let gaps = &self.gaps;
        let after = |seconds: u64| match seconds {
            0 => "never".to_owned(),
            seconds => format!("after {seconds} s"),
        };
        let silence = match gaps.silence_after_s {
            0 => "never".to_owned(),
            s => format!("after {s} s, where {} events are usual", gaps.silence_events_min),
        };
        vec![
            ("A ringing call is overdue", after(gaps.call_ringing_overdue_s)),
            ("An accepted call is overdue", after(gaps.call_active_overdue_s)),
            ("A room is overdue", after(gaps.room_idle_overdue_s)),
            ("A recording or cloud task is overdue", after(gaps.task_idle_overdue_s)),
            ("A destination does not run", after(gaps.forwarding_failing_after_s)),
            ("An app is silent", silence),
        ]
    }

    fn forwarding(&self) -> Vec<(&'static str, String)> {
        let to = |(name, url): (String, String)| ("Destination", format!("{name}: {url}"));
        let mut lines: Vec<_> = self.forwarded().into_iter().map(to).collect();
        if lines.is_empty() {
            lines.push(("Destinations", "none".to_owned()));
        }
        lines
    }

    fn answers(&self) -> Vec<(&'static str, String)> {
        let (answer, log) = (&self.answer, &self.log);
        vec![
            ("Rejected requests are answered", format!("{:?}", answer.rejected).to_lowercase()),
            ("Events that are not stored", format!("{:?}", answer.when_not_stored).to_lowercase()),
            ("Log", format!("{}, {:?}", log.filter, log.format).to_lowercase()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::env;

    #[test]
    fn the_settings_summary_has_no_secrets() {
        let settings = Settings::load(&env(&[
            ("TRTC_STORE__URL", "postgres://trtc:s3cret@db/trtc"),
            ("TRTC_STORE__DIRECT_URL", "postgres://trtc:s3cret@db2/trtc"),
            ("TRTC_OPS__TOKEN", "s3cret"),
            ("TRTC_SERVER__CALLBACK_PATHS", "/callback,/s3cret,/s3cret2"),
            ("TRTC_CALLBACK_TOKEN", "s3cret"),
            ("TRTC_SDK_APP_ID", "1400000001"),
            ("TRTC_FORWARD_URL", "https://billing.example/s3cret"),
            ("TRTC_FORWARD_SECRET", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
        ]));
        let text = format!("{:?}", settings.unwrap().summary());
        assert!(!text.contains("s3cret") && !text.contains("C2FV"), "{text}");
        for said in [
            "default: https://billing.example",
            "/callback, 2 that are not shown",
            "postgres://db:5432/trtc, directly postgres://db2:5432/trtc",
            "for good",
        ] {
            assert!(text.contains(said), "{text}");
        }
    }
}
