//! The secret that this machine's events are signed with: made once, so that a service is told it once.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use secrecy::{ExposeSecret, SecretString};

use crate::cli::forward::command::new_secret;
use forward::destination::secret::SigningSecret;
use protocol::diagnostic::{Diagnostic, Hint};

/// The file below the user's folder for state.
const FILE: &str = "trtc-callbacks/listen-secret";

/// The secret of this machine. The first call makes it.
pub(super) fn machine_secret() -> Result<SigningSecret> {
    let path = state_folder()?.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => parse(&path, text),
        Err(error) if error.kind() == ErrorKind::NotFound => make(&path),
        Err(error) => Err(unusable(&path, &error)),
    }
}

fn state_folder() -> Result<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
    let home = || folder("HOME").filter(|folder| folder.is_absolute());
    state.or_else(|| home().map(|home| home.join(".local/state"))).ok_or_else(|| {
        anyhow!(Diagnostic::new(
            "there is no folder to keep the secret of this machine in: HOME is not set",
            "give one with `--secret`; `forward secret` prints a new one"
        ))
    })
}

fn parse(path: &Path, text: String) -> Result<SigningSecret> {
    let text = SecretString::from(text);
    let trimmed = SecretString::from(text.expose_secret().trim());
    SigningSecret::parse(&trimmed).map_err(|error| {
        let problem = format!("the secret in {}: {}", path.display(), error.diagnostic().problem);
        anyhow!(Diagnostic::new(problem, "remove the file, and another one is made"))
    })
}

fn make(path: &Path) -> Result<SigningSecret> {
    if let Some(folder) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|error| unusable(path, &error))?;
    }
    let secret = new_secret()?;
    // Written whole under another name first: somebody else may make it at the same time, and reads what is there.
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", uuid::Uuid::new_v4().simple()));
    let new = PathBuf::from(name);
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
    let written = written.and_then(|mut file| {
        writeln!(file, "{}", secret.encode().expose_secret())?;
        file.sync_all()
    });
    let linked = written.and_then(|()| fs::hard_link(&new, path));
    // What is left of it is of no use, whether it was linked or not.
    let removed = fs::remove_file(&new);
    match linked {
        Ok(()) => {
            removed.with_context(|| format!("remove {}", new.display()))?;
            Ok(secret)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let text = fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
            parse(path, text)
        }
        Err(error) => Err(unusable(path, &error)),
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> anyhow::Error {
    let problem = format!("keep the secret of this machine in {}: {error}", path.display());
    anyhow!(Diagnostic::new(problem, "give one with `--secret`; `forward secret` prints a new one"))
}
