//! Opens sessions and starts their tasks.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN, USER_AGENT};
use http::{Request, Response};
use hyper::body::Incoming;
use switchboard_core::client_address::client_address;

use super::context::ServerContext;
use crate::cluster::{Peers, random_sid};
use crate::config::TransportConfig;
use crate::engine::{Engine, Service};
use crate::http::{Body, query_parameter, switching_response, text_response, upgraded_websocket};
use crate::polling::{PollingSession, PollingTransport};
use crate::protocol::{Handshake, HandshakeError, TransportKind};
use crate::registry::Registration;
use crate::send_queue::Queue;
use crate::transport::Transport;

/// Maximum number of bytes that are kept of a header.
const HEADER_LENGTH_MAX: usize = 256;

/// Opens a session over WebSocket. Its task starts when hyper has released the stream.
pub(super) fn open_websocket(
    context: &Arc<ServerContext>,
    service: Arc<dyn Service>,
    mut request: Request<Incoming>,
    handshake: Arc<Handshake>,
) -> Result<Response<Body>, HandshakeError> {
    let response = switching_response(&request)?;
    let queue = context.new_queue();
    let registration = register(context, &handshake, &queue, None)?;
    let config = Arc::clone(&context.config);
    let upgrade = hyper::upgrade::on(&mut request);
    context.sockets.tasks().spawn(async move {
        let Some(socket) = upgraded_websocket(upgrade, config.limits.max_payload).await else { return };
        let mut engine = Engine::new(Transport::WebSocket(socket), queue, handshake, config);
        engine.open();
        spawn_session(&*service, engine, registration);
    });
    Ok(response)
}

/// Opens a session over long-polling. The response to this request contains the open packet.
pub(super) async fn open_polling(
    context: &Arc<ServerContext>,
    service: &Arc<dyn Service>,
    handshake: Arc<Handshake>,
) -> Result<Response<Body>, HandshakeError> {
    let queue = context.new_queue();
    let session = Arc::new(PollingSession::new(query_parameter(&handshake.query, "t")));
    let registration = register(context, &handshake, &queue, Some(Arc::clone(&session)))?;
    let transport = Transport::Polling(PollingTransport::new(Arc::clone(&session)));
    let mut engine = Engine::new(transport, queue, handshake, Arc::clone(&context.config));
    engine.open();
    spawn_session(&**service, engine, registration);
    session.poll(None).await.map(text_response)
}

fn register(
    context: &ServerContext,
    handshake: &Handshake,
    queue: &Arc<Queue>,
    polling: Option<Arc<PollingSession>>,
) -> Result<Registration, HandshakeError> {
    let limit = context.config.limits.sockets_per_address;
    Registration::new(&context.sockets, limit, handshake, queue, polling).ok_or(HandshakeError::TooManySockets)
}

/// Starts the task of a session. The task holds nothing from the opening request, because it is the
/// memory of an idle socket.
fn spawn_session(service: &dyn Service, engine: Engine, registration: Registration) {
    let tasks = registration.tasks().clone();
    let session = service.serve(engine);
    tasks.spawn(async move {
        session.await;
        drop(registration);
    });
}

/// Collects the facts about a socket from its opening request.
pub(super) fn handshake(
    request: &Request<Incoming>,
    peer: IpAddr,
    config: &TransportConfig,
    transport: TransportKind,
) -> Handshake {
    let headers = request.headers();
    Handshake {
        sid: config.peers.as_ref().map_or_else(random_sid, Peers::new_sid).into(),
        address: client_address(
            headers.get_all("x-forwarded-for").iter().map(HeaderValue::as_bytes),
            peer,
            config.trusted_hops,
        ),
        origin: header_text(headers, &ORIGIN),
        user_agent: header_text(headers, &USER_AGENT),
        query: request.uri().query().unwrap_or_default().to_owned(),
        transport,
    }
}

fn header_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    // `to_str` accepts visible ASCII only, so any index is a character boundary.
    Some(value[..value.len().min(HEADER_LENGTH_MAX)].to_owned())
}
