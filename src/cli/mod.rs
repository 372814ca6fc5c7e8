//! The command line. Doc comments here are its help.
#![expect(clippy::doc_markdown, reason = "the help is shown as it stands, not rendered")]
#![expect(rustdoc::bare_urls, reason = "the help is shown as it stands, not rendered")]

use std::time::Duration;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};

use crate::clock::Clock;
use crate::settings;
use protocol::letters;

pub(crate) mod admin;
pub(crate) mod args;
mod check_config;
mod commands;
mod completions;
pub(crate) mod doctor;
pub(crate) mod error;
pub(crate) mod forward;
mod healthcheck;
pub(crate) mod listen;
mod man;
pub(crate) mod output;
mod own_server;
pub(crate) mod prompt;
pub(crate) mod read;
mod serve;
#[cfg(feature = "nats")]
pub(crate) mod stream;
pub(crate) mod tencent;
pub(crate) mod traffic;

/// How long the end of a command waits for threads that are still busy.
const STUCK_WAIT: Duration = Duration::from_secs(1);

/// Receives the callbacks of Tencent RTC and keeps every event.
///
/// Without a command it serves. Try it: run `trtc-callbacks serve --sdk-app-id 1400000001`, then, in another terminal,
/// `trtc-callbacks simulate` and `trtc-callbacks events`.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, max_term_width = 80)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Serve,
}

// A comment on a variant would hide its struct's, all but the first line of which `--help` alone shows.
#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    Migrate(admin::migrate::Migrate),
    Backup(admin::backup::BackupStore),
    CheckConfig(check_config::CheckConfig),
    /// Print every setting with its default and meaning
    DefaultConfig,
    Events(read::events::Events),
    Export(read::export::Export),
    Calls(read::calls::list::Calls),
    Call(read::calls::one::OneCall),
    Rooms(read::rooms::list::Rooms),
    Room(read::rooms::one::OneRoom),
    Lives(read::rooms::lives::Lives),
    Live(read::rooms::one::OneLive),
    RtcRooms(read::rtc::rooms::RtcRooms),
    RtcRoom(read::rtc::room::OneRtcRoom),
    Recordings(read::recordings::Recordings),
    RtcTasks(read::rtc::tasks::RtcTasks),
    RtcRepair(tencent::rtc_repair::command::RtcRepair),
    Forward(forward::command::Forward),
    Listen(listen::command::Listen),
    #[cfg(feature = "nats")]
    Stream(stream::command::Stream),
    Send(traffic::send::Send),
    Replay(traffic::replay::Replay),
    Simulate(traffic::simulate::Simulate),
    Commands(commands::Commands),
    #[command(name = "callback-config")]
    CallbackConfig(tencent::callback_config::CallbackConfigs),
    #[command(name = "callback-token")]
    CallbackToken(tencent::token::CallbackTokens),
    #[command(name = "usersig")]
    UserSig(tencent::usersig::UserSigs),
    Doctor(doctor::checks::Doctor),
    EraseUser(admin::erase_user::EraseUser),
    Rebuild(admin::rebuild::RebuildModels),
    Healthcheck(healthcheck::Healthcheck),
    Completions(completions::Completions),
    #[command(hide = true)]
    Man(man::ManPages),
}

/// Runs what the command line says.
///
/// # Errors
/// What failed, why, and what to do, to be printed behind `error:`.
pub fn run(cli: Cli) -> Result<()> {
    let clock = Clock::system();
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(serve) => wait_for(serve.run(clock)),
        Command::Migrate(migrate) => wait_for(migrate.run(&clock)),
        Command::Backup(backup) => wait_for(backup.run()),
        Command::CheckConfig(check) => check.run(),
        Command::DefaultConfig => output::print(settings::DEFAULTS),
        Command::Events(events) => wait_for(events.run(&clock)),
        Command::Export(export) => wait_for(export.run(&clock)),
        Command::Calls(calls) => wait_for(calls.run(&clock)),
        Command::Call(call) => wait_for(call.run()),
        Command::Rooms(rooms) => wait_for(rooms.run(&clock)),
        Command::Room(room) => wait_for(room.run()),
        Command::Lives(lives) => wait_for(lives.run(&clock)),
        Command::Live(live) => wait_for(live.run()),
        Command::RtcRooms(rooms) => wait_for(rooms.run(&clock)),
        Command::RtcRoom(room) => wait_for(room.run(&clock)),
        Command::Recordings(recordings) => wait_for(recordings.run(&clock)),
        Command::RtcTasks(tasks) => wait_for(tasks.run(&clock)),
        Command::RtcRepair(repair) => wait_for(repair.run(&clock)),
        Command::Forward(forward) => wait_for(forward.run(&clock)),
        Command::Listen(listen) => wait_for(listen.run(clock)),
        #[cfg(feature = "nats")]
        Command::Stream(stream) => wait_for(stream.run(&clock)),
        Command::Send(send) => wait_for(send.run(&clock)),
        Command::Replay(replay) => wait_for(replay.run(&clock)),
        Command::Simulate(simulate) => wait_for(simulate.run(&clock)),
        Command::Commands(commands) => commands.run(),
        Command::CallbackConfig(config) => wait_for(config.run(&clock)),
        Command::CallbackToken(token) => wait_for(token.run(&clock)),
        Command::UserSig(usersig) => usersig.run(&clock),
        Command::Doctor(doctor) => wait_for(doctor.run(&clock)),
        Command::EraseUser(erase) => wait_for(erase.run(&clock)),
        Command::Rebuild(rebuild) => wait_for(rebuild.run(&clock)),
        Command::Healthcheck(check) => wait_for(check.run()),
        Command::Completions(completions) => completions.run(Cli::command()),
        Command::Man(pages) => pages.run(Cli::command()),
    }
}

/// What the program ends with after this error: 3 where `callback-config check` found a difference, otherwise 1.
#[must_use]
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<error::CallbackDrift>() { 3 } else { 1 }
}

/// What the program says of this error. Some of it may be from elsewhere: letters that would steer a terminal are spelled
/// out.
#[must_use]
pub fn error_text(error: &anyhow::Error) -> String {
    letters::spelled_in_lines(&format!("error: {}", error::diagnostic(error))).into_owned()
}

/// Runs a command to its end. A thread that is stuck by then is left behind, so that it does not keep the process.
fn wait_for(command: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("start the runtime")?;
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(STUCK_WAIT);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_for_an_app_has_both_names() {
        const NAMES: [&str; 2] = ["app", "sdk-app-id"];
        let mut root = Cli::command();
        root.build();
        let (mut rest, mut with_app) = (vec![&root], Vec::new());
        while let Some(command) = rest.pop() {
            rest.extend(command.get_subcommands());
            for option in command.get_arguments() {
                let name = option.get_long().into_iter();
                let names: Vec<_> =
                    name.chain(option.get_visible_aliases().into_iter().flatten()).collect();
                if names.iter().any(|name| NAMES.contains(name)) {
                    let (command, both) =
                        (command.get_bin_name(), NAMES.map(|name| names.contains(&name)));
                    assert_eq!(both, [true; 2], "{command:?} takes the app as {names:?} only");
                    with_app.extend(command);
                }
            }
        }
        for one in [
            "serve",
            "send",
            "simulate",
            "doctor",
            "events",
            "export rooms",
            "room",
            "erase-user",
            "usersig make",
            "callback-config apply",
        ] {
            let name = format!("trtc-callbacks {one}");
            assert!(with_app.contains(&name.as_str()), "{name} takes no app: {with_app:?}");
        }
    }
}
