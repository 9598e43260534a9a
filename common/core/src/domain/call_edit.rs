//! A change of a call.

use super::call::{CallStatus, CallType};
use super::ids::UserId;
use super::room_meta::RoomMeta;
use super::settings::{CallSettings, SettingsChange};
use super::time::Timestamp;

/// A change of a call by its host or an operator; `None` leaves a field as it is. The struct has
/// more than eight fields, one for each field of a call that can be changed.
#[derive(Clone, Debug, Default)]
pub struct CallEdit {
    /// New title.
    pub title: Option<String>,
    /// New description. Rooms do not know it.
    pub description: Option<String>,
    /// New date; `Some(None)` removes it. Only before the call has begun. Rooms do not know it.
    pub scheduled_at: Option<Option<Timestamp>>,
    /// New type: who may join.
    pub call_type: Option<CallType>,
    /// Settings to change.
    pub settings: SettingsChange,
    /// New number of seats.
    pub max_participants: Option<u32>,
    /// Whether newcomers are refused.
    pub locked: Option<bool>,
    /// Hash of the new passcode; `Some(None)` removes the passcode.
    pub passcode: Option<Option<String>>,
    /// New list of invited users, by id. It replaces the old list.
    pub invited: Option<Vec<UserId>>,
}

impl CallEdit {
    /// Returns the statuses of a call that allow this edit.
    pub fn allowed_in(&self) -> impl Iterator<Item = CallStatus> {
        let dated = self.scheduled_at.is_some();
        CallStatus::ALL.into_iter().filter(move |status| {
            if dated { CallStatus::Live.predecessors().any(|early| early == *status) } else { !status.is_over() }
        })
    }

    /// Returns whether the edit changes a field that the record has and a room does not.
    #[must_use]
    pub const fn has_record_fields(&self) -> bool {
        self.description.is_some() || self.scheduled_at.is_some()
    }

    /// Returns the edit with what follows from it for a call with these settings.
    #[must_use]
    pub fn completed(&self, settings: &CallSettings) -> Self {
        Self { settings: self.settings.completed(settings), ..self.clone() }
    }

    /// Applies every field that rooms know to the metadata of a room. The caller sets the version.
    pub fn apply_to(&self, meta: &mut RoomMeta) {
        if let Some(title) = &self.title {
            meta.name.clone_from(title);
        }
        if let Some(call_type) = self.call_type {
            meta.call_type = call_type;
        }
        if let Some(seats) = self.max_participants {
            meta.max_participants = seats;
        }
        if let Some(locked) = self.locked {
            meta.locked = locked;
        }
        if let Some(passcode) = &self.passcode {
            meta.passcode_hash.clone_from(passcode);
        }
        if let Some(invited) = &self.invited {
            meta.invited.clone_from(invited);
        }
        meta.settings = self.settings.applied_to(&meta.settings);
    }
}
