//! Serves requests of other nodes.

use http::{Request, Response};
use hyper::body::Incoming;

use super::outcome::HandoverOutcome;
use crate::cluster::{HEALTH_PATH, SIGNATURE_HEADER};
use crate::config::TransportConfig;
use crate::http::{Body, add_security_headers, continue_session, error_response, query_parameter, status_response};
use crate::protocol::{HandshakeError, TransportKind};
use crate::registry::SessionForRequests;

/// Serves a request of another node: a handed-over request or a health check. `find_session`
/// returns a session that is open here. Another one is unknown; the request is not handed over
/// again.
pub(crate) async fn receive(
    config: &TransportConfig,
    find_session: impl FnOnce(&str) -> Option<SessionForRequests>,
    request: Request<Incoming>,
) -> Response<Body> {
    let mut response = respond(config, find_session, request).await.unwrap_or_else(error_response);
    add_security_headers(&mut response);
    response
}

async fn respond(
    config: &TransportConfig,
    find_session: impl FnOnce(&str) -> Option<SessionForRequests>,
    request: Request<Incoming>,
) -> Result<Response<Body>, HandshakeError> {
    let signature = request.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let proof = config.peers.as_ref().and_then(|peers| Some((peers, peers.verify(signature, &request)?.to_owned())));
    let Some((peers, body_digest)) = proof else {
        drop(HandoverOutcome("refused"));
        return Err(HandshakeError::Forbidden);
    };
    if request.uri().path() == HEALTH_PATH {
        return Ok(status_response(peers.own_health()));
    }
    let query = request.uri().query().unwrap_or_default();
    let transport = match query_parameter(query, "transport") {
        Some("websocket") => TransportKind::WebSocket,
        _ => TransportKind::Polling,
    };
    let session = query_parameter(query, "sid").and_then(find_session);
    let session = session.ok_or(HandshakeError::UnknownSession)?;
    continue_session(config, &session, transport, request, Some(&body_digest)).await
}
