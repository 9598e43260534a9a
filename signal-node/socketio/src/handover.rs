//! A request whose session lives on another node goes there and its answer comes back: one hop, never two.
//!
//! Each hand-over has a connection of its own, so that either side's going away is the other's: a client that gives up a
//! poll ends the session on its node, and a node that dies fails what it was handed. One that is only paused keeps its connections, but says no
//! more that it lives: that is looked at while an answer is waited for.

use std::sync::Arc;
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

use super::http::{Body, Refusal, bare_stream, continue_session, parameter, refuse};
use super::server::Shared;
use super::stall::Stall;
use super::{Peers, Timeouts, TransportKind, tunnel, well};

/// Carries the proof that a peer hands over. On the public port it means nothing.
pub(super) const PROOF: HeaderName = HeaderName::from_static("x-switchboard-handover");

/// What of a client's request matters to its session.
const PASSED_ON: [HeaderName; 4] = [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION];

/// A node that does not even accept is gone, or as good as gone to its clients.
const CONNECT: Duration = Duration::from_secs(2);

/// While an answer is waited for, its node is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// Counts a hand-over when it is over, however that came.
struct Outcome(&'static str);

impl Drop for Outcome {
    fn drop(&mut self) {
        metrics::counter!("switchboard_handovers_total", "outcome" => self.0).increment(1);
    }
}

/// Hands a client's request over to the node that has its session.
///
/// # Errors
/// That node is gone, and the session with it: the client opens another one.
pub(super) async fn forward(
    shared: &Shared,
    peers: &Peers,
    owner: &str,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    // Until told otherwise: the client gave up.
    let mut outcome = Outcome("aborted");
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let Some(address) = peers.directory.address(owner).await else {
        outcome.0 = "unknown_node";
        return Err(Refusal::UnknownSession);
    };
    let Ok(Ok(stream)) = timeout(CONNECT, TcpStream::connect(&address)).await else {
        outcome.0 = "unreachable";
        peers.directory.doubt(owner);
        return Err(Refusal::UnknownSession);
    };
    if stream.set_nodelay(true).is_err() {
        return Err(Refusal::UnknownSession);
    }
    let patience = patience(&shared.config.timeouts, &request);
    let request = handed_over(peers, owner, &address, request).ok_or(Refusal::BadRequest)?;
    let answer = tokio::select! {
        answer = timeout(patience, send(Stall::new(stream, shared.config.timeouts.http), request)) => answer.ok().flatten(),
        () = fell_silent(peers, owner) => None,
    };
    // Forbidden: its address is another node's by now.
    let answer = answer.filter(|answer| answer.status() != StatusCode::FORBIDDEN);
    let Some(mut response) = answer else {
        outcome.0 = "failed";
        peers.directory.doubt(owner);
        return Err(Refusal::UnknownSession);
    };
    outcome.0 = "answered";
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let far = hyper::upgrade::on(&mut response);
        let near = upgrade.ok_or(Refusal::BadRequest)?;
        outcome.0 = "upgraded";
        tokio::spawn(async move {
            if let (Some(near), Some(far)) = tokio::join!(bare_stream(near), bare_stream(far)) {
                tunnel::join(near, far).await;
            }
        });
    } else {
        // Those are about the connection between the nodes.
        response.headers_mut().remove(CONNECTION);
        response.headers_mut().remove(TRANSFER_ENCODING);
    }
    Ok(response.map(Either::Right))
}

/// The longest that an owner who lives takes to answer. A poll hangs until the next ping, or until its pong is overdue; nothing else hangs.
fn patience(timeouts: &Timeouts, request: &Request<Incoming>) -> Duration {
    let polls = request.method() == Method::GET && !request.headers().contains_key(UPGRADE);
    let hangs = if polls { timeouts.ping_interval + timeouts.ping_timeout } else { Duration::ZERO };
    hangs + timeouts.http
}

/// Returns when the owner no longer says that it lives.
async fn fell_silent(peers: &Peers, owner: &str) {
    loop {
        sleep(LOOK).await;
        if !peers.directory.lives(owner).await {
            return;
        }
    }
}

/// The request as the owner gets it.
fn handed_over(peers: &Peers, owner: &str, address: &str, request: Request<Incoming>) -> Option<Request<Incoming>> {
    let (mut parts, body) = request.into_parts();
    let target = parts.uri.path_and_query()?.as_str().to_owned();
    let proof = peers.prove(owner, parts.method.as_str(), &target);
    let mut headers = HeaderMap::with_capacity(8);
    if parts.headers.contains_key(UPGRADE) {
        headers.extend(PASSED_ON.into_iter().filter_map(|name| Some((name.clone(), parts.headers.remove(name)?))));
    }
    headers.insert(HOST, HeaderValue::from_str(address).ok()?);
    headers.insert(PROOF, HeaderValue::from_str(&proof).ok()?);
    parts.headers = headers;
    parts.uri = target.parse::<Uri>().ok()?;
    Some(Request::from_parts(parts, body))
}

async fn send(stream: Stall, request: Request<Incoming>) -> Option<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // Ends when nobody waits for the answer any more, which is how the owner learns that the client gave up.
    tokio::spawn(connection.with_upgrades());
    sender.send_request(request).await.ok()
}

/// Answers a request that a peer hands over. A session that is not here is nowhere: nothing goes further.
pub(super) async fn receive(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    let proof = request.headers().get(PROOF).and_then(|proof| proof.to_str().ok()).unwrap_or_default();
    let peers = shared.config.peers.as_ref();
    let Some(peers) = peers.filter(|peers| peers.accepts(proof, request.method().as_str(), target)) else {
        drop(Outcome("refused"));
        return refuse(Refusal::Forbidden);
    };
    if request.uri().path() == well::PATH {
        return peers.answer();
    }
    let query = request.uri().query().unwrap_or_default();
    let transport = match parameter(query, "transport") {
        Some("websocket") => TransportKind::WebSocket,
        _ => TransportKind::Polling,
    };
    let exchange = parameter(query, "sid").and_then(|sid| shared.sockets.exchange(sid));
    match exchange {
        Some(exchange) => continue_session(shared, &exchange, transport, request).await.unwrap_or_else(refuse),
        None => refuse(Refusal::UnknownSession),
    }
}
