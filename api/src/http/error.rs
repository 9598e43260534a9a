//! The error type of handlers.
//!
//! A handler returns a refusal; the outermost layer (`layers`) writes its JSON body, because only
//! that layer knows the request's id.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use switchboard_calls::{CallError, LimitRefusals};
use switchboard_core::domain::{AppId, AppLimit, Code, Refusal};
use switchboard_records::RecordsError;
use switchboard_rooms::StoreError;

use crate::http::status::status;
use crate::limits::{RateExceeded, RateStatus};

/// Seconds after which a client may retry while Redis or MongoDB is unavailable.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");

/// Refusal that a handler returns. `?` converts every error that a handler meets into it.
#[derive(Debug)]
pub struct ApiError {
    /// Reason of the refusal.
    pub refusal: Refusal,
    /// State of the rate limit, if an exceeded rate is the reason.
    rate: Option<RateStatus>,
}

/// Result of a handler.
pub type ApiResult<T> = Result<T, ApiError>;

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, rate: None }
    }
}

impl From<Code> for ApiError {
    fn from(code: Code) -> Self {
        Refusal::from(code).into()
    }
}

impl From<RecordsError> for ApiError {
    fn from(error: RecordsError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<RateExceeded> for ApiError {
    fn from(RateExceeded(status): RateExceeded) -> Self {
        Self { refusal: Code::RateLimitExceeded.into(), rate: Some(status) }
    }
}

impl ApiError {
    /// Creates the refusal of a request above the rate of its app.
    #[must_use]
    pub fn at_app_rate(refusals: &LimitRefusals, app: &AppId, RateExceeded(status): RateExceeded) -> Self {
        let wait = Duration::from_secs(status.retry_after());
        Self { refusal: refusals.rate_reached(app, AppLimit::RequestsPerSecond, wait), rate: Some(status) }
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
        match error {
            StoreError::Unavailable => {
                tracing::warn!("Redis is unavailable");
                Code::ServiceUnavailable.into()
            }
            error @ StoreError::Unexpected(_) => {
                tracing::error!(%error, "room operation failed");
                Code::InternalError.into()
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status(self.refusal.code);
        let mut response = status.into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        if let Some(rate) = self.rate {
            response.headers_mut().insert(header::RETRY_AFTER, rate.retry_after().into());
            rate.write(response.headers_mut());
        }
        response.extensions_mut().insert(self.refusal);
        response
    }
}
