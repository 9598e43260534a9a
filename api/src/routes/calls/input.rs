//! Fields of a call in the bodies of "create" and "edit", each read by one function. The bounds are
//! those of `switchboard_core::domain::call_fields`.

use switchboard_auth::Identity;
use switchboard_core::domain::call_fields::{DESCRIPTION_MAX, INVITED_MAX, PARTICIPANTS, PASSCODE, TITLE};
use switchboard_core::domain::{CallType, Code, Refusal, Timestamp, UserId};

use crate::http::fields::Fields;

pub(crate) fn title(fields: &mut Fields) -> String {
    fields.name("title", TITLE)
}

pub(crate) fn changed_title(fields: &mut Fields) -> Option<String> {
    fields.optional_name("title", TITLE)
}

pub(crate) fn description(fields: &mut Fields) -> String {
    fields.paragraph("description", DESCRIPTION_MAX).unwrap_or_default()
}

pub(crate) fn scheduled_at(fields: &mut Fields) -> Option<Timestamp> {
    fields.date("scheduledAt")
}

pub(crate) fn call_type(fields: &mut Fields) -> Option<CallType> {
    fields.choice("type", &CallType::NAMES)
}

pub(crate) fn max_participants(fields: &mut Fields) -> Option<u32> {
    fields.integer("maxParticipants", PARTICIPANTS)
}

pub(crate) fn passcode(fields: &mut Fields) -> Option<String> {
    fields.optional_raw_text("passcode", PASSCODE)
}

/// Users with an account, or users of an app: who calls says which. See [`check_invited`].
pub(crate) fn invited(fields: &mut Fields) -> Vec<UserId> {
    fields.users("invitedUserIds", INVITED_MAX)
}

/// Checks that the users whom a caller invites can be users of the caller's app.
///
/// # Errors
/// `VALIDATION_ERROR`: a user with an account invites others that have none.
pub(crate) fn check_invited(caller: &Identity, invited: &[UserId]) -> Result<(), Refusal> {
    let is_hex = |id: &UserId| id.as_str().bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_account = |id: &UserId| id.as_str().len() == 24 && is_hex(id);
    if !caller.app.is_default() || invited.iter().all(is_account) {
        return Ok(());
    }
    Err(Refusal::field(Code::ValidationError, "invitedUserIds", "must be ids of users with an account"))
}
