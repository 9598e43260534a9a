//! Which web origins may come, and how they are told.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use http::{Response, StatusCode};

use super::AllowedOrigins;
use super::http::{Body, empty};

/// Whether a request with these headers may pass: from an allowed origin, or from this very one, which many a client that
/// is no browser sends.
pub(super) fn may_pass(allowed: &AllowedOrigins, headers: &HeaderMap) -> bool {
    let origin = headers.get(ORIGIN);
    let host = headers.get(HOST).map(HeaderValue::as_bytes);
    let own = origin.and_then(|origin| origin.to_str().ok()?.split_once("://")).map(|(_, host)| host.as_bytes());
    is_allowed(allowed, origin) || (own.is_some() && own == host)
}

/// Whether a page with this `Origin` may read answers. One without is no browser's.
fn is_allowed(allowed: &AllowedOrigins, origin: Option<&HeaderValue>) -> bool {
    match (allowed, origin) {
        (AllowedOrigins::Any, _) | (_, None) => true,
        (AllowedOrigins::List(list), Some(origin)) => {
            list.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes())
        }
    }
}

/// Lets the page of an allowed origin read the answer.
pub(super) fn allow_origin(response: &mut Response<Body>, allowed: &AllowedOrigins, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    match (allowed, origin) {
        (AllowedOrigins::Any, _) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        (AllowedOrigins::List(_), origin) => {
            headers.insert(VARY, HeaderValue::from_static("Origin"));
            if let Some(origin) = origin.filter(|origin| is_allowed(allowed, Some(origin))) {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }
}

/// The answer to a browser that asks before it sends.
pub(super) fn preflight(request: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(wanted) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_pass_and_no_origin_is_no_browser() {
        let list = AllowedOrigins::List(vec!["https://a.example".into()]);
        assert!(is_allowed(&list, Some(&HeaderValue::from_static("https://a.example"))));
        assert!(!is_allowed(&list, Some(&HeaderValue::from_static("https://a.example.evil"))));
        assert!(is_allowed(&list, None));
        assert!(is_allowed(&AllowedOrigins::Any, Some(&HeaderValue::from_static("https://b.example"))));
    }

    #[test]
    fn a_client_may_name_the_address_it_talks_to_as_its_origin() {
        let list = AllowedOrigins::List(vec!["https://a.example".into()]);
        let passes = |origin: &'static str, host: &'static str| {
            let headers = [(ORIGIN, HeaderValue::from_static(origin)), (HOST, HeaderValue::from_static(host))];
            may_pass(&list, &HeaderMap::from_iter(headers))
        };
        assert!(passes("http://calls.example:8080", "calls.example:8080"));
        assert!(passes("https://a.example", "calls.example"));
        assert!(!passes("http://calls.example", "calls.example:8080"));
        assert!(!passes("null", "calls.example"));
        assert!(may_pass(&list, &HeaderMap::new()));
    }
}
