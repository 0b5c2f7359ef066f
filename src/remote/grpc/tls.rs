//! Certificates and keys: who we are, and whom we believe.

use crate::remote::transport::TransportError;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};

/// How long a caller may take to prove who it is.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Our certificate with its key, and the authority whose certificates we accept from the other side: PEM, both. Both sides
/// authenticate each other.
#[derive(Clone)]
pub struct Tls {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

impl Tls {
    /// From PEM in memory. It is looked at when it is first used: [`GrpcListener::new`](super::GrpcListener::new) and
    /// [`GrpcDialer::new`](super::GrpcDialer::new) refuse what is none.
    pub fn new(certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>, authority: impl Into<Vec<u8>>) -> Self {
        Self { certificate: certificate.into(), key: key.into(), authority: authority.into() }
    }

    /// From files.
    ///
    /// # Errors
    /// [`TransportError::Tls`] with the file that cannot be read.
    pub fn read(certificate: &Path, key: &Path, authority: &Path) -> Result<Self, TransportError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|error| TransportError::Tls(format!("cannot read {}: {error}", path.display())))
        };
        Ok(Self { certificate: read(certificate)?, key: read(key)?, authority: read(authority)? })
    }

    /// PEM that has none of what it should have is refused here: the library would take it for an empty list.
    fn check(&self) -> Result<(), TransportError> {
        let has = |pem: &[u8], what: &str| pem.windows(what.len()).any(|part| part == what.as_bytes());
        let parts = [(&self.certificate, "certificate"), (&self.authority, "authority")];
        for (pem, name) in parts {
            if !has(pem, "-----BEGIN CERTIFICATE-----") {
                return Err(TransportError::Tls(format!("the {name} has no certificate in PEM")));
            }
        }
        if !has(&self.key, "PRIVATE KEY-----") {
            return Err(TransportError::Tls("the key has no private key in PEM".into()));
        }
        Ok(())
    }

    fn identity(&self) -> Identity {
        Identity::from_pem(&self.certificate, &self.key)
    }

    pub(super) fn server(&self) -> Result<ServerTlsConfig, TransportError> {
        self.check()?;
        let authority = Certificate::from_pem(&self.authority);
        Ok(ServerTlsConfig::new().identity(self.identity()).client_ca_root(authority).timeout(HANDSHAKE))
    }

    pub(super) fn client(&self) -> Result<ClientTlsConfig, TransportError> {
        self.check()?;
        let authority = Certificate::from_pem(&self.authority);
        Ok(ClientTlsConfig::new().identity(self.identity()).ca_certificate(authority))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive() // nobody's key gets into a log
    }
}
