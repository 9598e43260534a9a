//! Web origins: as browsers send them, and as settings allow them.
//!
//! Browsers and applications send `Origin: scheme://host` or `scheme://host:port`, without a default
//! port, with a host in ASCII. Applications that bring their own browser have schemes of their own:
//! `capacitor://localhost`, `tauri://localhost`, `app://-`.

use std::collections::HashSet;

use url::Url;

/// Origin of a page, in one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    /// Host in lower case, in ASCII if IDNA applies; an IPv6 address with brackets.
    host: String,
    /// `None`: the scheme has no default port, and the origin names none.
    port: Option<u16>,
}

/// Origins that a setting allows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OriginPattern {
    origin: Origin,
    /// The pattern is `scheme://*.host`: it allows each host below this one.
    subdomains: bool,
}

impl Origin {
    /// Parses the value of a header `Origin`. `None` for `null` and for text that is no origin.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        read(text).ok()
    }

    /// Returns the origin of a service that a client reaches with this header `Host`, over the
    /// scheme of this origin.
    #[must_use]
    pub fn is_of_host(&self, host: &str) -> bool {
        Self::parse(&format!("{}://{host}", self.scheme)).as_ref() == Some(self)
    }

    /// Returns whether the page is on this machine: `http://localhost` or `http://127.0.0.1`, with
    /// any port.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.scheme == "http" && matches!(&*self.host, "localhost" | "127.0.0.1" | "[::1]")
    }
}

/// Returns a header `Origin`, unless it is the address of the service itself, as its header `Host`
/// has it: its own page, or a client that is no browser.
#[must_use]
pub fn foreign_origin<'a>(origin: &'a str, host: Option<&str>) -> Option<&'a str> {
    let is_own = host.is_some_and(|host| Origin::parse(origin).is_some_and(|origin| origin.is_of_host(host)));
    (!is_own).then_some(origin)
}

impl OriginPattern {
    /// Parses an entry of a setting: an origin, or `scheme://*.host` for every host below `host`.
    ///
    /// # Errors
    /// The reason why no browser sends such an origin, without the entry.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("has no scheme, such as https://")?;
        let Some(parent) = rest.strip_prefix("*.") else {
            return read(text).map(|origin| Self { origin, subdomains: false });
        };
        let origin = read(&format!("{scheme}://{parent}"))?;
        // `*.org` would allow everybody who can buy a domain.
        if !origin.host.contains('.') && origin.host != "localhost" || origin.host.parse::<std::net::Ipv4Addr>().is_ok()
        {
            return Err("must have a domain of two labels or more after *.");
        }
        Ok(Self { origin, subdomains: true })
    }

    /// Returns the pattern of exactly this origin.
    #[must_use]
    pub const fn exactly(origin: Origin) -> Self {
        Self { origin, subdomains: false }
    }

    /// Returns whether the pattern allows this origin.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        if !self.subdomains {
            return self.origin == *origin;
        }
        let below = origin.host.strip_suffix(&self.origin.host).and_then(|left| left.strip_suffix('.'));
        (&self.origin.scheme, self.origin.port) == (&origin.scheme, origin.port)
            && below.is_some_and(|left| !left.is_empty())
    }
}

/// Set of patterns. A question costs by the labels of the origin's host, however many patterns
/// there are.
#[derive(Clone, Debug, Default)]
pub struct OriginSet(HashSet<OriginPattern>);

impl FromIterator<OriginPattern> for OriginSet {
    fn from_iter<I: IntoIterator<Item = OriginPattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

impl OriginSet {
    /// Returns whether a pattern allows this origin.
    #[must_use]
    pub fn allows(&self, origin: &Origin) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let parents = origin.host.match_indices('.').filter(|(dot, _)| *dot > 0).map(|(dot, _)| OriginPattern {
            origin: Origin { host: origin.host[dot + 1..].to_owned(), ..origin.clone() },
            subdomains: true,
        });
        std::iter::once(OriginPattern::exactly(origin.clone())).chain(parents).any(|known| self.0.contains(&known))
    }
}

/// Reads an origin. The error is the reason why no browser sends it.
fn read(text: &str) -> Result<Origin, &'static str> {
    const NO_ORIGIN: &str = "must be scheme://host or scheme://host:port";
    let (scheme, rest) = text.split_once("://").ok_or("has no scheme, such as https://")?;
    if scheme.eq_ignore_ascii_case("file") {
        return Err("cannot be a file: browsers send the origin null for files");
    }
    if rest.contains('@') {
        return Err("must have no user name and no password");
    }
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '\\', '?', '#']) {
        return Err("must have no path, no query and no fragment");
    }
    if authority.contains('*') {
        return Err("may have a star only as the whole first label, as in https://*.example.org");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Err("has no host");
    }
    if authority.ends_with(':') {
        return Err("has a colon without a port");
    }
    let url = Url::parse(&format!("{scheme}://{authority}")).map_err(|_| NO_ORIGIN)?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(NO_ORIGIN)?.to_ascii_lowercase();
    // The library drops blanks within a host of some schemes.
    if authority.chars().any(|c| c.is_whitespace() || c.is_control()) || url.port() == Some(0) {
        return Err(NO_ORIGIN);
    }
    Ok(Origin { scheme: url.scheme().to_owned(), host, port: url.port_or_known_default() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn allows(pattern: &str, origin: &str) -> bool {
        let (pattern, origin) = (OriginPattern::parse(pattern).unwrap(), Origin::parse(origin).unwrap());
        let others =
            ["https://other.example", "https://*.other.example"].map(|text| OriginPattern::parse(text).unwrap());
        let set: OriginSet = others.into_iter().chain([pattern.clone()]).collect();
        assert_eq!(set.allows(&origin), pattern.allows(&origin), "a set answers as its patterns do");
        assert!(!OriginSet::default().allows(&origin));
        pattern.allows(&origin)
    }

    #[test]
    fn an_origin_is_allowed_in_each_form_in_which_browsers_and_applications_write_it() {
        for (pattern, origin) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/", "https://A.Example"),
            ("HTTPS://a.example:443", "https://a.example"),
            ("https://a.example", "https://a.example:443"),
            ("http://a.example:80", "http://a.example"),
            ("https://a.example:8443", "https://a.example:8443"),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
            ("https://XN--BCHER-KVA.example", "https://xn--bcher-kva.example"),
            ("http://[::1]:3000", "http://[0:0:0:0:0:0:0:1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("tauri://localhost", "tauri://localhost"),
            ("app://-", "app://-"),
            ("app://Obsidian.md", "app://obsidian.md"),
            ("chrome-extension://aaaabbbb", "chrome-extension://aaaabbbb"),
            ("https://*.example.org", "https://a.example.org"),
            ("https://*.example.org", "https://a.b.EXAMPLE.org:443"),
            ("https://*.b\u{fc}cher.example:8443", "https://a.xn--bcher-kva.example:8443"),
            ("http://*.localhost:3000", "http://team.localhost:3000"),
        ] {
            assert!(allows(pattern, origin), "{pattern} {origin}");
        }
        for (pattern, origin) in [
            ("https://a.example", "http://a.example"),
            ("https://a.example", "https://a.example:8443"),
            ("https://a.example", "https://a.example.evil.org"),
            ("https://a.example", "https://evil-a.example"),
            ("https://*.example.org", "https://example.org"),
            ("https://*.example.org", "https://evilexample.org"),
            ("https://*.example.org", "https://a.example.org.evil.org"),
            ("https://*.example.org", "http://a.example.org"),
            ("https://*.example.org", "https://a.example.org:8443"),
            ("capacitor://localhost", "http://localhost"),
        ] {
            assert!(!allows(pattern, origin), "{pattern} {origin}");
        }
    }

    #[test]
    fn an_entry_that_no_browser_sends_is_refused() {
        for bad in [
            "example.org",
            "https://",
            "https:///",
            "https://a.example/app",
            "https://a.example?x",
            "https://a.example#x",
            "https://ann@a.example",
            "https://a b.example",
            "https://a.example:99999",
            "https://a.example:x",
            "https://a.example:0",
            "https://:8443",
            "file://",
            "file:///app",
            "https://*",
            "https://a.*.example",
            "https://*a.example",
            "https://*.org",
            "https://*.",
            "https://*.127.0.0.1",
            "https://*.*.example",
            "null",
            "https://a.example:*",
            "1s://a",
            "https://xn--zzzzzz.example",
        ] {
            assert!(OriginPattern::parse(bad).is_err(), "{bad}");
        }
        for bad in ["null", "", "https://", "https://a.example/x"] {
            assert_eq!(Origin::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_page_of_the_service_itself_has_the_host_that_its_client_asked_for() {
        let of = |origin: &str, host: &str| Origin::parse(origin).unwrap().is_of_host(host);
        assert!(of("https://calls.example", "calls.example") && of("https://calls.example", "Calls.example:443"));
        assert!(of("http://calls.example:8080", "calls.example:8080"));
        assert!(!of("http://calls.example", "calls.example:8080") && !of("https://a.example", "calls.example"));
    }
}
