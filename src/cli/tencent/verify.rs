//! Whether what is sent to a callback URL arrives in the store.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::cli::error::diagnostic;
use crate::cli::output::{self, say};
use crate::cli::tencent::app::Vendor;
use crate::cli::traffic::target::Target;
use crate::clock::Clock;
use crate::settings::Settings;
use crate::store::{self, EventFilter, Store};
use crate::tencent_api::Product;
use protocol::diagnostic::Diagnostic;
use protocol::{AppId, Delivery, event_query};

/// The pause between two looks into the store.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The pause between two tries to post.
const POST_EVERY: Duration = Duration::from_secs(1);
/// How far the server's clock may be behind ours.
const CLOCKS_DIFFER: Duration = Duration::from_mins(10);

/// Posts samples and looks for them in the store.
pub(crate) struct Verifier<'a> {
    settings: &'a Settings,
    app: AppId,
    store: Arc<dyn Store>,
    wait: Duration,
    clock: &'a Clock,
}

impl<'a> Verifier<'a> {
    pub(crate) async fn open(vendor: &'a Vendor, wait_s: u64, clock: &'a Clock) -> Result<Self> {
        let settings = &vendor.settings;
        let url = store::display_url(&settings.store.url);
        let store = store::open(&settings.store_options().to_read()).await;
        let store = store.with_context(|| format!("`--verify` reads the server's store, {url}"))?;
        let (app, wait) = (vendor.client.app(), Duration::from_secs(wait_s));
        Ok(Self { settings, app, store, wait, clock })
    }

    /// Posts a sample of the product to `url`, and waits until it is stored.
    pub(crate) async fn verify(&self, product: Product, url: &str) -> Result<()> {
        let target = Target::open("--url", url, self.settings, self.clock)?;
        let mark = Uuid::new_v4().to_string();
        let (command, sample) = sample(self.app, product, &mark)?;
        let begun = Instant::now();
        let deadline = begun + self.wait;
        self.post(&target, &sample, deadline).await.with_context(|| format!("verify {product}"))?;
        let filter = EventFilter {
            app: Some(self.app),
            command: Some(command),
            text: Some(mark),
            since: Some(self.clock.now().minus(CLOCKS_DIFFER)),
            limit: 1,
            ..EventFilter::default()
        };
        loop {
            let found = self.store.events(&filter).await.context("read the store")?;
            let took = begun.elapsed().as_secs_f64();
            if let Some(event) = found.first() {
                return output::print(&format!(
                    "{product}: verified, the sample was stored {took:.1} s after it was sent, as event {}\n",
                    event.id
                ));
            }
            if Instant::now() >= deadline {
                let store = store::display_url(&self.settings.store.url);
                bail!(Diagnostic::new(
                    format!(
                        "verify {product}: the sample was answered OK but is not in {store} after {took:.0} s"
                    ),
                    format!(
                        "check that this is the server's store, and that the server has app {} and its token; its log \
                     and `/metrics` show what it rejected",
                        self.app
                    )
                ));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Posts until it is answered OK.
    async fn post(&self, target: &Target, sample: &Delivery, deadline: Instant) -> Result<()> {
        let mut reported = false;
        loop {
            let posted = target.post(sample).await;
            match posted {
                Err(error) if Instant::now() + POST_EVERY < deadline => {
                    if !reported {
                        let wait_s = self.wait.as_secs();
                        say(&format!("{}\nretrying for up to {wait_s} s", diagnostic(&error)));
                        reported = true;
                    }
                    sleep(POST_EVERY).await;
                }
                posted => return posted,
            }
        }
    }
}

/// An event that nobody knows: it is stored as every other, and makes no call, room or live.
fn sample(app: AppId, product: Product, mark: &str) -> Result<(String, Delivery)> {
    let family = match product {
        Product::Call => "Call",
        Product::Room => "Room",
        Product::Live => "Live",
    };
    let command = format!("{family}.CallbackAfterVerify");
    let body = json!({ "CallbackCommand": command, "Mark": mark }).to_string();
    let body = RawValue::from_string(body).map_err(|error| anyhow!("make a sample: {error}"))?;
    let query = event_query::query(app, &command, None, None, None);
    Ok((command, Delivery { query, body: Some(body), ..Delivery::default() }))
}
