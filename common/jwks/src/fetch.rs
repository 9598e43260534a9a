//! Reads one key set over HTTP.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;
use switchboard_auth::PublicKeys;
use switchboard_core::domain::identity_source::key_set_uri;
use switchboard_core::domain::{Jwk, Jwks};
use switchboard_net::outbound;
use tokio_rustls::rustls::RootCertStore;

use crate::key_set::Read;

/// Largest answer, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// Most keys of a set.
const KEYS_MAX: usize = 32;

/// Reads the key set at an address. Redirects are not followed.
///
/// # Errors
/// The reason, in words for operators.
pub(crate) async fn fetch(uri: &str) -> Result<Read, String> {
    // Plain `http` was registered in development only; here it is for this machine alone.
    let uri: Uri = key_set_uri(uri, true)?.parse().map_err(|_| "the address cannot be used")?;
    // Reads files, as they are at this moment, so it must not run on this thread.
    let roots = tokio::task::spawn_blocking(outbound::roots).await.map_err(|error| error.to_string())?;
    fetch_trusting(uri, roots).await
}

/// Reads the key set at an address whose certificate one of `roots` has signed.
async fn fetch_trusting(uri: Uri, roots: RootCertStore) -> Result<Read, String> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(outbound::connector(roots));
    let request = Request::get(uri)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .header(header::USER_AGENT, concat!("switchboard/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|_| "the request could not be built")?;
    let response = client
        .request(request)
        .await
        .map_err(|error| format!("the provider is unreachable: {}", outbound::cause(&error)))?;
    if response.status() != StatusCode::OK {
        return Err(format!("the provider answered {}", response.status().as_u16()));
    }
    let caching = response.headers().get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let max_age = caching.and_then(max_age);
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    let body = body.map_err(|_| format!("the answer was cut, or has more than {ANSWER_MAX} bytes"))?;
    Ok(Read { keys: keys(&body.to_bytes())?, max_age })
}

/// Reads `max-age` in `Cache-Control`. An answer that must not be kept is kept for the shortest
/// time.
fn max_age(caching: &str) -> Option<Duration> {
    let directives = || caching.split(',').map(|directive| directive.trim().to_ascii_lowercase());
    if directives().any(|directive| directive == "no-store" || directive == "no-cache") {
        return Some(Duration::ZERO);
    }
    let seconds = directives().find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok());
    seconds.map(Duration::from_secs)
}

/// Reads the keys of an answer. Keys that cannot be used are left out.
fn keys(body: &[u8]) -> Result<PublicKeys, String> {
    #[derive(Deserialize)]
    struct Answer {
        keys: Vec<Value>,
    }
    let Answer { keys } = serde_json::from_slice(body).map_err(|_| "the answer is no JSON Web Key Set".to_owned())?;
    if keys.len() > KEYS_MAX {
        return Err(format!("the answer has more than {KEYS_MAX} keys"));
    }
    let keys = keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()).collect();
    Ok(PublicKeys::read(&Jwks { keys }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::path::Path;
    use std::process::Command;
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

    use super::*;

    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","kid":"one"}"#;

    /// Reads from a server that gives one answer.
    async fn fetch_from(answer: String) -> Result<Read, String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/jwks", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /jwks HTTP/1.1\r\n"));
            // The client may hang up within an answer that is too large.
            let _cut = stream.write_all(answer.as_bytes()).await;
        });
        fetch(&uri).await
    }

    fn answer(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn an_answer_has_its_usable_keys_and_its_age() {
        let body = format!(r#"{{"keys":[{KEY},{{"kty":"oct","k":"AA"}},{{"kty":7}},"x"],"more":1}}"#);
        let read = fetch_from(answer("200 OK\r\nCache-Control: public, max-age=600", &body)).await.unwrap();
        assert_eq!((read.keys.len(), read.max_age), (1, Some(Duration::from_secs(600))));
        let read = fetch_from(answer("200 OK", r#"{"keys":[]}"#)).await.unwrap();
        assert_eq!((read.keys.len(), read.max_age), (0, None), "all keys were removed");
    }

    #[tokio::test]
    async fn an_answer_that_is_no_key_set_is_an_error_with_its_cause() {
        let many = format!(r#"{{"keys":[{}]}}"#, vec![KEY; KEYS_MAX + 1].join(","));
        let large = format!(r#"{{"keys":[{KEY}],"more":"{}"}}"#, "x".repeat(ANSWER_MAX));
        for (given, cause) in [
            (answer("302 Found\r\nLocation: http://127.0.0.1:1/", ""), "answered 302"),
            (answer("500 Internal Server Error", ""), "answered 500"),
            (answer("200 OK", "<html>"), "no JSON Web Key Set"),
            (answer("200 OK", "{}"), "no JSON Web Key Set"),
            (answer("200 OK", &many), "more than 32 keys"),
            (answer("200 OK", &large), "65536 bytes"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{".to_owned(), "was cut"),
            ("garbage\r\n\r\n".to_owned(), "unreachable"),
        ] {
            let error = fetch_from(given).await.unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
        assert!(fetch("http://127.0.0.1:1/jwks").await.unwrap_err().contains("refused"));
        for uri in ["http://10.0.0.1/", "ftp://127.0.0.1/", "nothing"] {
            assert!(fetch(uri).await.is_err(), "{uri}");
        }
    }

    fn openssl(folder: &Path, arguments: &str) {
        let made = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    #[tokio::test]
    async fn a_provider_with_a_private_ca_is_trusted_by_that_ca_alone_and_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(folder.path(), &format!("req -x509 {key} -days 2 -subj /CN=own-ca -keyout ca.key -out ca.pem"));
        openssl(folder.path(), &format!("req {key} -subj /CN=login -keyout login.key -out login.csr"));
        std::fs::write(folder.path().join("names"), "subjectAltName=DNS:localhost").unwrap();
        let sign =
            "x509 -req -in login.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out login.pem";
        openssl(folder.path(), sign);
        let certificate = |name: &str| CertificateDer::from_pem_file(folder.path().join(name)).unwrap();
        let key = PrivateKeyDer::from_pem_file(folder.path().join("login.key")).unwrap();
        let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate("login.pem")], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(server));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that does not trust the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let _request = stream.read(&mut [0; 1024]).await;
                let sent = answer("200 OK", &format!(r#"{{"keys":[{KEY}]}}"#));
                let _closed = stream.write_all(sent.as_bytes()).await;
                let _closed = stream.shutdown().await;
            }
        });
        let mut own_ca = RootCertStore::empty();
        own_ca.add(certificate("ca.pem")).unwrap();
        let read = async |host: &str, roots: &RootCertStore| {
            fetch_trusting(format!("https://{host}:{port}/").parse().unwrap(), roots.clone()).await
        };
        assert_eq!(read("localhost", &own_ca).await.unwrap().keys.len(), 1);
        assert!(read("127.0.0.1", &own_ca).await.unwrap_err().contains("certificate"), "another name");
        assert!(read("localhost", &RootCertStore::empty()).await.unwrap_err().contains("no trusted CA"));
        // Without the file of the CA, the certificates of the system do not have it.
        assert!(fetch(&format!("https://localhost:{port}/")).await.unwrap_err().contains("certificate"));
    }

    #[test]
    fn the_age_is_read_from_cache_control() {
        for (caching, seconds) in [
            ("max-age=60", Some(60)),
            ("public, MAX-AGE=\"60\", must-revalidate", Some(60)),
            ("no-store, max-age=60", Some(0)),
            ("s-maxage=60", None),
            ("max-age=x", None),
        ] {
            assert_eq!(max_age(caching), seconds.map(Duration::from_secs), "{caching}");
        }
    }
}
