//! Where the vendor's API is reached: its regions and their hosts, and hosts that are given by name.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::registration::product::Product;
use protocol::diagnostic::Hint;

macro_rules! regions {
    ($($(#[$doc:meta])*
        $region:ident = $name:literal, $host:literal, $pages:expr, [$($product:ident)*];)*) => {
        /// A data centre of the vendor. An app belongs to one, and the others refuse it (code 60026).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum Region { $($(#[$doc])* $region,)* }

        impl Region {
            /// Every region, those first that the pages of the three products name.
            pub const ALL: &'static [Self] = &[$(Self::$region,)*];

            /// The region's name on the command line and in the configuration.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$region => $name,)* }
            }

            /// The host of its API, the same for every product.
            #[must_use]
            pub fn host(self) -> &'static str {
                match self { $(Self::$region => $host,)* }
            }

            /// Where the host is known from.
            #[must_use]
            pub fn source(self) -> Source {
                match self { $(Self::$region => $pages,)* }
            }

            /// The products whose own pages name this host.
            #[must_use]
            pub fn products(self) -> &'static [Product] {
                match self { $(Self::$region => &[$(Product::$product,)*],)* }
            }
        }
    };
}

regions! {
    /// Apps of the Chinese site.
    China = "china", "console.tim.qq.com", Source::Product, [Call Room Live];
    /// Apps of the international site, unless another region was chosen for them.
    Singapore = "singapore", "adminapisgp.im.qcloud.com", Source::Product, [Call Room Live];
    /// South Korea.
    Seoul = "seoul", "adminapikr.im.qcloud.com", Source::Product, [Call];
    /// The United States, Silicon Valley.
    Usa = "usa", "adminapiusa.im.qcloud.com", Source::Product, [Live];
    /// Indonesia.
    Jakarta = "jakarta", "adminapiidn.im.qcloud.com", Source::Product, [Live];
    /// Germany.
    Frankfurt = "frankfurt", "adminapiger.im.qcloud.com", Source::Chat, [];
    /// Japan.
    Tokyo = "tokyo", "adminapijpn.im.qcloud.com", Source::Chat, [];
    /// India; no newer page names it.
    Mumbai = "mumbai", "adminapiind.im.qcloud.com", Source::Chat, [];
    /// Saudi Arabia; no page names it at all.
    SaudiArabia = "saudi-arabia", "adminapiksa.im.qcloud.com", Source::Code, [];
}

/// Where a region's host is known from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The pages of at least one of the products.
    Product,
    /// The pages of Chat, whose API has the same form.
    Chat,
    /// Only programs that use it.
    Code,
}

impl Region {
    /// Whether a page of the product names this region's host.
    #[must_use]
    pub fn is_documented_for(self, product: Product) -> bool {
        self.products().contains(&product)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|region| region.as_str() == text);
        found.copied().ok_or_else(|| UnknownRegion { name: text.to_owned() })
    }
}

/// There is no region of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a region")]
pub struct UnknownRegion {
    /// What was given.
    pub name: String,
}

impl Hint for UnknownRegion {
    fn hint(&self) -> Option<String> {
        let names: Vec<String> = Region::ALL.iter().map(|region| format!("`{region}`")).collect();
        Some(format!("give {}; or the host itself with `--host`", names.join(", ")))
    }
}

/// Where one client sends its calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://host` or `http://host:port`, without a slash at its end.
    origin: String,
    /// What errors name.
    host: String,
    /// Whether it is on this machine.
    near: bool,
}

impl Endpoint {
    /// A host that is no region's: `host`, `host:port`, `https://host`, and on this machine `http://host:port` too.
    ///
    /// # Errors
    /// It is no host, or plain HTTP to another machine.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        // A password would stand before the `@`.
        let shown = text.rsplit('@').next().unwrap_or(text);
        let wrong = || EndpointError::NoHost(shown.chars().take(100).collect());
        let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
        let url = reqwest::Url::parse(&whole).map_err(|_| wrong())?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong());
        }
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let near = host == "localhost" || address.is_some_and(|address| address.is_loopback());
        match url.scheme() {
            "https" => {}
            "http" if near => {}
            "http" => return Err(EndpointError::Plain(host.to_owned())),
            _ => return Err(wrong()),
        }
        let host = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Ok(Self { origin: url.origin().ascii_serialization(), host, near })
    }

    /// The host, and its port where it is not the usual one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// `https://` or `http://` and the host.
    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether it is called over plain HTTP.
    pub(crate) fn is_plain(&self) -> bool {
        self.origin.starts_with("http://")
    }

    /// Whether it is on this machine, which no proxy reaches.
    pub(crate) fn is_near(&self) -> bool {
        self.near
    }
}

impl From<Region> for Endpoint {
    fn from(region: Region) -> Self {
        let host = region.host().to_owned();
        Self { origin: format!("https://{host}"), host, near: false }
    }
}

/// Why calls cannot be sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not the name of a host.
    #[error("`{0}` is not a host")]
    NoHost(String),
    /// The signature would be read by everybody on the way.
    #[error("plain HTTP to `{0}`")]
    Plain(String),
}

impl Hint for EndpointError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoHost(_) => "give a name such as `adminapisgp.im.qcloud.com`, without a path",
            Self::Plain(_) => "use https://; only a stand-in on this machine is called without",
        };
        Some(hint.to_owned())
    }
}
