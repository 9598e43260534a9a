//! Changing a call: in its room first, when that is open, then in its record.
//!
//! The room decides what an open call is. All participants are notified immediately, and an
//! `updated` fact leaves with the same script, so the recorder writes the record when the request
//! could not.

use switchboard_core::domain::{CallEdit, Code, Refusal, RoomMeta, Timestamp, check_admits_somebody};
use switchboard_records::{CallRecord, Records};
use switchboard_rooms::{Caller, ModerationOutcome, RoomPeek, Rooms, UpdateOutcome};

use crate::{AppDirectory, CallError};

/// What editing works with.
#[derive(Clone, Copy)]
pub struct CallEditor<'a> {
    /// Room state.
    pub rooms: &'a Rooms,
    /// Records.
    pub records: &'a Records,
    /// Limits of apps.
    pub apps: &'a AppDirectory,
}

/// Checks that a call in this state takes the edit.
///
/// # Errors
/// `CALL_ENDED`; `VALIDATION_ERROR` for a date once the call has begun, or if nobody could join.
pub fn check_editable(edit: &CallEdit, call: &CallRecord) -> Result<(), Refusal> {
    if call.status.is_over() {
        return Err(Code::CallEnded.into());
    }
    if edit.allowed_in().all(|status| status != call.status) {
        return Err(Refusal::field(Code::ValidationError, "scheduledAt", "the call has begun"));
    }
    if edit.call_type.is_none() && edit.invited.is_none() {
        return Ok(());
    }
    let invited = edit.invited.as_deref().unwrap_or(&call.invited);
    check_admits_somebody(edit.call_type.unwrap_or(call.call_type), &call.host, invited)
}

impl CallEditor<'_> {
    /// Changes a call of `call.host`. Returns the call as it is then, without profiles; `None`
    /// when the record's status does not allow the edit any more.
    ///
    /// # Errors
    /// `HOST_REQUIRED` when the call was handed over meanwhile, `APP_LIMIT_REACHED` for more seats
    /// than the app allows, `SERVICE_UNAVAILABLE`, or a store failed. After a failure of MongoDB
    /// the same edit can be sent again.
    pub async fn edit(
        &self,
        call: &CallRecord,
        edit: &CallEdit,
        now: Timestamp,
    ) -> Result<Option<CallRecord>, CallError> {
        self.apps.check_seats(&call.room.app(), edit.max_participants)?;
        let edit = &edit.completed(&call.settings);
        if let Some(meta) = self.edit_room(call, edit, None).await? {
            return self.edit_record(call, edit, &meta, now).await;
        }
        let Some(changed) = self.records.edit_call(call.hosted(), edit, now).await? else { return Ok(None) };
        // The room was opened meanwhile, by the record as it was before.
        match self.edit_room(call, edit, Some(changed.revision)).await {
            Ok(Some(meta)) => self.edit_record(call, edit, &meta, now).await,
            // The next participant who joins brings the room the record's version.
            Ok(None) | Err(_) => Ok(Some(changed)),
        }
    }

    /// Changes the call in its room, if that is open and, with `before`, of an older version.
    async fn edit_room(
        &self,
        call: &CallRecord,
        edit: &CallEdit,
        before: Option<u64>,
    ) -> Result<Option<RoomMeta>, CallError> {
        match self.rooms.peek(&call.room).await? {
            RoomPeek::Open { meta, .. }
                if meta.call_id == call.id && before.is_none_or(|version| meta.version < version) =>
            {
                if meta.host != call.host {
                    // Handed over since the record was read.
                    return Err(Code::HostRequired.into());
                }
            }
            RoomPeek::Open { .. } | RoomPeek::Absent | RoomPeek::Ended => return Ok(None),
        }
        let change = |meta: &mut RoomMeta| {
            // Handed over at this very moment: then nothing is changed.
            if meta.host == call.host {
                edit.apply_to(meta);
            }
        };
        match self.rooms.update(&call.room, Caller::Operator, None, change).await? {
            UpdateOutcome::Done(meta) if meta.host != call.host => Err(Code::HostRequired.into()),
            UpdateOutcome::Done(meta) => Ok(Some(*meta)),
            UpdateOutcome::Refused(ModerationOutcome::Absent) => Ok(None),
            UpdateOutcome::Refused(_) => Err(Code::ServiceUnavailable.into()),
        }
    }

    /// Writes to the record what the room has already. If MongoDB fails, the recorder writes it,
    /// unless the edit has fields that only the record knows.
    async fn edit_record(
        &self,
        call: &CallRecord,
        edit: &CallEdit,
        room: &RoomMeta,
        now: Timestamp,
    ) -> Result<Option<CallRecord>, CallError> {
        match self.records.edit_open_call(call.hosted(), edit, room, now).await {
            Err(error) if !edit.has_record_fields() => {
                tracing::warn!(%error, call_id = %call.id, "call edit left to the recorder");
                Ok(Some(CallRecord {
                    profiles: Vec::new(),
                    participants: call.participants.clone(),
                    counts: call.counts,
                    ..CallRecord::from_room(&call.room, room)
                }))
            }
            written => Ok(written?),
        }
    }
}
