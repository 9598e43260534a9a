//! Health checks between nodes, over the internal port. They are signed like hand-overs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::peers::{Peers, SIGNATURE_HEADER};

/// Path of the health check. The public port does not serve it.
pub(crate) const HEALTH_PATH: &str = "/health";

/// A node that takes longer to answer counts as unhealthy.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(1);

impl Peers {
    /// Asks a node whether it is healthy. Returns false if it does not answer within 1 second.
    pub async fn is_healthy(&self, node: &str, address: &str) -> bool {
        timeout(HEALTH_TIMEOUT, self.check_health(node, address)).await.ok().flatten() == Some(StatusCode::OK)
    }

    async fn check_health(&self, node: &str, address: &str) -> Option<StatusCode> {
        let stream = TcpStream::connect(address).await.ok()?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        let request = Request::get(HEALTH_PATH).header(HOST, address);
        let mut request = request.body(Empty::<Bytes>::new()).ok()?;
        let signature = self.sign(node, &request, &[]);
        request.headers_mut().insert(SIGNATURE_HEADER, HeaderValue::from_str(&signature).ok()?);
        tokio::select! {
            response = sender.send_request(request) => Some(response.ok()?.status()),
            _ = connection => None,
        }
    }

    /// Returns this node's response to a health check.
    pub(crate) fn own_health(&self) -> StatusCode {
        if self.healthy.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }
}
