use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::cli::output;
use protocol::{Command, Family};

/// List the known callback commands.
///
/// Other commands are stored too, untyped, in the family of their prefix.
#[derive(Debug, Args)]
pub(crate) struct Commands {
    /// A family, or part of a command's name or alias; case is ignored
    filter: Option<String>,
    /// Print JSON lines, with the paths of subject and time in the body
    #[arg(long)]
    json: bool,
}

impl Commands {
    pub(crate) fn run(self) -> Result<()> {
        let wanted = self.filter.unwrap_or_default().to_lowercase();
        let is_family = Family::ALL.iter().any(|family| family.as_str() == wanted);
        let shown = Command::all().filter(|command| {
            if is_family {
                return command.family.as_str() == wanted;
            }
            let mut names = command.aliases.iter().chain([&command.name]);
            names.any(|name| name.to_lowercase().contains(&wanted))
        });
        if self.json {
            let lines = shown.map(|command| describe(command).to_string() + "\n");
            return output::print_json(&lines.collect::<String>());
        }
        let mut table = output::table(&["COMMAND", "FAMILY", "KIND", "BODY", "ALIASES"]);
        for command in shown {
            let body = if command.is_typed() { "typed" } else { "untyped" };
            table.add_row([
                command.name,
                command.family.as_str(),
                command.kind.as_str(),
                body,
                &command.aliases.join(", "),
            ]);
        }
        output::print(&format!("{}\n", table.trim_fmt()))
    }
}

fn describe(command: &Command) -> serde_json::Value {
    json!({
        "command": command.name,
        "aliases": command.aliases,
        "family": command.family,
        "kind": command.kind,
        "typed": command.is_typed(),
        "call_id": command.call_id,
        "room_id": command.room_id,
        "operator": command.operator,
        "time": command.time,
        "page": command.page,
    })
}
