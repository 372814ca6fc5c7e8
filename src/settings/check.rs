//! Which values do: ranges, and keys that must fit each other.

use crate::settings::apps::AppSettings;
use crate::settings::error::SettingsError;
use crate::settings::sections::ProxyProtocol;
use crate::settings::stream::StreamRole;
use crate::settings::tree::Settings;
use crate::store;
use crate::telemetry;
use crate::tencent_api::{Endpoint, Product};
use protocol::diagnostic::Hint;

impl Settings {
    /// Checks that a server that is to call the vendor's API knows for whom, where and with what.
    pub(crate) fn check_guard(&self) -> Result<(), SettingsError> {
        let (list, checks) = (self.auth.takes_vendors_list(), self.registration.check_interval());
        if list && !self.apps.iter().any(|app| app.has_key() && app.has_place()) {
            let problem =
                "key `auth.source_addresses`: `vendor` needs an app to ask the vendor's API for";
            let hint = "give an app its secret key (TRTC_SECRET_KEY_FILE) and region (TRTC_REGION)";
            return Err(SettingsError::new(problem, hint));
        }
        if checks.is_none() {
            let problem = "key `registration.repair` is set, and nothing is checked";
            let hint = "set `registration.check_interval_s`, 600 for example";
            let repair = self.registration.repair;
            return if repair { Err(SettingsError::new(problem, hint)) } else { Ok(()) };
        }
        let wants = |app: &&AppSettings| {
            Product::ALL.into_iter().any(|product| app.callbacks.wanted(product).is_some())
        };
        let mut wanted = self.apps.iter().filter(wants).peekable();
        if wanted.peek().is_none() {
            let problem =
                "key `registration.check_interval_s`: no app says what is to be registered";
            let hint =
                "set `url` in its `[apps.callbacks]` (TRTC_CALLBACK_URL), or 0 to check nothing";
            return Err(SettingsError::new(problem, hint));
        }
        let Some(app) = wanted.find(|app| !app.has_key() || !app.has_place()) else {
            return Ok(());
        };
        let (id, missing) =
            (&app.sdk_app_id, if app.has_key() { "region" } else { "secret_key_file" });
        let problem = format!(
            "key `registration.check_interval_s`: app {id} has no `{missing}` to check with"
        );
        Err(SettingsError::new(problem, format!("set `{missing}` in its `[[apps]]` table")))
    }

    /// Checks every value, and those that must fit each other.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        self.check_ranges()?;
        self.check_tls()?;
        self.admission()?;
        self.check_proxy_protocol()?;
        for path in &self.server.callback_paths {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
            // At most one part of the path stands for the app's id, and all of it.
            let fixed = path.replacen("/{sdk_app_id}", "/", 1);
            let is_part = fixed == *path
                || path.ends_with("/{sdk_app_id}")
                || path.contains("/{sdk_app_id}/");
            if !path.starts_with('/') || !fixed.bytes().all(plain) || !is_part {
                let problem = format!("key `server.callback_paths`: `{path}` is not a plain path");
                let hint = "begin with `/` and use letters, digits and `-._~/` only; one part may be `{sdk_app_id}`";
                return Err(SettingsError::new(problem, hint));
            }
        }
        let paths = &self.server.callback_paths;
        if let Some(path) = paths
            .iter()
            .enumerate()
            .find_map(|(place, path)| paths[..place].contains(path).then_some(path))
        {
            let problem = format!("key `server.callback_paths`: `{path}` stands twice");
            return Err(SettingsError::new(problem, "name each path once"));
        }
        if paths.is_empty() {
            let hint = "name at least one path, for example `[\"/callback\"]`";
            return Err(SettingsError::new("key `server.callback_paths` is empty", hint));
        }
        self.check_ops_tokens()?;
        self.check_rtc_repair()?;
        store::check_url(&self.store.url).map_err(|error| error.diagnostic())?;
        if let Some(direct_url) = self.store.direct_url() {
            store::check_direct_url(&self.store.url, direct_url)
                .map_err(|error| error.diagnostic())?;
        }
        telemetry::check_filter(&self.log.filter).map_err(|reason| {
            let problem = format!("key `log.filter`: {reason}");
            SettingsError::new(problem, "give a level such as info, or info,trtc_callbacks=debug")
        })?;
        self.check_stream()?;
        self.check_forwarding()?;
        self.apps()?;
        self.apps.iter().try_for_each(AppSettings::check)
    }

    fn check_stream(&self) -> Result<(), SettingsError> {
        let Some(stream) = self.stream() else {
            let role = self.stream.role;
            if role == StreamRole::All {
                return Ok(());
            }
            let problem = format!("key `stream.role` is {}, and there is no stream", role.as_str());
            return Err(SettingsError::new(problem, "set `stream.url` (TRTC_STREAM_URL) too"));
        };
        stream.check()?;
        if stream.role.receives() && self.spool.path.as_os_str().is_empty() {
            let problem = "key `spool.path` is empty, and receivers need a spool";
            let hint =
                "set it: while the stream elects a leader nothing else keeps what is answered OK";
            return Err(SettingsError::new(problem, hint));
        }
        Ok(())
    }

    fn check_ops_tokens(&self) -> Result<(), SettingsError> {
        let listen = self.ops.listen;
        if !self.token_sources()?.is_empty() || listen.ip().is_loopback() {
            return Ok(());
        }
        let problem = format!(
            "key `ops.listen`: {listen} is reachable by others, and `ops.token` is not set"
        );
        let hint = "set `ops.token` (TRTC_OPS__TOKEN), for example to the output of `openssl rand -hex 24`, or listen on \
                    127.0.0.1";
        Err(SettingsError::new(problem, hint))
    }

    fn check_rtc_repair(&self) -> Result<(), SettingsError> {
        let repair = &self.rtc_repair;
        if let Err(error) = Endpoint::parse(&repair.host) {
            let problem = format!("key `rtc_repair.host`: {error}");
            let hint = "give `trtc.tencentcloudapi.com` or `trtc.intl.tencentcloudapi.com`";
            return Err(SettingsError::new(problem, hint));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if repair.region.is_empty() || !repair.region.bytes().all(plain) {
            let problem =
                format!("key `rtc_repair.region`: `{}` is not a region's name", repair.region);
            return Err(SettingsError::new(
                problem,
                "give ap-guangzhou or ap-singapore, for example",
            ));
        }
        Ok(())
    }

    fn check_tls(&self) -> Result<(), SettingsError> {
        let files = [
            ("server.tls_certificate", &self.server.tls_certificate),
            ("server.tls_key", &self.server.tls_key),
        ];
        for (key, path) in files {
            // A key in the place of its path must not be shown.
            if path.to_string_lossy().contains("-----BEGIN") {
                let problem =
                    format!("key `{key}` holds PEM text, and the path of a file is expected");
                let hint =
                    "put the path itself into the variable, whose name does not end in _FILE";
                return Err(SettingsError::new(problem, hint));
            }
        }
        let [(_, certificate), (_, key)] = files;
        if certificate.as_os_str().is_empty() != key.as_os_str().is_empty() {
            let problem =
                "one of the keys `server.tls_certificate` and `server.tls_key` is not set";
            return Err(SettingsError::new(problem, "set both for HTTPS, or none for plain HTTP"));
        }
        Ok(())
    }

    fn check_proxy_protocol(&self) -> Result<(), SettingsError> {
        let is_on = self.server.proxy_protocol == ProxyProtocol::Required;
        if is_on && self.auth.trusted_proxies.is_empty() {
            let problem =
                "key `server.proxy_protocol` is \"required\", and `auth.trusted_proxies` is empty";
            let hint =
                "name the addresses of the load balancers there: their headers alone are read";
            return Err(SettingsError::new(problem, hint));
        }
        Ok(())
    }

    fn check_ranges(&self) -> Result<(), SettingsError> {
        let (server, ingest, gaps) = (&self.server, &self.ingest, &self.gaps);
        let wide = |size: usize| u64::try_from(size).unwrap_or(u64::MAX);
        for (key, value, least, most) in [
            ("server.body_bytes_max", wide(server.body_bytes_max), 1024, 64 << 20),
            ("server.body_timeout_ms", server.body_timeout_ms, 100, 600_000),
            ("server.header_timeout_ms", server.header_timeout_ms, 100, 600_000),
            ("server.idle_timeout_ms", server.idle_timeout_ms, 100, 3_600_000),
            ("server.write_timeout_ms", server.write_timeout_ms, 100, 600_000),
            ("server.header_bytes_max", wide(server.header_bytes_max), 8192, 1 << 20),
            ("server.connections_max", wide(server.connections_max), 1, 1_000_000),
            ("server.drain_ms", server.drain_ms, 0, 600_000),
            ("server.shutdown_timeout_ms", server.shutdown_timeout_ms, 0, 600_000),
            ("auth.request_time_window_s", self.auth.request_time_window_s, 1, 86_400),
            ("auth.source_refresh_s", self.auth.source_refresh_s, 1, 2_592_000),
            ("store.readers_max", self.store.readers_max.into(), 1, 1000),
            ("store.read_timeout_ms", self.store.read_timeout_ms, 10, 600_000),
            ("store.partitions_ahead", self.store.partitions_ahead.into(), 1, 120),
            ("ingest.lanes", ingest.lanes.into(), 1, 64),
            ("ingest.batch_rows_max", wide(ingest.batch_rows_max), 1, 10_000),
            ("ingest.queue_events_max", wide(ingest.queue_events_max), 1, 10_000_000),
            ("ingest.queue_bytes_max", wide(ingest.queue_bytes_max), 1 << 20, u64::from(u32::MAX)),
            ("retention.events_days", self.retention.events_days.into(), 0, 36_500),
            ("gaps.call_ringing_overdue_s", gaps.call_ringing_overdue_s, 0, 31_536_000),
            ("gaps.call_active_overdue_s", gaps.call_active_overdue_s, 0, 31_536_000),
            ("gaps.room_idle_overdue_s", gaps.room_idle_overdue_s, 0, 31_536_000),
            ("gaps.task_idle_overdue_s", gaps.task_idle_overdue_s, 0, 31_536_000),
            ("gaps.forwarding_failing_after_s", gaps.forwarding_failing_after_s, 0, 31_536_000),
            ("gaps.silence_after_s", gaps.silence_after_s, 0, 86_400),
            ("gaps.silence_events_min", gaps.silence_events_min.into(), 1, 1_000_000_000),
            ("settle.session_bytes_max", wide(self.settle.session_bytes_max), 256, 1 << 20),
            // Fewer than a day has minutes: see `crates/store/src/sessions/windows.rs`.
            ("settle.boundaries_per_day_max", self.settle.boundaries_per_day_max.into(), 2, 1400),
            ("registration.check_interval_s", self.registration.check_interval_s, 0, 604_800),
            ("spool.bytes_max", self.spool.bytes_max, 1 << 20, 1 << 50),
            // The error log has 50 ms after it, and the vendor waits 2000 ms.
            ("ingest.answer_deadline_ms", ingest.answer_deadline_ms, 20, 1900),
            ("ingest.ack_deadline_ms", ingest.ack_deadline_ms, 10, 1899),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("key `{key}`: {value} is out of its range");
                return Err(SettingsError::new(problem, format!("give {least} to {most}")));
            }
        }
        if ingest.ack_deadline_ms >= ingest.answer_deadline_ms {
            let problem = format!(
                "key `ingest.ack_deadline_ms`: {} is not below `ingest.answer_deadline_ms`, which is {}",
                ingest.ack_deadline_ms, ingest.answer_deadline_ms
            );
            let hint = "leave the spool some of the time: a quarter of it, or 300 ms";
            return Err(SettingsError::new(problem, hint));
        }
        let (spool, store) = (&self.spool.path, store::file(&self.store.url));
        if store
            .is_some_and(|store| std::path::absolute(store).ok() == std::path::absolute(spool).ok())
        {
            let problem = "keys `spool.path` and `store.url` name the same file";
            return Err(SettingsError::new(problem, "give each a file of its own"));
        }
        if ingest.queue_bytes_max < server.body_bytes_max {
            let problem = "key `ingest.queue_bytes_max` is less than `server.body_bytes_max`";
            return Err(SettingsError::new(problem, "a single body must fit into the queue"));
        }
        Ok(())
    }
}
