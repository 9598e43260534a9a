//! Sends one event to an endpoint over HTTP.

use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderName, Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use switchboard_auth::WebhookSigner;
use switchboard_core::domain::Timestamp;
use switchboard_records::Delivery;

use super::options::Endpoint;

/// Header with the time of sending and the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("switchboard-signature");
/// Header with the event's id, which identifies repetitions.
const EVENT_ID: HeaderName = HeaderName::from_static("switchboard-event-id");
/// Header with the event's type.
const EVENT: HeaderName = HeaderName::from_static("switchboard-event");
/// Maximum number of bytes of a response that are read, so that the connection can be reused. Only
/// the status matters.
const RESPONSE_MAX: usize = 16 * 1024;

/// Maximum length of a cause, in characters.
const CAUSE_MAX: usize = 200;

/// Sends events. Clones share the connection pool.
#[derive(Clone)]
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    key: WebhookSigner,
    timeout: Duration,
}

/// Returns the reason why there is no response: the innermost error, in the words of the system, of
/// TLS or of the resolver. None of them contains the URL.
fn unreachable_because(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let words: String = cause.to_string().chars().take(CAUSE_MAX).collect();
    format!("the receiver is unreachable: {words}")
}

impl Sender {
    pub(super) fn new(key: WebhookSigner, timeout: Duration) -> Self {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Self { client: Client::builder(TokioExecutor::new()).build(connector), key, timeout }
    }

    /// Sends an event, signed with the time `now`.
    ///
    /// # Errors
    /// The reason why the receiver has not accepted the event. The text does not contain the URL,
    /// because a URL can contain a password.
    pub(super) async fn send(&self, endpoint: &Endpoint, delivery: &Delivery, now: Timestamp) -> Result<(), String> {
        let request = Request::builder();
        let request = endpoint
            .authorization
            .iter()
            .fold(request, |request, secret| request.header(header::AUTHORIZATION, secret.expose()));
        let request = request
            .method(Method::POST)
            .uri(&endpoint.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .header(SIGNATURE, self.key.sign(now, &delivery.body))
            .header(EVENT_ID, &delivery.event_id)
            .header(EVENT, &delivery.event)
            .body(Full::from(delivery.body.clone()))
            .map_err(|_| "the request could not be built".to_owned())?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| unreachable_because(&error))?;
            let status = response.status();
            // An error while reading the body does not matter, because the status has decided.
            let _body = Limited::new(response.into_body(), RESPONSE_MAX).collect().await;
            if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {}", status.as_u16())) }
        };
        let answered = tokio::time::timeout(self.timeout, exchange).await;
        answered.unwrap_or_else(|_| Err("the receiver did not answer in time".to_owned()))
    }
}
