//! Requests of an open long-polling session.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use switchboard_core::ClusterKey;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::query::query_parameter;
use super::response::{Body, text_response};
use super::upgrade::{UpgradedStream, switching_response, upgraded_stream, upgraded_websocket};
use crate::bounds::{FrameMeter, LargeMessagePermit, MessageBounds};
use crate::config::TransportConfig;
use crate::polling::PollingSession;
use crate::protocol::{Frame, HandshakeError, Received, TransportKind};
use crate::registry::SessionForRequests;
use crate::websocket::{WebSocketTransport, close_unused};

/// Serves a request of a session that is open on this node. `proof` is the digest of the body that
/// the other node has signed, if the request was handed over.
///
/// # Errors
/// The session has ended, or the request is not valid in its state or has another body.
pub(crate) async fn continue_session(
    config: &TransportConfig,
    session: &SessionForRequests,
    transport: TransportKind,
    request: Request<Incoming>,
    proof: Option<&str>,
) -> Result<Response<Body>, HandshakeError> {
    let session = match session {
        SessionForRequests::Polling(session) => session,
        SessionForRequests::WebSocket if transport == TransportKind::WebSocket => return close_second(config, request),
        SessionForRequests::WebSocket => return Err(HandshakeError::BadRequest),
    };
    match (transport, request.method()) {
        (TransportKind::WebSocket, &Method::GET) => upgrade(config, session, request),
        (TransportKind::Polling, &Method::GET) => {
            let response = session.poll(query_parameter(request.uri().query().unwrap_or_default(), "t")).await;
            response.map(text_response)
        }
        (TransportKind::Polling, &Method::POST) => post(config, session, request, proof).await,
        _ => Err(HandshakeError::BadRequest),
    }
}

/// Reads the packets of a POST and passes them to the session.
async fn post(
    config: &TransportConfig,
    session: &PollingSession,
    request: Request<Incoming>,
    proof: Option<&str>,
) -> Result<Response<Body>, HandshakeError> {
    let (head, body) = request.into_parts();
    let (body, _slot) = read_body(body, session.messages(), config.timeouts.http).await?;
    if proof.is_some_and(|proof| proof != ClusterKey::digest(&body)) {
        return Err(HandshakeError::Forbidden);
    }
    if body.len() > session.messages().max_body() {
        session.payload_too_large();
        return Err(HandshakeError::TooLarge);
    }
    // A body that is not UTF-8 becomes an empty one, which is malformed too and ends the session.
    let text = std::str::from_utf8(&body).unwrap_or_default();
    session.post(query_parameter(head.uri.query().unwrap_or_default(), "t"), text).await?;
    Ok(text_response("ok".into()))
}

/// Reads a body. Returns it with the slot that it needs as long as it is in memory. Of a body that
/// is too large, it returns one byte above the bound. The rest is read and dropped, up to the same
/// size again, because a client reads the answer only after it has sent its request.
///
/// # Errors
/// The body does not arrive in time, or is malformed, or no slot is free.
pub(crate) async fn read_body(
    mut body: Incoming,
    messages: &MessageBounds,
    time: Duration,
) -> Result<(Bytes, Option<Box<LargeMessagePermit>>), HandshakeError> {
    let limit = messages.max_body() + 1;
    let read = async {
        let (mut bytes, mut slot, mut admitted, mut received) = (BytesMut::new(), None, true, 0);
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|_| HandshakeError::BadRequest)?.into_data().unwrap_or_default();
            received += data.len();
            let data = &data[..data.len().min(limit - bytes.len())];
            admitted = admitted && messages.admit_body(bytes.len() + data.len(), &mut slot).is_ok();
            if admitted {
                bytes.extend_from_slice(data);
            } else {
                bytes = BytesMut::new();
            }
            if received >= 2 * limit {
                break;
            }
        }
        if admitted { Ok((bytes.freeze(), slot)) } else { Err(HandshakeError::TooManyBodies) }
    };
    tokio::time::timeout(time, read).await.unwrap_or(Err(HandshakeError::BadRequest))
}

/// Starts the upgrade of a session to WebSocket. The session continues over long-polling during the
/// probe.
fn upgrade(
    config: &TransportConfig,
    session: &Arc<PollingSession>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, HandshakeError> {
    let response = switching_response(&request)?;
    if !session.begin_upgrade()? {
        return close_second(config, request);
    }
    let session = Arc::clone(session);
    let (frames_per_second, messages) = (config.limits.frames_per_second, session.messages().clone());
    let time_limit = config.timeouts.http;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Some(mut socket) = upgraded_websocket(upgrade, messages).await else {
            return session.end_upgrade(None);
        };
        let probe = probe(&mut socket, FrameMeter::new(frames_per_second, None), &session);
        let finished = tokio::select! {
            finished = tokio::time::timeout(time_limit, probe) => matches!(finished, Ok(true)),
            () = session.ended() => false,
        };
        if finished {
            session.end_upgrade(Some(socket));
        } else {
            // Before the socket closes, because a client may try again as soon as it closes.
            session.end_upgrade(None);
        }
    });
    Ok(response)
}

/// Accepts and closes a WebSocket for a session that has one, as the stock server does: clients
/// expect the end of a WebSocket, and take a refusal for a fault of the server.
fn close_second(config: &TransportConfig, mut request: Request<Incoming>) -> Result<Response<Body>, HandshakeError> {
    let response = switching_response(&request)?;
    let (upgrade, time) = (hyper::upgrade::on(&mut request), config.timeouts.close);
    tokio::spawn(async move {
        if let Some(UpgradedStream { stream, slot, .. }) = upgraded_stream(upgrade).await {
            // A client that does not close is cut.
            let _closed_or_cut = tokio::time::timeout(time, close_unused(stream)).await;
            drop(slot);
        }
    });
    Ok(response)
}

/// Runs the probe: receives `2probe`, sends `3probe`, receives `5`. Returns whether it succeeded.
async fn probe(socket: &mut WebSocketTransport, mut meter: FrameMeter, session: &PollingSession) -> bool {
    let frame = |text: &'static str| Frame::Text(Utf8Bytes::from_static(text));
    if poll_fn(|cx| socket.poll_recv(cx, &mut meter)).await != Ok(Received::Frame(frame("2probe"))) {
        return false;
    }
    socket.queue([frame("3probe")]);
    if poll_fn(|cx| socket.poll_flush(cx)).await.is_err() {
        return false;
    }
    session.probe_answered();
    poll_fn(|cx| socket.poll_recv(cx, &mut meter)).await == Ok(Received::Frame(frame("5")))
}
