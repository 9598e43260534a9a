//! Refusals: expected errors that a client receives, with stable codes.
//!
//! The codes are part of the public contract (`docs/PROTOCOL.md`, "Codes") and never change. The
//! messages are for people and may change.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

use super::rate::whole_seconds;

/// Defines each code with its text on the wire and its default message.
macro_rules! codes {
    ($($name:ident $text:literal $sentence:literal;)*) => {
        /// Stable code of a refusal (`docs/PROTOCOL.md`, "Codes").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $sentence] $name,)* }

        impl Code {
            /// All codes, for documents and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the code's text on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Returns the default message.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

codes! {
    InvalidCredentials "INVALID_CREDENTIALS" "The e-mail address or the password is wrong";
    TokenExpired "TOKEN_EXPIRED" "The token has expired";
    TokenInvalid "TOKEN_INVALID" "The token is invalid";
    TokenMisplaced "TOKEN_MISPLACED" "The token is in the wrong place: send it as auth.token";
    KeyRevoked "KEY_REVOKED" "The API key is revoked, or its app is disabled";
    IdentitySourceUnavailable "IDENTITY_SOURCE_UNAVAILABLE"
        "The public keys of the token's issuer cannot be read at the moment; try again";
    OriginNotAllowed "ORIGIN_NOT_ALLOWED" "The app does not allow its tokens on pages of this origin";
    Unauthorized "UNAUTHORIZED" "Sign in first";
    Forbidden "FORBIDDEN" "You are not allowed to do this";
    UserNotFound "USER_NOT_FOUND" "User not found";
    UserExists "USER_EXISTS" "An account with this e-mail address already exists";
    SessionNotFound "SESSION_NOT_FOUND" "Session not found";
    AppsNotConfigured "APPS_NOT_CONFIGURED" "This service has no apps: the operator must set APP_MASTER_KEY";
    AppNotFound "APP_NOT_FOUND" "App not found";
    KeyNotFound "KEY_NOT_FOUND" "API key not found";
    WebhookNotFound "WEBHOOK_NOT_FOUND" "Webhook not found";
    DeliveryNotFound "DELIVERY_NOT_FOUND" "No such event was sent to this webhook, or it waits already";
    LimitReached "LIMIT_REACHED" "The maximum number is reached";
    SecretRotated "SECRET_ROTATED" "Another request has rotated this secret, and its answer has the new one";
    IssuerTaken "ISSUER_TAKEN" "Another app has an identity source with this issuer and audience";
    IdempotencyKeyReused "IDEMPOTENCY_KEY_REUSED" "This Idempotency-Key belongs to a request with another body";
    AppLimitReached "APP_LIMIT_REACHED" "The app has reached one of its limits";
    CallNotFound "CALL_NOT_FOUND" "Call not found";
    CallEnded "CALL_ENDED" "The call has ended";
    CallFull "CALL_FULL" "The call is full";
    InvalidPasscode "INVALID_PASSCODE" "The passcode is wrong";
    HostRequired "HOST_REQUIRED" "Only the host may do this";
    RoomNotFound "ROOM_NOT_FOUND" "Room not found";
    RoomFull "ROOM_FULL" "The room is full";
    RoomNotAllowed "ROOM_NOT_ALLOWED" "The token is for another room";
    RoomLocked "ROOM_LOCKED" "The room is locked";
    RoomExists "ROOM_EXISTS" "A room with this id already exists";
    Banned "BANNED" "You are banned from this call";
    Removed "REMOVED" "You were removed from this call; get a new token to join again";
    NotInRoom "NOT_IN_ROOM" "Join a room first";
    PeerNotFound "PEER_NOT_FOUND" "Participant not found in this room";
    ValidationError "VALIDATION_ERROR" "Some fields are invalid";
    InvalidInput "INVALID_INPUT" "The input is invalid";
    PayloadTooLarge "PAYLOAD_TOO_LARGE" "The message is too large";
    UnknownEvent "UNKNOWN_EVENT" "Unknown event";
    BinaryNotSupported "BINARY_NOT_SUPPORTED" "This event does not accept binary data";
    RateLimitExceeded "RATE_LIMIT_EXCEEDED" "Too many requests; try again later";
    RouteNotFound "ROUTE_NOT_FOUND" "Route not found";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" "Send JSON, with Content-Type: application/json";
    InternalError "INTERNAL_ERROR" "An internal error occurred";
    ServiceUnavailable "SERVICE_UNAVAILABLE" "The service is temporarily unavailable; try again";
    DatabaseError "DATABASE_ERROR" "The database is temporarily unavailable";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Validation error of one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Field name on the wire; names of nested fields are joined with dots.
    pub field: Cow<'static, str>,
    /// What is wrong, for a person.
    pub message: Cow<'static, str>,
}

/// Expected error that is sent to a client: a code, a message, and optionally the invalid fields.
///
/// A refusal is a value, not a failure: it is not logged as an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Stable code.
    pub code: Code,
    /// Message for a person. Must not contain secrets or data about other users.
    pub message: Cow<'static, str>,
    /// Invalid fields; empty if the refusal is not about fields.
    pub errors: Vec<FieldError>,
    /// Seconds after which the same request may succeed; `None` if that is not known.
    pub retry_after: Option<NonZeroU32>,
}

impl Refusal {
    /// Creates a refusal with its own message instead of the default message.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), errors: Vec::new(), retry_after: None }
    }

    /// Creates the refusal of a request above a rate, with the time until it is allowed.
    #[must_use]
    pub fn rate_exceeded(retry_after: Duration) -> Self {
        let seconds = u32::try_from(whole_seconds(retry_after)).unwrap_or(u32::MAX);
        Self { retry_after: NonZeroU32::new(seconds), ..Code::RateLimitExceeded.into() }
    }

    /// Creates a refusal for one invalid field.
    pub fn field(code: Code, field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        let errors = vec![FieldError { field: field.into(), message: message.clone() }];
        Self { code, message: format!("{field}: {message}").into(), errors, retry_after: None }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code, code.sentence())
    }
}
