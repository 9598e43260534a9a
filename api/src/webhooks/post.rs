//! Sending one event.

use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderName, Method, Request, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use switchboard_auth::WebhookKey;
use switchboard_core::domain::Timestamp;
use switchboard_records::Delivery;

/// When it was sent, and that it was sent by us.
const SIGNATURE: HeaderName = HeaderName::from_static("switchboard-signature");
/// What tells repetitions.
const EVENT_ID: HeaderName = HeaderName::from_static("switchboard-event-id");
/// Its type.
const EVENT: HeaderName = HeaderName::from_static("switchboard-event");
/// Of an answer nothing but its status counts; this much is read so that the connection can be used again.
const ANSWER_MAX: usize = 16 * 1024;

/// Sends events. Clones share the connections.
#[derive(Clone)]
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    key: WebhookKey,
    timeout: Duration,
}

impl Sender {
    pub(super) fn new(key: WebhookKey, timeout: Duration) -> Self {
        let connector = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().build();
        Self { client: Client::builder(TokioExecutor::new()).build(connector), key, timeout }
    }

    /// Sends an event at `now`.
    ///
    /// # Errors
    /// Why the receiver does not have it, or may not; nothing of its address, which may carry a password.
    pub(super) async fn send(&self, address: &http::Uri, delivery: &Delivery, now: Timestamp) -> Result<(), String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(address)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("switchboard/", env!("CARGO_PKG_VERSION")))
            .header(SIGNATURE, self.key.sign(now, &delivery.body))
            .header(EVENT_ID, &delivery.event_id)
            .header(EVENT, &delivery.event)
            .body(Full::from(delivery.body.clone()))
            .map_err(|_| "it cannot be sent".to_owned())?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|_| "the receiver cannot be reached".to_owned())?;
            let status = answer.status();
            // How the answer goes on does not matter: the status has said it.
            let _rest = Limited::new(answer.into_body(), ANSWER_MAX).collect().await;
            if status.is_success() { Ok(()) } else { Err(format!("the receiver answered {}", status.as_u16())) }
        };
        let answered = tokio::time::timeout(self.timeout, exchange).await;
        answered.unwrap_or_else(|_| Err("the receiver did not answer in time".to_owned()))
    }
}
