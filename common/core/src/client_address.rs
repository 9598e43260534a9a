//! Finds the address of a client behind reverse proxies, from the header that the proxies write.
//!
//! Each proxy appends the address of its own peer to the header. With `n` trusted proxies the
//! client's address is therefore entry `n` from the end. Entries to the left of it come from the
//! client: nothing in them may change which entry is read, so both headers are read from the end.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Header in which the trusted proxies name their peers. Only one header is read, because a client
/// can send the one that the proxies do not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses, the header of most proxies.
    #[default]
    XForwardedFor,
    /// `Forwarded`, RFC 7239: a list of elements such as `for="[2001:db8::1]:4711";proto=https`.
    Forwarded,
}

impl ForwardedHeader {
    /// Name of each header, in lower case.
    pub const NAMES: [(&'static str, Self); 2] =
        [("x-forwarded-for", Self::XForwardedFor), ("forwarded", Self::Forwarded)];

    /// Returns the name of the header, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// Reverse proxies whose entries are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Number of proxies in front; 0 trusts none.
    pub hops: usize,
    /// Header that they write.
    pub header: ForwardedHeader,
}

/// Reason why the header does not tell a client's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no such header: the request did not pass through the proxies, or they do not write
    /// it. The check of a load balancer is such a request.
    Missing,
    /// The list has fewer entries than there are trusted proxies.
    Short,
    /// The proxy names no address: `unknown`, a name that begins with `_`, or a Unix socket.
    Hidden,
    /// The entry is neither an address nor one of the names that RFC 7239 allows.
    Malformed,
}

impl Unreadable {
    /// Every reason, as a metric label.
    pub const LABELS: [&'static str; 4] = ["missing", "short", "hidden", "malformed"];

    /// Returns the metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Short => "short",
            Self::Hidden => "hidden",
            Self::Malformed => "malformed",
        }
    }
}

impl TrustedProxies {
    /// Returns this number of proxies that write `X-Forwarded-For`.
    #[must_use]
    pub const fn hops(hops: usize) -> Self {
        Self { hops, header: ForwardedHeader::XForwardedFor }
    }

    /// Returns the address of a client. `lines` holds the values of all lines of the header, in
    /// order. `peer` is the address of the TCP connection, which is the client's without proxies.
    ///
    /// An entry may have a port, brackets, a zone and quotes. Empty entries do not count (RFC 9110,
    /// section 5.6.1).
    ///
    /// # Errors
    /// The reason why the entry tells no address. The caller then knows only the proxy.
    pub fn client_address<'a>(
        self,
        lines: impl DoubleEndedIterator<Item = &'a [u8]>,
        peer: IpAddr,
    ) -> Result<IpAddr, Unreadable> {
        let Some(before) = self.hops.checked_sub(1) else { return Ok(peer) };
        let lines = lines.rev();
        match self.header {
            ForwardedHeader::XForwardedFor => {
                let list = lines.flat_map(|line| line.rsplit(|byte| *byte == b','));
                node_address(entry(list, before)?)
            }
            ForwardedHeader::Forwarded => forwarded_for(entry(lines.flat_map(Elements), before)?),
        }
    }
}

/// Returns the entry with `before` entries to the right of it. `entries` begins with the last one.
fn entry<'a>(entries: impl Iterator<Item = &'a [u8]>, before: usize) -> Result<&'a [u8], Unreadable> {
    let mut entries = entries.map(<[u8]>::trim_ascii).filter(|entry| !entry.is_empty());
    let mut found = entries.next().ok_or(Unreadable::Missing)?;
    for _ in 0..before {
        found = entries.next().ok_or(Unreadable::Short)?;
    }
    Ok(found)
}

/// Elements of one line of `Forwarded`, the last one first. A comma within quotes does not end an
/// element. Quotes are matched from the end, so that a quote that a client leaves open does not
/// swallow the elements that proxies append.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.0;
        if line.is_empty() {
            return None;
        }
        let mut quoted = false;
        for (at, byte) in line.iter().enumerate().rev() {
            match byte {
                b'"' if !is_escaped(&line[..at]) => quoted = !quoted,
                b',' if !quoted => {
                    self.0 = &line[..at];
                    return Some(&line[at + 1..]);
                }
                _ => {}
            }
        }
        self.0 = &[];
        Some(line)
    }
}

/// Returns whether a backslash before a quote escapes it: an odd number of them does.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Reads the parameter `for` of an element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Result<IpAddr, Unreadable> {
    let mut found = None;
    let mut rest = element;
    while !rest.is_empty() {
        let end = parameter_end(rest)?;
        let (parameter, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        let Some(at) = parameter.iter().position(|byte| *byte == b'=') else {
            if parameter.trim_ascii().is_empty() {
                continue;
            }
            return Err(Unreadable::Malformed);
        };
        if parameter[..at].trim_ascii().eq_ignore_ascii_case(b"for") && found.replace(&parameter[at + 1..]).is_some() {
            // RFC 7239, section 4: a parameter occurs once in an element.
            return Err(Unreadable::Malformed);
        }
    }
    node_address(found.ok_or(Unreadable::Hidden)?)
}

/// Returns the length of the first parameter of an element, up to a semicolon outside of quotes.
fn parameter_end(element: &[u8]) -> Result<usize, Unreadable> {
    let mut quoted = false;
    for (at, byte) in element.iter().enumerate() {
        match byte {
            b'"' if !(quoted && is_escaped(&element[..at])) => quoted = !quoted,
            b';' if !quoted => return Ok(at),
            _ => {}
        }
    }
    if quoted { Err(Unreadable::Malformed) } else { Ok(element.len()) }
}

/// Reads an address with an optional port, zone, brackets and quotes.
fn node_address(entry: &[u8]) -> Result<IpAddr, Unreadable> {
    let text = std::str::from_utf8(entry).map_err(|_| Unreadable::Malformed)?.trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text).trim();
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or(Unreadable::Malformed)?;
        return match port.strip_prefix(':') {
            Some(port) if !is_port(port) => Err(Unreadable::Malformed),
            None if !port.is_empty() => Err(Unreadable::Malformed),
            _ => ipv6(address).ok_or(Unreadable::Malformed),
        };
    }
    if let Some(address) = text.parse().ok().or_else(|| ipv6(text)) {
        return Ok(address);
    }
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    if name.starts_with('_') || name.eq_ignore_ascii_case("unknown") || name.eq_ignore_ascii_case("unix") {
        return Err(Unreadable::Hidden);
    }
    let address = name.parse().map(IpAddr::V4).ok().filter(|_| port.is_none_or(is_port));
    address.ok_or(Unreadable::Malformed)
}

/// Reads an IPv6 address, with or without a zone such as `%eth0`.
fn ipv6(text: &str) -> Option<IpAddr> {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse().map(IpAddr::V6).ok()
}

/// Returns whether a text is a port, or the name of one that is hidden (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok() || text.starts_with('_')
}

/// Network that counts as one client: an IPv4 address, or the /64 of an IPv6 address, because one
/// IPv6 client usually controls a whole /64. Every count, ban and queue by address takes this type,
/// so that none can use another unit.
///
/// When the proxies do not tell a client's address, all such clients count together as the proxy. A
/// ban of the proxy would refuse all of them, so such a network has no hash for bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientNetwork {
    address: IpAddr,
    is_proxy: bool,
}

impl ClientNetwork {
    /// Returns the network of a client's address. An IPv4-mapped IPv6 address counts as IPv4.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        let address = match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
            v4 @ IpAddr::V4(_) => v4,
        };
        Self { address, is_proxy: false }
    }

    /// Returns the network of a proxy that does not tell its clients' addresses.
    #[must_use]
    pub fn of_proxy(address: IpAddr) -> Self {
        Self { is_proxy: true, ..Self::of(address) }
    }

    /// Returns whether this is the network of a proxy, which clients share.
    #[must_use]
    pub const fn is_proxy(self) -> bool {
        self.is_proxy
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use proptest::prelude::*;

    use super::ForwardedHeader::{Forwarded, XForwardedFor};
    use super::Unreadable::{Hidden, Malformed, Missing, Short};
    use super::*;

    fn read(header: ForwardedHeader, hops: usize, lines: &[&[u8]]) -> Result<String, Unreadable> {
        let peer = "10.0.0.1".parse().unwrap();
        let address = TrustedProxies { hops, header }.client_address(lines.iter().copied(), peer);
        address.map(|address| address.to_string())
    }

    #[test]
    fn a_client_cannot_forge_its_address_through_trusted_proxies() {
        let lines: [&[u8]; 2] = [b"6.6.6.6, 1.2.3.4", b"10.0.0.2"];
        for (hops, expected) in [(0, Ok("10.0.0.1")), (1, Ok("10.0.0.2")), (2, Ok("1.2.3.4")), (9, Err(Short))] {
            assert_eq!(read(XForwardedFor, hops, &lines), expected.map(str::to_owned), "{hops}");
        }
        // Bytes that are no text, and a quote that stays open, hide nothing that a proxy appends.
        for forged in [&b"\xff\xfe, 1.2.3.4"[..], b"\", 1.2.3.4", b"\"6.6.6.6,, ,1.2.3.4", b",,,1.2.3.4"] {
            assert_eq!(read(XForwardedFor, 1, &[forged]).as_deref(), Ok("1.2.3.4"), "{forged:?}");
        }
        for forged in [&b"for=\", for=1.2.3.4"[..], b"for=\"\\, for=1.2.3.4", b"\xff, for=1.2.3.4"] {
            assert_eq!(read(Forwarded, 1, &[forged]).as_deref(), Ok("1.2.3.4"), "{forged:?}");
        }
    }

    #[test]
    fn an_address_is_read_as_balancers_write_it() {
        for (line, expected) in [
            ("192.0.2.7", Ok("192.0.2.7")),
            ("192.0.2.7:4711", Ok("192.0.2.7")),
            ("2001:db8::7", Ok("2001:db8::7")),
            ("[2001:db8::7]", Ok("2001:db8::7")),
            ("[2001:db8::7]:4711", Ok("2001:db8::7")),
            ("[::ffff:192.0.2.7]:4711", Ok("::ffff:192.0.2.7")),
            ("fe80::7%eth0", Ok("fe80::7")),
            ("\"192.0.2.7:4711\"", Ok("192.0.2.7")),
            ("\"[2001:db8::7]:4711\"", Ok("2001:db8::7")),
            ("6.6.6.6,192.0.2.7,", Ok("192.0.2.7")),
            ("192.0.2.7 , ,", Ok("192.0.2.7")),
            ("192.0.2.7:_port", Ok("192.0.2.7")),
            ("unknown", Err(Hidden)),
            ("Unknown:4711", Err(Hidden)),
            ("_gazonk", Err(Hidden)),
            ("unix:", Err(Hidden)),
            ("192.0.2.7:99999", Err(Malformed)),
            ("192.0.2.7:", Err(Malformed)),
            ("192.0.2.300", Err(Malformed)),
            ("[192.0.2.7]", Err(Malformed)),
            ("[2001:db8::7]4711", Err(Malformed)),
            ("[2001:db8::7", Err(Malformed)),
            ("example.org", Err(Malformed)),
            ("6.6.6.6, unknown", Err(Hidden)),
            ("", Err(Missing)),
            (" , ", Err(Missing)),
        ] {
            assert_eq!(read(XForwardedFor, 1, &[line.as_bytes()]), expected.map(str::to_owned), "{line}");
        }
        assert_eq!(read(XForwardedFor, 1, &[]), Err(Missing));
        let lines: [&[u8]; 3] = [b"6.6.6.6", b"192.0.2.7:1", b"10.0.0.2,"];
        assert_eq!(read(XForwardedFor, 2, &lines).as_deref(), Ok("192.0.2.7"), "a line of each proxy");
    }

    #[test]
    fn the_header_forwarded_is_read_as_its_standard_says() {
        for (line, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", Ok("192.0.2.60")),
            ("For=\"[2001:db8:cafe::17]:4711\"", Ok("2001:db8:cafe::17")),
            ("for=6.6.6.6, proto=https; for=\"192.0.2.60:80\" ;host=\"a,b;for=c\"", Ok("192.0.2.60")),
            ("for=192.0.2.60;host=\"a\\\", for=6.6.6.6\"", Ok("192.0.2.60")),
            ("for=192.0.2.60,", Ok("192.0.2.60")),
            ("for=unknown", Err(Hidden)),
            ("for=\"_gazonk\"", Err(Hidden)),
            ("by=203.0.113.43", Err(Hidden)),
            ("for=192.0.2.60;for=6.6.6.6", Err(Malformed)),
            ("for=192.0.2.60;for=", Err(Malformed)),
            ("192.0.2.60", Err(Malformed)),
            ("", Err(Missing)),
        ] {
            assert_eq!(read(Forwarded, 1, &[line.as_bytes()]), expected.map(str::to_owned), "{line}");
        }
        assert_eq!(read(Forwarded, 2, &[b"for=192.0.2.60, for=10.0.0.2"]).as_deref(), Ok("192.0.2.60"));
        assert_eq!(read(Forwarded, 2, &[b"for=192.0.2.60"]), Err(Short));
    }

    #[test]
    fn an_ipv6_address_counts_as_its_64_bit_network() {
        for (address, counted) in
            [("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::")]
        {
            assert_eq!(ClientNetwork::of(address.parse().unwrap()).to_string(), counted);
        }
    }

    /// An address as a proxy writes it in either header.
    fn written(address: IpAddr, form: u8, header: ForwardedHeader) -> String {
        let node = match (address, form % 3) {
            (IpAddr::V4(v4), 0) => v4.to_string(),
            (IpAddr::V4(v4), _) => format!("\"{v4}:4711\""),
            (IpAddr::V6(v6), 0) => format!("\"[{v6}]\""),
            (IpAddr::V6(v6), _) => format!("\"[{v6}]:4711\""),
        };
        match (header, form % 2) {
            (XForwardedFor, _) => node,
            (Forwarded, 0) => format!("for={node}"),
            (Forwarded, _) => format!("proto=https;host=\"a,b\\\"\";for={node}"),
        }
    }

    proptest! {
        /// The client writes any bytes. Each proxy appends to the last line or adds a line.
        #[test]
        fn no_bytes_of_a_client_change_the_address_that_its_trusted_proxies_append(
            forged in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..3),
            forgeries in proptest::collection::vec("[\",;=\\\\ a-f0-9.:\\[\\]for]{0,30}", 0..3),
            proxies in proptest::collection::vec((any::<IpAddr>(), any::<u8>(), any::<bool>()), 1..4),
            header in prop_oneof![Just(XForwardedFor), Just(Forwarded)],
        ) {
            let mut lines = forged;
            lines.extend(forgeries.into_iter().map(String::into_bytes));
            for (address, form, own_line) in &proxies {
                let entry = written(*address, *form, header);
                match lines.last_mut() {
                    Some(line) if !own_line => line.extend(format!(", {entry}").into_bytes()),
                    _ => lines.push(entry.into_bytes()),
                }
            }
            let trusted = TrustedProxies { hops: proxies.len(), header };
            let found = trusted.client_address(lines.iter().map(Vec::as_slice), Ipv6Addr::LOCALHOST.into());
            prop_assert_eq!(found, Ok(proxies[0].0));
        }
    }
}
