//! Middleware around every request: request id, timeout, error bodies, security headers, metrics,
//! panics and CORS.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use switchboard_auth::random_id;
use switchboard_core::domain::{Code, Refusal};
use switchboard_runtime::config::OriginsConfig;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tracing::Instrument as _;

use crate::http::envelope::Failure;
use crate::http::error::ApiError;
use crate::http::store_failures::{StoreFailure, StoreFailures};
use crate::limits;

/// Header with the request's id: 1 to 64 ASCII letters, digits, `-`, `_` or `.`. A valid id of the
/// client is kept; otherwise the API makes one of 32 hexadecimal digits. Every response has it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Content Security Policy of the web page: its own files, sockets to any node, and the call's
/// media.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob: https:; \
     media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Id of a request, stored in the request's extensions.
#[derive(Clone)]
pub struct RequestId(pub HeaderValue);

/// Answers 503 when a request takes longer than the timeout.
pub async fn timeout(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::from(Code::ServiceUnavailable).into_response(),
    }
}

/// Outermost layer: assigns the request's id, measures the duration, logs failures of Redis and
/// MongoDB, and writes the error body and the headers of every response.
pub async fn outermost(State(failures): State<StoreFailures>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    // Every log line about this request carries the id, because a client can report only the id.
    let span = tracing::info_span!("request", request_id = id.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(failure) = response.extensions_mut().remove::<StoreFailure>() {
        span.in_scope(|| failures.log(&failure));
    }
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        let body = Json(Failure {
            success: false,
            message: &refusal.message,
            code: refusal.code,
            errors: &refusal.errors,
            request_id: id.to_str().unwrap_or_default(),
        });
        let (status, headers) = (response.status(), std::mem::take(response.headers_mut()));
        response = (status, body).into_response();
        merge(response.headers_mut(), headers);
    }
    record_duration(&method, route.as_ref(), &response, started.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    add_security_headers(headers);
    response
}

/// Keeps the headers of inner layers (Retry-After, CORS), except the length and type of the body.
fn merge(into: &mut HeaderMap, from: HeaderMap) {
    for (name, value) in from {
        if let Some(name) = name
            && name != header::CONTENT_LENGTH
            && name != header::CONTENT_TYPE
        {
            into.append(name, value);
        }
    }
}

fn add_security_headers(headers: &mut HeaderMap) {
    const FIXED: [(HeaderName, &str); 7] = [
        // 180 days, in seconds. Browsers ignore it over plain HTTP.
        (header::STRICT_TRANSPORT_SECURITY, "max-age=15552000"),
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(self), display-capture=(self)"),
    ];
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Responses must not be cached, because they belong to one caller. Files of the web page set
    // their own Cache-Control.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let valid = |value: &&HeaderValue| {
        (1..=64).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    headers
        .get(REQUEST_ID)
        .filter(valid)
        .cloned()
        .unwrap_or_else(|| HeaderValue::from_str(&random_id()).expect("hexadecimal digits are a valid header value"))
}

fn record_duration(method: &Method, route: Option<&MatchedPath>, response: &Response, took: Duration) {
    // The label is the route's pattern, not the path, because one series per room is too many. A
    // route has one label, with and without a slash at its end.
    let route = route.map_or_else(|| "none".to_owned(), |route| route.as_str().trim_end_matches('/').to_owned());
    let labels = [
        ("method", method_label(method).to_owned()),
        ("route", route),
        ("status", response.status().as_str().to_owned()),
    ];
    metrics::histogram!("switchboard_http_request_seconds", &labels).record(took.as_secs_f64());
}

/// Returns the method as a metric label. Unknown methods share one label, because clients can
/// invent any number of them.
fn method_label(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS | Method::HEAD => {
            method.as_str()
        }
        _ => "other",
    }
}

/// Answers 500 to a request whose handler panicked. The line of the panic has its place. The
/// message is not logged, because it may hold a client's data.
pub fn panic_response(_message: Box<dyn Any + Send>) -> Response {
    tracing::error!("request handler panicked");
    ApiError::from(Code::InternalError).into_response()
}

/// Allows the listed origins, the origin of the web page itself, and those for which `of_apps`
/// returns true.
pub fn cors(origins: OriginsConfig, of_apps: impl Fn(&str) -> bool + Clone + Send + Sync + 'static) -> CorsLayer {
    // Browsers refuse credentials together with `*`. With a list, clients of the old Node.js
    // backend send credentials.
    let credentials = !origins.any;
    let allowed = AllowOrigin::predicate(move |origin, parts| {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        origin.to_str().is_ok_and(|origin| origins.allows(origin, host) || of_apps(origin))
    });
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(credentials)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        // Tracing tools add headers of their own to a page's requests. No header means more here
        // than it would without CORS.
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, header::RETRY_AFTER].into_iter().chain(limits::HEADERS).collect::<Vec<_>>())
        // Browsers repeat the preflight request after 10 minutes.
        .max_age(Duration::from_secs(600))
}
