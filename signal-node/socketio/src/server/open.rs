//! Opens sessions and starts their tasks.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use hyper::body::Incoming;
use switchboard_core::client_address::ClientNetwork;

use super::context::ServerContext;
use crate::bounds::Full;
use crate::cluster::{Peers, random_sid};
use crate::config::TransportConfig;
use crate::engine::{Engine, Service};
use crate::http::{Body, switching_response, text_response, upgraded_websocket};
use crate::polling::{PollingSession, PollingTransport};
use crate::protocol::{Handshake, HandshakeError, RequestExtras, TransportKind};
use crate::registry::Registration;
use crate::send_queue::Queue;
use crate::transport::Transport;

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
    let upgrade = hyper::upgrade::on(&mut request);
    let messages = context.message_bounds(handshake.network);
    let context = Arc::clone(context);
    let tasks = context.sockets.tasks().clone();
    tasks.spawn(async move {
        let Some(socket) = upgraded_websocket(upgrade, messages).await else { return };
        let mut engine = context.new_engine(Transport::WebSocket(socket), queue, handshake);
        engine.open();
        spawn_session(&*service, engine, registration);
    });
    Ok(response)
}

/// Opens a session over long-polling, whose opening request had this `t`. The response to this
/// request contains the open packet.
pub(super) async fn open_polling(
    context: &Arc<ServerContext>,
    service: &Arc<dyn Service>,
    handshake: Arc<Handshake>,
    t: Option<&str>,
) -> Result<Response<Body>, HandshakeError> {
    let queue = context.new_queue();
    let session = Arc::new(PollingSession::new(t, context.message_bounds(handshake.network)));
    let registration = register(context, &handshake, &queue, Some(Arc::clone(&session)))?;
    let transport = Transport::Polling(PollingTransport::new(Arc::clone(&session)));
    let mut engine = context.new_engine(transport, queue, handshake);
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
    Registration::new(&context.sockets, handshake, queue, polling).map_err(|full| match full {
        Full::Total => HandshakeError::NodeFull,
        Full::Key => HandshakeError::TooManySockets,
    })
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

/// Collects the facts about a new socket.
pub(super) fn handshake(
    request: &Request<Incoming>,
    network: ClientNetwork,
    config: &TransportConfig,
    transport: TransportKind,
) -> Handshake {
    let sid = config.peers.as_ref().map_or_else(random_sid, Peers::new_sid).into();
    let authorization = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let extras = RequestExtras::of(authorization, request.uri().query().unwrap_or_default());
    Handshake { sid, network, transport, extras }
}
