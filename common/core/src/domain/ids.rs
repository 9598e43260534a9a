//! Ids as types.
//!
//! An id is parsed once, where it enters the process. Code behind `wire` never uses a plain string
//! as an id. The file has more than 400 lines, because only here an id is made without parsing.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::refusal::{Code, Refusal};

/// Defines an id type: a string that only `parse` can create, with its maximum length in bytes, its
/// alphabet and an example. The alphabets exclude the separators of Redis keys and seats.
macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $rule:expr, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses the id.
            ///
            /// # Errors
            /// `INVALID_INPUT` if the text is empty, too long, or has a character outside the
            /// alphabet.
            pub fn parse(text: &str) -> Result<Self, Refusal> {
                if Self::is_valid(text) {
                    return Ok(Self(text.into()));
                }
                Err(Refusal::new(Code::InvalidInput, concat!("not a valid ", stringify!($name))))
            }

            /// Returns whether the text is such an id.
            #[must_use]
            pub fn is_valid(text: &str) -> bool {
                let rule: fn(char) -> bool = $rule;
                !text.is_empty() && text.len() <= $max && text.chars().all(rule)
            }

            /// Returns the id as text.
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
    /// Room id within an app, as clients know it: 1 to 64 ASCII letters, digits, `_` or `-`.
    /// Generated ids are codes: 12 upper-case letters and digits.
    RoomName, 64, word, "AB23CD45EF67"
);
id!(
    /// Id of a call record: a MongoDB ObjectId in hexadecimal.
    CallId, 24, |c| c.is_ascii_hexdigit(), "65a1b2c3d4e5f60718293a4b"
);
id!(
    /// Id of a user (an ObjectId in hexadecimal) or of a guest (`guest-` and 16 hexadecimal
    /// digits).
    UserId, 40, word, "65a1b2c3d4e5f60718293a4c"
);
id!(
    /// Id of a participant in a room: the user's id for the first device, `userId#2`, `userId#3`
    /// and so on for further devices. The fields `from` and `to` hold peer ids.
    PeerId, 48, |c| word(c) || c == '#', "65a1b2c3d4e5f60718293a4c#2"
);
id!(
    /// Id of an app: 1 to 24 lower-case letters or digits. [`AppId::DEFAULT`] is the app of
    /// accounts and guests.
    AppId, 24, |c| c.is_ascii_lowercase() || c.is_ascii_digit(), "k3v9x2m4p7q1"
);
id!(
    /// Public id of an app's API key: `sbk_` and 20 lower-case letters or digits.
    AppKeyId, 24, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_', "sbk_7h2k9d4m1p5q8r3t6v0x"
);
id!(
    /// Id of an endpoint of webhooks: `sbw_` and 20 lower-case letters or digits; for a URL of the
    /// deployment, the first 16 hexadecimal digits of its SHA-256.
    WebhookId, 24, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_', "sbw_7h2k9d4m1p5q8r3t6v0x"
);
id!(
    /// Id of a signal-node process. A restarted process gets a new id, so that the heartbeat of the
    /// old process cannot keep the seats of the new one alive.
    NodeId, 64, |c| word(c) || c == '.', "node-0-1a2b3c4d"
);

/// Letters of generated codes: none that people confuse when they read or hear a code (0 and O, 1
/// and I). Codes of earlier versions have these, too.
const CODE_LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// Length of a code.
const CODE_LENGTH: usize = 12;

/// Separates the app from the room in a [`RoomId`]. No id has it.
const APP_SEPARATOR: char = '.';

/// Full name of a room: `app.name`, or the name alone in the default app. So a room of one app
/// names nothing in another. Redis, the records and the logs know rooms by it.
///
/// Clients see the name alone. The type has no JSON form, so that none gets the full name by
/// accident; [`full_room`] is the form of tokens and records.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomId(Box<str>);

impl RoomId {
    /// Parses a full name. Never call it with the text of a client: see [`AppId::room`].
    ///
    /// # Errors
    /// `INVALID_INPUT` if the text is not the full name of a room.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let is_valid = match text.split_once(APP_SEPARATOR) {
            Some((app, name)) => app != AppId::DEFAULT && AppId::is_valid(app) && RoomName::is_valid(name),
            None => RoomName::is_valid(text),
        };
        if is_valid { Ok(Self(text.into())) } else { Err(Refusal::new(Code::InvalidInput, "not a valid RoomId")) }
    }

    /// Returns the full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the room id that clients see.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split_once(APP_SEPARATOR).map_or(&self.0, |(_, name)| name)
    }

    /// Returns the room id that clients see, as a value.
    #[must_use]
    pub fn to_name(&self) -> RoomName {
        RoomName(self.name().into())
    }

    /// Returns the app of the room.
    #[must_use]
    pub fn app(&self) -> AppId {
        self.0.split_once(APP_SEPARATOR).map_or_else(AppId::default, |(app, _)| AppId(app.into()))
    }

    /// Returns whether the room is of the app of accounts and guests.
    #[must_use]
    pub fn is_of_default_app(&self) -> bool {
        !self.0.contains(APP_SEPARATOR)
    }
}

impl fmt::Display for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RoomId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoomId({})", self.0)
    }
}

/// Serde module for the full name of a room, for texts that are not shown to clients as they are.
pub mod full_room {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::RoomId;

    /// Writes the full name.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(room: &RoomId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(room.as_str())
    }

    /// Reads the full name.
    ///
    /// # Errors
    /// The text is not the full name of a room.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RoomId, D::Error> {
        RoomId::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Serde module for `Option<RoomId>`, as [`full_room`].
pub mod maybe_full_room {
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::RoomId;

    /// Writes the full name, or null.
    ///
    /// # Errors
    /// The serializer fails.
    pub fn serialize<S: Serializer>(room: &Option<RoomId>, serializer: S) -> Result<S::Ok, S::Error> {
        room.as_ref().map(RoomId::as_str).serialize(serializer)
    }

    /// Reads the full name, or null.
    ///
    /// # Errors
    /// The text is not the full name of a room.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<RoomId>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| RoomId::parse(&text)).transpose().map_err(D::Error::custom)
    }
}

impl RoomName {
    /// Makes a code from random bytes. There are 32^12 codes.
    #[must_use]
    pub fn from_random(bytes: [u8; CODE_LENGTH]) -> Self {
        let letter = |byte: u8| char::from(CODE_LETTERS[usize::from(byte) % CODE_LETTERS.len()]);
        Self(bytes.into_iter().map(letter).collect::<String>().into())
    }

    /// Reads an id that a person may have typed or pasted. Blanks within a code do not count.
    ///
    /// # Errors
    /// As [`RoomName::parse`].
    pub fn read(text: &str) -> Result<Self, Refusal> {
        let invisible = |c: char| matches!(c, '\u{200B}' | '\u{2060}' | '\u{FEFF}');
        let text = text.trim_matches(|c: char| c.is_whitespace() || invisible(c));
        Self::parse(text).or_else(|refusal| {
            let compact: String =
                text.chars().filter(|c| !c.is_whitespace() && !invisible(*c)).take(CODE_LENGTH + 1).collect();
            if is_code(&compact) { Self::parse(&compact.to_ascii_uppercase()) } else { Err(refusal) }
        })
    }

    /// Returns the code that this id stands for if no room has the id itself: the same letters in
    /// upper case. `None` if that is no other id.
    #[must_use]
    pub fn as_code(&self) -> Option<Self> {
        let other = is_code(self.as_str()) && self.as_str().bytes().any(|byte| byte.is_ascii_lowercase());
        other.then(|| Self(self.as_str().to_ascii_uppercase().into()))
    }

    /// Returns whether a client of the room's own app that sends this id may mean `room`.
    #[must_use]
    pub fn may_mean(&self, room: &RoomId) -> bool {
        self.as_str() == room.name() || self.as_code().is_some_and(|code| code.as_str() == room.name())
    }
}

/// Returns whether a text has the form of a code, in any case.
fn is_code(text: &str) -> bool {
    text.len() == CODE_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Letters of generated ids of apps and keys.
const ID_LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
/// Beginning of every [`AppKeyId`], by which a scanner for leaked secrets finds it.
const APP_KEY_PREFIX: &str = "sbk_";
/// Random letters of an [`AppKeyId`].
const APP_KEY_LETTERS: usize = 20;
/// Beginning of the [`WebhookId`] of an app's endpoint.
const WEBHOOK_PREFIX: &str = "sbw_";
/// Random letters of a [`WebhookId`].
const WEBHOOK_LETTERS: usize = 20;

/// Returns a text of letters and digits for random bytes.
fn letters(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(ID_LETTERS[usize::from(*byte) % ID_LETTERS.len()])).collect()
}

impl AppId {
    /// Text of the id of the app of accounts and guests.
    pub const DEFAULT: &'static str = "default";

    /// Makes an id from random bytes. There are 36^12 ids.
    #[must_use]
    pub fn from_random(bytes: [u8; 12]) -> Self {
        Self(letters(&bytes).into())
    }

    /// Returns the full name of a room of this app.
    #[must_use]
    pub fn room(&self, name: &RoomName) -> RoomId {
        if self.is_default() { RoomId(name.0.clone()) } else { RoomId(format!("{self}{APP_SEPARATOR}{name}").into()) }
    }

    /// Returns the full name of a user of this app, which no user of another app has: `app.user`,
    /// or the id alone in the default app.
    #[must_use]
    pub fn user(&self, user: &UserId) -> Box<str> {
        if self.is_default() { user.0.clone() } else { format!("{self}{APP_SEPARATOR}{user}").into() }
    }

    /// Returns whether this is the app of accounts and guests.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.as_str() == Self::DEFAULT
    }
}

impl Default for AppId {
    /// Returns the app of accounts and guests.
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl AppKeyId {
    /// Makes an id from random bytes. There are 36^20 ids.
    #[must_use]
    pub fn from_random(bytes: [u8; APP_KEY_LETTERS]) -> Self {
        Self(format!("{APP_KEY_PREFIX}{}", letters(&bytes)).into())
    }

    /// Reads an id in the exact form of generated ones; `None` for any other text.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let letters = text.strip_prefix(APP_KEY_PREFIX)?;
        (letters.len() == APP_KEY_LETTERS && !letters.contains('_')).then(|| Self::parse(text).ok()).flatten()
    }
}

impl WebhookId {
    /// Makes the id of an app's endpoint from random bytes. There are 36^20 ids.
    #[must_use]
    pub fn from_random(bytes: [u8; WEBHOOK_LETTERS]) -> Self {
        Self(format!("{WEBHOOK_PREFIX}{}", letters(&bytes)).into())
    }

    /// Returns whether the endpoint is one of an app. If not, it is a URL of the deployment.
    #[must_use]
    pub fn is_of_app(&self) -> bool {
        self.as_str().starts_with(WEBHOOK_PREFIX)
    }
}

impl UserId {
    /// Host of an app's call that has no owner. No user has this id.
    const NOBODY: &'static str = "nobody";

    /// Returns the host of an app's call that has no owner.
    #[must_use]
    pub fn nobody() -> Self {
        Self(Self::NOBODY.into())
    }

    /// Returns whether this is the host of a call that has no owner.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.as_str() == Self::NOBODY
    }

    /// Reads the id of an app's user; `None` if the text is no id, or one that has a meaning here:
    /// `-` stands for nobody and for an operator where scripts take a participant.
    #[must_use]
    pub fn of_app(text: &str) -> Option<Self> {
        Self::parse(text).ok().filter(|user| !user.is_guest() && !user.is_nobody() && user.as_str() != "-")
    }

    /// Returns whether this is the id of a guest, who has no record.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.as_str().starts_with("guest-")
    }
}

impl PeerId {
    /// Returns the user id: the part before `#`.
    #[must_use]
    pub fn user(&self) -> &str {
        self.as_str().split('#').next().unwrap_or_default()
    }
}

/// Handle of a session on one node, unique for the lifetime of the node's process. Envelopes for
/// one participant are addressed to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct SessionHandle(pub u64);

impl fmt::Display for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl SessionHandle {
    /// Parses the output of `Display` (hexadecimal); `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

/// Generation of a seat: a counter that attach, detach and sweep increase. A script refuses a
/// request with an old generation.
pub type Generation = u64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn an_id_rejects_separators_of_keys_and_seats() {
        for bad in ["", "a b", "a:b", "{a}", "a\n", "é", &"x".repeat(65)] {
            assert!(RoomId::parse(bad).is_err(), "{bad:?}");
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
        }
        assert_eq!(RoomId::parse("Ab_9-z").unwrap().as_str(), "Ab_9-z");
        assert!(UserId::parse("u#2").is_err());
        assert_eq!(PeerId::parse("u#2").unwrap().user(), "u");
    }

    #[test]
    fn a_room_of_one_app_names_nothing_in_another() {
        let (name, acme) = (RoomName::parse("standup").unwrap(), AppId::parse("acme").unwrap());
        let rooms = [AppId::default().room(&name), acme.room(&name), AppId::parse("other").unwrap().room(&name)];
        assert_eq!(rooms.each_ref().map(RoomId::as_str), ["standup", "acme.standup", "other.standup"]);
        for room in &rooms {
            assert_eq!((room.name(), RoomId::parse(room.as_str()).unwrap()), ("standup", room.clone()));
            assert_eq!(room.app().room(&name), *room);
        }
        for bad in ["default.standup", ".standup", "acme.", "acme.a.b", "Acme.standup", "acme.a b"] {
            assert!(RoomId::parse(bad).is_err(), "{bad}");
        }
        assert!(RoomName::parse("acme.standup").is_err(), "a client cannot send a full name");
        let user = UserId::parse("65a1b2c3d4e5f60718293a4c").unwrap();
        assert_ne!(acme.user(&user), AppId::default().user(&user));
        assert_eq!(&*AppId::default().user(&user), user.as_str());
        for reserved in ["guest-0123456789abcdef", "nobody", "a.b", ""] {
            assert_eq!(UserId::of_app(reserved), None, "{reserved}");
        }
    }

    #[test]
    fn a_code_is_read_in_any_case_and_with_blanks_and_another_id_only_as_it_is() {
        for typed in ["AB12CD34EF56", " AB12 CD34 EF56 ", "ab12\u{a0}cd34 ef56", "\u{feff}AB12CD34EF56\u{200b}"] {
            assert_eq!(RoomName::read(typed).unwrap().as_str(), "AB12CD34EF56", "{typed:?}");
        }
        // It may be the id that a client chose, so the caller asks for both.
        let typed = RoomName::read("Ab12cd34ef56").unwrap();
        assert_eq!((typed.as_str(), typed.as_code().unwrap().as_str()), ("Ab12cd34ef56", "AB12CD34EF56"));
        assert!(typed.may_mean(&RoomId::parse("AB12CD34EF56").unwrap()));
        for other in ["AB12CD34EF56", "team-meeting", "ab12cd34ef5", "ab12cd34ef567"] {
            assert_eq!(RoomName::read(other).unwrap().as_code(), None, "{other}");
        }
        for bad in ["a b", "", " ", "ab12 cd34 ef5_", "AB12 CD34 EF56 7"] {
            assert!(RoomName::read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_generated_code_has_no_letter_that_people_confuse() {
        let all: String = (0..32).map(|n| RoomName::from_random([n; 12]).as_str()[..1].to_owned()).collect();
        assert!(!all.contains(['0', 'O', '1', 'I']), "{all}");
        assert_eq!(all.chars().collect::<std::collections::BTreeSet<_>>().len(), 32);
    }

    #[test]
    fn a_session_handle_parses_back() {
        assert_eq!(SessionHandle::parse(&SessionHandle(u64::MAX).to_string()), Some(SessionHandle(u64::MAX)));
        assert_eq!(SessionHandle::parse("*"), None);
    }
}
