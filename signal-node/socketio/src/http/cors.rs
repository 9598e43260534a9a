//! Origins of browsers, and the CORS headers.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST, HeaderMap, HeaderValue,
    ORIGIN, VARY,
};
use http::{Response, StatusCode};
use switchboard_core::origin::foreign_origin;

use super::response::{Body, status_response};
use crate::config::AllowedOrigins;

/// Returns whether a request with these headers may pass: from an allowed origin, or with this
/// server's own address as its origin, which many clients other than browsers send.
pub(crate) fn origin_may_pass(allowed: &AllowedOrigins, headers: &HeaderMap) -> bool {
    is_allowed(allowed, headers.get(ORIGIN)) || foreign_origin_of(headers).is_none()
}

/// Returns the origin of the page that sent a request; `None` without one, or if it is this
/// server's own address.
pub(crate) fn foreign_origin_of(headers: &HeaderMap) -> Option<&str> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    foreign_origin(headers.get(ORIGIN)?.to_str().unwrap_or("null"), host)
}

/// Returns whether a page with this `Origin` may read responses. A request without `Origin` does
/// not come from a browser.
fn is_allowed(allowed: &AllowedOrigins, origin: Option<&HeaderValue>) -> bool {
    match (allowed, origin) {
        (AllowedOrigins::Any, _) | (_, None) => true,
        (AllowedOrigins::Matching(allows), Some(origin)) => origin.to_str().is_ok_and(|origin| allows(origin)),
    }
}

/// Adds the headers that let a page of an allowed origin read the response.
pub(crate) fn add_cors_headers(response: &mut Response<Body>, allowed: &AllowedOrigins, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    match (allowed, origin) {
        (AllowedOrigins::Any, _) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        (AllowedOrigins::Matching(_), origin) => {
            headers.insert(VARY, HeaderValue::from_static("Origin"));
            if let Some(origin) = origin.filter(|origin| is_allowed(allowed, Some(origin))) {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }
}

/// Creates the response to a browser's preflight request.
pub(crate) fn preflight_response(request: &HeaderMap) -> Response<Body> {
    let mut response = status_response(StatusCode::NO_CONTENT);
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
    fn listed_origins_and_requests_without_an_origin_pass_and_other_origins_do_not() {
        let list = AllowedOrigins::list(["https://a.example".into()]);
        assert!(is_allowed(&list, Some(&HeaderValue::from_static("https://a.example"))));
        assert!(!is_allowed(&list, Some(&HeaderValue::from_static("https://a.example.evil"))));
        assert!(is_allowed(&list, None));
        assert!(is_allowed(&AllowedOrigins::Any, Some(&HeaderValue::from_static("https://b.example"))));
    }

    #[test]
    fn a_client_may_send_the_address_of_the_server_as_its_origin() {
        let list = AllowedOrigins::list(["https://a.example".into()]);
        let passes = |origin: &'static str, host: &'static str| {
            let headers = [(ORIGIN, HeaderValue::from_static(origin)), (HOST, HeaderValue::from_static(host))];
            origin_may_pass(&list, &HeaderMap::from_iter(headers))
        };
        assert!(passes("http://calls.example:8080", "calls.example:8080"));
        assert!(passes("https://a.example", "calls.example"));
        assert!(!passes("http://calls.example", "calls.example:8080"));
        assert!(!passes("null", "calls.example"));
        assert!(origin_may_pass(&list, &HeaderMap::new()));
    }
}
