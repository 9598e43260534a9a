//! Counts of the requests of each address, in the memory of this pod.

use std::sync::Arc;
use std::time::Duration;

use switchboard_core::client_address::ClientNetwork;
use switchboard_core::domain::Rate;
use switchboard_net::{Counts, Permit, RateTable};
use tokio::time::Instant;

/// Counts the requests of each address. Clones share the counts.
#[derive(Clone, Debug)]
pub struct AddressBounds(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    requests: Option<(Rate, RateTable)>,
    in_progress: Arc<Counts<ClientNetwork>>,
}

/// Bound that a request exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressBound {
    /// The rate of requests; a request is allowed after this time.
    Rate(Rate, Duration),
    /// The number of requests in progress.
    InProgress,
}

impl AddressBounds {
    /// Creates the counts of no request. `in_progress`: maximum number of requests of one address
    /// at the same time; 0 is no bound.
    #[must_use]
    pub fn new(requests: Option<Rate>, in_progress: usize) -> Self {
        let in_progress = Counts::new("switchboard_http_requests_in_progress", 0, in_progress);
        let requests = requests.map(|rate| (rate, RateTable::new(rate)));
        Self(Arc::new(Parts { requests, in_progress: Arc::new(in_progress) }))
    }

    /// Counts a request. Returns the permit that the request holds until its answer.
    ///
    /// # Errors
    /// The bound that the address exceeds. Only the rate is spent.
    pub fn admit(&self, client: ClientNetwork) -> Result<Permit<ClientNetwork>, AddressBound> {
        if let Some((rate, table)) = &self.0.requests {
            table.take(client, 1, Instant::now()).map_err(|wait| AddressBound::Rate(*rate, wait))?;
        }
        self.0.in_progress.acquire(client).map_err(|_| AddressBound::InProgress)
    }
}
