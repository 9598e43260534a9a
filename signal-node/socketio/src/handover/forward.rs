//! Hands a client's request over to the node of its session, and returns that node's response.
//!
//! Each hand-over has its own connection, so that the end of one side ends the other side. A client
//! that aborts a poll ends its session on the other node, and a node that dies fails its
//! handed-over requests. A paused node keeps its connections but no longer reports that it is
//! alive. This node checks that once a second while it waits for a response.

use std::time::Duration;

use http::header::{
    CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::outcome::HandoverOutcome;
use super::tunnel;
use crate::cluster::{Peers, SIGNATURE_HEADER};
use crate::config::Timeouts;
use crate::http::{Body, WriteTimeoutStream, upgraded_stream};
use crate::protocol::HandshakeError;

/// Headers of a client's upgrade request that its session needs.
const FORWARDED_HEADERS: [HeaderName; 4] = [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION];

/// Maximum time to connect to a node. A node that does not accept counts as gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two checks whether the node is alive, while its response is awaited.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(1);

/// Hands a client's request over to the node `owner`, which has its session.
///
/// # Errors
/// That node is gone, and the session with it. The client opens a new session.
pub(crate) async fn forward(
    timeouts: &Timeouts,
    peers: &Peers,
    owner: &str,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, HandshakeError> {
    // Stays "aborted" if the client closes its connection and this future is dropped.
    let mut outcome = HandoverOutcome("aborted");
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let Some(address) = peers.directory.address(owner).await else {
        outcome.0 = "unknown_node";
        return Err(HandshakeError::UnknownSession);
    };
    let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(&address)).await else {
        outcome.0 = "unreachable";
        peers.directory.mark_suspect(owner);
        return Err(HandshakeError::UnknownSession);
    };
    if stream.set_nodelay(true).is_err() {
        return Err(HandshakeError::UnknownSession);
    }
    let limit = response_timeout(timeouts, &request);
    let request = signed_request(peers, owner, &address, request).ok_or(HandshakeError::BadRequest)?;
    let sent = send(WriteTimeoutStream::new(stream, timeouts.http), request);
    let response = tokio::select! {
        response = timeout(limit, sent) => response.ok().flatten(),
        () = owner_lost(peers, owner) => None,
    };
    // Forbidden: the address belongs to another node now.
    let response = response.filter(|response| response.status() != StatusCode::FORBIDDEN);
    let Some(mut response) = response else {
        outcome.0 = "failed";
        peers.directory.mark_suspect(owner);
        return Err(HandshakeError::UnknownSession);
    };
    outcome.0 = "answered";
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let far = hyper::upgrade::on(&mut response);
        let near = upgrade.ok_or(HandshakeError::BadRequest)?;
        outcome.0 = "upgraded";
        tokio::spawn(async move {
            if let (Some(near), Some(far)) = tokio::join!(upgraded_stream(near), upgraded_stream(far)) {
                tunnel::join(near, far).await;
            }
        });
    } else {
        // These headers belong to the connection between the nodes.
        response.headers_mut().remove(CONNECTION);
        response.headers_mut().remove(TRANSFER_ENCODING);
    }
    Ok(response.map(Either::Right))
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

/// Builds the request to the node: only the headers that the session needs, and the signature.
fn signed_request(peers: &Peers, owner: &str, address: &str, request: Request<Incoming>) -> Option<Request<Incoming>> {
    let (mut parts, body) = request.into_parts();
    let target = parts.uri.path_and_query()?.as_str().to_owned();
    let signature = peers.sign(owner, parts.method.as_str(), &target);
    let mut headers = HeaderMap::with_capacity(8);
    if parts.headers.contains_key(UPGRADE) {
        let forwarded = FORWARDED_HEADERS.into_iter();
        headers.extend(forwarded.filter_map(|name| Some((name.clone(), parts.headers.remove(name)?))));
    }
    headers.insert(HOST, HeaderValue::from_str(address).ok()?);
    headers.insert(SIGNATURE_HEADER, HeaderValue::from_str(&signature).ok()?);
    parts.headers = headers;
    parts.uri = target.parse::<Uri>().ok()?;
    Some(Request::from_parts(parts, body))
}

async fn send(stream: WriteTimeoutStream, request: Request<Incoming>) -> Option<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // Ends when the response is no longer awaited. The other node thereby learns that the client
    // has closed its connection.
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.ok()
}
