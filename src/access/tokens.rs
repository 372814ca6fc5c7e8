//! The tokens in force, and those of files kept up to date.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use secrecy::SecretString;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};
use tracing::{error, info};

use crate::access::scope::Scope;
use crate::access::token_settings::{TokenPlace, TokenSource};
use crate::telemetry::OnChange;
use protocol::diagnostic::Diagnostic;

/// Interval of reading the files again.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// How many tokens of one name there may be: while one is rotated there are two.
const LINES_MAX: usize = 8;

/// Reads a file of tokens.
type Read = fn(&Path) -> Result<SecretString, Diagnostic>;

/// What a request may do, and by which token. It does not hold the token.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    name: Arc<str>,
    scope: Scope,
    /// The hash of its token; absent where none is required.
    digest: Option<[u8; 32]>,
}

impl Grant {
    /// The name of its token.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn scope(&self) -> Scope {
        self.scope
    }

    /// Whether it allows what needs this scope.
    pub(crate) fn allows(&self, scope: Scope) -> bool {
        self.scope >= scope
    }

    /// Of everybody, where no token is required.
    fn everybody() -> Self {
        Self { name: "none".into(), scope: Scope::Admin, digest: None }
    }
}

/// A token in force.
#[derive(Clone)]
struct AccessToken {
    digest: [u8; 32],
    grant: Grant,
}

/// The tokens of the operations listener. Without any, none is required.
pub(crate) struct AccessTokens {
    sources: Vec<TokenSource>,
    /// The least length of a token.
    bytes_min: usize,
    read: Read,
    current: RwLock<Arc<[AccessToken]>>,
}

impl fmt::Debug for AccessTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessTokens").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl AccessTokens {
    /// Reads the tokens that are in files.
    ///
    /// # Errors
    /// A file cannot be read, a token is too short, or two are the same.
    pub(crate) fn load(
        sources: Vec<TokenSource>,
        bytes_min: usize,
        read: Read,
    ) -> Result<Self, Diagnostic> {
        let tokens = Self { sources, bytes_min, read, current: RwLock::new(Arc::new([])) };
        let texts = tokens.sources.iter().map(|source| tokens.text(source));
        let read = tokens.parse(&texts.collect::<Result<Vec<_>, _>>()?)?;
        tokens.set(read.into());
        Ok(tokens)
    }

    /// Whether a token is required.
    pub(crate) fn is_required(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether one of them is in a file.
    pub(crate) fn has_files(&self) -> bool {
        self.sources.iter().any(TokenSource::is_file)
    }

    /// What a token allows; `None` where it is wrong. Compares hashes in constant time and with every token, so that the
    /// time of an answer reveals neither content nor length, nor which one is alike.
    pub(crate) fn find(&self, sent: &[u8]) -> Option<Grant> {
        if !self.is_required() {
            return Some(Grant::everybody());
        }
        let sent: [u8; 32] = Sha256::digest(sent).into();
        let all = self.current();
        let (mut place, mut found) = (0_u64, Choice::from(0));
        for (number, token) in (0_u64..).zip(all.iter()) {
            let is_it = token.digest.ct_eq(&sent);
            place.conditional_assign(&number, is_it);
            found |= is_it;
        }
        let token = all.get(usize::try_from(place).unwrap_or(usize::MAX))?;
        bool::from(found).then(|| token.grant.clone())
    }

    /// Whether the token of a grant is still in force, with the same scope.
    pub(crate) fn holds(&self, grant: &Grant) -> bool {
        match grant.digest {
            None => !self.is_required(),
            Some(digest) => self
                .current()
                .iter()
                .any(|token| token.digest == digest && token.grant.scope == grant.scope),
        }
    }

    /// Reads the files again and again. While one is unusable, the tokens before stay in force. Never returns.
    pub(crate) async fn keep_up(self: Arc<Self>) {
        let mut failure = OnChange::default();
        loop {
            tokio::time::sleep(POLL_INTERVAL).await;
            let tokens = self.clone();
            // Blocking I/O: the disk may be slow.
            let looked = tokio::task::spawn_blocking(move || tokens.look()).await;
            match looked.unwrap_or_else(|error| {
                let problem = format!("read the files of tokens: {error}");
                Err(Diagnostic::new(problem, "report this as a bug"))
            }) {
                Ok(()) => {
                    failure.clear();
                }
                Err(found) if !failure.is_new(&found) => {}
                Err(Diagnostic { problem: reason, hint }) => {
                    error!(
                        reason,
                        hint, "a changed token cannot be used; the ones before stay in force"
                    );
                }
            }
        }
    }

    /// Puts the tokens of changed files in force.
    fn look(&self) -> Result<(), Diagnostic> {
        let mut texts = Vec::with_capacity(self.sources.len());
        for source in &self.sources {
            if let TokenPlace::File(path) = &source.place {
                // Reading something else, for example a pipe, might never end.
                let is_odd = path.metadata().is_ok_and(|found| !found.is_file());
                if is_odd {
                    let hint = "put the token into a regular file";
                    return Err(source.wrong(" names no file that can be read again", hint));
                }
            }
            texts.push(self.text(source)?);
        }
        let (before, now) = (self.current(), self.parse(&texts)?);
        let digests = |tokens: &[AccessToken], name: &str| -> Vec<[u8; 32]> {
            let of_name = tokens.iter().filter(|token| token.grant.name() == name);
            of_name.map(|token| token.digest).collect()
        };
        let changed =
            |source: &&TokenSource| digests(&before, &source.name) != digests(&now, &source.name);
        let changed: Vec<&TokenSource> = self.sources.iter().filter(changed).collect();
        if changed.is_empty() {
            return Ok(());
        }
        for TokenSource { name, .. } in changed {
            let tokens = digests(&now, name).len();
            info!(target: "audit", token = name, tokens, "a changed token is in force");
        }
        self.set(now.into());
        Ok(())
    }

    fn text(&self, source: &TokenSource) -> Result<SecretString, Diagnostic> {
        match &source.place {
            TokenPlace::Settings(text) => Ok(text.clone()),
            TokenPlace::File(path) => source.read(path, self.read),
        }
    }

    fn parse(&self, texts: &[SecretString]) -> Result<Vec<AccessToken>, Diagnostic> {
        let mut all: Vec<AccessToken> = Vec::new();
        for (source, text) in self.sources.iter().zip(texts) {
            let tokens = source.tokens(text, self.bytes_min)?;
            if tokens.len() > LINES_MAX {
                let problem = format!(" has more than {LINES_MAX} lines");
                return Err(source.wrong(&problem, "remove the old tokens"));
            }
            let name: Arc<str> = source.name.as_str().into();
            for token in tokens {
                let digest: [u8; 32] = Sha256::digest(token).into();
                if let Some(other) = all.iter().find(|other| other.digest == digest) {
                    let problem = format!(": it is also a token of `{}`", other.grant.name());
                    let hint = "give each name a token of its own: the log says who exported by it";
                    return Err(source.wrong(&problem, hint));
                }
                let (name, scope) = (name.clone(), source.scope);
                all.push(AccessToken {
                    digest,
                    grant: Grant { name, scope, digest: Some(digest) },
                });
            }
        }
        Ok(all)
    }

    /// A poisoned lock only means that another thread panicked: the tokens are replaced whole.
    fn current(&self) -> Arc<[AccessToken]> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, tokens: Arc<[AccessToken]>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = tokens;
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::access::token_settings::{TokenSettings, check_together};

    fn read(path: &Path) -> Result<SecretString, Diagnostic> {
        let text = fs::read_to_string(path);
        text.map(SecretString::from).map_err(|error| error.to_string().into())
    }

    fn of_file(name: &str, path: &Path, scope: Scope) -> TokenSettings {
        let (name, token_file) = (name.to_owned(), Some(path.to_owned()));
        TokenSettings { name, token: None, token_file, scopes: vec![scope] }
    }

    fn load(admin: &str, tokens: &[TokenSettings]) -> Result<AccessTokens, Diagnostic> {
        AccessTokens::load(check_together(&admin.into(), tokens, 0)?, 0, read)
    }

    #[test]
    fn a_token_is_found_with_its_name_and_scope() {
        let read = TokenSettings::of_variable(Scope::Read, "new\nold".to_owned());
        let tokens = load("s3cret", &[read]).unwrap();
        let found = |sent: &str| {
            let grant = tokens.find(sent.as_bytes())?;
            Some((grant.name().to_owned(), grant.scope()))
        };
        assert_eq!(found("s3cret"), Some(("ops.token".to_owned(), Scope::Admin)));
        for sent in ["new", "old"] {
            assert_eq!(found(sent), Some(("read".to_owned(), Scope::Read)));
        }
        for sent in ["", "s3cre", "new\nold", "ne"] {
            assert_eq!(found(sent), None, "{sent}");
        }
        assert!(load("", &[]).unwrap().find(b"").unwrap().allows(Scope::Admin));
        assert!(!format!("{tokens:?}").contains("s3cret"), "{tokens:?}");
    }

    #[test]
    fn a_changed_file_is_in_force_and_an_unusable_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        fs::write(&path, "old\n").unwrap();
        let tokens = load("s3cret", &[of_file("team", &path, Scope::Read)]).unwrap();
        let old = tokens.find(b"old").unwrap();
        fs::write(&path, "new\nold\n").unwrap();
        tokens.look().unwrap();
        assert!(tokens.find(b"new").is_some() && tokens.holds(&old));
        fs::write(&path, "new\n").unwrap();
        tokens.look().unwrap();
        assert!(tokens.find(b"old").is_none() && !tokens.holds(&old));
        for unusable in ["\n", "s3cret", "with a blank"] {
            fs::write(&path, unusable).unwrap();
            let found = tokens.look().unwrap_err().to_string();
            assert!(found.contains("`ops.tokens.token_file` of `team`"), "{found}");
            assert!(!found.contains("s3cret") && !found.contains("blank"), "{found}");
            assert!(tokens.find(b"new").is_some());
        }
        fs::remove_file(&path).unwrap();
        assert!(tokens.look().is_err() && tokens.find(b"new").is_some());
    }

    #[test]
    fn the_scope_is_the_highest_named() {
        for (least, scope) in Scope::ALL.into_iter().enumerate() {
            let tokens = TokenSettings {
                scopes: Scope::ALL[..=least].to_vec(),
                ..TokenSettings::of_variable(scope, "t".to_owned())
            };
            let grant = load("", &[tokens]).unwrap().find(b"t").unwrap();
            let allowed: Vec<Scope> =
                Scope::ALL.into_iter().filter(|it| grant.allows(*it)).collect();
            assert_eq!(allowed, Scope::ALL[..=least]);
        }
    }
}
