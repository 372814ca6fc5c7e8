//! Signs the calls of one admin account, and keeps a signature while it is good for long enough.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use secrecy::SecretString;

use crate::usersig::{UserSig, UserSigError};
use protocol::AppId;
use protocol::UnixMillis;

/// How long a signature is valid. Enough for a clock that is some minutes off, and short for a leaked one.
const VALID_FOR: Duration = Duration::from_mins(30);
/// A signature is not used any more this long before it ends: it has to arrive, where the clock may be ahead of ours.
const MARGIN: Duration = Duration::from_mins(5);

/// Signs calls as one account of one app.
pub struct Signer {
    app: AppId,
    identifier: String,
    key: SecretString,
    now: Box<dyn Fn() -> UnixMillis + Send + Sync>,
    kept: Mutex<Option<CachedSig>>,
}

struct CachedSig {
    made_at: UnixMillis,
    text: SecretString,
}

impl Signer {
    /// Signs as `identifier`, an admin of the app, with the app's secret key (`SDKSecretKey`). `now` gives the present
    /// moment each time it is called.
    ///
    /// # Errors
    /// The identifier is no account's name, or the key is none.
    pub fn new(
        app: AppId,
        identifier: &str,
        key: SecretString,
        now: impl Fn() -> UnixMillis + Send + Sync + 'static,
    ) -> Result<Self, UserSigError> {
        UserSig::new(app, identifier, &key, now(), VALID_FOR)?;
        let identifier = identifier.to_owned();
        Ok(Self { app, identifier, key, now: Box::new(now), kept: Mutex::new(None) })
    }

    /// The app that calls are about.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.app
    }

    /// The account that calls.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// A signature that is good for some minutes more: the one before, where it is.
    ///
    /// # Errors
    /// None can be made.
    pub fn sign(&self) -> Result<SecretString, UserSigError> {
        let now = (self.now)();
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.as_ref() {
            // One from the future is of a clock that was set back meanwhile.
            let good = now >= kept.made_at && now.since(kept.made_at) + MARGIN < VALID_FOR;
            if good {
                return Ok(kept.text.clone());
            }
        }
        drop(kept);
        self.sign_anew()
    }

    /// A signature that nobody has seen: for another try, since the one before may be why it failed.
    ///
    /// # Errors
    /// None can be made.
    pub fn sign_anew(&self) -> Result<SecretString, UserSigError> {
        let made_at = (self.now)();
        let ticket = UserSig::new(self.app, &self.identifier, &self.key, made_at, VALID_FOR)?;
        let text = ticket.encode();
        let kept = CachedSig { made_at, text: text.clone() };
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(text)
    }

    /// The key, to be kept out of what is shown.
    pub(crate) fn key(&self) -> &SecretString {
        &self.key
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("app", &self.app)
            .field("identifier", &self.identifier)
            .finish_non_exhaustive()
    }
}
