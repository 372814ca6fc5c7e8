use anyhow::{Result, anyhow, bail};
use clap::Args;

use crate::store::{EventFilter, Filter as _};
use forward::filter::{Filter, Words};
use protocol::diagnostic::Diagnostic;
use protocol::{AppId, Command, Family, UnixMillis};

/// Which events are sent. Each option may be repeated, and means what the lists of `[[forward]]` mean.
#[derive(Debug, Args)]
pub(super) struct FilterOptions {
    /// Only this app (`SDKAppID`); this and each filter below may be repeated
    #[arg(long, value_name = "ID", visible_alias = "sdk-app-id")]
    app: Vec<String>,
    /// Only this family
    #[arg(long, value_name = "NAME")]
    family: Vec<String>,
    /// Only this command; here and in each filter a `*` at the end matches any rest
    #[arg(long, value_name = "NAME")]
    command: Vec<String>,
    /// Only this room
    #[arg(long, value_name = "ID")]
    room: Vec<String>,
    /// Only this call
    #[arg(long, value_name = "ID")]
    call: Vec<String>,
}

impl FilterOptions {
    fn lists(&self) -> [(&'static str, &[String]); 5] {
        [
            ("app", &self.app),
            ("family", &self.family),
            ("command", &self.command),
            ("room", &self.room),
            ("call", &self.call),
        ]
    }

    pub(super) fn compile(&self) -> Result<Filter> {
        let is_exact = |word: &&String| !word.ends_with('*');
        if let Some(app) = self.app.iter().find(|app| is_exact(app) && AppId::parse(app).is_none())
        {
            let problem = format!("`--app {app}` is not a valid SDKAppID");
            bail!(Diagnostic::new(problem, "give a number such as 1400000001"));
        }
        let mut families = self.family.iter().filter(is_exact);
        if let Some(family) = families.find(|family| !Family::NAMES.contains(&family.as_str())) {
            let hint = format!("there are {}", Family::NAMES.join(", "));
            bail!(Diagnostic::new(format!("`--family {family}` is not a family"), hint));
        }
        let words = |name: &str, list: &[String]| {
            Words::compile(list).map_err(|error| {
                let hint = "write exact words, or beginnings with a `*` at the end";
                anyhow!(Diagnostic::new(format!("`--{name}`: {error}"), hint))
            })
        };
        let command = |word: &String| canonical(word).to_owned();
        Ok(Filter {
            apps: words("app", &self.app)?,
            families: words("family", &self.family)?,
            commands: words("command", &self.command.iter().map(command).collect::<Vec<_>>())?,
            rooms: words("room", &self.room)?,
            calls: words("call", &self.call)?,
        })
    }

    /// What the API filters by itself, so that no more than needed is sent: lists of one exact word.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let exact = self.lists().into_iter().filter_map(|(name, list)| match list {
            [word] if !word.ends_with('*') => {
                let word = if name == "command" { canonical(word) } else { word };
                let value = |asked: &str| (asked == name).then_some(word);
                // What it does not take, it need not filter by.
                let is_taken = EventFilter::default().read(value, UnixMillis(0)).is_ok();
                is_taken.then(|| (name, word.to_owned()))
            }
            _ => None,
        });
        exact.collect()
    }

    /// As they are given on a command line.
    pub(super) fn arguments(&self) -> Vec<String> {
        let lists = self.lists().into_iter();
        lists
            .flat_map(|(name, list)| {
                list.iter().flat_map(move |word| [format!("--{name}"), word.clone()])
            })
            .collect()
    }
}

/// An alias of a command is stored under the command's name.
fn canonical(word: &str) -> &str {
    Command::find(word).map_or(word, |command| command.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(command: &[&str], app: &[&str]) -> FilterOptions {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect();
        FilterOptions {
            app: words(app),
            family: Vec::new(),
            command: words(command),
            room: Vec::new(),
            call: vec!["a b".to_owned()],
        }
    }

    #[test]
    fn one_exact_word_is_left_to_the_server() {
        let one = options(&["Call.CallbackAfterEndCall"], &["1400000001"]).query();
        let names: Vec<&str> = one.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["app", "command", "call"]);
        let others = options(&["Call.*"], &["1", "2"]).query();
        assert_eq!(others, [("call", "a b".to_owned())]);
    }

    #[test]
    fn wrong_words_are_refused() {
        assert!(options(&["Call.*"], &["14*"]).compile().is_ok());
        for (command, app) in [("a*b", "1"), ("", "1"), ("a", "x")] {
            assert!(options(&[command], &[app]).compile().is_err(), "{command} {app}");
        }
    }
}
