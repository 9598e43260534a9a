//! Refusals: what a client is told when the answer is no. The codes are part of the contract and never change.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

/// Defines the codes with their text on the wire and the sentence a client shows when nobody wrote a better one.
macro_rules! codes {
    ($($name:ident $text:literal $sentence:literal;)*) => {
        /// A refusal's stable code (`docs/PROTOCOL.md`, "Codes").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $sentence] $name,)* }

        impl Code {
            /// Every code, for documents and tests.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The sentence that goes with it by default.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

codes! {
    InvalidCredentials "INVALID_CREDENTIALS" "The e-mail or the password is wrong";
    TokenExpired "TOKEN_EXPIRED" "The token has expired";
    TokenInvalid "TOKEN_INVALID" "The token is not valid";
    Unauthorized "UNAUTHORIZED" "Sign in first";
    Forbidden "FORBIDDEN" "You may not do this";
    UserNotFound "USER_NOT_FOUND" "There is no such user";
    UserExists "USER_EXISTS" "An account with this e-mail exists already";
    SessionNotFound "SESSION_NOT_FOUND" "There is no such session";
    CallNotFound "CALL_NOT_FOUND" "There is no such call";
    CallEnded "CALL_ENDED" "The call has ended";
    CallFull "CALL_FULL" "The call is full";
    InvalidPasscode "INVALID_PASSCODE" "The passcode is wrong";
    HostRequired "HOST_REQUIRED" "Only the host may do this";
    RoomNotFound "ROOM_NOT_FOUND" "There is no such room";
    RoomFull "ROOM_FULL" "The room is full";
    RoomLocked "ROOM_LOCKED" "The room is locked";
    RoomExists "ROOM_EXISTS" "A room with this id exists already";
    Banned "BANNED" "You were removed from this call";
    AlreadyInRoom "ALREADY_IN_ROOM" "You are in this room already";
    NotInRoom "NOT_IN_ROOM" "Join a room first";
    PeerNotFound "PEER_NOT_FOUND" "There is no such participant in the room";
    ValidationError "VALIDATION_ERROR" "Some fields are not valid";
    InvalidInput "INVALID_INPUT" "The input is not valid";
    PayloadTooLarge "PAYLOAD_TOO_LARGE" "The message is too large";
    UnknownEvent "UNKNOWN_EVENT" "There is no such event";
    BinaryNotSupported "BINARY_NOT_SUPPORTED" "This event takes no binary data";
    RateLimitExceeded "RATE_LIMIT_EXCEEDED" "Too many requests; try again later";
    RouteNotFound "ROUTE_NOT_FOUND" "There is no such route";
    UnsupportedMediaType "UNSUPPORTED_MEDIA_TYPE" "Send JSON, with Content-Type: application/json";
    InternalError "INTERNAL_ERROR" "Something went wrong on our side";
    ServiceUnavailable "SERVICE_UNAVAILABLE" "The service is not available right now; try again soon";
    DatabaseError "DATABASE_ERROR" "The records are not available right now";
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

/// What is wrong with one field of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field, as on the wire; a nested one with dots.
    pub field: Cow<'static, str>,
    /// A sentence about it.
    pub message: Cow<'static, str>,
}

/// A no, as a value: its code, a sentence, and what is wrong with which field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// A sentence for a person. Never holds a secret or another person's data.
    pub message: Cow<'static, str>,
    /// The fields at fault, when there are such.
    pub errors: Vec<FieldError>,
}

impl Refusal {
    /// A refusal with a sentence of its own.
    pub fn new(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), errors: Vec::new() }
    }

    /// A refusal for one field.
    pub fn field(code: Code, field: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        let errors = vec![FieldError { field: field.into(), message: message.clone() }];
        Self { code, message: format!("{field}: {message}").into(), errors }
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code, code.sentence())
    }
}
