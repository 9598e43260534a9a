//! From a refusal to an HTTP answer. The body is written by `envelope`, which knows the request's id.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use switchboard_calls::CallError;
use switchboard_core::domain::{Code, Refusal};
use switchboard_records::RecordsError;
use switchboard_rooms::StoreError;

use crate::limits::Counted;

/// Seconds after which a client may ask again when something we need is away.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");

/// A refusal on its way out of a handler: `?` works on everything that can go wrong there.
#[derive(Debug)]
pub struct Problem {
    /// Why.
    pub refusal: Refusal,
    /// The count that was too high, when that is why.
    pub(crate) counted: Option<Counted>,
}

/// What handlers return.
pub type Answer<T> = Result<T, Problem>;

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, counted: None }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Refusal::from(code).into()
    }
}

impl From<RecordsError> for Problem {
    fn from(error: RecordsError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::NotFound => Code::CallNotFound.into(),
            CallError::PasscodeRateExceeded(exceeded) => Self::passcode(exceeded),
            CallError::Rooms(error) => error.into(),
            CallError::Records(error) => error.into(),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable => {
                tracing::warn!("the rooms are away");
                Code::ServiceUnavailable.into()
            }
            error @ StoreError::Unexpected(_) => {
                tracing::error!(%error, "an operation on a room failed");
                Code::InternalError.into()
            }
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = status(self.refusal.code);
        let mut response = status.into_response();
        if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
        }
        if let Some(counted) = self.counted {
            response.headers_mut().insert(header::RETRY_AFTER, counted.retry_after().into());
            counted.tell(response.headers_mut());
        }
        response.extensions_mut().insert(self.refusal);
        response
    }
}

/// The HTTP status that goes with a code (`docs/PROTOCOL.md`, "Codes").
#[must_use]
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidCredentials
        | Code::TokenExpired
        | Code::TokenInvalid
        | Code::Unauthorized
        | Code::InvalidPasscode => StatusCode::UNAUTHORIZED,
        Code::Forbidden
        | Code::HostRequired
        | Code::CallEnded
        | Code::CallFull
        | Code::RoomFull
        | Code::RoomLocked
        | Code::Banned => StatusCode::FORBIDDEN,
        Code::UserNotFound
        | Code::SessionNotFound
        | Code::CallNotFound
        | Code::RoomNotFound
        | Code::PeerNotFound
        | Code::RouteNotFound => StatusCode::NOT_FOUND,
        Code::UserExists | Code::RoomExists | Code::AlreadyInRoom => StatusCode::CONFLICT,
        Code::ValidationError
        | Code::InvalidInput
        | Code::NotInRoom
        | Code::UnknownEvent
        | Code::BinaryNotSupported => StatusCode::BAD_REQUEST,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RateLimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::InternalError | Code::DatabaseError => StatusCode::INTERNAL_SERVER_ERROR,
        Code::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
