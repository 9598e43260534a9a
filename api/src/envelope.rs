//! What every request passes through: its id, its deadline, the envelope of refusals, headers, metrics, panics.

use std::any::Any;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_auth::random_id;
use switchboard_core::domain::{Code, FieldError, Refusal};
use switchboard_runtime::config::OriginsConfig;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tracing::Instrument as _;

use crate::error::Problem;
use crate::limits;

/// A request's id: the client's own in `x-request-id` when it is sound, else made here; comes back with every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What our own page needs and no more: its own files, sockets to any node, and the media of the call.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob: https:; \
     media-src 'self' blob: mediastream:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The request's id, in the request's extensions.
#[derive(Clone)]
pub struct RequestId(pub HeaderValue);

/// A success: `{success: true, message, data, pagination?}`.
pub fn success(message: &'static str, data: impl Serialize) -> Json<impl Serialize> {
    Json(Success { success: true, message, data, pagination: None })
}

/// A success with a page of a list.
pub fn page(message: &'static str, data: impl Serialize, pagination: Pagination) -> Json<impl Serialize> {
    Json(Success { success: true, message, data, pagination: Some(pagination) })
}

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    message: &'static str,
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pagination: Option<Pagination>,
}

/// Where a page is in its list.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Pagination {
    /// The page's number, from 1.
    pub page: u32,
    /// Entries a page.
    pub limit: u32,
    /// Entries in all.
    pub total: u64,
    /// Pages in all.
    pub pages: u64,
}

impl Pagination {
    /// The page `page` of `total` entries.
    #[must_use]
    pub fn new(page: u32, limit: u32, total: u64) -> Self {
        Self { page, limit, total, pages: total.div_ceil(u64::from(limit.max(1))) }
    }
}

#[derive(Serialize)]
struct Failure<'a> {
    success: bool,
    message: &'a str,
    code: Code,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(rename = "requestId")]
    request_id: &'a str,
}

/// Refuses what takes longer than the deadline.
pub async fn in_time(State(deadline): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(deadline, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::from(Code::ServiceUnavailable).into_response(),
    }
}

/// The outermost layer: gives the request its id, times it, writes a refusal's body and the headers of every answer.
pub async fn envelop(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = Instant::now();
    // What is logged on the way carries the id: it is what a client can tell us of its failure.
    let span = tracing::info_span!("request", request_id = id.to_str().unwrap_or_default());
    let mut response = next.run(request).instrument(span).await;
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
    observe(&method, route.as_ref(), &response, started.elapsed());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    secure(headers);
    response
}

/// Keeps what inner layers said (Retry-After, CORS), but the body's own length and type.
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

fn secure(headers: &mut HeaderMap) {
    const FIXED: [(HeaderName, &str); 7] = [
        // Half a year. Over plain HTTP browsers do not listen to it.
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
    // Answers are about one caller at one moment; the page's files say for themselves how long they keep.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let sound = |value: &&HeaderValue| {
        (1..=64).contains(&value.len())
            && value.as_bytes().iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    };
    headers
        .get(REQUEST_ID)
        .filter(sound)
        .cloned()
        .unwrap_or_else(|| HeaderValue::from_str(&random_id()).expect("hexadecimal digits are a header's value"))
}

fn observe(method: &Method, route: Option<&MatchedPath>, response: &Response, took: Duration) {
    // The route's pattern, never the path: a label per room would be a metric per room.
    let route = route.map_or_else(|| "none".to_owned(), |route| route.as_str().to_owned());
    let labels =
        [("method", known(method).to_owned()), ("route", route), ("status", response.status().as_str().to_owned())];
    metrics::histogram!("switchboard_http_request_seconds", &labels).record(took.as_secs_f64());
}

/// A client may invent methods; a label may not.
fn known(method: &Method) -> &str {
    match *method {
        Method::GET | Method::POST | Method::PUT | Method::PATCH | Method::DELETE | Method::OPTIONS | Method::HEAD => {
            method.as_str()
        }
        _ => "other",
    }
}

/// The answer to a request whose handler panicked.
pub fn panicked(cause: Box<dyn Any + Send>) -> Response {
    let text = cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    tracing::error!(cause = text.unwrap_or("unknown"), "a request panicked");
    metrics::counter!("switchboard_http_panics_total").increment(1);
    Problem::from(Code::InternalError).into_response()
}

/// Origins by the list, or the page's own.
pub fn cors(origins: OriginsConfig) -> CorsLayer {
    // Browsers refuse credentials for "any"; with a list, clients of the Node service send them.
    let credentials = !origins.any;
    let allowed = AllowOrigin::predicate(move |origin, parts| {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        origin.to_str().is_ok_and(|origin| origins.allows(origin, host))
    });
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(credentials)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([REQUEST_ID, header::RETRY_AFTER].into_iter().chain(limits::HEADERS).collect::<Vec<_>>())
        .max_age(Duration::from_secs(600))
}
