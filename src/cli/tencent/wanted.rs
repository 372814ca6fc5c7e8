//! The callback configuration that is wanted, and how it differs from the one that is registered.

use anyhow::{Result, bail};
use clap::Args;

use crate::cli::output;
use crate::cli::tencent::app::Products;
use crate::settings::{AppSettings, commands};
use crate::tencent_api::{CallbackConfig, Diff, Plan, Product};
use protocol::diagnostic::Diagnostic;
use protocol::letters::replaced;

/// What is wanted.
#[derive(Debug, Args)]
pub(crate) struct WantedArgs {
    /// The callback URL [default: `url` in `[apps.callbacks]`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Commands, comma-separated or repeated; all: the usual ones [default: as configured, or all]
    #[arg(long = "command", value_name = "NAME", value_delimiter = ',')]
    commands: Vec<String>,
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
            bail!(Diagnostic::new(
                format!("no callback URL is wanted for {product} of app {}", app.sdk_app_id),
                "give `--url https://…`, or set `url` in `[apps.callbacks]` (TRTC_CALLBACK_URL)"
            ));
        };
        if self.commands.is_empty() {
            let wanted = callbacks.wanted_at(url, product);
            if wanted.is_none() && products != Products::All {
                bail!(Diagnostic::new(
                    format!(
                        "`apps.callbacks.{product}` of app {} is empty, so {product} is to be left as it is",
                        app.sdk_app_id
                    ),
                    "name commands there, or with `--command`"
                ));
            }
            return Ok(wanted);
        }
        if products == Products::All && self.commands.iter().any(|name| name != "all") {
            bail!(Diagnostic::new(
                "`--command` names commands of one product, and `--product` is all",
                "name the product, or put the lists into `[apps.callbacks]`"
            ));
        }
        Ok(Some(CallbackConfig::new(url, commands(product, &self.commands))))
    }
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
    output::print(&format!(
        "{product}: left as it is, since its list in `[apps.callbacks]` is empty\n"
    ))
}
