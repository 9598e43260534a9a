//! Which web origins may come, and how they are told.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HeaderMap, HeaderValue, VARY,
};
use http::{Response, StatusCode};

use super::AllowedOrigins;
use super::http::{Body, empty};

/// Whether a request with this `Origin` may pass. One without is no browser's.
pub(super) fn is_allowed(allowed: &AllowedOrigins, origin: Option<&HeaderValue>) -> bool {
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
}
