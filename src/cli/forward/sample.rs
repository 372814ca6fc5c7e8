use anyhow::{Result, anyhow, bail};
use clap::Args;
use serde::Serialize;

use crate::cli::args::ConfigArgs;
use crate::cli::output::{self, cell};
use crate::clock::Clock;
use crate::forwarding::sample::{Sample, SampleOfKind, send_sample};
use protocol::diagnostic::Diagnostic;

/// Send a sample to a destination from this machine
///
/// An event of the type `trtc.test`, sent as events are: over HTTP a signed `POST`
/// with the destination's secrets, headers, certificates and proxy; over NATS a
/// message, which the stream keeps, so that its readers see it. This program stores
/// nothing, and no server needs to run. The exit code is 0 if the destination
/// answered 2xx or the stream acked, otherwise 1.
///
/// Examples:
///   trtc-callbacks forward test billing
///   trtc-callbacks forward test billing --json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Test {
    /// Name of the destination
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// The result, as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    destination: String,
    /// Scheme, host and port.
    url: String,
    id: String,
    bytes: usize,
    tls: &'static str,
    #[serde(flatten)]
    of_kind: ShownOfKind,
    took_ms: u64,
    is_taken: bool,
    /// What the answer means for an event.
    meaning: &'static str,
    problem: Option<String>,
}

/// What only one kind of destination has.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ShownOfKind {
    Http {
        /// How many secrets it is signed with.
        signatures: usize,
        /// Who answered: the destination, or its proxy.
        address: Option<String>,
        http_version: Option<&'static str>,
        status: Option<u16>,
        /// The beginning of the answer.
        answer: String,
    },
    #[cfg(feature = "nats")]
    Nats { subject: String, stream: Option<String>, sequence: Option<u64> },
}

impl Test {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(None, None)?;
        let (destinations, guard) = settings.destinations()?;
        let names: Vec<String> = destinations.iter().map(|of| of.name.clone()).collect();
        let found = destinations.into_iter().find(|of| of.name == self.name).ok_or_else(|| {
            let hint = match &names[..] {
                [] => "it has none: give the server's configuration with `--config`".to_owned(),
                names => format!("it has {}", names.join(", ")),
            };
            let problem = format!("there is no destination `{}` in the configuration", self.name);
            anyhow!(Diagnostic::new(problem, hint))
        })?;
        let shown = Shown::of(self.name, send_sample(found, guard, clock).await?);
        if self.json {
            output::print_json(&output::json_lines(&[&shown])?)?;
        } else {
            output::print(&shown.text())?;
        }
        if shown.is_taken {
            return Ok(());
        }
        let problem = shown.problem.unwrap_or_default();
        bail!(Diagnostic::new(
            format!("{} did not take the sample: {problem}", shown.destination),
            shown.meaning
        ))
    }
}

impl Shown {
    fn of(destination: String, sample: Sample) -> Self {
        Self {
            destination,
            url: sample.url,
            id: sample.id.to_string(),
            bytes: sample.bytes,
            tls: sample.tls,
            of_kind: ShownOfKind::of(sample.of_kind),
            took_ms: u64::try_from(sample.took.as_millis()).unwrap_or(u64::MAX),
            is_taken: sample.is_taken,
            meaning: sample.meaning,
            problem: sample.problem,
        }
    }

    fn text(&self) -> String {
        let mut rows = vec![
            ("to", self.url.clone()),
            ("sent", format!("{} bytes, event {}", self.bytes, self.id)),
            ("TLS", self.tls.to_owned()),
        ];
        rows.extend(self.of_kind.rows());
        rows.push(("time", format!("{} ms", self.took_ms)));
        rows.push(("means", self.meaning.to_owned()));
        let lines: Vec<String> =
            rows.iter().map(|(name, value)| format!("{name:<8} {value}")).collect();
        lines.join("\n") + "\n"
    }
}

impl ShownOfKind {
    fn of(of_kind: SampleOfKind) -> Self {
        match of_kind {
            SampleOfKind::Http { signatures, peer, version, status, excerpt } => Self::Http {
                signatures,
                address: peer.map(|peer| peer.to_string()),
                http_version: version,
                status,
                answer: excerpt,
            },
            #[cfg(feature = "nats")]
            SampleOfKind::Nats { subject, acked } => {
                let (stream, sequence) = acked.unzip();
                Self::Nats { subject, stream, sequence }
            }
        }
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Http { signatures, address, http_version, status, answer } => {
                let signed = match signatures {
                    0 => "no".to_owned(),
                    1 => "with 1 secret".to_owned(),
                    count => format!("with {count} secrets"),
                };
                let address = match (address, http_version) {
                    (Some(address), Some(version)) => format!("{address}, {version}"),
                    (address, _) => cell(address.as_deref()),
                };
                let status = status.map(|status| status.to_string());
                let answer = Some(answer.as_str()).filter(|answer| !answer.is_empty());
                vec![
                    ("signed", signed),
                    ("address", address),
                    ("status", cell(status.as_deref())),
                    ("answer", cell(answer)),
                ]
            }
            #[cfg(feature = "nats")]
            Self::Nats { subject, stream, sequence } => {
                let sequence = sequence.map(|sequence| sequence.to_string());
                vec![
                    ("subject", subject.clone()),
                    ("stream", cell(stream.as_deref())),
                    ("sequence", cell(sequence.as_deref())),
                ]
            }
        }
    }
}
