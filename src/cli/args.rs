//! Options that several commands share. Doc comments here are their help.
#![expect(clippy::doc_markdown, reason = "the help is shown as it stands, not rendered")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use crate::settings::{Settings, Sources};
use protocol::AppId;
use protocol::diagnostic::Diagnostic;

/// Where settings come from; the same for every command that needs them.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "TRTC_CONFIG", hide_env_values = true)]
    config: Option<PathBuf>,
}

/// The store, for those commands that open it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct StoreArgs {
    /// Database URL: sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE
    #[arg(long, value_name = "URL")]
    store: Option<String>,
}

/// The apps, for those commands that are about one.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AppArgs {
    /// SDKAppID of an app; may be repeated
    #[arg(long, value_name = "ID", visible_alias = "app")]
    sdk_app_id: Vec<String>,
}

impl ConfigArgs {
    pub(crate) fn sources(
        &self,
        store: Option<&StoreArgs>,
        apps: Option<&AppArgs>,
    ) -> Result<Sources> {
        let mut env = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("TRTC_") {
                // Left out, it would leave a default in force where something else was meant.
                let value =
                    value.into_string().map_err(|_| anyhow!("the variable {name} is not UTF-8"))?;
                env.insert(name, value);
            }
        }
        let url = store.and_then(|args| args.store.clone());
        Ok(Sources {
            file: self.config.clone(),
            env,
            // The other address would be that of another database.
            flags: url.map_or_else(Vec::new, |url| {
                vec![("store.url", url), ("store.direct_url", String::new())]
            }),
            sdk_app_ids: apps.map_or_else(Vec::new, |args| args.sdk_app_id.clone()),
            app: None,
        })
    }

    pub(crate) fn load(
        &self,
        store: Option<&StoreArgs>,
        apps: Option<&AppArgs>,
    ) -> Result<Settings> {
        Ok(Settings::load(&self.sources(store, apps)?)?)
    }
}

/// Reads the value of `--app`.
pub(crate) fn app_id(text: Option<&str>) -> Result<Option<AppId>> {
    let Some(text) = text else { return Ok(None) };
    let Some(app) = AppId::parse(text) else {
        let problem = format!("`--app {text}` is not a valid SDKAppID");
        bail!(Diagnostic::new(problem, "give a number such as 1400000001"));
    };
    Ok(Some(app))
}
