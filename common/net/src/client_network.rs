//! The unit by which addresses of clients are counted.

use std::net::IpAddr;

use switchboard_core::client_address::network;

/// Network that counts as one client: an IPv4 address, or a /64 of IPv6. Every count by address
/// uses it, so that no count can use another unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// Returns the network of a client's address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(network(address))
    }
}
