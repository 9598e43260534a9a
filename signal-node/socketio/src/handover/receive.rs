//! Serves requests of other nodes.

use http::{Request, Response};
use hyper::body::Incoming;

use super::outcome::HandoverOutcome;
use crate::cluster::{HEALTH_PATH, SIGNATURE_HEADER};
use crate::config::TransportConfig;
use crate::http::{Body, continue_session, error_response, query_parameter, status_response};
use crate::protocol::{HandshakeError, TransportKind};
use crate::registry::SocketRegistry;

/// Serves a request of another node: a handed-over request or a health check. A session that is not
/// open here is unknown; the request is not handed over again.
pub(crate) async fn receive(
    config: &TransportConfig,
    sockets: &SocketRegistry,
    request: Request<Incoming>,
) -> Response<Body> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let signature = request.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let peers = config.peers.as_ref();
    let Some(peers) = peers.filter(|peers| peers.verify(signature, request.method().as_str(), target)) else {
        drop(HandoverOutcome("refused"));
        return error_response(HandshakeError::Forbidden);
    };
    if request.uri().path() == HEALTH_PATH {
        return status_response(peers.own_health());
    }
    let query = request.uri().query().unwrap_or_default();
    let transport = match query_parameter(query, "transport") {
        Some("websocket") => TransportKind::WebSocket,
        _ => TransportKind::Polling,
    };
    let session = query_parameter(query, "sid").and_then(|sid| sockets.polling_session(sid));
    match session {
        Some(session) => continue_session(config, &session, transport, request).await.unwrap_or_else(error_response),
        None => error_response(HandshakeError::UnknownSession),
    }
}
