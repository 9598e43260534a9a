//! Routes the HTTP requests of clients.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::ORIGIN;
use http::{Method, Request, Response};
use hyper::body::Incoming;

use super::context::ServerContext;
use super::open::{handshake, open_polling, open_websocket};
use crate::handover;
use crate::http::{
    Body, add_cors_headers, continue_session, error_response, origin_may_pass, preflight_response, query_parameter,
};
use crate::protocol::{HandshakeError, TransportKind};

/// Answers a request of a client. While `stopping`, no new session is opened.
pub(super) async fn respond(
    context: &Arc<ServerContext>,
    request: Request<Incoming>,
    peer: IpAddr,
    stopping: bool,
) -> Response<Body> {
    let origins = &context.config.allowed_origins;
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = if !origin_may_pass(origins, request.headers()) {
        error_response(HandshakeError::Forbidden)
    } else if request.method() == Method::OPTIONS {
        preflight_response(request.headers())
    } else {
        route(context, request, peer, stopping).await.unwrap_or_else(error_response)
    };
    add_cors_headers(&mut response, origins, origin);
    response
}

async fn route(
    context: &Arc<ServerContext>,
    request: Request<Incoming>,
    peer: IpAddr,
    stopping: bool,
) -> Result<Response<Body>, HandshakeError> {
    let path = request.uri().path();
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
        if let Some(session) = context.sockets.polling_session(sid) {
            return continue_session(config, &session, transport, request).await;
        }
        let peers = config.peers.as_ref().ok_or(HandshakeError::UnknownSession)?;
        let owner = peers.owner(sid).ok_or(HandshakeError::UnknownSession)?.to_owned();
        return handover::forward(&config.timeouts, peers, &owner, request).await;
    }
    if request.method() != Method::GET {
        return Err(HandshakeError::BadMethod);
    }
    if stopping {
        return Err(HandshakeError::ShuttingDown);
    }
    let handshake = Arc::new(handshake(&request, peer, config, transport));
    match transport {
        TransportKind::WebSocket => open_websocket(context, service, request, handshake),
        TransportKind::Polling => open_polling(context, &service, handshake).await,
    }
}
