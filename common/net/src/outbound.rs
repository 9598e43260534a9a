//! HTTP to servers that operators name, such as receivers of webhooks and providers of keys: which
//! certificates are trusted, and why there is no answer.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore};

/// Longest cause, in characters.
const CAUSE_MAX: usize = 200;

/// Returns the public CAs that are built in, and those of the system, or of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` in their place: an image may have no CAs, and a private CA must not take the
/// public ones away. Reads files.
#[must_use]
pub fn roots() -> RootCertStore {
    let mut roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Returns a connector to `https` servers whose certificates one of `roots` has signed, and to
/// `http` servers.
///
/// # Panics
/// Never: the provider has the default versions of TLS.
#[must_use]
pub fn connector(roots: RootCertStore) -> HttpsConnector<HttpConnector> {
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    HttpsConnectorBuilder::new().with_tls_config(config).https_or_http().enable_http1().build()
}

/// Returns the reason why a request has no answer, in the words of the system, of TLS or of the
/// resolver: the innermost error. None of them contains the URL, which can contain a password.
#[must_use]
pub fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut innermost = error;
    loop {
        if let Some(tls) = tls_error(innermost) {
            return in_words(tls);
        }
        let Some(inner) = innermost.source() else { break };
        innermost = inner;
    }
    innermost.to_string().chars().take(CAUSE_MAX).collect()
}

/// Returns the TLS error that an error of the system is made of, at any depth: `source` skips it.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Error> {
    let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
    inner.downcast_ref::<Error>().or_else(|| tls_error(inner))
}

fn in_words(error: &Error) -> String {
    let words = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no trusted CA signed the server's certificate; name a CA of your own in SSL_CERT_FILE"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate names another host",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired"
        }
        Error::InvalidMessage(_) => "the server does not speak TLS on this port",
        other => return other.to_string(),
    };
    words.to_owned()
}
