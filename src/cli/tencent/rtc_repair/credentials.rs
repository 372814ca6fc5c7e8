//! The API key of the cloud account.

use anyhow::{Context, Result, bail};
use secrecy::{ExposeSecret, SecretString};

use crate::settings::{RtcRepairSettings, read_secret};
use crate::tencent_api::CloudKey;
use protocol::diagnostic::Diagnostic;

/// The key that the settings have, or else the variables that the vendor's own tools read.
pub(crate) fn cloud_key(settings: &RtcRepairSettings) -> Result<CloudKey> {
    let id = secret(&settings.secret_id, "TENCENTCLOUD_SECRET_ID")?;
    let key = secret(&settings.secret_key, "TENCENTCLOUD_SECRET_KEY")?;
    let (Some(id), Some(key)) = (id, key) else {
        bail!(Diagnostic::new(
            "there is no API key of the cloud account",
            "set TENCENTCLOUD_SECRET_ID and TENCENTCLOUD_SECRET_KEY, or TENCENTCLOUD_SECRET_ID_FILE and \
             TENCENTCLOUD_SECRET_KEY_FILE, or `secret_id` and `secret_key` in `[rtc_repair]`; the console has it at \
             console.tencentcloud.com/cam/capi, and it is not an app's SDKSecretKey"
        ));
    };
    Ok(CloudKey::new(id, key)?)
}

fn secret(setting: &SecretString, variable: &str) -> Result<Option<SecretString>> {
    if !setting.expose_secret().is_empty() {
        return Ok(Some(setting.clone()));
    }
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(value) = given(variable) {
        // What is not text is no key, and is not shown.
        let value = value.into_string().ok().with_context(|| format!("{variable} is not UTF-8"))?;
        return Ok(Some(value.into()));
    }
    let variable = format!("{variable}_FILE");
    let Some(path) = given(&variable) else { return Ok(None) };
    let secret = read_secret(path.as_ref());
    secret.map(Some).with_context(|| format!("read the file that {variable} names"))
}
