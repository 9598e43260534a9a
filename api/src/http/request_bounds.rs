//! The middleware that bounds the requests of one address before they are routed. It holds for
//! every request, also for files of the page and for unknown paths, and costs no request to Redis.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::Code;
use switchboard_net::{ClientAddresses, Permit};

use crate::address_bounds::{AddressBound, AddressBounds};
use crate::http::error::ApiError;
use crate::limits::{Limits, PeerAddress, RateExceeded};

/// Client's network in the extensions of a request, so that it is looked up once. `None` when the
/// request came over no connection.
#[derive(Clone, Copy)]
pub(crate) struct Found(pub(crate) Option<ClientNetwork>);

/// Bounds of this pod, and the reader of clients' addresses.
#[derive(Clone, Debug)]
pub struct RequestBounds {
    /// Reads the addresses of clients.
    pub addresses: ClientAddresses,
    /// Counts their requests.
    pub bounds: AddressBounds,
}

impl From<&Limits> for RequestBounds {
    fn from(limits: &Limits) -> Self {
        Self { addresses: limits.addresses().clone(), bounds: limits.bounds().clone() }
    }
}

impl RequestBounds {
    async fn serve(self, mut request: Request, next: Next) -> Response {
        let peer = request.extensions().get::<PeerAddress>().copied();
        let client = peer.map(|PeerAddress(peer)| self.addresses.network(request.headers(), peer));
        request.extensions_mut().insert(Found(client));
        match client.map(|client| self.admit(client)).transpose() {
            Ok(_permit) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    }

    fn admit(&self, client: ClientNetwork) -> Result<Permit<ClientNetwork>, ApiError> {
        self.bounds.admit(client).map_err(|bound| match bound {
            AddressBound::Rate(rate, wait) => {
                refused("rate");
                RateExceeded::after(rate, wait).into()
            }
            AddressBound::InProgress => {
                refused("in_progress");
                Code::RateLimitExceeded.into()
            }
        })
    }
}

/// Counts every request except preflight requests.
pub async fn requests(State(bounds): State<RequestBounds>, request: Request, next: Next) -> Response {
    if *request.method() == Method::OPTIONS { next.run(request).await } else { bounds.serve(request, next).await }
}

/// Counts preflight requests, which the layer of CORS answers. This layer is around that one, and
/// [`requests`] within it, so that a page can read its refusals.
pub async fn preflights(State(bounds): State<RequestBounds>, request: Request, next: Next) -> Response {
    if *request.method() == Method::OPTIONS { bounds.serve(request, next).await } else { next.run(request).await }
}

/// Counts a refusal in the metrics.
pub(crate) fn refused(reason: &'static str) {
    metrics::counter!("switchboard_http_requests_refused_total", "reason" => reason).increment(1);
}
