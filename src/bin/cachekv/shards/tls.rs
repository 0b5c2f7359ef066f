//! Certificates, as the command line names them.

use crate::failure::Failure;
use cachekv::remote::{Tls, TransportError};
use std::path::PathBuf;

/// TLS: all three files, or none.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "tls")]
pub(crate) struct TlsArgs {
    /// Our certificate, PEM; with it, both sides authenticate each other
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_authority"])]
    tls_certificate: Option<PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires_all = ["tls_certificate", "tls_authority"])]
    tls_key: Option<PathBuf>,
    /// The authority that the other side's certificate must be of, PEM
    #[arg(long, value_name = "FILE", requires_all = ["tls_certificate", "tls_key"])]
    tls_authority: Option<PathBuf>,
}

impl TlsArgs {
    /// What the files hold, if they are named.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub(crate) fn read(&self) -> Result<Option<Tls>, Failure> {
        let Self { tls_certificate: Some(certificate), tls_key: Some(key), tls_authority: Some(authority) } = self
        else {
            return Ok(None);
        };
        Tls::read(certificate, key, authority).map(Some).map_err(transport)
    }
}

/// A transport that could not be opened.
pub(crate) fn transport(error: TransportError) -> Failure {
    match &error {
        TransportError::Listen { .. } | TransportError::Threads(_) => Failure::System(error.to_string()),
        _ => Failure::Usage(error.to_string()),
    }
}
