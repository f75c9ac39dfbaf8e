//! Which certificate authorities the AWS clients trust.

use aws_smithy_http_client::HttpClientError;
use aws_smithy_http_client::tls::TrustStore;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The variables that name one file of certificates, the more important one first: the AWS CLI reads the first, OpenSSL
/// the second.
const BUNDLE_VARIABLES: [&str; 2] = ["AWS_CA_BUNDLE", "SSL_CERT_FILE"];
/// The variable that names a folder of them.
const FOLDER_VARIABLE: &str = "SSL_CERT_DIR";
/// Where a system keeps all certificates in one file: Amazon Linux, and so Lambda, then Debian.
const BUNDLES: [&str; 2] = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"];

/// How a certificate begins in a bundle.
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";

/// Why there is no HTTPS client.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read.
    #[error("{variable}: {path:?} cannot be read: {source}")]
    Unreadable {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The file has nothing to trust in it.
    #[error("{variable}: expected certificates in PEM form in {path:?}, found none")]
    NoCertificates {
        /// The variable that names the file.
        variable: &'static str,
        /// The file.
        path: String,
    },
    /// The HTTP client refuses the certificates.
    #[error(transparent)]
    Client(#[from] HttpClientError),
}

/// A file of certificates.
#[derive(Debug)]
pub(crate) struct Bundle {
    /// The variable that names the file; none for the system's.
    variable: Option<&'static str>,
    path: String,
    pem: Vec<u8>,
}

/// The bundle of what the clients trust: the one that the environment names, or else the system's.
///
/// The system's folder of certificates beside its bundle holds the same ones again, each in a file of its own, and
/// reading them all takes longer than the rest of the start. Where there is no bundle, or the environment names a
/// folder, the SDK looks for certificates as it always does.
pub(crate) fn bundle(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Bundle>, TrustError> {
    let set = |variable| lookup(variable).filter(|path| !path.is_empty());
    if set(BUNDLE_VARIABLES[0]).is_none() && set(FOLDER_VARIABLE).is_some() {
        return Ok(None);
    }
    for variable in BUNDLE_VARIABLES {
        let Some(path) = set(variable) else { continue };
        return match std::fs::read(&path) {
            Ok(pem) if has_certificates(&pem) => Ok(Some(Bundle { variable: Some(variable), path, pem })),
            Ok(_) => Err(TrustError::NoCertificates { variable, path }),
            Err(source) => Err(TrustError::Unreadable { variable, path, source }),
        };
    }
    Ok(BUNDLES.iter().find_map(|path| {
        let pem = std::fs::read(path).ok().filter(|pem| has_certificates(pem))?;
        Some(Bundle { variable: None, path: (*path).to_owned(), pem })
    }))
}

fn has_certificates(pem: &[u8]) -> bool {
    pem.windows(BEGIN.len()).any(|bytes| bytes == BEGIN.as_bytes())
}

impl Bundle {
    /// Where it is.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// All of it.
    pub(crate) fn as_it_is(&self) -> TrustStore {
        TrustStore::empty().with_pem_certificate(self.pem.clone())
    }

    /// The certificates that can be parsed, and how many cannot.
    ///
    /// # Errors
    /// None can. Of the system's bundle that is no error: the SDK may find others.
    pub(crate) fn usable(&self) -> Result<(TrustStore, usize), TrustError> {
        let mut kept = String::new();
        let mut left_out_count = 0;
        for cert in CertificateDer::pem_slice_iter(&self.pem) {
            match cert {
                Ok(cert) if webpki::anchor_from_trusted_cert(&cert).is_ok() => {
                    kept.push_str(BEGIN);
                    kept.push('\n');
                    STANDARD.encode_string(&cert, &mut kept);
                    kept.push_str("\n-----END CERTIFICATE-----\n");
                }
                Ok(_) | Err(_) => left_out_count += 1,
            }
        }
        match self.variable {
            _ if !kept.is_empty() => Ok((TrustStore::empty().with_pem_certificate(kept), left_out_count)),
            Some(variable) => Err(TrustError::NoCertificates { variable, path: self.path.clone() }),
            None => Ok((TrustStore::default(), left_out_count)),
        }
    }
}
