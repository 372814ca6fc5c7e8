use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::callback::Command;

/// List the commands the vendor sends.
///
/// A command that is not listed is stored all the same, untyped, in the family of its prefix.
#[derive(Debug, Args)]
pub(super) struct Commands {
    /// Only commands whose name, alias or family contains this, in any case
    filter: Option<String>,
    /// One JSON object a line, with the places of subject and time in the body
    #[arg(long)]
    json: bool,
}

impl Commands {
    pub(super) fn run(self) -> Result<()> {
        let wanted = self.filter.unwrap_or_default().to_lowercase();
        let shown = Command::all().filter(|command| {
            let names = command.aliases.iter().chain([&command.name]);
            names.map(|name| name.to_lowercase()).any(|name| name.contains(&wanted))
                || command.family.as_str().contains(&wanted)
        });
        if self.json {
            let lines = shown.map(|command| describe(command).to_string() + "\n");
            return super::print(&lines.collect::<String>());
        }
        let mut table = super::table(&["COMMAND", "FAMILY", "KIND", "BODY", "ALIASES"]);
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
        super::print(&format!("{}\n", table.trim_fmt()))
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
