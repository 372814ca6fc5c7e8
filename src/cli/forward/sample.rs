use anyhow::{Result, anyhow, bail};
use clap::Args;
use serde::Serialize;

use crate::cli::args::ConfigArgs;
use crate::cli::output::{self, cell};
use crate::clock::Clock;
use crate::forwarding::sample::{Sample, send_sample};
use protocol::diagnostic::Diagnostic;

/// Send a signed sample to a destination from this machine
///
/// A `POST` of an event of the type `trtc.test`, with the destination's secrets,
/// headers, certificates and proxy. Nothing is stored, and no server needs to run.
/// The exit code is 0 if the destination answered 2xx, otherwise 1. For HTTP
/// destinations only: `doctor` checks the streams of NATS destinations.
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
    /// How many secrets it is signed with.
    signatures: usize,
    /// Who answered: the destination, or its proxy.
    address: Option<String>,
    http_version: Option<&'static str>,
    tls: &'static str,
    status: Option<u16>,
    took_ms: u64,
    /// The beginning of the answer.
    answer: String,
    is_taken: bool,
    /// What the answer means for an event.
    meaning: &'static str,
    problem: Option<String>,
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
            signatures: sample.signatures,
            address: sample.peer.map(|peer| peer.to_string()),
            http_version: sample.version,
            tls: sample.tls,
            status: sample.status,
            took_ms: u64::try_from(sample.took.as_millis()).unwrap_or(u64::MAX),
            answer: sample.excerpt,
            is_taken: sample.is_taken,
            meaning: sample.meaning,
            problem: sample.problem,
        }
    }

    fn text(&self) -> String {
        let sent = format!("{} bytes, event {}", self.bytes, self.id);
        let signed = match self.signatures {
            0 => "no".to_owned(),
            1 => "with 1 secret".to_owned(),
            count => format!("with {count} secrets"),
        };
        let address = match (&self.address, self.http_version) {
            (Some(address), Some(version)) => format!("{address}, {version}"),
            (address, _) => cell(address.as_deref()),
        };
        let status = self.status.map(|status| status.to_string());
        let rows = [
            ("to", self.url.clone()),
            ("sent", sent),
            ("signed", signed),
            ("address", address),
            ("TLS", self.tls.to_owned()),
            ("status", cell(status.as_deref())),
            ("time", format!("{} ms", self.took_ms)),
            ("answer", cell(Some(self.answer.as_str()).filter(|answer| !answer.is_empty()))),
            ("means", self.meaning.to_owned()),
        ];
        let lines: Vec<String> =
            rows.iter().map(|(name, value)| format!("{name:<8} {value}")).collect();
        lines.join("\n") + "\n"
    }
}
