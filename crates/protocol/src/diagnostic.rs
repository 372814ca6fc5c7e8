//! What is wrong and what to do about it: the pair that the command line, the log and `doctor` show of every error.

use std::fmt;

/// What is wrong, and what to do about it where that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, on one line.
    pub problem: String,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// A problem and what to do about it.
    pub fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: Some(hint.into()) }
    }

    /// The same, with these words before the problem.
    #[must_use]
    pub fn prefixed(self, words: impl fmt::Display) -> Self {
        Self { problem: format!("{words}{}", self.problem), ..self }
    }
}

/// A problem about which nothing is to be done, or nobody knows what.
impl From<String> for Diagnostic {
    fn from(problem: String) -> Self {
        Self { problem, hint: None }
    }
}

/// The problem and, on a line of its own, the hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{}\nhint: {hint}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}

impl std::error::Error for Diagnostic {}

impl Hint for Diagnostic {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn diagnostic(&self) -> Diagnostic {
        self.clone()
    }
}

/// An error that may know what to do about it. Its `Display` is the problem alone.
pub trait Hint: fmt::Display {
    /// What to do.
    fn hint(&self) -> Option<String>;

    /// The problem and the hint.
    fn diagnostic(&self) -> Diagnostic {
        Diagnostic { problem: self.to_string(), hint: self.hint() }
    }
}
