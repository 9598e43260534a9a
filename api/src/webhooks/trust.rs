//! TLS to receivers: trusted certificates, and errors in plain words.

use std::io;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// Returns the configuration of TLS. It trusts the public CAs that are built in, and those of the
/// system, or of `SSL_CERT_FILE` and `SSL_CERT_DIR` in their place: an image may have no CAs, and a
/// private CA must not take the public ones away. Reads files.
pub(super) fn config() -> ClientConfig {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// Returns the TLS error that an error of the system is made of, at any depth: `source` skips it.
pub(super) fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref::<Error>().or_else(|| tls_error(inner))
}

/// Returns a TLS error in words that say what to do.
pub(super) fn in_words(error: &Error) -> String {
    let words = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no trusted CA signed the receiver's certificate; name a CA of your own in SSL_CERT_FILE"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the receiver's certificate names another host",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the receiver's certificate has expired"
        }
        Error::InvalidMessage(_) => "the receiver does not speak TLS on this port",
        other => return other.to_string(),
    };
    words.to_owned()
}
