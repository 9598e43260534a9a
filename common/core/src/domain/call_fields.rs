//! Bounds of the fields of a call that clients can set, and their validation.
//!
//! REST requests, socket events and the OpenAPI document all use these bounds. The settings have a
//! module of their own (`settings`).
//!
//! | field | bound | REST | socket |
//! |---|---|---|---|
//! | `title` (`name` on sockets) | [`TITLE`] | create, edit | `room:create`, `room:update` |
//! | `description` | [`DESCRIPTION_MAX`] | create, edit | |
//! | `type` | [`CallType::NAMES`] | create, edit | `room:create` (`isPrivate`) |
//! | `scheduledAt` | in the future | create, edit | |
//! | `maxParticipants` | [`PARTICIPANTS`] | create, edit | `room:create`, `room:update` |
//! | `passcode` | [`PASSCODE`] | create, edit | |
//! | `invitedUserIds` | [`INVITED_MAX`] | create, edit | |
//! | `locked` | true or false | edit | `room:lock` |
//!
//! [`CallType::NAMES`]: super::CallType::NAMES

use std::ops::RangeInclusive;

use super::{Code, Refusal, Timestamp};

/// Length of a title, in characters, without white space at both ends.
pub const TITLE: RangeInclusive<usize> = 1..=200;
/// Longest description, in characters.
pub const DESCRIPTION_MAX: usize = 1000;
/// Number of participants that a call may allow.
pub const PARTICIPANTS: RangeInclusive<u32> = 2..=500;
/// Number of participants of a call whose creator names none.
pub const PARTICIPANTS_DEFAULT: u32 = 100;
/// Length of a new passcode, in characters.
pub const PASSCODE: RangeInclusive<usize> = 4..=20;
/// Maximum number of users who can be invited by name.
pub const INVITED_MAX: usize = 500;
/// Length of the reason of a removal or a denial, in characters.
pub const REASON: RangeInclusive<usize> = 0..=200;
/// Length of a guest's name, in characters.
pub const GUEST_NAME: RangeInclusive<usize> = 2..=100;

/// Checks the number of participants that a call allows. `None` is valid and means the default, or
/// no change.
///
/// # Errors
/// `VALIDATION_ERROR` for `maxParticipants`.
pub fn check_participants(count: Option<u32>) -> Result<(), Refusal> {
    match count {
        Some(count) if !PARTICIPANTS.contains(&count) => {
            let rule = format!("must be a whole number from {} to {}", PARTICIPANTS.start(), PARTICIPANTS.end());
            Err(Refusal::field(Code::ValidationError, "maxParticipants", rule))
        }
        _ => Ok(()),
    }
}

/// Checks the date of a call. `None` is valid and means no date.
///
/// # Errors
/// `VALIDATION_ERROR` for `scheduledAt` when the date is not after `now`.
pub fn check_scheduled_at(date: Option<Timestamp>, now: Timestamp) -> Result<(), Refusal> {
    match date {
        Some(date) if date <= now => Err(Refusal::field(Code::ValidationError, "scheduledAt", "must be in the future")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CallType, names};
    use super::*;

    #[test]
    fn the_protocol_page_has_the_bounds_of_every_field() {
        let protocol = include_str!("../../../../docs/PROTOCOL.md");
        let range = |from: &dyn ToString, to: &dyn ToString| format!("{} to {}", from.to_string(), to.to_string());
        let types: Vec<_> = CallType::NAMES.iter().map(|(name, _)| format!("`{name}`")).collect();
        for (field, values) in [
            ("title", range(TITLE.start(), TITLE.end())),
            ("description", format!("at most {DESCRIPTION_MAX} ")),
            ("type", types.join(", ")),
            ("scheduledAt", "in the future".to_owned()),
            ("maxParticipants", range(PARTICIPANTS.start(), PARTICIPANTS.end())),
            ("maxParticipants", format!("| {PARTICIPANTS_DEFAULT} |")),
            ("invitedUserIds", format!("at most {INVITED_MAX} ")),
            ("locked", "true or false".to_owned()),
            ("passcode", range(PASSCODE.start(), PASSCODE.end())),
        ] {
            let rows = protocol.split("#### Fields of a call").nth(1).unwrap_or_default();
            let row = rows.lines().find(|row| row.starts_with(&format!("| `{field}` |"))).unwrap_or_default();
            assert!(row.contains(&values), "{field}: {values} is not in {row:?}");
        }
    }

    #[test]
    fn values_at_the_bounds_are_valid_and_values_beyond_are_refused() {
        for (text, valid) in [("", false), ("a", true), (&"ä".repeat(200), true), (&"a".repeat(201), false)] {
            assert_eq!(names::parse("title", text, &TITLE).is_ok(), valid, "{text}");
        }
        assert!(names::parse("title", "a\u{7}b", &TITLE).is_err());
        for (count, valid) in [(None, true), (Some(1), false), (Some(2), true), (Some(500), true), (Some(501), false)] {
            assert_eq!(check_participants(count).is_ok(), valid, "{count:?}");
        }
        let now = Timestamp(7);
        assert!(check_scheduled_at(None, now).is_ok() && check_scheduled_at(Some(Timestamp(8)), now).is_ok());
        assert!(check_scheduled_at(Some(now), now).is_err());
    }
}
