//! Ids as types. Each parses once, at the edge; past `wire` no bare string names anything.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::refusal::{Code, Refusal};

/// Defines an id: a string that can only be made by parsing, with the rule that makes it safe in a Redis key and a seat, and an
/// example.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $rule:expr, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses it.
            ///
            /// # Errors
            /// `INVALID_INPUT` when it is empty, too long or has a character outside its alphabet.
            pub fn parse(text: &str) -> Result<Self, Refusal> {
                let rule: fn(char) -> bool = $rule;
                if text.is_empty() || text.len() > $max || !text.chars().all(rule) {
                    return Err(Refusal::new(Code::InvalidInput, concat!("not a valid ", stringify!($name))));
                }
                Ok(Self(text.into()))
            }

            /// The text it was parsed from.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = Refusal;
            fn try_from(text: String) -> Result<Self, Refusal> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "minLength": 1, "maxLength": $max, "examples": [$example] })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

const fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

id!(
    /// A room: 12 upper-case letters and digits when generated; a client's own may be 1..64 of letters, digits, `_`, `-`.
    RoomId, 64, word, "AB12CD34EF56"
);
id!(
    /// A call's record: a MongoDB ObjectId in hexadecimal.
    CallId, 24, |c| c.is_ascii_hexdigit(), "65a1b2c3d4e5f60718293a4b"
);
id!(
    /// Who somebody is: a user's ObjectId in hexadecimal, or `guest-` and 16 hexadecimal digits.
    UserId, 40, word, "65a1b2c3d4e5f60718293a4c"
);
id!(
    /// A participant of a room: the user's id, or `userId#2`, `#3` for further devices. What `from` and `to` carry.
    PeerId, 48, |c| word(c) || c == '#', "65a1b2c3d4e5f60718293a4c#2"
);
id!(
    /// A signal-node's process. Never reused: a restarted pod has a new one, so that an old beat cannot vouch for it.
    NodeId, 64, |c| word(c) || c == '.', "node-0-1a2b3c4d"
);

impl UserId {
    /// Whether this is a guest, who has no record.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.as_str().starts_with("guest-")
    }
}

impl PeerId {
    /// The user behind the peer: what stands before `#`.
    #[must_use]
    pub fn user(&self) -> &str {
        self.as_str().split('#').next().unwrap_or_default()
    }
}

/// A session on one node, unique for the life of that node's process: where an envelope for one peer is delivered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionHandle(pub u64);

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl SessionHandle {
    /// Reads what `Display` wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

/// A seat's generation: raised by attach, detach and sweep; a script refuses a stale one.
pub type Generation = u64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_refuses_what_would_break_a_key_or_a_seat() {
        for bad in ["", "a b", "a:b", "{a}", "a\n", "é", &"x".repeat(65)] {
            assert!(RoomId::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(RoomId::parse("Ab_9-z").unwrap().as_str(), "Ab_9-z");
        assert!(UserId::parse("u#2").is_err());
        assert_eq!(PeerId::parse("u#2").unwrap().user(), "u");
    }

    #[test]
    fn a_session_handle_reads_back() {
        assert_eq!(SessionHandle::parse(&SessionHandle(u64::MAX).to_string()), Some(SessionHandle(u64::MAX)));
        assert_eq!(SessionHandle::parse("*"), None);
    }
}
