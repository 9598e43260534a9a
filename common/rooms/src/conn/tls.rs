//! TLS to Redis: trusted certificates, the client's certificate, and errors in plain words.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error, RootCertStore};

/// Files of the certificate that this client presents. They are read again for each connection, so
/// that a renewed certificate needs no restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    certificate_file: PathBuf,
    key_file: PathBuf,
}

/// Why the files of a client certificate cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientCertificateError {
    /// The file of the certificate.
    #[error("{0}")]
    Certificate(String),
    /// The file of the private key.
    #[error("{0}")]
    Key(String),
}

impl ClientCertificate {
    /// Names the files: certificates in PEM, the client's own first, and its private key in PEM.
    ///
    /// # Errors
    /// If a file cannot be read, has no certificate or no key, or the two do not belong together.
    pub fn new(certificate_file: &Path, key_file: &Path) -> Result<Self, ClientCertificateError> {
        let files = Self { certificate_file: certificate_file.to_owned(), key_file: key_file.to_owned() };
        let (certificates, key) = files.read()?;
        builder()
            .and_then(|builder| {
                builder.with_root_certificates(RootCertStore::empty()).with_client_auth_cert(certificates, key)
            })
            .map_err(|error| ClientCertificateError::Key(format!("does not fit the certificate: {error}")))?;
        Ok(files)
    }

    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ClientCertificateError> {
        let certificates: Vec<_> = CertificateDer::pem_file_iter(&self.certificate_file)
            .and_then(Iterator::collect)
            .map_err(|error| ClientCertificateError::Certificate(format!("is not a file in PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(ClientCertificateError::Certificate("names a file without a certificate".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key_file)
            .map_err(|error| ClientCertificateError::Key(format!("is not a file with a key in PEM: {error}")))?;
        Ok((certificates, key))
    }
}

type ConfigBuilder = tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier>;

fn builder() -> Result<ConfigBuilder, Error> {
    let ring = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()
}

/// Reads the system's root certificates, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, and the
/// client's certificate.
fn read_config(client: Option<&ClientCertificate>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let config = builder().map_err(io::Error::other)?.with_root_certificates(roots);
    let Some(client) = client else { return Ok(config.with_no_client_auth()) };
    let (certificates, key) = client.read().map_err(|error| {
        let file = match error {
            ClientCertificateError::Certificate(_) => &client.certificate_file,
            ClientCertificateError::Key(_) => &client.key_file,
        };
        io::Error::other(format!("{} {error}", file.display()))
    })?;
    config.with_client_auth_cert(certificates, key).map_err(io::Error::other)
}

/// Returns the configuration of TLS, with the certificates as their files are at this moment.
///
/// # Errors
/// If a file of the client's certificate cannot be used.
pub(crate) async fn config(client: Option<&ClientCertificate>) -> io::Result<ClientConfig> {
    let client = client.cloned();
    // Reads files, so it must not run on this thread.
    tokio::task::spawn_blocking(move || read_config(client.as_ref())).await?
}

/// Opens TLS to a server whose certificate must name `host`.
///
/// # Errors
/// In words of the system or of TLS: see [`in_words`].
pub(super) async fn connect(
    stream: TcpStream,
    host: &str,
    client: Option<&ClientCertificate>,
) -> io::Result<TlsStream<TcpStream>> {
    let config = config(client).await?;
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// Returns a TLS error in words that say what to do; `None` for another error.
pub(super) fn in_words(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let words = match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "no trusted CA signed the server's certificate; name your own CA in SSL_CERT_FILE"
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "the server's certificate names another host",
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired"
        }
        Error::InvalidMessage(_) => "the server does not speak TLS on this port",
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure) => {
            "the server may require a client certificate: REDIS_TLS_CERT_FILE, REDIS_TLS_KEY_FILE"
        }
        Error::AlertReceived(AlertDescription::UnknownCA | AlertDescription::BadCertificate) => {
            "the server does not trust the client certificate in REDIS_TLS_CERT_FILE"
        }
        other => return Some(other.to_string()),
    };
    Some(format!("{words} ({error})"))
}
