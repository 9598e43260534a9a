//! Endpoints of webhooks, and options of their delivery.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use switchboard_auth::webhook::url_digest;
use switchboard_core::{Secret, percent};
use switchboard_runtime::config::{UrlParts, urls};

/// Service of the operator that receives events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name in records, logs and metrics. It does not reveal the URL, which may contain a password.
    pub name: String,
    /// URL with scheme `http` or `https`, without user name and password.
    pub url: http::Uri,
    /// `Authorization` header, from the URL's user name and password.
    pub authorization: Option<Secret>,
}

impl Endpoint {
    /// Reads an absolute `http` or `https` URL. A user name and a password in it become an
    /// `Authorization` header of the scheme Basic.
    ///
    /// # Errors
    /// The reason why the URL cannot be used, without the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        const HONOURED: UrlParts = UrlParts { credentials: true, path: true, query: true };
        const ENCODED: &str = "must have its user name and its password percent-encoded";
        let mut url = urls::parse(text, &["http", "https"], HONOURED)?;
        let (user, password) = (percent::decode(url.username()), percent::decode(url.password().unwrap_or_default()));
        let (user, password) = user.zip(password).ok_or(ENCODED)?;
        let credentials = (!user.is_empty() || !password.is_empty()).then(|| format!("{user}:{password}"));
        let authorization = credentials.map(|text| Secret::new(format!("Basic {}", STANDARD.encode(text))));
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| ENCODED)?;
        let url = url.as_str().parse().map_err(|_| "is no valid URL")?;
        Ok(Self { name: url_digest(text), url, authorization })
    }
}

/// Options of the delivery.
#[derive(Clone, Debug)]
pub struct WebhookOptions {
    /// Receivers of events.
    pub endpoints: Vec<Endpoint>,
    /// Maximum time until the receiver's response.
    pub timeout: Duration,
    /// How long after an event its delivery is retried. After that the event is given up.
    pub give_up: Duration,
    /// Pause after the first failure. It doubles with each further failure.
    pub backoff_min: Duration,
    /// Longest pause after a failure.
    pub backoff_max: Duration,
    /// Time after which an endpoint becomes free when its deliverer does not renew the lease.
    pub lease: Duration,
    /// Pause between two queries for due deliveries.
    pub idle: Duration,
    /// Maximum number of deliveries to one endpoint at the same time.
    pub concurrency: usize,
}

impl Default for WebhookOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            timeout: Duration::from_secs(10),
            give_up: Duration::from_secs(86_400),
            backoff_min: Duration::from_secs(1),
            backoff_max: Duration::from_secs(300),
            lease: Duration::from_secs(10),
            idle: Duration::from_millis(500),
            concurrency: 32,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn an_endpoint_honours_credentials_port_path_query_ipv6_and_international_names() {
        let endpoint = Endpoint::parse("https://us:p%40ss@[::1]:8443/hook?key=1").unwrap();
        assert_eq!(endpoint.url, "https://[::1]:8443/hook?key=1");
        assert_eq!(endpoint.authorization.as_ref().map(Secret::expose), Some("Basic dXM6cEBzcw=="));
        assert!(!format!("{endpoint:?}").contains("dXM6"));
        let endpoint = Endpoint::parse("http://b\u{fc}cher.example/hook").unwrap();
        assert_eq!((endpoint.url.host(), endpoint.authorization), (Some("xn--bcher-kva.example"), None));
        for bad in ["ftp://a", "a/x", "http://", "http://a/#x", "http://a:0/", "http://u:100%@a/", "http://a b/"] {
            assert!(Endpoint::parse(bad).is_err(), "{bad}");
        }
    }
}
