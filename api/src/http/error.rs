//! The error type of handlers.
//!
//! A handler returns a refusal; the outermost layer (`layers`) writes its JSON body, because only
//! that layer knows the request's id. It also logs the failures of Redis and MongoDB.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use switchboard_calls::{CallError, LimitRefusals};
use switchboard_core::domain::{AppId, AppLimit, Code, Refusal};
use switchboard_records::RecordsError;
use switchboard_rooms::StoreError;

use crate::http::status::status;
use crate::http::store_failures::StoreFailure;
use crate::limits::{RateExceeded, RateStatus};

/// Seconds after which a client may retry while Redis or MongoDB is unavailable.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");

/// Refusal that a handler returns. `?` converts every error that a handler meets into it.
#[derive(Debug)]
pub struct ApiError {
    /// Reason of the refusal.
    pub refusal: Refusal,
    cause: Option<Cause>,
}

/// Reason with more than a refusal.
#[derive(Debug)]
enum Cause {
    /// An exceeded rate: the state of its limit.
    Rate(RateStatus),
    /// A failure of Redis or MongoDB. The outermost layer logs it.
    Store(Box<StoreFailure>),
}

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, cause: None }
    }
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Refusal::from(code).into()
    }
}

impl From<RecordsError> for ApiError {
    fn from(error: RecordsError) -> Self {
        StoreFailure { store: "MongoDB", code: error.code(), error: error.to_string() }.into()
    }
}

impl From<StoreFailure> for ApiError {
    fn from(failure: StoreFailure) -> Self {
        Self { refusal: failure.code.into(), cause: Some(Cause::Store(Box::new(failure))) }
    }
}

impl From<RateExceeded> for ApiError {
    fn from(RateExceeded(status): RateExceeded) -> Self {
        Self { refusal: Code::RateLimitExceeded.into(), cause: Some(Cause::Rate(status)) }
    }
}

impl ApiError {
    /// Creates the refusal of a request above the rate of its app.
    #[must_use]
    pub fn at_app_rate(refusals: &LimitRefusals, app: &AppId, RateExceeded(status): RateExceeded) -> Self {
        let wait = Duration::from_secs(status.retry_after());
        let refusal = refusals.rate_reached(app, AppLimit::RequestsPerSecond, wait);
        Self { refusal, cause: Some(Cause::Rate(status)) }
    }
}

impl From<CallError> for ApiError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::NotFound => Code::CallNotFound.into(),
            CallError::PasscodeRateExceeded(exceeded) => RateExceeded::from(exceeded).into(),
            CallError::Rooms(error) => error.into(),
            CallError::Records(error) => error.into(),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Unavailable => Code::ServiceUnavailable,
            StoreError::Unexpected(_) => Code::InternalError,
        };
        StoreFailure { store: "Redis", code, error: error.to_string() }.into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status(self.refusal.code);
        let mut response = status.into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        match self.cause {
            Some(Cause::Rate(rate)) => {
                response.headers_mut().insert(header::RETRY_AFTER, rate.retry_after().into());
                rate.write(response.headers_mut());
            }
            Some(Cause::Store(failure)) => {
                response.extensions_mut().insert(*failure);
            }
            None => {}
        }
        response.extensions_mut().insert(self.refusal);
        response
    }
}
