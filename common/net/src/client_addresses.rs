//! Client addresses behind proxies, for every server: reads the header that the proxies write,
//! counts addresses that cannot be read, and warns of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderValue};
use switchboard_core::client_address::{ClientNetwork, TrustedProxies, Unreadable};

/// Shortest time between two warnings of one process. An unreadable address comes with every
/// request, so one line for each would hide all others.
const WARN_INTERVAL: Duration = Duration::from_secs(3600);

/// Reads the addresses of clients. A clone shares the warnings.
#[derive(Clone, Debug)]
pub struct ClientAddresses {
    proxies: TrustedProxies,
    started: Instant,
    /// Milliseconds from the start to the time before which there is no other warning.
    quiet_until: Arc<AtomicU64>,
}

impl ClientAddresses {
    /// Creates a reader that trusts these proxies.
    #[must_use]
    pub fn new(proxies: TrustedProxies) -> Self {
        Self { proxies, started: Instant::now(), quiet_until: Arc::default() }
    }

    /// Returns the network of a request's client. `peer` is the address of the TCP connection. If
    /// the proxies do not tell the address, returns the network of the proxy, as such.
    #[must_use]
    pub fn network(&self, headers: &HeaderMap, peer: IpAddr) -> ClientNetwork {
        let lines = headers.get_all(self.proxies.header.name()).iter().map(HeaderValue::as_bytes);
        match self.proxies.client_address(lines, peer) {
            Ok(address) => ClientNetwork::of(address),
            Err(reason) => {
                self.report(reason);
                ClientNetwork::of_proxy(peer)
            }
        }
    }

    fn report(&self, reason: Unreadable) {
        metrics::counter!("switchboard_client_addresses_unreadable_total", "reason" => reason.label()).increment(1);
        // A load balancer's own checks have no header; they are no reason to warn.
        if reason != Unreadable::Missing && self.may_warn() {
            let (header, trusted_hops) = (self.proxies.header.name(), self.proxies.hops);
            tracing::warn!(
                reason = reason.label(),
                header,
                trusted_hops,
                "client addresses unreadable: such clients share the rates of their proxy, and bans by address skip them"
            );
        }
    }

    /// Returns whether the last warning is long enough ago, and counts this one.
    fn may_warn(&self) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.started.elapsed());
        let next = now.saturating_add(millis(WARN_INTERVAL));
        let quiet = |until| (now >= until).then_some(next);
        self.quiet_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, quiet).is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use switchboard_core::client_address::ForwardedHeader;

    fn network(proxies: TrustedProxies, header: &'static str, value: &'static str) -> ClientNetwork {
        let headers = HeaderMap::from_iter([(header.parse().unwrap(), HeaderValue::from_static(value))]);
        ClientAddresses::new(proxies).network(&headers, [10, 0, 0, 1].into())
    }

    #[test]
    fn only_the_header_that_the_proxies_write_is_read() {
        let client = ClientNetwork::of([192, 0, 2, 7].into());
        let proxy = ClientNetwork::of_proxy([10, 0, 0, 1].into());
        let (one, standard) = (TrustedProxies::hops(1), TrustedProxies { hops: 1, header: ForwardedHeader::Forwarded });
        assert_eq!(network(one, "x-forwarded-for", "192.0.2.7:4711"), client);
        assert_eq!(network(one, "forwarded", "for=192.0.2.7"), proxy);
        assert_eq!(network(standard, "forwarded", "for=192.0.2.7"), client);
        assert_eq!(network(standard, "x-forwarded-for", "192.0.2.7"), proxy);
        assert_eq!(network(TrustedProxies::hops(0), "x-forwarded-for", "192.0.2.7").to_string(), "10.0.0.1");
    }

    #[test]
    fn a_process_warns_once_of_addresses_that_cannot_be_read() {
        let addresses = ClientAddresses::new(TrustedProxies::hops(1));
        let other = addresses.clone();
        assert!(addresses.may_warn());
        assert!(!other.may_warn() && !addresses.may_warn());
    }
}
