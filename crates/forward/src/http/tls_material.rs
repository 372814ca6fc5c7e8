//! Certificates and key of a destination, in PEM files that are read again when they change.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use reqwest::{Certificate, ClientBuilder, Identity};
use secrecy::zeroize::Zeroizing;
use sha2::{Digest, Sha256};

use super::error::HttpClientError;
use crate::destination::checked::TlsFiles;

/// The most bytes of one file: the certificates of all public CAs take a fifth of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What the files hold. Not `Debug`: a key is among it.
pub(crate) struct TlsMaterial {
    ca: Option<Zeroizing<Vec<u8>>>,
    /// Key and certificates one after the other.
    identity: Option<Zeroizing<Vec<u8>>>,
}

impl TlsMaterial {
    /// Reads all files.
    pub(crate) fn read(files: &TlsFiles) -> Result<Self, HttpClientError> {
        let ca = files.ca.as_deref().map(|path| read("tls_ca", path)).transpose()?;
        let identity = match &files.certificate {
            None => None,
            Some((certificate, key)) => {
                let mut pem = read("tls_key", key)?;
                pem.push(b'\n');
                pem.extend_from_slice(&read("tls_certificate", certificate)?);
                Some(pem)
            }
        };
        Ok(Self { ca, identity })
    }

    /// Tells one state of the files from another without keeping the key.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in [&self.ca, &self.identity] {
            // The length keeps two parts from passing for one.
            let part = part.as_ref().map_or(&[][..], |part| part.as_slice());
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// Whether CAs are given, in place of the system's.
    pub(crate) fn has_ca(&self) -> bool {
        self.ca.is_some()
    }

    /// A client that trusts and shows these.
    pub(crate) fn apply(
        &self,
        mut client: ClientBuilder,
    ) -> Result<ClientBuilder, HttpClientError> {
        if let Some(ca) = &self.ca {
            let certificates = Certificate::from_pem_bundle(ca)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or(HttpClientError::NoCertificate)?;
            client = client.tls_certs_only(certificates);
        }
        if let Some(identity) = &self.identity {
            // What the library says of a key is not repeated.
            let identity = Identity::from_pem(identity).map_err(|_| HttpClientError::NoIdentity)?;
            client = client.identity(identity);
        }
        Ok(client)
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, HttpClientError> {
    let failed = |reason: io::Error| HttpClientError::File {
        setting,
        path: path.to_owned(),
        reason: reason.to_string(),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(failed)?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(failed(io::Error::other("it is larger than 1 MiB")));
    }
    Ok(bytes)
}
