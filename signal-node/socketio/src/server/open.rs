//! Opens sessions and starts their tasks.

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Request, Response};
use hyper::body::Incoming;
use switchboard_core::client_address::ClientNetwork;
use tokio::time::Instant;

use super::context::ServerContext;
use crate::bounds::Full;
use crate::cluster::{Peers, random_sid};
use crate::config::TransportConfig;
use crate::engine::{Service, open_packet};
use crate::http::{Body, foreign_origin_of, switching_response, text_response, upgraded_websocket};
use crate::polling::Fingerprint;
use crate::protocol::{Handshake, HandshakeError, RequestExtras, TransportKind};
use crate::registry::{Registration, SilentSession};
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
    let registration = Registration::new(&context.sockets, &handshake, &queue).map_err(refusal)?;
    let upgrade = hyper::upgrade::on(&mut request);
    let messages = context.message_bounds(handshake.network);
    let context = Arc::clone(context);
    let tasks = context.sockets.tasks().clone();
    tasks.spawn(async move {
        let Some(socket) = upgraded_websocket(upgrade, messages).await else { return };
        let mut engine = context.new_engine(Transport::WebSocket(socket), queue, handshake);
        engine.open();
        registration.serve(&*service, engine);
    });
    Ok(response)
}

/// Opens a session over long-polling, whose opening request had this `t`. It is silent until its
/// next request.
pub(super) fn open_polling(
    context: &ServerContext,
    service: Arc<dyn Service>,
    handshake: Arc<Handshake>,
    t: Option<&str>,
) -> Result<Response<Body>, HandshakeError> {
    let open = open_packet(&handshake, &context.config);
    let session = SilentSession { handshake, service, opening: Fingerprint::of_opening(t) };
    context.sockets.open_silent(session).map_err(refusal)?;
    Ok(text_response(open.into()))
}

/// Returns the refusal for a bound on sockets.
fn refusal(full: Full) -> HandshakeError {
    match full {
        Full::Total => HandshakeError::NodeFull,
        Full::Key => HandshakeError::TooManySockets,
    }
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
    let origin = foreign_origin_of(request.headers()).map(Into::into);
    Handshake { sid, network, transport, opened: Instant::now(), origin, extras }
}
