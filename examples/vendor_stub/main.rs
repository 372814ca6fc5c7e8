//! A stand-in for the vendor's REST API, to try the registration of callbacks without an app at the vendor.
//!
//! ```sh
//! echo 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef > key
//! cargo run --example vendor_stub -- --sdk-app-id 1400000001 --secret-key-file key
//! ```
//!
//! Then call it with `--host http://127.0.0.1:9191`. What is registered is shown at `/stub/state`; a fault is planned
//! with `curl -d '{"action":"set_callback","times":2,"fault":{"code":60008}}' http://127.0.0.1:9191/stub/fault`.

mod book;
mod gate;
mod reply;
#[expect(dead_code, reason = "the tests look at all of it")]
mod seen;
#[expect(dead_code, reason = "the tests use all of it")]
mod stub;
mod ticket;

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use stub::{App, Options, Stub};
use trtc_callbacks::clock::Clock;

/// Answers as the vendor's REST API for callback configurations does, and keeps nothing when it ends.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9191")]
    listen: SocketAddr,
    /// The app that it knows
    #[arg(long, value_name = "ID")]
    sdk_app_id: i64,
    /// The file with the app's secret key
    #[arg(long, value_name = "FILE")]
    secret_key_file: PathBuf,
    /// An admin of the app; may be given several times
    #[arg(long = "admin", default_value = "administrator")]
    admins: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let file = &arguments.secret_key_file;
    let key = std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let app = App { admins: arguments.admins, ..App::new(arguments.sdk_app_id, key.trim()) };
    let options = Options { apps: vec![app], ..Options::new(Clock::system()) };
    let stub = Stub::start(arguments.listen, options).await.context("listen")?;
    println!("the stand-in is at {}; Ctrl-C ends it", stub.origin());
    tokio::signal::ctrl_c().await.context("wait for Ctrl-C")?;
    Ok(())
}
