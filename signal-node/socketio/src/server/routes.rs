//! Routes the HTTP requests of clients.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{ORIGIN, UPGRADE};
use http::{Method, Request, Response};
use hyper::body::Incoming;

use super::context::ServerContext;
use super::open::{handshake, open_polling, open_websocket};
use crate::bounds::ClientNetwork;
use crate::handover::{self, HandoverOutcome};
use crate::http::{
    Body, add_cors_headers, add_security_headers, continue_session, error_response, origin_may_pass,
    preflight_response, query_parameter, text_response,
};
use crate::protocol::{HandshakeError, TransportKind};

/// Maximum number of bytes of a request's path and query. Clients need less than 300.
const TARGET_LENGTH_MAX: usize = 2048;

/// Answers a request of a client. While `stopping`, no new session is opened.
pub(super) async fn respond(
    context: &Arc<ServerContext>,
    request: Request<Incoming>,
    peer: IpAddr,
    stopping: bool,
) -> Response<Body> {
    let origins = &context.config.allowed_origins;
    let origin = request.headers().get(ORIGIN).cloned();
    let network = context.addresses.network(request.headers(), peer);
    let mut response = match admit(context, &request, network) {
        Err(error) => error_response(error),
        Ok(()) if request.method() == Method::OPTIONS => preflight_response(request.headers()),
        Ok(()) => route(context, request, network, stopping).await.unwrap_or_else(error_response),
    };
    add_cors_headers(&mut response, origins, origin);
    add_security_headers(&mut response);
    response
}

/// Answers `GET /`: many load balancers ask it whether a server is well, and people whether they
/// have the right address.
fn root(stopping: bool) -> Result<Response<Body>, HandshakeError> {
    if stopping { Err(HandshakeError::ShuttingDown) } else { Ok(text_response("Socket.IO server\n".into())) }
}

/// Counts a request, before it costs anything else.
fn admit(context: &ServerContext, request: &Request<Incoming>, network: ClientNetwork) -> Result<(), HandshakeError> {
    context.rates.count_request(network)?;
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > TARGET_LENGTH_MAX) {
        return Err(HandshakeError::TargetTooLong);
    }
    if origin_may_pass(&context.config.allowed_origins, request.headers()) {
        Ok(())
    } else {
        Err(HandshakeError::Forbidden)
    }
}

async fn route(
    context: &Arc<ServerContext>,
    request: Request<Incoming>,
    network: ClientNetwork,
    stopping: bool,
) -> Result<Response<Body>, HandshakeError> {
    let path = request.uri().path();
    if path == "/" && matches!(*request.method(), Method::GET | Method::HEAD) {
        return root(stopping);
    }
    let service = context
        .routes
        .iter()
        .find(|(route, _)| path == route || path == route.trim_end_matches('/'))
        .map(|(_, service)| Arc::clone(service))
        .ok_or(HandshakeError::NotFound)?;
    let query = request.uri().query().unwrap_or_default();
    let transport = match query_parameter(query, "transport") {
        Some("websocket") => TransportKind::WebSocket,
        Some("polling") => TransportKind::Polling,
        _ => return Err(HandshakeError::UnknownTransport),
    };
    if query_parameter(query, "EIO") != Some("4") {
        return Err(HandshakeError::UnsupportedVersion);
    }
    let config = &context.config;
    if let Some(sid) = query_parameter(query, "sid") {
        if let Some(session) = context.session(sid) {
            return continue_session(config, &session, transport, request, None).await;
        }
        let peers = config.peers.as_ref().ok_or(HandshakeError::UnknownSession)?;
        let owner = peers.owner(sid).ok_or(HandshakeError::UnknownSession)?.to_owned();
        context.rates.count_handover(network).inspect_err(|_| drop(HandoverOutcome("limited")))?;
        let messages = context.message_bounds(network);
        let mut request = request;
        if transport == TransportKind::Polling {
            // Some proxies send it with each request, and Java's client offers HTTP/2 so. The other
            // node must not take a poll for an upgrade, which has less time.
            request.headers_mut().remove(UPGRADE);
        }
        return handover::forward(&context.handovers, config, peers, &owner, &messages, request).await;
    }
    if request.method() != Method::GET {
        return Err(HandshakeError::BadMethod);
    }
    if stopping {
        return Err(HandshakeError::ShuttingDown);
    }
    context.rates.count_handshake(network)?;
    let handshake = Arc::new(handshake(&request, network, config, transport));
    match transport {
        TransportKind::WebSocket => open_websocket(context, service, request, handshake),
        TransportKind::Polling => open_polling(context, service, handshake, query_parameter(query, "t")),
    }
}
