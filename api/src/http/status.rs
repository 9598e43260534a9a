//! The HTTP status of each refusal code.

use http::StatusCode;
use switchboard_core::domain::Code;

/// Returns the HTTP status of a code (`docs/PROTOCOL.md`, "Codes").
#[must_use]
pub const fn status(code: Code) -> StatusCode {
    match code {
        Code::InvalidCredentials
        | Code::TokenExpired
        | Code::TokenInvalid
        | Code::TokenMisplaced
        | Code::KeyRevoked
        | Code::Unauthorized
        | Code::InvalidPasscode => StatusCode::UNAUTHORIZED,
        Code::Forbidden
        | Code::HostRequired
        | Code::CallEnded
        | Code::CallFull
        | Code::RoomFull
        | Code::RoomLocked
        | Code::RoomNotAllowed
        | Code::OriginNotAllowed
        | Code::AppLimitReached
        | Code::Banned
        | Code::Removed => StatusCode::FORBIDDEN,
        Code::UserNotFound
        | Code::SessionNotFound
        | Code::AppNotFound
        | Code::KeyNotFound
        | Code::WebhookNotFound
        | Code::DeliveryNotFound
        | Code::CallNotFound
        | Code::RoomNotFound
        | Code::PeerNotFound
        | Code::RouteNotFound => StatusCode::NOT_FOUND,
        Code::UserExists
        | Code::RoomExists
        | Code::LimitReached
        | Code::IssuerTaken
        | Code::SecretRotated
        | Code::IdempotencyKeyReused => StatusCode::CONFLICT,
        Code::ValidationError
        | Code::InvalidInput
        | Code::NotInRoom
        | Code::UnknownEvent
        | Code::BinaryNotSupported => StatusCode::BAD_REQUEST,
        Code::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RateLimitExceeded => StatusCode::TOO_MANY_REQUESTS,
        Code::InternalError | Code::DatabaseError => StatusCode::INTERNAL_SERVER_ERROR,
        Code::AppsNotConfigured => StatusCode::NOT_IMPLEMENTED,
        Code::ServiceUnavailable | Code::IdentitySourceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}
