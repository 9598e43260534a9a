//! Fields of a call in the bodies of "create" and "edit", each read by one function. The bounds are
//! those of `switchboard_core::domain::call_fields`.

use switchboard_core::domain::call_fields::{DESCRIPTION_MAX, INVITED_MAX, PARTICIPANTS, PASSCODE, TITLE};
use switchboard_core::domain::{CallType, Timestamp, UserId};

use crate::http::fields::Fields;

pub(crate) fn title(fields: &mut Fields) -> String {
    fields.name("title", TITLE)
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

pub(crate) fn invited(fields: &mut Fields) -> Vec<UserId> {
    fields.users("invitedUserIds", INVITED_MAX)
}

/// Users of an app.
pub(crate) fn invited_of_app(fields: &mut Fields) -> Vec<UserId> {
    fields.app_users("invitedUserIds", INVITED_MAX)
}
