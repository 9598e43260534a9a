//! Where a request came from, behind proxies.

use std::net::{IpAddr, Ipv6Addr};

/// The client's address, behind `trusted_hops` proxies. Each of them appends the address it saw, so the client's is that many from the end.
/// `forwarded_for` are the values of every `X-Forwarded-For` line, in order. A list that is shorter or malformed did not pass them all: then the peer's own address counts.
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

/// The network that limits count as one client: an IPv4 address, or the 64 bits that an IPv6 client has all addresses of.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_client_cannot_lie_about_its_address_past_the_trusted_proxies() {
        let peer: IpAddr = "10.0.0.1".parse().unwrap();
        let lines = [&b"6.6.6.6, 1.2.3.4"[..], b"10.0.0.2"];
        assert_eq!(client_address(lines, peer, 0), peer);
        assert_eq!(client_address(lines, peer, 1).to_string(), "10.0.0.2");
        assert_eq!(client_address(lines, peer, 2).to_string(), "1.2.3.4");
        assert_eq!(client_address(lines, peer, 9), peer);
    }

    #[test]
    fn a_client_of_ipv6_is_its_network() {
        for (address, counted) in
            [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
        {
            assert_eq!(network(address.parse().unwrap()).to_string(), counted);
        }
    }
}
