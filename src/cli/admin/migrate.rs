use anyhow::{Context, Result};
use clap::Args;

use crate::cli::args::{ConfigArgs, StoreArgs};
use crate::cli::output;
use crate::clock::Clock;
use crate::store;

/// Apply the database migrations of this version.
///
/// `serve` does so when it starts; use this to run migrations beforehand.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Migrate {
    pub(crate) async fn run(self, clock: &Clock) -> Result<()> {
        let settings = self.config.load(Some(&self.store), None)?;
        let url = store::display_url(&settings.store.url);
        let migrated = async {
            let store = store::open(&settings.store_options()).await?;
            store.migrate().await?;
            store.upkeep(clock.now()).await?;
            store.close().await;
            Ok::<_, store::StoreError>(())
        };
        migrated.await.with_context(|| format!("migrate the store {url}"))?;
        output::print(&format!("the store {url} is up to date\n"))
    }
}
