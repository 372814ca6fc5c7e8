//! Whether the stream of a destination does: asked when the server starts, and by `doctor`.

use std::time::Duration;

use tokio::time::Instant;

use crate::destination::checked::NatsTarget;
use crate::nats::api::{Api, AskError, DUPLICATE_WINDOW, Stream};
use crate::nats::client::Client;
use crate::nats::subject::{covers, overlaps, wildcard};
use protocol::diagnostic::Diagnostic;

/// The largest message: the largest body that is taken, in base64, with its envelope and headers.
pub const MESSAGE_BYTES_MAX: usize = 400 * 1024;

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// The streams that take the events.
    pub streams: Vec<String>,
    /// Whether the stream was created just now.
    pub created: bool,
    /// What is wrong with them.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Finding {
    /// Whether events are lost or refused by it, now or when they come.
    pub is_grave: bool,
    /// What is wrong, and what to do.
    pub found: Diagnostic,
}

/// What to do where there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Creation {
    /// It is created where the destination says so.
    AsConfigured,
    /// Nothing is changed.
    Never,
}

/// Looks at the server, and at the stream or streams that take the destination's events.
///
/// # Errors
/// Nothing could be asked, or no stream be created.
pub async fn check(
    client: &Client,
    target: &NatsTarget,
    creation: Creation,
) -> Result<Report, Diagnostic> {
    let started = Instant::now();
    let connection = client.connection(started, started + client.timeout()).await;
    let connection = connection.map_err(|failure| failure.found)?;
    let api = Api { client: connection.client(), timeout: client.timeout() };
    let mut report = Report { streams: Vec::new(), created: false, findings: Vec::new() };
    let payload_max = api.client.max_payload();
    if payload_max < MESSAGE_BYTES_MAX {
        let problem = format!("the server's `max_payload` is {payload_max} bytes");
        report.grave(problem, "set it to 1 MB: events have up to 400 KiB");
    }
    let wanted = wildcard(&target.subject_prefix);
    let streams = find(&api, target, &wanted).await?;
    if streams.is_empty() {
        report.without(&api, target, creation).await?;
        return Ok(report);
    }
    for stream in &streams {
        report.streams.push(stream.config.name.clone());
        report.judge(stream);
    }
    report.judge_subjects(&streams, target, &wanted);
    Ok(report)
}

/// The name of the stream that is created where none is configured: the prefix in capitals.
fn stream_name(target: &NatsTarget) -> String {
    let of_prefix = || target.subject_prefix.replace('.', "_").to_ascii_uppercase();
    target.stream.clone().unwrap_or_else(of_prefix)
}

async fn find(api: &Api, target: &NatsTarget, wanted: &str) -> Result<Vec<Stream>, AskError> {
    let names = match &target.stream {
        Some(name) => vec![name.clone()],
        None => api.streams_of(wanted).await?,
    };
    let mut streams = Vec::with_capacity(names.len());
    for name in names {
        streams.extend(api.stream(&name).await?);
    }
    Ok(streams)
}

impl Report {
    fn grave(&mut self, problem: String, hint: &str) {
        self.findings.push(Finding { is_grave: true, found: Diagnostic::new(problem, hint) });
    }

    fn note(&mut self, problem: String, hint: &str) {
        self.findings.push(Finding { is_grave: false, found: Diagnostic::new(problem, hint) });
    }

    /// There is no stream.
    async fn without(
        &mut self,
        api: &Api,
        target: &NatsTarget,
        creation: Creation,
    ) -> Result<(), Diagnostic> {
        let (name, subjects) = (stream_name(target), format!("{}.>", target.subject_prefix));
        if !target.create_stream {
            let missing = match &target.stream {
                Some(name) => format!("there is no stream `{name}`"),
                None => format!("no stream takes `{subjects}`"),
            };
            let hint = format!(
                "create it (`nats stream add {name} --subjects '{subjects}'`), or set `create_stream = true`"
            );
            self.grave(missing, &hint);
            return Ok(());
        }
        if creation == Creation::Never {
            self.note(
                format!("there is no stream `{name}` yet"),
                "the server creates it when it starts",
            );
            return Ok(());
        }
        let stream = api.create(&name, &subjects).await.map_err(|error| {
            let words = format_args!("create the stream `{name}`: ").to_string();
            let found = Diagnostic::from(error).prefixed(words);
            let hint = "create it by hand, or free what it needs";
            Diagnostic { hint: found.hint.or_else(|| Some(hint.to_owned())), ..found }
        })?;
        self.created = true;
        self.streams.push(stream.config.name.clone());
        self.judge(&stream);
        Ok(())
    }

    fn judge(&mut self, stream: &Stream) {
        let (config, name) = (&stream.config, &stream.config.name);
        if config.no_ack {
            let problem = format!(
                "the stream `{name}` has `no_ack`: what it stores looks as if it were lost"
            );
            self.grave(problem, "let it ack: `nats stream edit --ack`");
        }
        if config.storage != "file" {
            let problem =
                format!("the stream `{name}` keeps events in memory: they go with the servers");
            self.note(problem, "make one with file storage; that of a stream cannot be changed");
        }
        if let Some(cluster) = &stream.cluster {
            if cluster.leader.as_deref().unwrap_or_default().is_empty() {
                let problem = format!("the stream `{name}` has no leader now");
                self.grave(problem, "are most of its servers up?");
            }
            if cluster.name.is_some() && config.num_replicas < 3 {
                let problem =
                    format!("the stream `{name}` has {} of 3 replicas", config.num_replicas);
                self.note(problem, "with 3 it goes on when a server is lost");
            }
        }
        let size = usize::try_from(config.max_msg_size).ok().filter(|size| *size > 0);
        if let Some(size) = size.filter(|size| *size < MESSAGE_BYTES_MAX) {
            let problem = format!("the stream `{name}` takes messages of {size} bytes at most");
            self.grave(problem, "raise `max_msg_size`: events have up to 400 KiB");
        }
        let window = Duration::from_nanos(config.duplicate_window);
        if window < DUPLICATE_WINDOW {
            let problem =
                format!("the stream `{name}` remembers ids for {} s", window.as_secs_f64());
            self.note(problem, "2 minutes keep most tries of one event from being stored twice");
        }
    }

    fn judge_subjects(&mut self, streams: &[Stream], target: &NatsTarget, wanted: &str) {
        let takes = |fits: fn(&str, &str) -> bool| {
            let mut subjects = streams.iter().flat_map(|stream| &stream.config.subjects);
            subjects.any(|subject| fits(subject, wanted))
        };
        let names = self.streams.join("`, `");
        let prefix = &target.subject_prefix;
        if !takes(overlaps) {
            let problem = format!("the stream `{names}` does not take `{prefix}.>`");
            self.grave(problem, "add it to the stream's subjects, or change `subject_prefix`");
        } else if !takes(covers) {
            let problem = format!("the stream `{names}` takes a part of `{prefix}.>` only");
            self.note(problem, "do `families` and `commands` leave only events of that part?");
        }
    }
}
