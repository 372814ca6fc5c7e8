//! What a command failed with, as it is shown.

use std::error::Error;

use crate::diagnostic::{Diagnostic, Hint};
use crate::http::TlsError;
use crate::registration::client::RegistrationError;
use crate::server::StartError;
use crate::settings::{SecretFileError, SettingsError};
use crate::sockets::SocketError;
use crate::store::{BackupError, SpoolError, StoreError};
use crate::tencent_api::{UserSigError, VendorError};

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
        Diagnostic,
        CallbackDrift,
        RegistrationError,
        SecretFileError,
        SettingsError,
        SocketError,
        SpoolError,
        StartError,
        StoreError,
        TlsError,
        UserSigError,
        VendorError
    );
    None
}
