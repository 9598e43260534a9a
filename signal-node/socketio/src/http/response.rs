//! The responses of Engine.IO.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use crate::protocol::HandshakeError;

/// The one version of the WebSocket protocol.
pub(super) const WEBSOCKET_VERSION: &str = "13";

/// Body of a response: made by this node, or streamed from another node.
pub(crate) type Body = Either<Full<Bytes>, Incoming>;

/// Creates an empty body.
pub(super) fn empty_body() -> Body {
    Either::Left(Full::default())
}

/// Creates an empty response with this status.
pub(crate) fn status_response(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty_body());
    *response.status_mut() = status;
    response
}

/// Creates a response with a text that no cache stores.
pub(crate) fn text_response(text: Bytes) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::from(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Counts a refused request and creates its response.
pub(crate) fn error_response(error: HandshakeError) -> Response<Body> {
    let (status, code, message) = error.parts();
    metrics::counter!("switchboard_handshakes_refused_total", "reason" => message).increment(1);
    let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    let mut response = Response::new(Either::Left(Full::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error == HandshakeError::WebSocketVersion {
        // The client may try again with a version from this list (RFC 6455, section 4.4).
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static(WEBSOCKET_VERSION));
    }
    response
}

/// Adds the headers that every response has. `nosniff` keeps a browser from running a response as
/// another type than it is.
pub(crate) fn add_security_headers(response: &mut Response<Body>) {
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}
