//! Requests of an open long-polling session.

use std::future::poll_fn;
use std::sync::Arc;

use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use super::query::query_parameter;
use super::response::{Body, text_response};
use super::upgrade::{switching_response, upgraded_websocket};
use crate::config::TransportConfig;
use crate::polling::PollingSession;
use crate::protocol::{Frame, HandshakeError, TransportKind};
use crate::websocket::WebSocketTransport;

/// Serves a request of a session that is open on this node.
///
/// # Errors
/// The session has ended, or the request is not valid in its state.
pub(crate) async fn continue_session(
    config: &TransportConfig,
    session: &Arc<PollingSession>,
    transport: TransportKind,
    request: Request<Incoming>,
) -> Result<Response<Body>, HandshakeError> {
    match (transport, request.method()) {
        (TransportKind::WebSocket, &Method::GET) => upgrade(config, session, request),
        (TransportKind::Polling, &Method::GET) => {
            let response = session.poll(query_parameter(request.uri().query().unwrap_or_default(), "t")).await;
            response.map(text_response)
        }
        (TransportKind::Polling, &Method::POST) => post(config, session, request).await,
        _ => Err(HandshakeError::BadRequest),
    }
}

/// Reads the packets of a POST and passes them to the session.
async fn post(
    config: &TransportConfig,
    session: &PollingSession,
    request: Request<Incoming>,
) -> Result<Response<Body>, HandshakeError> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, config.limits.max_payload).collect();
    let body = match tokio::time::timeout(config.timeouts.http, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            session.payload_too_large();
            return Err(HandshakeError::TooLarge);
        }
        Ok(Err(_)) | Err(_) => return Err(HandshakeError::BadRequest),
    };
    // A body that is not UTF-8 becomes an empty one, which is malformed too and ends the session.
    let text = std::str::from_utf8(&body).unwrap_or_default();
    session.post(query_parameter(head.uri.query().unwrap_or_default(), "t"), text).await?;
    Ok(text_response("ok".into()))
}

/// Starts the upgrade of a session to WebSocket. The session goes on over long-polling during the
/// probe.
fn upgrade(
    config: &TransportConfig,
    session: &Arc<PollingSession>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, HandshakeError> {
    let response = switching_response(&request)?;
    session.begin_upgrade()?;
    let session = Arc::clone(session);
    let (time_limit, max_payload) = (config.timeouts.http, config.limits.max_payload);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Some(mut socket) = upgraded_websocket(upgrade, max_payload).await else {
            return session.end_upgrade(None);
        };
        let finished = tokio::select! {
            finished = tokio::time::timeout(time_limit, probe(&mut socket, &session)) => matches!(finished, Ok(true)),
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
async fn probe(socket: &mut WebSocketTransport, session: &PollingSession) -> bool {
    let frame = |text: &'static str| Frame::Text(Utf8Bytes::from_static(text));
    if poll_fn(|cx| socket.poll_recv(cx)).await != Ok(frame("2probe")) {
        return false;
    }
    socket.queue([frame("3probe")]);
    if poll_fn(|cx| socket.poll_flush(cx)).await.is_err() {
        return false;
    }
    session.probe_answered();
    poll_fn(|cx| socket.poll_recv(cx)).await == Ok(frame("5"))
}
