use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::error::CallbackDrift;
use crate::cli::output::{self, say};
use crate::cli::prompt;
use crate::cli::tencent::app::{Products, Vendor, VendorArgs};
use crate::cli::tencent::apply::Apply;
use crate::cli::tencent::wanted::{WantedArgs, difference, left_alone};
use crate::clock::Clock;
use crate::tencent_api::{CallbackConfig, Deleted, Product};
use protocol::diagnostic::Hint;
use protocol::letters::replaced;

/// Show, register, compare or delete the callback configuration
///
/// For each app, Call, Room and Live each have one callback URL and one list of
/// commands. They are set through the vendor's REST API, as an admin account of
/// the app and signed with the app's secret key.
///
/// Examples:
///   trtc-callbacks callback-config show
///   trtc-callbacks callback-config apply --product all --url https://rtc.example.com/callback
///   trtc-callbacks callback-config check
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CallbackConfigs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Show(Show),
    Apply(Apply),
    Check(Check),
    Delete(Delete),
}

/// Show the registered configuration
#[derive(Debug, Args)]
struct Show {
    /// Product whose configuration is meant
    #[arg(long, value_name = "NAME", default_value = "all")]
    product: Products,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Compare the registered configuration with the wanted one
///
/// Prints the difference, with `-` for what `apply` would remove and `+` for what it would add. Exits with 0 without a
/// difference, with 3 if there is one, and with 1 on an error.
#[derive(Debug, Args)]
struct Check {
    /// Product whose configuration is meant
    #[arg(long, value_name = "NAME", default_value = "all")]
    product: Products,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Delete the registered configuration, so that no more callbacks are sent
#[derive(Debug, Args)]
struct Delete {
    /// Product whose configuration is meant
    #[arg(long, value_name = "NAME")]
    product: Products,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

impl CallbackConfigs {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        match self.action {
            Action::Show(show) => show.run(clock).await,
            Action::Apply(apply) => apply.run(clock).await,
            Action::Check(check) => check.run(clock).await,
            Action::Delete(delete) => delete.run(clock).await,
        }
    }
}

/// One product in the output of `show --json`. Every key is always present.
#[derive(Serialize)]
struct ProductStatus {
    product: Product,
    /// `null` if the request failed.
    registered: Option<bool>,
    url: Option<String>,
    commands: Vec<String>,
    error: Option<String>,
}

impl Show {
    async fn run(self, clock: &Clock) -> Result<()> {
        let Vendor { client, .. } = self.vendor.open(None, clock)?;
        let mut shown = Vec::new();
        let asked = self.product.each(async |product| {
            let found = client.callback(product).await;
            let error = found.as_ref().err().map(|error| error.diagnostic().to_string());
            let config = found.as_ref().ok().and_then(Option::as_ref);
            if self.json {
                shown.push(ProductStatus {
                    product,
                    registered: found.as_ref().ok().map(Option::is_some),
                    url: config.map(|config| config.url.clone()),
                    commands: config.map_or_else(Vec::new, |config| config.commands.clone()),
                    error,
                });
            } else if error.is_none() {
                output::print(&text(product, config))?;
            }
            Ok(found.map(|_| ())?)
        });
        let asked = asked.await;
        if self.json {
            let all = serde_json::json!({
                "app": client.app(), "host": client.host(), "products": shown,
            });
            output::print_json(&format!("{all}\n"))?;
        }
        asked.map(|_| ())
    }
}

fn text(product: Product, config: Option<&CallbackConfig>) -> String {
    let Some(config) = config else { return format!("{product}: nothing is registered\n") };
    let mut text = format!("{product}: {}\n", replaced(&config.url));
    for command in &config.commands {
        text = text + "  " + &replaced(command) + "\n";
    }
    text
}

impl Check {
    async fn run(self, clock: &Clock) -> Result<()> {
        let Vendor { app, client, .. } = self.vendor.open(None, clock)?;
        let compared = self.product.each(async |product| {
            let Some(wanted) = self.wanted.of(&app, self.product, product)? else {
                return left_alone(product).map(|()| None);
            };
            let plan = client.plan(product, &wanted).await?;
            let diff = plan.diff();
            if diff.is_empty() {
                output::print(&format!("{product}: as wanted\n"))?;
                return Ok(None);
            }
            output::print(&difference(&plan, &diff))?;
            Ok(Some(product.as_str()))
        });
        let drifted: Vec<&str> = compared.await?.into_iter().flatten().collect();
        if drifted.is_empty() { Ok(()) } else { Err(CallbackDrift(drifted.join(", ")).into()) }
    }
}

impl Delete {
    async fn run(self, clock: &Clock) -> Result<()> {
        let Vendor { client, .. } = self.vendor.open(None, clock)?;
        let done = self.product.each(async |product| {
            let before = client.callback(product).await?;
            output::print(&text(product, before.as_ref()))?;
            if before.is_none() {
                return Ok(());
            }
            if !self.yes {
                say(&format!("without it, no more callbacks of {product} are sent"));
                prompt::confirm("give `--yes`")
                    .map_err(|error| error.context(format!("delete {product}")))?;
            }
            let text = match client.delete_callback(product).await? {
                Deleted::Gone(_) => "deleted",
                Deleted::WasNotThere => "was deleted by somebody else meanwhile",
            };
            output::print(&format!("{product}: {text}\n"))
        });
        done.await.map(|_| ())
    }
}
