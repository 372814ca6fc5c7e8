//! What a command failed with, as it is shown.

use std::error::Error;

use crate::http::TlsError;
use crate::http::problem::Problem;
use crate::registration::client::RegistrationError;
use crate::server::StartError;
use crate::settings::{SecretFileError, SettingsError};
use crate::sockets::SocketError;
use crate::store::{BackupError, ConditionError, SpoolError, StoreError};
use crate::tencent_api::{
    ClientError, CloudError, CloudKeyError, EndpointError, UnknownProduct, UnknownRegion,
    UserSigError, VendorError,
};
use forward::destination::DestinationError;
use forward::destination::headers::HeaderError;
use forward::destination::secret::SecretError;
use forward::destination::target::TargetError;
use forward::http::{BlockedAddress, Failure, HttpClientError, UrlError};
use protocol::diagnostic::{Diagnostic, Hint};

/// Something is registered otherwise than it is wanted. The program ends with 3 then.
#[derive(Debug, thiserror::Error)]
#[error("the registered configuration differs from the wanted one: {0}")]
pub(crate) struct CallbackDrift(pub(crate) String);

impl Hint for CallbackDrift {
    fn hint(&self) -> Option<String> {
        Some("`callback-config apply` registers the wanted one".to_owned())
    }
}

/// The error with its causes, and the hint of the first of them that has one.
pub(crate) fn diagnostic(error: &anyhow::Error) -> Diagnostic {
    let problem = |cause: &(dyn Error + 'static)| match cause.downcast_ref::<Diagnostic>() {
        Some(diagnostic) => diagnostic.problem.clone(),
        None => cause.to_string(),
    };
    let problems: Vec<String> = error.chain().map(problem).collect();
    Diagnostic { problem: problems.join(": "), hint: error.chain().find_map(hint) }
}

/// The hint of an error of one of our modules.
fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    macro_rules! hint_of {
        ($($kind:ty),*) => {
            $(if let Some(error) = error.downcast_ref::<$kind>() {
                return error.hint();
            })*
        };
    }
    hint_of!(
        BackupError,
        BlockedAddress,
        CallbackDrift,
        ClientError,
        CloudError,
        CloudKeyError,
        ConditionError,
        DestinationError,
        Diagnostic,
        EndpointError,
        Failure,
        HeaderError,
        HttpClientError,
        Problem,
        RegistrationError,
        SecretError,
        SecretFileError,
        SettingsError,
        SocketError,
        SpoolError,
        StartError,
        StoreError,
        TargetError,
        TlsError,
        UnknownProduct,
        UnknownRegion,
        UrlError,
        UserSigError,
        VendorError
    );
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
    }

    /// An error that is not in the list loses its hint without a word.
    #[test]
    fn every_error_with_a_hint_is_listed() {
        let list = include_str!("error.rs").split("hint_of!(").nth(1).unwrap();
        let list = list.split(");").next().unwrap();
        let list: Vec<&str> = list.split(',').map(str::trim).collect();
        let mut found = 0;
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let crates = fs::read_dir(root.join("crates")).unwrap();
        let crates = crates.map(|entry| entry.unwrap().path().join("src"));
        for file in crates.chain([root.join("src")]).flat_map(|folder| sources(&folder)) {
            for named in fs::read_to_string(file).unwrap().split("impl Hint for ").skip(1) {
                let name = named.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
                if !name.is_empty() {
                    assert!(list.contains(&name), "`{name}` has a hint and is not in the list");
                    found += 1;
                }
            }
        }
        assert!(found > 10, "{found} found");
    }
}
