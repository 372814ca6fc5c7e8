//! From an app's settings to who calls the vendor's API for it. What is to be registered there is
//! [`CallbackSettings::wanted`](crate::settings::CallbackSettings::wanted).

use secrecy::SecretString;

use crate::clock::Clock;
use crate::settings::{AppSettings, SecretFileError, read_secret};
use crate::tencent_api::{
    Client, ClientError, Endpoint, EndpointError, Limits, Signer, UserSigError,
};
use protocol::AppId;
use protocol::diagnostic::Hint;

/// As whom the vendor's API is called where nobody says: every app has this admin.
pub(crate) const IDENTIFIER: &str = "administrator";

/// Why the vendor's API cannot be called for an app.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationError {
    #[error("`{0}` is not a valid SDKAppID")]
    NoAppId(String),
    #[error("there is no secret key of app {0}")]
    NoKey(AppId),
    #[error("read the secret key of app {app}: {error}")]
    Key { app: AppId, error: SecretFileError },
    #[error("it is not said where app {0} was made")]
    NoRegion(AppId),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Unsigned(#[from] UserSigError),
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Hint for RegistrationError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoAppId(_) => "give a number such as 1400000001",
            Self::NoKey(_) => {
                "give `--secret-key-file FILE`, set TRTC_SECRET_KEY or TRTC_SECRET_KEY_FILE, or set `secret_key_file` \
                 in its `[[apps]]` table"
            }
            Self::NoRegion(_) => {
                "give `--region singapore` for most apps of the international site, `--region china` for those of the \
                 Chinese one, or set `region` in its `[[apps]]` table (TRTC_REGION)"
            }
            Self::Key { error, .. } => return error.hint(),
            Self::Endpoint(error) => return error.hint(),
            Self::Unsigned(error) => return error.hint(),
            Self::Client(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

/// The app's id.
pub(crate) fn app_id(app: &AppSettings) -> Result<AppId, RegistrationError> {
    AppId::parse(&app.sdk_app_id).ok_or_else(|| RegistrationError::NoAppId(app.sdk_app_id.clone()))
}

/// The app's secret key; absent where the settings have none.
pub(crate) fn secret_key(app: &AppSettings) -> Result<Option<SecretString>, RegistrationError> {
    match (&app.secret_key, &app.secret_key_file) {
        (Some(key), _) => Ok(Some(key.clone())),
        (None, None) => Ok(None),
        (None, Some(path)) => match read_secret(path) {
            Ok(key) => Ok(Some(key)),
            Err(error) => Err(RegistrationError::Key { app: app_id(app)?, error }),
        },
    }
}

/// Who signs calls for the app.
pub(crate) fn signer(app: &AppSettings, clock: &Clock) -> Result<Signer, RegistrationError> {
    let id = app_id(app)?;
    let key = secret_key(app)?.ok_or(RegistrationError::NoKey(id))?;
    let identifier = app.identifier.as_deref().unwrap_or(IDENTIFIER);
    let clock = clock.clone();
    Ok(Signer::new(id, identifier, key, move || clock.now())?)
}

/// Who calls the vendor's API for the app.
pub(crate) fn client(app: &AppSettings, clock: &Clock) -> Result<Client, RegistrationError> {
    let endpoint = match (&app.host, app.region) {
        (Some(host), _) => Endpoint::parse(host)?,
        (None, Some(region)) => region.into(),
        (None, None) => return Err(RegistrationError::NoRegion(app_id(app)?)),
    };
    Ok(Client::new(endpoint, signer(app, clock)?, Limits::default())?)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use crate::registration::client::*;
    use crate::tencent_api::Region;

    #[test]
    fn a_missing_region_or_key_is_an_error_with_a_hint() {
        let clock = Clock::system();
        let mut app = AppSettings::new("1400000001");
        let said = |app: &AppSettings| client(app, &clock).err().unwrap().diagnostic().to_string();
        assert!(said(&app).contains("hint: give `--region singapore`"), "{}", said(&app));
        app.region = Some(Region::Singapore);
        assert!(said(&app).contains("hint: give `--secret-key-file FILE`"), "{}", said(&app));
        app.secret_key = Some("k".into());
        assert_eq!(client(&app, &clock).unwrap().host(), Region::Singapore.host());
        app.host = Some("api.example.com".into());
        assert_eq!(client(&app, &clock).unwrap().host(), "api.example.com");
    }

    #[test]
    fn a_key_is_read_from_its_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "s3cret\r\n").unwrap();
        let mut app = AppSettings::new("1");
        app.secret_key_file = Some(path);
        assert_eq!(secret_key(&app).unwrap().unwrap().expose_secret(), "s3cret");
        assert!(!format!("{app:?}").contains("s3cret"));
        for key in ["0123456789abcdef0123456789abcdef", "/nowhere/key"] {
            app.secret_key_file = Some(key.into());
            let said = secret_key(&app).unwrap_err().to_string();
            assert!(said.starts_with("read the secret key of app 1: "), "{said}");
            assert_eq!(said.contains(key), key.starts_with('/'), "{said}");
        }
    }
}
