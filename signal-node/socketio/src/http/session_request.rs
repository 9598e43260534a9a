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
use super::upgrade::{switching_response, upgraded_websocket};
use crate::bounds::FrameMeter;
use crate::config::{Limits, TransportConfig};
use crate::polling::PollingSession;
use crate::protocol::{Frame, HandshakeError, TransportKind};
use crate::websocket::WebSocketTransport;

/// Serves a request of a session that is open on this node. `proof` is the digest of the body that
/// the other node has signed, if the request was handed over.
///
/// # Errors
/// The session has ended, or the request is not valid in its state or has another body.
pub(crate) async fn continue_session(
    config: &TransportConfig,
    session: &Arc<PollingSession>,
    transport: TransportKind,
    request: Request<Incoming>,
    proof: Option<&str>,
) -> Result<Response<Body>, HandshakeError> {
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
    let limit = config.limits.max_payload;
    // One byte more than the limit tells a body over the limit.
    let body = read_body(body, limit + 1, config.timeouts.http).await?;
    if proof.is_some_and(|proof| proof != ClusterKey::digest(&body)) {
        return Err(HandshakeError::Forbidden);
    }
    if body.len() > limit {
        session.payload_too_large();
        return Err(HandshakeError::TooLarge);
    }
    // A body that is not UTF-8 becomes an empty one, which is malformed too and ends the session.
    let text = std::str::from_utf8(&body).unwrap_or_default();
    session.post(query_parameter(head.uri.query().unwrap_or_default(), "t"), text).await?;
    Ok(text_response("ok".into()))
}

/// Reads a body. Of a longer one, it reads and returns the first `limit` bytes.
///
/// # Errors
/// The body does not arrive in time, or is malformed.
pub(crate) async fn read_body(mut body: Incoming, limit: usize, time: Duration) -> Result<Bytes, HandshakeError> {
    let read = async {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let data = frame.map_err(|_| HandshakeError::BadRequest)?.into_data().unwrap_or_default();
            bytes.extend_from_slice(&data[..data.len().min(limit - bytes.len())]);
            if bytes.len() == limit {
                break;
            }
        }
        Ok(bytes.freeze())
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
    session.begin_upgrade()?;
    let session = Arc::clone(session);
    let Limits { max_payload, frames_per_second, .. } = config.limits;
    let time_limit = config.timeouts.http;
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Some(mut socket) = upgraded_websocket(upgrade, max_payload).await else {
            return session.end_upgrade(None);
        };
        let probe = probe(&mut socket, FrameMeter::new(frames_per_second), &session);
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

/// Runs the probe: receives `2probe`, sends `3probe`, receives `5`. Returns whether it succeeded.
async fn probe(socket: &mut WebSocketTransport, mut meter: FrameMeter, session: &PollingSession) -> bool {
    let frame = |text: &'static str| Frame::Text(Utf8Bytes::from_static(text));
    if poll_fn(|cx| socket.poll_recv(cx, &mut meter)).await != Ok(frame("2probe")) {
        return false;
    }
    socket.queue([frame("3probe")]);
    if poll_fn(|cx| socket.poll_flush(cx)).await.is_err() {
        return false;
    }
    session.probe_answered();
    poll_fn(|cx| socket.poll_recv(cx, &mut meter)).await == Ok(frame("5"))
}
