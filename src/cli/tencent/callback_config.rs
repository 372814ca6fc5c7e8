use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::output::{self, say};
use crate::cli::prompt;
use crate::cli::tencent::app::{Products, Vendor, VendorArgs};
use crate::cli::tencent::apply::Apply;
use crate::cli::tencent::wanted::{WantedArgs, difference, left_alone};
use crate::clock::Clock;
use crate::letters::replaced;
use crate::tencent_api::{CallbackConfig, Deleted, Product};

/// Where the vendor sends callbacks: show, register, compare, delete
///
/// Call, Room and Live each have one URL and one list of commands for an app.
/// They are set through the vendor's REST API, which is called as an admin of the
/// app, signed with the app's secret key.
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

/// Show what is registered
#[derive(Debug, Args)]
struct Show {
    /// Whose configuration
    #[arg(long, value_name = "NAME", default_value = "all")]
    product: Products,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Compare what is registered with what is wanted
///
/// Prints what differs, `-` before what goes and `+` before what comes. Ends with 0 when nothing differs, with 3 when
/// something does, and with 1 when it cannot be told.
#[derive(Debug, Args)]
struct Check {
    /// Whose configuration
    #[arg(long, value_name = "NAME", default_value = "all")]
    product: Products,
    #[command(flatten)]
    wanted: WantedArgs,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Delete what is registered: no callbacks are sent any more
#[derive(Debug, Args)]
struct Delete {
    /// Whose configuration
    #[arg(long, value_name = "NAME")]
    product: Products,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    vendor: VendorArgs,
}

/// Something is registered otherwise than it is wanted. The program ends with 3 then.
#[derive(Debug, thiserror::Error)]
#[error(
    "what is registered is not what is wanted: {0}\nhint: `callback-config apply` registers what is wanted"
)]
pub(crate) struct Drift(String);

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

/// One product, as `show --json` prints it. Every key is always there.
#[derive(Serialize)]
struct Shown {
    product: Product,
    /// `null` where it could not be asked.
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
            let error = found.as_ref().err().map(ToString::to_string);
            let config = found.as_ref().ok().and_then(Option::as_ref);
            if self.json {
                shown.push(Shown {
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
        if drifted.is_empty() { Ok(()) } else { Err(Drift(drifted.join(", ")).into()) }
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
                say(&format!("without it, no callbacks of {product} are sent any more"));
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
