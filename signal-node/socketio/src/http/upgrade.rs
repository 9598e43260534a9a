//! The HTTP upgrade to WebSocket.

use bytes::Bytes;
use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::WriteTimeoutStream;
use super::response::{Body, empty_body};
use crate::bounds::{ClientNetwork, Permit};
use crate::protocol::HandshakeError;
use crate::websocket::WebSocketTransport;

/// Creates the response that switches a connection to WebSocket.
///
/// # Errors
/// The request is not a valid WebSocket handshake.
pub(crate) fn switching_response(request: &Request<Incoming>) -> Result<Response<Body>, HandshakeError> {
    if !request.headers().contains_key(UPGRADE) {
        return Err(HandshakeError::BadRequest);
    }
    create_response_with_body(request, empty_body).map_err(|_| HandshakeError::BadRequest)
}

/// TCP stream after an upgrade.
pub(crate) struct UpgradedStream {
    pub(crate) stream: TcpStream,
    /// Bytes that hyper has already read from it.
    pub(crate) read: Bytes,
    /// Slot of a client's connection.
    pub(crate) permit: Option<Permit<ClientNetwork>>,
}

/// Waits for the upgrade and returns a WebSocket on the plain TCP stream, without hyper's buffers.
pub(crate) async fn upgraded_websocket(upgrade: OnUpgrade, max_payload: usize) -> Option<WebSocketTransport> {
    let UpgradedStream { stream, read, permit } = upgraded_stream(upgrade).await?;
    Some(WebSocketTransport::new(stream, &read, permit, max_payload))
}

/// Waits for the upgrade and returns the TCP stream.
pub(crate) async fn upgraded_stream(upgrade: OnUpgrade) -> Option<UpgradedStream> {
    // Fails when the peer closes the connection before it has the response.
    let upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<WriteTimeoutStream>>().ok()?;
    let (stream, permit) = parts.io.into_inner().into_inner();
    Some(UpgradedStream { stream, read: parts.read_buf, permit })
}
