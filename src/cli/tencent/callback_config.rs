use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::cli::tencent::app::{Products, Vendor, VendorArgs};
use crate::cli::tencent::apply::Apply;
use crate::cli::{prompt, say};
use crate::clock::Clock;
use crate::letters::replaced;
use crate::settings::{AppSettings, commands};
use crate::tencent_api::{CallbackConfig, Deleted, Diff, Plan, Product};

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

/// What is wanted.
#[derive(Debug, Args)]
pub(crate) struct WantedArgs {
    /// The callback URL [default: `url` in `[apps.callbacks]`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Commands, with commas or repeated; all: the usual ones [default: as configured, or all]
    #[arg(long = "command", value_name = "NAME", value_delimiter = ',')]
    commands: Vec<String>,
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

impl WantedArgs {
    /// What is wanted for one of `products`; absent where the settings say that it is to be left as it is.
    pub(crate) fn of(
        &self,
        app: &AppSettings,
        products: Products,
        product: Product,
    ) -> Result<Option<CallbackConfig>> {
        let callbacks = &app.callbacks;
        let Some(url) = self.url.as_ref().or(callbacks.url.as_ref()) else {
            bail!(
                "no callback URL is wanted for {product} of app {}\n\
                 hint: give `--url https://…`, or set `url` in `[apps.callbacks]` (TRTC_CALLBACK_URL)",
                app.sdk_app_id
            );
        };
        if self.commands.is_empty() {
            let wanted = callbacks.wanted_at(url, product);
            if wanted.is_none() && products != Products::All {
                bail!(
                    "`apps.callbacks.{product}` of app {} is empty, so {product} is to be left as it is\n\
                     hint: name commands there, or with `--command`",
                    app.sdk_app_id
                );
            }
            return Ok(wanted);
        }
        if products == Products::All && self.commands.iter().any(|name| name != "all") {
            bail!(
                "`--command` names commands of one product, and `--product` is all\n\
                 hint: name the product, or put the lists into `[apps.callbacks]`"
            );
        }
        Ok(Some(CallbackConfig::new(url, commands(product, &self.commands))))
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
                crate::cli::print(&text(product, config))?;
            }
            Ok(found.map(|_| ())?)
        });
        let asked = asked.await;
        if self.json {
            let all = serde_json::json!({
                "app": client.app(), "host": client.host(), "products": shown,
            });
            crate::cli::print_json(&format!("{all}\n"))?;
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

/// What differs, below a line that says of which product; nothing of what the vendor sent can steer a terminal.
pub(crate) fn difference(plan: &Plan, diff: &Diff) -> String {
    let was = match plan.before() {
        None => "nothing is registered",
        Some(_) => "is registered otherwise",
    };
    let lines = diff.to_string();
    let lines = lines.lines().flat_map(|line| [replaced(line), "\n".to_owned()]);
    format!("{}: {was}\n{}", plan.product(), lines.collect::<String>())
}

/// Says that nothing is done about a product.
pub(crate) fn left_alone(product: Product) -> Result<()> {
    crate::cli::print(&format!(
        "{product}: left as it is, since its list in `[apps.callbacks]` is empty\n"
    ))
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
                crate::cli::print(&format!("{product}: as wanted\n"))?;
                return Ok(None);
            }
            crate::cli::print(&difference(&plan, &diff))?;
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
            crate::cli::print(&text(product, before.as_ref()))?;
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
            crate::cli::print(&format!("{product}: {text}\n"))
        });
        done.await.map(|_| ())
    }
}
