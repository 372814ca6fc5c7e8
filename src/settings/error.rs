//! What is wrong with settings.

use protocol::diagnostic::{Diagnostic, Hint};

/// What is wrong with the settings, and what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.problem)]
pub struct SettingsError(Diagnostic);

impl From<Diagnostic> for SettingsError {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(diagnostic)
    }
}

impl SettingsError {
    pub(super) fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self(Diagnostic::new(problem, hint))
    }
}

impl Hint for SettingsError {
    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

/// Keeps what a file holds out of the text: it may be a secret in the wrong place.
impl From<config::ConfigError> for SettingsError {
    fn from(error: config::ConfigError) -> Self {
        let text = error.to_string();
        if let Some(problem) = of_parser(&text) {
            return Self::new(
                problem,
                "`trtc-callbacks default-config` prints a file to compare with",
            );
        }
        // "invalid type: string "abc", expected an integer for key `server.port` in my.toml"
        let problem = match text.split_once(", expected ") {
            Some((_, expected)) => format!("expected {expected}"),
            None => text,
        };
        Self::new(problem, "`trtc-callbacks default-config` explains every key")
    }
}

/// What a parser says, without the text of the line it stumbled over:
/// "TOML parse error at line 2, column 5", some lines that show it, "unclosed array, expected `]`", " in my.toml".
fn of_parser(text: &str) -> Option<String> {
    let (place, rest) = text.strip_prefix("TOML parse error at ")?.split_once('\n')?;
    let shows = |line: &&str| {
        line.trim_start_matches(|letter: char| letter == ' ' || letter.is_ascii_digit())
            .starts_with('|')
    };
    let said: Vec<&str> = rest.lines().skip_while(shows).map(str::trim).collect();
    Some(format!("invalid TOML at {place}: {}", said.join(" ").trim()))
}
