//! The server of the configuration, as this machine reaches it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

use crate::settings::Settings;

/// Where a listener on `address` is reached from this machine.
pub(crate) fn reached(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// A callback URL of the server: its listener with the first of its paths.
pub(crate) fn callback_url(settings: &Settings) -> String {
    let server = &settings.server;
    let scheme = if server.tls_files().is_some() { "https" } else { "http" };
    let path = server.callback_paths.first().map_or("/", String::as_str);
    let app = settings.apps.first().map_or("", |app| &app.sdk_app_id);
    let path = path.replace("{sdk_app_id}", app);
    format!("{scheme}://{}{path}", reached(server.listen))
}

/// TLS with the server that shows the configured certificate, whatever its name and issuer; `None` where it speaks plain
/// HTTP.
///
/// # Errors
/// When the certificate's file cannot be read.
pub(crate) fn tls(settings: &Settings) -> Result<Option<ClientConfig>> {
    let Some((file, _)) = settings.server.tls_files() else { return Ok(None) };
    let certificate = certificate(file).with_context(|| {
        format!("read the certificate {} (key `server.tls_certificate`)", file.display())
    })?;
    let provider = Arc::new(ring::default_provider());
    let verifier = OwnCertificate { certificate, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("set up TLS")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Some(config))
}

fn certificate(file: &Path) -> Result<CertificateDer<'static>> {
    let pem = std::fs::read(file)?;
    CertificateDer::from_pem_slice(&pem).map_err(|_| anyhow!("it contains no PEM certificate"))
}

/// Trusts this certificate and no other. The server is named by its address, and its certificate by another name.
#[derive(Debug)]
struct OwnCertificate {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for OwnCertificate {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if *shown == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::General(
            "the server presented another certificate than `server.tls_certificate`".to_owned(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Sources;

    #[test]
    fn the_callback_url_follows_the_configuration() {
        let url = |variables: &[(&str, &str)]| {
            let env = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
            let sources = Sources { env: env.collect(), ..Sources::default() };
            callback_url(&Settings::load(&sources).unwrap())
        };
        let paths = ("TRTC_SERVER__CALLBACK_PATHS", "/callback/s3cret,/");
        let tls = [("TRTC_SERVER__TLS_CERTIFICATE", "c.pem"), ("TRTC_SERVER__TLS_KEY", "k.pem")];
        assert_eq!(url(&[]), "http://127.0.0.1:8080/");
        assert_eq!(
            url(&[paths, ("TRTC_SERVER__LISTEN", "[::]:81")]),
            "http://[::1]:81/callback/s3cret"
        );
        assert_eq!(
            url(&[tls[0], tls[1], ("TRTC_SERVER__LISTEN", "10.0.0.7:443")]),
            "https://10.0.0.7:443/"
        );
    }
}
