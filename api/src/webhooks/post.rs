//! Sends one event to an endpoint over HTTP.

use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use switchboard_core::domain::Timestamp;
use switchboard_net::outbound;
use switchboard_records::Attempt;

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
/// Time for the body of a response. Receivers may answer, and go on with their work.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle connections to one receiver that are kept.
const IDLE_MAX: usize = 4;
/// Time for which they are kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Event to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Id of the event.
    pub(super) id: &'a str,
    /// Type of the event.
    pub(super) event: &'a str,
    /// Body.
    pub(super) body: &'a str,
}

/// Sends events. Clones share the connection pool.
#[derive(Clone)]
pub(super) struct Sender {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Sender {
    /// Reads the trusted certificates.
    pub(super) fn new() -> Self {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(outbound::connector(outbound::roots()));
        Self { client }
    }

    /// Sends an event, signed with the time `now`. Redirects are not followed. The problem of the
    /// outcome does not contain the URL, because a URL can contain a password.
    pub(super) async fn send(
        &self,
        endpoint: &Endpoint,
        message: Message<'_>,
        timeout: Duration,
        now: Timestamp,
    ) -> Attempt {
        let failed = |problem: String| Attempt { status: None, problem: Some(problem) };
        let Some(keys) = &endpoint.keys else {
            return failed("the secret cannot be decrypted: its key is missing in APP_MASTER_KEY".to_owned());
        };
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
            .header(SIGNATURE, keys.at(now).sign(now, message.body))
            .header(EVENT_ID, message.id)
            .header(EVENT, message.event)
            .body(Full::from(message.body.to_owned()));
        let Ok(request) = request else { return failed("the request could not be built".to_owned()) };
        let response = match tokio::time::timeout(timeout, self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return failed(format!("the receiver is unreachable: {}", outbound::cause(&error))),
            Err(_) => return failed(format!("the receiver did not answer within {} ms", timeout.as_millis())),
        };
        let status = response.status();
        // The status has decided. Without the end of the body, the connection is not used again.
        let body = Limited::new(response.into_body(), RESPONSE_MAX).collect();
        let _read_or_not = tokio::time::timeout(BODY_TIMEOUT.min(timeout), body).await;
        Attempt { status: Some(status.as_u16()), problem: refused_because(status) }
    }
}

fn refused_because(status: StatusCode) -> Option<String> {
    if status.is_success() {
        return None;
    }
    let hint = if status.is_redirection() { "; redirects are not followed" } else { "" };
    Some(format!("the receiver answered {}{hint}", status.as_u16()))
}
