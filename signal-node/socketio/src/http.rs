//! Engine.IO's HTTP side: who may open a session, and how.

use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER, UPGRADE, USER_AGENT,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use switchboard_core::client_address::client_address;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::handshake::server::create_response_with_body;

use super::carrier::Carrier;
use super::cors::{allow_origin, may_pass, preflight};
use super::engine::{Engine, Service};
use super::polling::{Exchange, Polling};
use super::server::{Place, Shared};
use super::stall::Stall;
use super::websocket::WebSocket;
use super::{Handshake, Peers, TransportConfig, TransportKind, handover, peers};
use crate::send_queue::{Frame, Queue, SendQueueLimits};

/// Of this node's own making, or as another node sends it.
pub(super) type Body = Either<Full<Bytes>, Incoming>;

/// A request that opens no session, with Engine.IO's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    UnknownTransport,
    UnknownSession,
    BadMethod,
    BadRequest,
    Forbidden,
    UnsupportedVersion,
    TooLarge,
    TooManySockets,
    ShuttingDown,
    NotFound,
}

impl Refusal {
    fn parts(self) -> (StatusCode, u8, &'static str) {
        match self {
            Self::UnknownTransport => (StatusCode::BAD_REQUEST, 0, "Transport unknown"),
            Self::UnknownSession => (StatusCode::BAD_REQUEST, 1, "Session ID unknown"),
            Self::BadMethod => (StatusCode::BAD_REQUEST, 2, "Bad handshake method"),
            Self::BadRequest => (StatusCode::BAD_REQUEST, 3, "Bad request"),
            Self::Forbidden => (StatusCode::FORBIDDEN, 4, "Forbidden"),
            Self::UnsupportedVersion => (StatusCode::BAD_REQUEST, 5, "Unsupported protocol version"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, 3, "Payload too large"),
            Self::TooManySockets => (StatusCode::TOO_MANY_REQUESTS, 4, "Too many connections from this address"),
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, 4, "Shutting down"),
            Self::NotFound => (StatusCode::NOT_FOUND, 3, "Not found"),
        }
    }
}

/// Answers one request.
pub(super) async fn respond(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    peer: IpAddr,
    stopping: bool,
) -> Response<Body> {
    let origins = &shared.config.allowed_origins;
    let origin = request.headers().get(ORIGIN).cloned();
    let mut response = if !may_pass(origins, request.headers()) {
        refuse(Refusal::Forbidden)
    } else if request.method() == Method::OPTIONS {
        preflight(request.headers())
    } else {
        route(shared, request, peer, stopping).await.unwrap_or_else(refuse)
    };
    allow_origin(&mut response, origins, origin);
    response
}

async fn route(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    peer: IpAddr,
    stopping: bool,
) -> Result<Response<Body>, Refusal> {
    let path = request.uri().path();
    let service = shared
        .routes
        .iter()
        .find(|(route, _)| path == route || path == route.trim_end_matches('/'))
        .map(|(_, service)| Arc::clone(service))
        .ok_or(Refusal::NotFound)?;
    let query = request.uri().query().unwrap_or_default();
    let transport = match parameter(query, "transport") {
        Some("websocket") => TransportKind::WebSocket,
        Some("polling") => TransportKind::Polling,
        _ => return Err(Refusal::UnknownTransport),
    };
    if parameter(query, "EIO") != Some("4") {
        return Err(Refusal::UnsupportedVersion);
    }
    if let Some(sid) = parameter(query, "sid") {
        if let Some(exchange) = shared.sockets.exchange(sid) {
            return continue_session(shared, &exchange, transport, request).await;
        }
        let peers = shared.config.peers.as_ref().ok_or(Refusal::UnknownSession)?;
        let owner = peers.owner(sid).ok_or(Refusal::UnknownSession)?.to_owned();
        return handover::forward(shared, peers, &owner, request).await;
    }
    if request.method() != Method::GET {
        return Err(Refusal::BadMethod);
    }
    if stopping {
        return Err(Refusal::ShuttingDown);
    }
    let handshake = Arc::new(handshake(&request, peer, &shared.config, transport));
    match transport {
        TransportKind::WebSocket => open_websocket(shared, service, request, handshake),
        TransportKind::Polling => open_polling(shared, &service, handshake).await,
    }
}

/// A request for a session that is here.
pub(super) async fn continue_session(
    shared: &Shared,
    exchange: &Arc<Exchange>,
    transport: TransportKind,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    match (transport, request.method()) {
        (TransportKind::WebSocket, &Method::GET) => upgrade(shared, exchange, request),
        (TransportKind::Polling, &Method::GET) => {
            let answer = exchange.poll(parameter(request.uri().query().unwrap_or_default(), "t")).await;
            answer.map(text_response)
        }
        (TransportKind::Polling, &Method::POST) => post(shared, exchange, request).await,
        _ => Err(Refusal::BadRequest),
    }
}

/// Accepts the upgrade; the session's own task takes over when hyper has let go of the stream.
fn open_websocket(
    shared: &Arc<Shared>,
    service: Arc<dyn Service>,
    mut request: Request<Incoming>,
    handshake: Arc<Handshake>,
) -> Result<Response<Body>, Refusal> {
    let response = switching(&request)?;
    let queue = Arc::new(Queue::new(outbox_limits(shared), Arc::clone(&shared.delayed)));
    let place = Place::take(shared, &handshake, &queue, None).ok_or(Refusal::TooManySockets)?;
    let config = Arc::clone(&shared.config);
    let upgrade = hyper::upgrade::on(&mut request);
    shared.tasks.spawn(async move {
        let Some(socket) = take_stream(upgrade, config.limits.max_payload).await else { return };
        let mut engine = Engine::new(Carrier::WebSocket(socket), queue, handshake, config);
        engine.open();
        serve(&*service, engine, place);
    });
    Ok(response)
}

/// Gives a session a task of its own, which holds nothing of how it was opened: this is what an idle socket costs.
fn serve(service: &dyn Service, engine: Engine, place: Place) {
    let tasks = place.tasks().clone();
    let session = service.serve(engine);
    tasks.spawn(async move {
        session.await;
        drop(place);
    });
}

/// Opens a session whose open packet answers this very request.
async fn open_polling(
    shared: &Arc<Shared>,
    service: &Arc<dyn Service>,
    handshake: Arc<Handshake>,
) -> Result<Response<Body>, Refusal> {
    let queue = Arc::new(Queue::new(outbox_limits(shared), Arc::clone(&shared.delayed)));
    let exchange = Arc::new(Exchange::new(parameter(&handshake.query, "t")));
    let place = Place::take(shared, &handshake, &queue, Some(Arc::clone(&exchange))).ok_or(Refusal::TooManySockets)?;
    let carrier = Carrier::Polling(Polling::new(Arc::clone(&exchange)));
    let mut engine = Engine::new(carrier, queue, handshake, Arc::clone(&shared.config));
    engine.open();
    serve(&**service, engine, place);
    exchange.poll(None).await.map(text_response)
}

async fn post(shared: &Shared, exchange: &Exchange, request: Request<Incoming>) -> Result<Response<Body>, Refusal> {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, shared.config.limits.max_payload).collect();
    let body = match tokio::time::timeout(shared.config.timeouts.http, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            exchange.too_large();
            return Err(Refusal::TooLarge);
        }
        Ok(Err(_)) | Err(_) => return Err(Refusal::BadRequest),
    };
    // What is no text is no payload either, and ends the session as such.
    let text = std::str::from_utf8(&body).unwrap_or_default();
    exchange.post(parameter(head.uri.query().unwrap_or_default(), "t"), text).await?;
    Ok(text_response("ok".into()))
}

/// Probes a WebSocket for a session on long-polling, besides which that goes on.
fn upgrade(
    shared: &Shared,
    exchange: &Arc<Exchange>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    let response = switching(&request)?;
    exchange.begin_upgrade()?;
    let exchange = Arc::clone(exchange);
    let limits = (shared.config.timeouts.http, shared.config.limits.max_payload);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let Some(mut socket) = take_stream(upgrade, limits.1).await else { return exchange.end_upgrade(None) };
        let probed = tokio::select! {
            probed = tokio::time::timeout(limits.0, probe(&mut socket, &exchange)) => matches!(probed, Ok(true)),
            () = exchange.ended() => false,
        };
        if probed {
            exchange.end_upgrade(Some(socket));
        } else {
            // Before the socket closes: a client that sees it close may try again at once.
            exchange.end_upgrade(None);
        }
    });
    Ok(response)
}

/// `2probe`, `3probe`, `5`.
async fn probe(socket: &mut WebSocket, exchange: &Exchange) -> bool {
    let frame = |text: &'static str| Frame::Text(Utf8Bytes::from_static(text));
    if poll_fn(|cx| socket.poll_recv(cx)).await != Ok(frame("2probe")) {
        return false;
    }
    socket.queue([frame("3probe")]);
    if poll_fn(|cx| socket.poll_flush(cx)).await.is_err() {
        return false;
    }
    exchange.probed();
    poll_fn(|cx| socket.poll_recv(cx)).await == Ok(frame("5"))
}

/// The answer that turns a request into a WebSocket.
fn switching(request: &Request<Incoming>) -> Result<Response<Body>, Refusal> {
    if !request.headers().contains_key(UPGRADE) {
        return Err(Refusal::BadRequest);
    }
    create_response_with_body(request, empty).map_err(|_| Refusal::BadRequest)
}

pub(super) fn empty() -> Body {
    Either::Left(Full::default())
}

fn text_response(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A WebSocket on the bare TCP stream, without hyper's buffers.
async fn take_stream(upgrade: hyper::upgrade::OnUpgrade, max_payload: usize) -> Option<WebSocket> {
    let (stream, read) = bare_stream(upgrade).await?;
    Some(WebSocket::new(stream, &read, max_payload))
}

/// What is left of a connection after its upgrade, and the bytes that came early.
pub(super) async fn bare_stream(upgrade: hyper::upgrade::OnUpgrade) -> Option<(TcpStream, Bytes)> {
    // Fails when the other side goes away before it has the answer.
    let upgraded = upgrade.await.ok()?;
    let parts = upgraded.downcast::<TokioIo<Stall>>().ok()?;
    Some((parts.io.into_inner().into_inner(), parts.read_buf))
}

fn outbox_limits(shared: &Shared) -> SendQueueLimits {
    let limits = shared.config.limits;
    SendQueueLimits { bytes: limits.outbox_bytes, messages: limits.outbox_messages }
}

fn handshake(
    request: &Request<Incoming>,
    peer: IpAddr,
    config: &TransportConfig,
    transport: TransportKind,
) -> Handshake {
    let headers = request.headers();
    Handshake {
        sid: config.peers.as_ref().map_or_else(peers::random_sid, Peers::new_sid).into(),
        address: client_address(
            headers.get_all("x-forwarded-for").iter().map(http::HeaderValue::as_bytes),
            peer,
            config.trusted_hops,
        ),
        origin: text(headers, &ORIGIN),
        user_agent: text(headers, &USER_AGENT),
        query: request.uri().query().unwrap_or_default().to_owned(),
        transport,
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    // Visible ASCII, so any index is a boundary.
    Some(value[..value.len().min(256)].to_owned())
}

/// The first value of a query's parameter; those of Engine.IO need no decoding.
pub(super) fn parameter<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name).map(|(_, value)| value))
}

pub(super) fn refuse(refusal: Refusal) -> Response<Body> {
    let (status, code, message) = refusal.parts();
    metrics::counter!("switchboard_handshakes_refused_total", "reason" => message).increment(1);
    let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    let mut response = Response::new(Either::Left(Full::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
