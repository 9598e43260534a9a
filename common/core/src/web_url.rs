//! URLs that users, backends and operators give, and that browsers load.

use url::Url;

/// Returns whether a text is an absolute `http` or `https` URL with a valid host and port. The
/// scheme is in lower case, because other programs compare its beginning.
#[must_use]
pub fn is_web_url(text: &str) -> bool {
    let has_scheme = text.starts_with("https://") || text.starts_with("http://");
    has_scheme && Url::parse(text).is_ok_and(|url| url.has_host() && url.port() != Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_of_the_web_and_a_host_and_port_that_exist() {
        for good in [
            "https://a.example",
            "http://a.example/ann.png?size=1#x",
            "https://a.example:8443/",
            "http://[::1]:3000/a",
            "http://127.0.0.1/a b",
            "https://b\u{fc}cher.example/\u{e4}.png",
        ] {
            assert!(is_web_url(good), "{good}");
        }
        for bad in [
            "",
            "http://[::1",
            "http://",
            "https://?x",
            "https://a b.example/",
            "https://a.example:99999/",
            "https://a.example:0/",
            "https://a.example:x/",
            "https://xn--zzzzzz.example/",
            "https://300.1.1.1/",
            "HTTPS://a.example",
            "https:a.example",
            "ftp://a.example",
            "javascript:alert(1)",
            "//a.example",
            "a.png",
        ] {
            assert!(!is_web_url(bad), "{bad}");
        }
    }
}
