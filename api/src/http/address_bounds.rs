//! Bounds on the requests of one address, counted in this pod's memory before a request is routed.
//! They hold for every request, also for files of the page and for unknown paths, and cost no
//! request to Redis.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::{Code, Rate};
use switchboard_net::{ClientAddresses, Counts, Permit, RateTable};
use tokio::time::Instant;

use crate::http::error::ApiError;
use crate::limits::{PeerAddress, RateExceeded, RatesConfig};

/// Client's network in the extensions of a request, so that it is looked up once.
#[derive(Clone, Copy)]
pub(crate) struct Found(pub(crate) Option<ClientNetwork>);

/// Counts the requests of each address. Clones share the counts.
#[derive(Clone, Debug)]
pub struct AddressBounds(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    addresses: ClientAddresses,
    requests: Option<(Rate, RateTable)>,
    in_progress: Arc<Counts<ClientNetwork>>,
}

impl AddressBounds {
    /// Creates the counts of no request.
    #[must_use]
    pub fn new(rates: &RatesConfig) -> Self {
        let in_progress = Counts::new("switchboard_http_requests_in_progress", 0, rates.in_progress);
        Self(Arc::new(Parts {
            addresses: ClientAddresses::new(rates.proxies),
            requests: rates.requests.map(|rate| (rate, RateTable::new(rate))),
            in_progress: Arc::new(in_progress),
        }))
    }

    /// Counts a request. Returns the permit that the request holds until its answer.
    fn admit(&self, client: Option<ClientNetwork>) -> Result<Option<Permit<ClientNetwork>>, ApiError> {
        let Some(client) = client else { return Ok(None) };
        if let Some((rate, table)) = &self.0.requests {
            table.take(client, 1, Instant::now()).map_err(|wait| {
                refused("rate");
                ApiError::from(RateExceeded::after(*rate, wait))
            })?;
        }
        let permit = self.0.in_progress.acquire(client).map_err(|_| {
            refused("in_progress");
            ApiError::from(Code::RateLimitExceeded)
        })?;
        Ok(Some(permit))
    }

    async fn serve(self, mut request: Request, next: Next) -> Response {
        let peer = request.extensions().get::<PeerAddress>().copied();
        let client = peer.map(|PeerAddress(peer)| self.0.addresses.network(request.headers(), peer));
        request.extensions_mut().insert(Found(client));
        match self.admit(client) {
            Ok(_permit) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    }
}

/// Counts every request except preflight requests.
pub async fn requests(State(bounds): State<AddressBounds>, request: Request, next: Next) -> Response {
    if *request.method() == Method::OPTIONS { next.run(request).await } else { bounds.serve(request, next).await }
}

/// Counts preflight requests, which the layer of CORS answers. This layer is around that one, and
/// [`requests`] within it, so that a page can read its refusals.
pub async fn preflights(State(bounds): State<AddressBounds>, request: Request, next: Next) -> Response {
    if *request.method() == Method::OPTIONS { bounds.serve(request, next).await } else { next.run(request).await }
}

/// Counts a refusal in the metrics.
pub(crate) fn refused(reason: &'static str) {
    metrics::counter!("switchboard_http_requests_refused_total", "reason" => reason).increment(1);
}
