//! `[[ops.tokens]]`: the tokens as they are configured. The keys are explained in `config/default.toml`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::access::scope::Scope;
use protocol::diagnostic::Diagnostic;

/// The keys of a token's table, which the defaults show in a comment only.
pub(crate) const TOKEN_KEYS: [&str; 4] = ["name", "token", "token_file", "scopes"];
/// The name of the token that is set as `ops.token`.
const ADMIN: &str = "ops.token";
/// The longest name of a token, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// How many tokens may be configured.
const TOKENS_MAX: usize = 100;
const MAKE_ONE: &str = "`openssl rand -hex 24` makes one";

/// One of `[[ops.tokens]]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "each key is explained once, in config/default.toml")]
pub struct TokenSettings {
    pub name: String,
    #[serde(default)]
    pub token: Option<SecretString>,
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    #[serde(default)]
    pub scopes: Vec<Scope>,
}

/// A configured token: its name, what it allows, and where it is.
#[derive(Debug, Clone)]
pub(crate) struct TokenSource {
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) place: TokenPlace,
}

/// Where a token is: one on each line, so that there can be the old and the new one.
#[derive(Debug, Clone)]
pub(crate) enum TokenPlace {
    Settings(SecretString),
    File(PathBuf),
}

impl TokenSource {
    /// The one that allows everything.
    pub(crate) fn admin(token: &SecretString) -> Self {
        let (name, place) = (ADMIN.to_owned(), TokenPlace::Settings(token.clone()));
        Self { name, scope: Scope::Admin, place }
    }

    /// Whether it is in a file.
    pub(crate) fn is_file(&self) -> bool {
        matches!(self.place, TokenPlace::File(_))
    }

    /// Its first token, for a command that asks a server with it.
    pub(crate) fn first(
        &self,
        read: impl Fn(&Path) -> Result<SecretString, Diagnostic>,
    ) -> Result<SecretString, Diagnostic> {
        let text = match &self.place {
            TokenPlace::Settings(text) => text.clone(),
            TokenPlace::File(path) => self.read(path, read)?,
        };
        let first = self.tokens(&text, 0)?.first().copied().unwrap_or_default();
        Ok(first.into())
    }

    /// What its file holds.
    pub(super) fn read(
        &self,
        path: &Path,
        read: impl Fn(&Path) -> Result<SecretString, Diagnostic>,
    ) -> Result<SecretString, Diagnostic> {
        let of = format_args!("key `ops.tokens.token_file` of `{}`: ", self.name);
        read(path).map_err(|found| found.prefixed(of))
    }

    /// What is wrong with it, with its name.
    pub(super) fn wrong(&self, problem: &str, hint: &str) -> Diagnostic {
        let key = match &self.place {
            TokenPlace::File(_) => "token_file",
            TokenPlace::Settings(_) => "token",
        };
        if self.name == ADMIN {
            return Diagnostic::new(format!("key `ops.token`{problem}"), hint);
        }
        Diagnostic::new(format!("key `ops.tokens.{key}` of `{}`{problem}", self.name), hint)
    }

    /// The tokens in a text, one on each line.
    pub(super) fn tokens<'a>(
        &self,
        text: &'a SecretString,
        bytes_min: usize,
    ) -> Result<Vec<&'a str>, Diagnostic> {
        let lines = text.expose_secret().lines().map(str::trim);
        let tokens: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        if tokens.is_empty() {
            return Err(self.wrong(" is empty", MAKE_ONE));
        }
        if tokens.iter().any(|token| token.len() < bytes_min) {
            let problem = format!(
                " has fewer than {bytes_min} characters, and `ops.listen` is reachable by others, who could guess it"
            );
            let hint = "make a longer one with `openssl rand -hex 24`, or listen on 127.0.0.1";
            return Err(self.wrong(&problem, hint));
        }
        let is_plain = |token: &&str| token.bytes().all(|byte| byte.is_ascii_graphic());
        // What was set as the only token before there were others is taken as it was.
        if self.name != ADMIN && !tokens.iter().all(is_plain) {
            let problem = " has other characters than visible ones of ASCII";
            return Err(self.wrong(problem, "put one token on each line, and nothing else"));
        }
        Ok(tokens)
    }
}

impl TokenSettings {
    /// One that a variable sets: it is called as its scope.
    pub(crate) fn of_variable(scope: Scope, token: String) -> Self {
        let (name, token) = (scope.as_str().to_owned(), Some(token.into()));
        Self { name, token, token_file: None, scopes: vec![scope] }
    }

    fn source(&self) -> Result<TokenSource, Diagnostic> {
        let Self { name, token, token_file, scopes } = self;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(plain) {
            // Not repeated: it may be the token.
            let problem = "key `ops.tokens.name`: one is not a name";
            let hint = "use letters, digits, `-`, `_` and `.`, at most 64: `grafana`, for example";
            return Err(Diagnostic::new(problem, hint));
        }
        if name == ADMIN {
            let problem = "key `ops.tokens.name`: `ops.token` is the name of the key `ops.token`";
            return Err(Diagnostic::new(problem, "give it another one"));
        }
        let place = match (token, token_file) {
            (Some(token), None) => TokenPlace::Settings(token.clone()),
            (None, Some(file)) => TokenPlace::File(file.clone()),
            (None, None) => {
                let problem = format!("key `ops.tokens`: `{name}` has no token");
                return Err(Diagnostic::new(problem, "set its `token_file` or `token`"));
            }
            (Some(_), Some(_)) => {
                let problem =
                    format!("key `ops.tokens.token_file` of `{name}`: `token` is set too");
                return Err(Diagnostic::new(problem, "set one of both"));
            }
        };
        let Some(scope) = scopes.iter().copied().max() else {
            let problem = format!("key `ops.tokens.scopes` of `{name}` is empty");
            let hint = "give `[\"metrics\"]`, `[\"read\"]`, `[\"export\"]` or `[\"admin\"]`";
            return Err(Diagnostic::new(problem, hint));
        };
        Ok(TokenSource { name: name.clone(), scope, place })
    }
}

/// The tokens, each checked as far as it can be without its file, and all of them together.
pub(crate) fn check_together(
    admin: &SecretString,
    tokens: &[TokenSettings],
    bytes_min: usize,
) -> Result<Vec<TokenSource>, Diagnostic> {
    let is_set = !admin.expose_secret().is_empty();
    let mut sources = vec![TokenSource::admin(admin)];
    sources.retain(|_| is_set);
    let mut names = BTreeSet::new();
    for token in tokens {
        let source = token.source()?;
        if !names.insert(token.name.as_str()) {
            let problem = format!("key `ops.tokens.name`: `{}` stands twice", token.name);
            let hint = "the log says who exported by this name; to rotate, put the old and the new token on \
                        two lines of its file";
            return Err(Diagnostic::new(problem, hint));
        }
        sources.push(source);
    }
    if sources.len() > TOKENS_MAX {
        let problem = format!("key `ops.tokens`: there are more than {TOKENS_MAX}");
        return Err(Diagnostic::new(problem, "let people of one team share a token"));
    }
    for source in &sources {
        if let TokenPlace::Settings(text) = &source.place {
            source.tokens(text, bytes_min)?;
        }
    }
    Ok(sources)
}
