//! Finds the address of a client behind reverse proxies, from `X-Forwarded-For`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Returns the address of a client that is behind `trusted_hops` reverse proxies.
///
/// `forwarded_for` holds the values of all `X-Forwarded-For` header lines, in order. Each proxy
/// appends the address of its own peer, so the client's address is entry number `trusted_hops` from
/// the end. Entries before it come from the client and are not trusted.
///
/// Returns `peer` (the address of the TCP connection) if `trusted_hops` is 0, or if the list is too
/// short or malformed, because such a request did not pass through all the proxies.
#[must_use]
pub fn client_address<'a>(
    forwarded_for: impl IntoIterator<Item = &'a [u8]>,
    peer: IpAddr,
    trusted_hops: usize,
) -> IpAddr {
    if trusted_hops == 0 {
        return peer;
    }
    let entries: Vec<&str> = forwarded_for
        .into_iter()
        .filter_map(|value| std::str::from_utf8(value).ok())
        .flat_map(|list| list.split(','))
        .collect();
    entries
        .len()
        .checked_sub(trusted_hops)
        .and_then(|at| entries.get(at))
        .and_then(|entry| entry.trim().parse().ok())
        .unwrap_or(peer)
}

/// Network that counts as one client: an IPv4 address, or the /64 of an IPv6 address, because one
/// IPv6 client usually controls a whole /64. Every count, ban and queue by address takes this type,
/// so that none can use another unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork(IpAddr);

impl ClientNetwork {
    /// Returns the network of a client's address. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 @ IpAddr::V4(_) => v4,
        })
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    #[test]
    fn a_client_cannot_forge_its_address_through_trusted_proxies() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let lines = [&b"6.6.6.6, 1.2.3.4"[..], b"10.0.0.2"];
        assert_eq!(client_address(lines, peer, 0), peer);
        assert_eq!(client_address(lines, peer, 1).to_string(), "10.0.0.2");
        assert_eq!(client_address(lines, peer, 2).to_string(), "1.2.3.4");
        assert_eq!(client_address(lines, peer, 9), peer);
    }

    #[test]
    fn an_ipv6_address_counts_as_its_64_bit_network() {
        for (address, counted) in
            [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
        {
            assert_eq!(ClientNetwork::of(address.parse().unwrap()).to_string(), counted);
        }
    }
}
