//! Hands a client's request over to the node of its session, and returns that node's response.
//!
//! Connections to other nodes are pooled. A request that the client aborts closes its connection to
//! the other node, so that an aborted poll ends its session there too. A node that dies fails its
//! handed-over requests. A paused node keeps its connections but no longer reports that it is
//! alive. This node checks that once a second while it waits for a response.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderMap, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::client::legacy::Error;
use tokio::time::{sleep, timeout};

use super::outcome::HandoverOutcome;
use super::pool::{HandoverPermit, Handovers};
use super::tunnel;
use crate::bounds::MessageBounds;
use crate::cluster::{FORWARDED_HEADERS, Peers, SIGNATURE_HEADER};
use crate::config::{Timeouts, TransportConfig};
use crate::http::{Body, accepted_protocol, read_body, upgraded_stream};
use crate::protocol::HandshakeError;

/// Time between two checks whether the node is alive, while its response is awaited.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);

/// Hands a client's request over to the node `owner`, which has its session. `messages` are the
/// bounds of this client.
///
/// # Errors
/// That node is gone, and the session with it; the client opens a new session. Or the node has as
/// many hand-overs as it may have; the client tries again.
pub(crate) async fn forward(
    handovers: &Handovers,
    config: &TransportConfig,
    peers: &Peers,
    owner: &str,
    messages: &MessageBounds,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, HandshakeError> {
    // Stays "aborted" if the client closes its connection and this future is dropped.
    let mut outcome = HandoverOutcome("aborted");
    let Some(permit) = handovers.acquire(owner) else {
        outcome.0 = "busy";
        return Err(HandshakeError::PeerBusy);
    };
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let Some(address) = peers.directory.address(owner).await else {
        outcome.0 = "unknown_node";
        return Err(HandshakeError::UnknownSession);
    };
    let limit = response_timeout(&config.timeouts, &request);
    let is_post = request.method() == Method::POST;
    let protocol = accepted_protocol(request.headers());
    let (parts, body) = request.into_parts();
    let (body, _slot) = if is_post {
        let read = read_body(body, messages, config.timeouts.http).await;
        read.inspect_err(|_| outcome.0 = "malformed")?
    } else {
        (Bytes::new(), None)
    };
    let request = signed_request(peers, owner, &address, parts, body)?;
    let response = tokio::select! {
        response = timeout(limit, handovers.send(request)) => response.ok(),
        () = owner_lost(peers, owner) => None,
    };
    if response.as_ref().is_some_and(|response| response.as_ref().is_err_and(Error::is_connect)) {
        outcome.0 = "unreachable";
        peers.directory.mark_suspect(owner);
        return Err(HandshakeError::UnknownSession);
    }
    // Forbidden: the address belongs to another node now.
    let response = response.and_then(Result::ok).filter(|response| response.status() != StatusCode::FORBIDDEN);
    let Some(mut response) = response else {
        outcome.0 = "failed";
        peers.directory.mark_suspect(owner);
        return Err(HandshakeError::UnknownSession);
    };
    outcome.0 = "answered";
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let near = upgrade.ok_or(HandshakeError::BadRequest)?;
        outcome.0 = "upgraded";
        // The other node does not know which subprotocols the client offers.
        response.headers_mut().extend(protocol.map(|protocol| (SEC_WEBSOCKET_PROTOCOL, protocol)));
        tokio::spawn(tunnel(near, hyper::upgrade::on(&mut response), permit));
    } else {
        // These headers belong to the connection between the nodes.
        response.headers_mut().remove(CONNECTION);
        response.headers_mut().remove(TRANSFER_ENCODING);
    }
    Ok(response.map(Either::Right))
}

/// Joins the connections of client and node. The hand-over lasts as long as they do.
async fn tunnel(near: OnUpgrade, far: OnUpgrade, _permit: HandoverPermit) {
    if let (Some(near), Some(far)) = tokio::join!(upgraded_stream(near), upgraded_stream(far)) {
        let _slot_of_the_connection = near.slot;
        tunnel::join((near.stream, near.read), (far.stream, far.read)).await;
    }
}

/// Returns the maximum time in which a live node responds. A poll hangs until the next ping, or
/// until its pong is overdue. No other request hangs.
fn response_timeout(timeouts: &Timeouts, request: &Request<Incoming>) -> Duration {
    let is_poll = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
    let hangs = if is_poll { timeouts.ping_interval + timeouts.ping_timeout } else { Duration::ZERO };
    hangs + timeouts.http
}

/// Returns when the node no longer reports that it is alive.
async fn owner_lost(peers: &Peers, owner: &str) {
    loop {
        sleep(LIVENESS_INTERVAL).await;
        if !peers.directory.is_alive(owner).await {
            return;
        }
    }
}

/// Builds the request to the node: only the headers that the session needs, the body, and the
/// signature of all of them. A body that is too large was cut one byte above the bound, so that the
/// node refuses it and ends the session.
fn signed_request(
    peers: &Peers,
    owner: &str,
    address: &str,
    mut parts: Parts,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, HandshakeError> {
    let mut headers = HeaderMap::with_capacity(8);
    if parts.headers.contains_key(UPGRADE) {
        let forwarded = FORWARDED_HEADERS.into_iter();
        headers.extend(forwarded.filter_map(|name| Some((name.clone(), parts.headers.remove(name)?))));
    }
    let target = parts.uri.path_and_query().cloned().ok_or(HandshakeError::BadRequest)?;
    let uri = Uri::builder().scheme("http").authority(address).path_and_query(target);
    parts.uri = uri.build().map_err(|_| HandshakeError::BadRequest)?;
    parts.headers = headers;
    let mut request = Request::from_parts(parts, Full::new(body.clone()));
    let signature = HeaderValue::from_str(&peers.sign(owner, &request, &body));
    request.headers_mut().insert(SIGNATURE_HEADER, signature.map_err(|_| HandshakeError::BadRequest)?);
    Ok(request)
}
