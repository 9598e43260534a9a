//! Whether another node is well, as it says itself: asked over the internal port, and signed as hand-overs are.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Peers;
use super::handover::PROOF;
use super::http::Body;

/// What is asked. No path of a client's begins so, and on the public port nothing is there.
pub(super) const PATH: &str = "/well";

/// A node that takes longer is not well, whatever it would say.
const PATIENCE: Duration = Duration::from_secs(1);

impl Peers {
    /// Whether the node of this name, at this address, says within a second that it is well.
    pub async fn is_well(&self, node: &str, address: &str) -> bool {
        timeout(PATIENCE, self.ask(node, address)).await.ok().flatten() == Some(StatusCode::OK)
    }

    async fn ask(&self, node: &str, address: &str) -> Option<StatusCode> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let request = Request::get(PATH).header(HOST, address).header(PROOF, self.prove(node, "GET", PATH));
        let request = request.body(Empty::<Bytes>::new()).ok()?;
        tokio::select! {
            answer = sender.send_request(request) => Some(answer.ok()?.status()),
            _ = connection => None,
        }
    }

    /// This node's answer.
    pub(super) fn answer(&self) -> Response<Body> {
        let mut response = Response::new(Either::Left(Full::default()));
        if !self.well.load(Ordering::Relaxed) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }
}
