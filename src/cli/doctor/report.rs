//! What `doctor` found.

use std::fmt::Write as _;

use anyhow::Result;
use serde::Serialize;

use protocol::diagnostic::Diagnostic;

/// How well one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    level: Level,
    /// What was looked at.
    what: &'static str,
    text: String,
    hint: Option<String>,
}

/// What was found, in the order of looking.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Findings {
    checks: Vec<Check>,
}

impl Findings {
    pub(crate) fn ok(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(Level::Ok, what, text.into(), None);
    }

    pub(crate) fn warn(&mut self, what: &'static str, text: impl Into<String>, hint: &str) {
        self.add(Level::Warn, what, text.into(), Some(hint));
    }

    pub(crate) fn fail(&mut self, what: &'static str, text: impl Into<String>, hint: &str) {
        self.add(Level::Fail, what, text.into(), Some(hint));
    }

    /// A failure that may have a hint of its own; `hint` is for one that has none.
    pub(crate) fn error(&mut self, what: &'static str, found: Diagnostic, hint: &str) {
        let hint = found.hint.as_deref().unwrap_or(hint);
        self.fail(what, found.problem, hint);
    }

    fn add(&mut self, level: Level, what: &'static str, text: String, hint: Option<&str>) {
        self.checks.push(Check { level, what, text, hint: hint.map(str::to_owned) });
    }

    pub(crate) fn text(&self) -> Result<String> {
        let mut text = String::new();
        for Check { level, what, text: said, hint } in &self.checks {
            let level = match level {
                Level::Ok => "ok",
                Level::Warn => "warn",
                Level::Fail => "fail",
            };
            writeln!(text, "{level:<4}  {what}: {said}")?;
            if let Some(hint) = hint {
                writeln!(text, "      hint: {hint}")?;
            }
        }
        Ok(text)
    }

    pub(crate) fn failed(&self) -> usize {
        self.checks.iter().filter(|check| check.level == Level::Fail).count()
    }
}
