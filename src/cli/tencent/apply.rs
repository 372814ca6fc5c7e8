use anyhow::{Context, Result, bail};
use clap::Args;

use crate::cli::args::StoreArgs;
use crate::cli::output::{self, say};
use crate::cli::prompt;
use crate::cli::tencent::app::{Products, Vendor, VendorArgs};
use crate::cli::tencent::verify::Verifier;
use crate::cli::tencent::wanted::{WantedArgs, difference, left_alone};
use crate::clock::Clock;
use crate::tencent_api::{
    CallbackConfig, Change, Diff, Finding, Product, Rule, Severity, WriteOutcome,
};
use protocol::diagnostic::Diagnostic;
use protocol::letters::replaced;

/// How often it begins again because somebody else wrote meanwhile.
const CONTENTIONS_MAX: u32 = 4;

/// Register the wanted configuration
///
/// Compares it with the registered one, prints the difference with `-` for what is removed and `+` for what is added, and
/// registers it. Asks for confirmation before it removes commands. Without a difference it changes nothing.
///
/// The URL and the commands come from the flags, or else from `[apps.callbacks]` in the configuration. A change takes
/// effect within 2 minutes.
///
/// With `--verify` it then posts a sample to the URL, signed with the app's token, and waits until the sample is in the
/// store. The sample belongs to no call or room: its command is, for example, `Call.CallbackAfterVerify`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(crate) struct Apply {
    /// Product whose configuration is meant
    #[arg(long, value_name = "NAME")]
    product: Products,
    #[command(flatten)]
    wanted: WantedArgs,
    /// Allow unknown command names
    #[arg(long)]
    allow_unknown: bool,
    /// Only print the difference
    #[arg(long)]
    dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Post a sample to the URL and wait until it is stored
    #[arg(long, conflicts_with = "dry_run")]
    verify: bool,
    /// How long to wait for the sample, in seconds
    #[arg(long, value_name = "SECONDS", requires = "verify", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=3600))]
    wait: u64,
    #[command(flatten)]
    vendor: VendorArgs,
    #[command(flatten)]
    store: StoreArgs,
}

impl Apply {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let vendor = self.vendor.open(Some(&self.store), clock)?;
        // Before anything is changed: a store that cannot be read would be a surprise afterwards.
        let verifier =
            if self.verify { Some(Verifier::open(&vendor, self.wait, clock).await?) } else { None };
        let mut changed = false;
        let done = self.product.each(async |product| {
            let Some(wanted) = self.wanted.of(&vendor.app, self.product, product)? else {
                return left_alone(product);
            };
            changed |= self.apply(&vendor, product, &wanted).await?;
            match &verifier {
                Some(verifier) => verifier.verify(product, &wanted.url).await,
                None => Ok(()),
            }
        });
        let done = done.await;
        if changed {
            say("a change takes effect at the vendor within 2 minutes");
        }
        done.map(|_| ())
    }

    /// Returns whether something was changed.
    async fn apply(
        &self,
        vendor: &Vendor,
        product: Product,
        wanted: &CallbackConfig,
    ) -> Result<bool> {
        self.refuse(product, wanted)?;
        let Vendor { client, app, .. } = vendor;
        if let Some(region) = app.region.filter(|_| app.host.is_none())
            && !region.is_documented_for(product)
        {
            say(&format!("note: the vendor's pages of {product} do not name the host of {region}"));
        }
        let mut plan = client.plan(product, wanted).await?;
        let before = plan.before().map(|before| before.url.clone());
        for finding in self.findings(product, wanted, before.as_deref()) {
            say(&format!("warning: {product}: {}", finding.diagnostic));
        }
        for _ in 0..CONTENTIONS_MAX {
            let diff = plan.diff();
            if diff.is_empty() {
                output::print(&format!("{product}: as wanted, nothing changed\n"))?;
                return Ok(false);
            }
            output::print(&difference(&plan, &diff))?;
            if self.dry_run {
                output::print(&format!("{product}: a dry run, nothing changed\n"))?;
                return Ok(false);
            }
            self.confirm(product, &diff)?;
            match client.write(&plan).await? {
                WriteOutcome::Done(Change::None) => {
                    let text = "somebody else did just that meanwhile, nothing changed";
                    output::print(&format!("{product}: {text}\n"))?;
                    return Ok(false);
                }
                WriteOutcome::Done(change) => {
                    output::print(&format!("{product}: {}\n", outcome(&change)))?;
                    return Ok(true);
                }
                WriteOutcome::Moved(now) => {
                    say(&format!("{product}: somebody else changed it meanwhile; looking again"));
                    plan = now;
                }
            }
        }
        bail!(Diagnostic::new(
            format!("somebody else keeps changing what is registered for {product}"),
            "find out who else registers callbacks for this app, and try again"
        ))
    }

    /// What is to be said of it, errors of what is allowed as warnings.
    fn findings(
        &self,
        product: Product,
        wanted: &CallbackConfig,
        before: Option<&str>,
    ) -> Vec<Finding> {
        let mut findings = wanted.findings(product, before);
        for finding in &mut findings {
            if self.allow_unknown && finding.rule == Rule::CommandUnknown {
                finding.severity = Severity::Warning;
            }
        }
        findings
    }

    /// Fails where the vendor would not take it.
    fn refuse(&self, product: Product, wanted: &CallbackConfig) -> Result<()> {
        let findings = self.findings(product, wanted, None);
        let wrong = |finding: &&Finding| finding.severity == Severity::Error;
        let mut errors = findings.iter().filter(wrong).peekable();
        let Some(first) = errors.next() else { return Ok(()) };
        // All of them, so that nobody has to run it once for each.
        for finding in errors {
            say(&format!("error: {product}: {}", finding.diagnostic));
        }
        let mut found = first.diagnostic.clone().prefixed(format_args!("{product}: "));
        if let (Rule::CommandUnknown, Some(hint)) = (first.rule, &mut found.hint) {
            *hint += " `--allow-unknown` lets it pass";
        }
        Err(found.into())
    }

    fn confirm(&self, product: Product, diff: &Diff) -> Result<()> {
        if self.yes || diff.removed.is_empty() {
            return Ok(());
        }
        say(&format!("events of the {product} commands marked `-` will no longer be sent"));
        prompt::confirm("give `--yes`, or name these commands too").context(product)
    }
}

fn outcome(change: &Change) -> String {
    let (what, receipt) = match change {
        Change::None => return "as wanted, nothing changed".to_owned(),
        Change::Raced => {
            return "as wanted now, though the vendor refused the call: an earlier try had gone well, or somebody \
                    else did the same"
                .to_owned();
        }
        Change::Set(receipt) => ("registered", receipt),
        Change::Updated(receipt) => ("updated", receipt),
    };
    match &receipt.request_id {
        Some(id) => format!("{what} (RequestId {})", replaced(id)),
        None => what.to_owned(),
    }
}
