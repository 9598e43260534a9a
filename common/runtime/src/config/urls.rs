//! Settings that are URLs. A setting honours every part that its URL names, or is refused at the
//! start with the part that it does not honour: a part that is ignored is a fault that shows only
//! in production. No message repeats a URL, because it may hold a password.

use switchboard_core::percent;
use url::{Host, Url};

/// Parts of a URL, besides scheme, host and port, that a setting honours.
#[derive(Clone, Copy, Debug, Default)]
pub struct UrlParts {
    /// `user:password@`.
    pub credentials: bool,
    /// `/path`.
    pub path: bool,
    /// `?query`.
    pub query: bool,
}

/// Parses an absolute URL with one of these schemes.
///
/// # Errors
/// The reason why the setting cannot honour it.
pub fn parse(text: &str, schemes: &[&str], honoured: UrlParts) -> Result<Url, String> {
    let expected = || format!("must be an address that begins with {}", schemes.join(":// or ") + "://");
    let scheme = text.split_once("://").ok_or_else(expected)?.0;
    if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return Err(expected());
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must have no blanks; write a blank as %20".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is no valid URL: {error}"))?;
    if url.port() == Some(0) {
        return Err("must have a port from 1 to 65535".to_owned());
    }
    let refused = [
        (!honoured.credentials && (!url.username().is_empty() || url.password().is_some()), "user name or password"),
        (!honoured.path && !matches!(url.path(), "" | "/"), "path"),
        (!honoured.query && url.query().is_some(), "query"),
        (url.fragment().is_some(), "fragment (#)"),
    ];
    match refused.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, part)) => Err(format!("must have no {part}, because it would be ignored")),
        None => Ok(url),
    }
}

/// Checks a connection string of MongoDB. The driver checks the options.
///
/// # Errors
/// The reason why it cannot be used.
pub fn check_mongodb(text: &str) -> Result<(), &'static str> {
    if text.starts_with("mongodb+srv://") {
        return Err(
            "mongodb+srv is not supported; list the hosts: mongodb://host:27017,host:27017/database?replicaSet=name",
        );
    }
    let rest = text.strip_prefix("mongodb://").ok_or("must be an address that begins with mongodb://")?;
    if rest.contains(char::is_whitespace) || rest.contains('#') {
        return Err("must have no blanks and no #; percent-encode them");
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if path.split('?').next().is_some_and(|path| path.contains('@')) {
        return Err("percent-encode @ : / ? # and % in the user name and in the password");
    }
    let hosts = match authority.rsplit_once('@') {
        None => authority,
        Some((credentials, hosts)) => {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            let valid = |text: &str| !text.contains(['@', ':']) && percent::decode(text).is_some();
            if user.is_empty() || !valid(user) || !valid(password) {
                return Err("percent-encode @ : / ? # and % in the user name and in the password");
            }
            hosts
        }
    };
    hosts.split(',').try_for_each(|host| check_host(host, false))
}

/// Checks an address of a STUN or TURN server (RFC 7064, RFC 7065). Browsers refuse a connection
/// whose list has one address that they cannot read.
///
/// # Errors
/// The reason why browsers refuse it.
pub fn check_ice(text: &str, schemes: [&str; 2]) -> Result<(), &'static str> {
    let (scheme, rest) = text.split_once(':').ok_or("must begin with its scheme, such as turn:")?;
    if !schemes.contains(&scheme) {
        return Err("has another scheme");
    }
    if rest.starts_with("//") {
        return Err("must be scheme:host:port, without //");
    }
    if rest.contains('@') {
        return Err("must have no user name; the credentials have settings of their own");
    }
    let (host, query) = rest.split_once('?').map_or((rest, None), |(host, query)| (host, Some(query)));
    match query {
        None => {}
        Some("transport=udp" | "transport=tcp") if scheme.starts_with("turn") => {}
        Some(_) if scheme.starts_with("turn") => return Err("may have ?transport=udp or ?transport=tcp alone"),
        Some(_) => return Err("must have no query"),
    }
    check_host(host, true)
}

/// Checks `host` or `host:port`, with brackets around an IPv6 address.
fn check_host(text: &str, strict: bool) -> Result<(), &'static str> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']').ok_or("has a [ without a ]")?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| "has no IPv6 address in the brackets")?;
            (address, port.strip_prefix(':').or_else(|| (!port.is_empty()).then_some("")))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if port.is_some_and(|port| port.contains(':')) {
        return Err("needs brackets around its IPv6 address: [::1]:port");
    }
    if port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return Err("must have a port from 1 to 65535");
    }
    if host.is_empty() {
        return Err("has no host");
    }
    let is_name = text.starts_with('[') || Host::parse(host).is_ok();
    if is_name || (!strict && host.contains('%')) { Ok(()) } else { Err("has a host that is no name and no address") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn a_url_is_honoured_with_all_its_parts_or_refused_with_the_part_that_is_not() {
        const ALL: UrlParts = UrlParts { credentials: true, path: true, query: true };
        const NONE: UrlParts = UrlParts { credentials: false, path: false, query: false };
        for good in ["http://a", "https://a:8443/", "http://[::1]:4318", "http://b\u{fc}cher.example", "HTTP://a"] {
            assert!(parse(good, &["http", "https"], NONE).is_ok(), "{good}");
        }
        assert!(parse("https://ann:p%40ss@a:1/x/y?z", &["https"], ALL).is_ok());
        for (bad, why) in [
            ("http://ann:s3cret@a", "user name or password"),
            ("http://ann@a", "user name or password"),
            ("http://a/x", "path"),
            ("http://a?x", "query"),
            ("http://a#x", "fragment"),
            ("http://a:0", "port"),
            ("http://a:99999", "port"),
            ("http://", "no valid URL"),
            ("http://::1:80", "no valid URL"),
            ("http://a b", "blanks"),
            ("ftp://a", "begins with http:// or https://"),
            ("a.example", "begins with http:// or https://"),
        ] {
            let message = parse(bad, &["http", "https"], NONE).unwrap_err();
            assert!(message.contains(why) && !message.contains("s3cret"), "{bad}: {message}");
        }
    }

    #[test]
    fn a_connection_string_of_mongodb_needs_hosts_and_encoded_credentials() {
        for good in [
            "mongodb://localhost",
            "mongodb://127.0.0.1:27017/videocall-db",
            "mongodb://ann:p%40ss%2F@a:1,b,[::1]:3/db?replicaSet=rs0&tls=true",
            "mongodb://ann@a/?authSource=$external&authMechanism=MONGODB-X509",
            "mongodb://%2Ftmp%2Fmongodb-27017.sock",
        ] {
            assert_eq!(check_mongodb(good), Ok(()), "{good}");
        }
        for bad in [
            "mongodb+srv://a.example/db",
            "http://a",
            "mongodb://",
            "mongodb:///db",
            "mongodb://a:x/db",
            "mongodb://a:0",
            "mongodb://a,,b",
            "mongodb://::1/db",
            "mongodb://ann:p@ss@a/db",
            "mongodb://ann:p/ss@a/db",
            "mongodb://ann:100%@a/db",
            "mongodb://:secret@a/db",
            "mongodb://a b/db",
        ] {
            assert!(check_mongodb(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_address_of_a_turn_server_is_one_that_browsers_read() {
        for good in [
            "turn:t",
            "turn:t:3478",
            "turns:t:443?transport=tcp",
            "turn:[2001:db8::1]:3478?transport=udp",
            "turn:1.2.3.4",
        ] {
            assert_eq!(check_ice(good, ["turn", "turns"]), Ok(()), "{good}");
        }
        assert_eq!(check_ice("stun:s:19302", ["stun", "stuns"]), Ok(()));
        for bad in [
            "turn://t:3478",
            "turn:",
            "turn::3478",
            "turn:t:x",
            "turn:t:0",
            "turn:ann:secret@t",
            "turn:t?transport=sctp",
            "turn:t?x",
            "turn:2001:db8::1",
            "turn:[t]",
            "turn:a b",
            "stun:t",
            "t:3478",
        ] {
            assert!(check_ice(bad, ["turn", "turns"]).is_err(), "{bad}");
        }
        assert!(check_ice("stun:s?transport=udp", ["stun", "stuns"]).is_err());
    }
}
