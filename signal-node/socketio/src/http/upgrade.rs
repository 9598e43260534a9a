//! The HTTP upgrade to WebSocket.

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::BoundedStream;
use super::response::{Body, WEBSOCKET_VERSION, empty_body};
use crate::bounds::{ClientNetwork, ConnectionSlot, MessageBounds};
use crate::protocol::HandshakeError;
use crate::websocket::WebSocketTransport;

/// Creates the response that switches a connection to WebSocket.
///
/// # Errors
/// The request is not a valid WebSocket handshake, or is one of another version.
pub(crate) fn switching_response(request: &Request<Incoming>) -> Result<Response<Body>, HandshakeError> {
    if !request.headers().contains_key(UPGRADE) {
        return Err(HandshakeError::NoUpgrade);
    }
    if request.headers().get(SEC_WEBSOCKET_VERSION).is_some_and(|version| version != WEBSOCKET_VERSION) {
        return Err(HandshakeError::WebSocketVersion);
    }
    let mut response = create_response_with_body(request, empty_body).map_err(|_| HandshakeError::BadRequest)?;
    if let Some(protocol) = accepted_protocol(request.headers()) {
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    Ok(response)
}

/// Returns the subprotocol to answer: the first that the client offers, as the stock server does. A
/// browser that offers some closes a connection that names none of them.
pub(crate) fn accepted_protocol(request: &HeaderMap) -> Option<HeaderValue> {
    let offered = request.get(SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let first = offered.split(',').map(str::trim).find(|protocol| !protocol.is_empty())?;
    HeaderValue::from_str(first).ok()
}

/// TCP stream after an upgrade.
pub(crate) struct UpgradedStream {
    pub(crate) stream: TcpStream,
    /// Bytes that hyper has already read from it.
    pub(crate) read: Bytes,
    /// Slot of a client's connection.
    pub(crate) slot: Option<ConnectionSlot<ClientNetwork>>,
}

/// Waits for the upgrade and returns a WebSocket on the plain TCP stream, without hyper's buffers.
pub(crate) async fn upgraded_websocket(upgrade: OnUpgrade, messages: MessageBounds) -> Option<WebSocketTransport> {
    let UpgradedStream { stream, read, slot } = upgraded_stream(upgrade).await?;
    Some(WebSocketTransport::new(stream, &read, slot, messages))
}

/// Waits for the upgrade and returns the TCP stream.
pub(crate) async fn upgraded_stream(upgrade: OnUpgrade) -> Option<UpgradedStream> {
    // Fails when the peer closes the connection before it has the response.
    let upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<BoundedStream>>().ok()?;
    let (stream, slot) = parts.io.into_inner().into_inner();
    Some(UpgradedStream { stream, read: parts.read_buf, slot })
}
