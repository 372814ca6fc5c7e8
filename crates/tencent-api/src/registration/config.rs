//! The calls of the callback-configuration API, typed.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::client::{Call, Client, Receipt};
use crate::error::{Action, Failure, VendorError};
use crate::registration::product::Product;

/// There is a configuration already (`set_callback` of Room and Live).
pub(crate) const EXISTS: i64 = 100_300;
/// There is no configuration.
pub(crate) const EXISTS_NOT: i64 = 100_301;
/// There is no token.
const NO_TOKEN: i64 = 100_302;
/// How many characters a token may have.
const TOKEN_CHARS_MAX: usize = 128;

/// Where a product's callbacks go, and which.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackConfig {
    /// The callback URL. Its path may be a secret.
    pub url: String,
    /// The command words, as written there. The vendor may name other commands than we know.
    pub commands: Vec<String>,
}

impl CallbackConfig {
    /// A configuration.
    #[must_use]
    pub fn new(url: impl Into<String>, commands: impl IntoIterator<Item: Into<String>>) -> Self {
        Self { url: url.into(), commands: commands.into_iter().map(Into::into).collect() }
    }

    fn json(&self) -> Value {
        json!({ "Url": self.url, "CallbackCommandList": self.commands })
    }
}

/// Without the URL's path.
impl fmt::Debug for CallbackConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = reqwest::Url::parse(&self.url).map(|url| url.origin().ascii_serialization());
        f.debug_struct("CallbackConfig")
            .field("url", &origin.as_deref().unwrap_or("?"))
            .field("commands", &self.commands)
            .finish()
    }
}

/// How the vendor signs the callbacks of Live.
#[derive(Debug, Clone, Default)]
pub struct TokenConfig {
    /// What it signs with; absent where it has none, or does not say.
    pub token: Option<SecretString>,
    /// Whether it signs; absent where it does not say.
    pub enabled: Option<bool>,
}

/// Whether there was something to delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deleted {
    /// The vendor says that it is gone, which it may also say where there was nothing.
    Gone(Receipt),
    /// There was nothing.
    WasNotThere,
}

impl Client {
    /// A product's configuration (`get_callback`); `None` where there is none.
    ///
    /// # Errors
    /// The call failed.
    pub async fn callback(&self, product: Product) -> Result<Option<CallbackConfig>, VendorError> {
        let call = Call::of(product, "get_callback", json!({}));
        let (answer, receipt) = match self.call(&call).await {
            Err(error) if error.code() == Some(EXISTS_NOT) => return Ok(None),
            other => other?,
        };
        read_config(&answer.response)
            .map_err(|what| self.not_understood(call.action, what, receipt))
    }

    /// Makes a product's configuration (`set_callback`). For Call it replaces what there is; for Room and Live it fails
    /// with 100300 where there is one.
    ///
    /// # Errors
    /// The call failed.
    pub async fn set_callback(
        &self,
        product: Product,
        config: &CallbackConfig,
    ) -> Result<Receipt, VendorError> {
        let (_, receipt) = self.call(&Call::of(product, "set_callback", config.json())).await?;
        Ok(receipt)
    }

    /// Replaces a configuration of Room or Live (`update_callback`); fails with 100301 where there is none.
    ///
    /// # Errors
    /// The call failed, or the product is Call, which has no such call.
    pub async fn update_callback(
        &self,
        product: Product,
        config: &CallbackConfig,
    ) -> Result<Receipt, VendorError> {
        let call = Call::of(product, "update_callback", config.json());
        if !product.has_update() {
            return Err(self.error(call.action, Failure::NoSuchAction));
        }
        let (_, receipt) = self.call(&call).await?;
        Ok(receipt)
    }

    /// Deletes a product's configuration (`delete_callback`): no callbacks are sent any more.
    ///
    /// # Errors
    /// The call failed.
    pub async fn delete_callback(&self, product: Product) -> Result<Deleted, VendorError> {
        gone(self.call(&Call::of(product, "delete_callback", json!({}))).await, EXISTS_NOT)
    }

    /// How callbacks of Live are signed (`get_callback_token`); `None` where it was never set. No other product has
    /// this.
    ///
    /// # Errors
    /// The call failed.
    pub async fn callback_token(&self) -> Result<Option<TokenConfig>, VendorError> {
        let call = Call::of(Product::Live, "get_callback_token", json!({}));
        let (answer, _) = match self.call(&call).await {
            Err(error) if error.code() == Some(NO_TOKEN) => return Ok(None),
            other => other?,
        };
        let token = answer.response["Token"].as_str().filter(|token| !token.is_empty());
        let token = token.map(SecretString::from);
        Ok(Some(TokenConfig { token, enabled: answer.response["IsTokenEnable"].as_bool() }))
    }

    /// Sets how callbacks of Live are signed (`set_callback_token`). What is absent stays as it is; the first time the
    /// vendor wants both.
    ///
    /// # Errors
    /// The call failed, the token has no sensible length, or nothing is given.
    pub async fn set_callback_token(&self, wanted: &TokenConfig) -> Result<Receipt, VendorError> {
        let mut body = serde_json::Map::new();
        let token = wanted.token.as_ref();
        if let Some(token) = token {
            body.insert("Token".to_owned(), token.expose_secret().into());
        }
        if let Some(enabled) = wanted.enabled {
            body.insert("IsTokenEnable".to_owned(), enabled.into());
        }
        let length = token.map_or(1, |token| token.expose_secret().chars().count());
        let fits = !body.is_empty() && (1..=TOKEN_CHARS_MAX).contains(&length);
        let call = Call::of(Product::Live, "set_callback_token", Value::Object(body));
        if !fits {
            return Err(self.error(call.action, Failure::TokenUnfit));
        }
        let (_, receipt) = self.call(&Call { secret: token, ..call }).await?;
        Ok(receipt)
    }

    /// Deletes the token (`delete_callback_token`): callbacks of Live are not signed any more.
    ///
    /// # Errors
    /// The call failed.
    pub async fn delete_callback_token(&self) -> Result<Deleted, VendorError> {
        let call = Call::of(Product::Live, "delete_callback_token", json!({}));
        gone(self.call(&call).await, NO_TOKEN)
    }

    /// An answer that went well and does not say what was asked for.
    pub(crate) fn not_understood(
        &self,
        action: Action,
        what: &str,
        receipt: Receipt,
    ) -> VendorError {
        let Receipt { request_id, tries } = receipt;
        VendorError {
            tries,
            request_id,
            ..self.error(action, Failure::NotUnderstood(what.to_owned()))
        }
    }
}

fn gone<T>(
    result: Result<(T, Receipt), VendorError>,
    nothing: i64,
) -> Result<Deleted, VendorError> {
    match result {
        Ok((_, receipt)) => Ok(Deleted::Gone(receipt)),
        Err(error) if error.code() == Some(nothing) => Ok(Deleted::WasNotThere),
        Err(error) => Err(error),
    }
}

/// A configuration without a URL is none.
fn read_config(response: &Value) -> Result<Option<CallbackConfig>, &'static str> {
    let url = match &response["Url"] {
        Value::String(url) if !url.is_empty() => url,
        Value::Null | Value::String(_) => return Ok(None),
        _ => return Err("`Url` is not text"),
    };
    let commands = match &response["CallbackCommandList"] {
        Value::Null => Vec::new(),
        Value::Array(words) => {
            let words = words.iter().map(|word| word.as_str().map(str::to_owned));
            words
                .collect::<Option<_>>()
                .ok_or("`CallbackCommandList` has an entry that is not text")?
        }
        _ => return Err("`CallbackCommandList` is not a list"),
    };
    Ok(Some(CallbackConfig { url: url.clone(), commands }))
}
