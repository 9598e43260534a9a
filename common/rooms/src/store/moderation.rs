//! Commands of hosts, moderators and operators: one script each.

use switchboard_core::domain::{LeaveReason, PeerId, RoomId, RoomMeta};
use switchboard_core::wire::participant_event;
use switchboard_core::wire::server_event::reconnecting_template;

use super::{Rooms, random_hex, rfc3339_now};
use crate::scripts::{
    AdmitScript, DenyScript, KickScript, LowerHandScript, ModerationScope, MuteScript, PermissionsScript, RoleScript,
    ScriptArguments, UpdateScript,
};
use crate::{Caller, ModerationCommand, ModerationOutcome, RoomPeek, RoomUpdate, StoreError, UpdateOutcome};

/// Maximum number of times that a change is decided again because the call changed meanwhile. Of
/// several changes at the same time one succeeds in each round, so that in the end all succeed.
pub(super) const UPDATE_ATTEMPTS_MAX: u32 = 32;

impl Rooms {
    /// Runs a moderation command, if the caller's role in the room still allows it. The command may
    /// be sent again after a lost answer, because the script recognizes it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn moderate(
        &self,
        room: &RoomId,
        caller: Caller<'_>,
        command: &ModerationCommand,
    ) -> Result<ModerationOutcome, StoreError> {
        let scope = |reason: LeaveReason| ModerationScope {
            seats: self.context().seat_scope(room, reason),
            caller,
            command_id: random_hex(),
        };
        let reconnecting_event = reconnecting_template;
        match command {
            ModerationCommand::Admit(target) => {
                let script = AdmitScript {
                    scope: scope(LeaveReason::Left),
                    target: target.as_ref(),
                    now: rfc3339_now()?,
                    reconnecting_event: reconnecting_event(),
                };
                self.run_moderation(room, caller, &script).await
            }
            ModerationCommand::Deny { peer, reason } => {
                let denied_event = participant_event::denied(room, reason.as_deref());
                let script = DenyScript { scope: scope(LeaveReason::Denied), target: peer, denied_event };
                self.run_moderation(room, caller, &script).await
            }
            ModerationCommand::Role { peer, role } => {
                let script = RoleScript { scope: scope(LeaveReason::Left), target: peer, role: *role };
                self.run_moderation(room, caller, &script).await
            }
            ModerationCommand::Permissions { peer, change } => {
                let script = PermissionsScript { scope: scope(LeaveReason::Left), target: peer, change: *change };
                self.run_moderation(room, caller, &script).await
            }
            ModerationCommand::Mute { peer, kind } => {
                let script = MuteScript {
                    scope: scope(LeaveReason::Left),
                    target: peer,
                    kind: *kind,
                    changed_event: participant_event::media_changed_template(),
                    muted_event: participant_event::muted_template(*kind, caller.peer()),
                };
                self.run_moderation(room, caller, &script).await
            }
            ModerationCommand::LowerHand { peer } => {
                let changed_event = participant_event::hand_lowered_template(caller.peer());
                let script = LowerHandScript { scope: scope(LeaveReason::Left), target: peer, changed_event };
                self.run_moderation(room, caller, &script).await
            }
            ModerationCommand::Kick { peer, ban, reason } => {
                let kicked_event = participant_event::kicked_template(room, *ban, reason.as_deref());
                let script = KickScript { scope: scope(LeaveReason::Kicked), target: peer, ban: *ban, kicked_event };
                self.run_moderation(room, caller, &script).await
            }
            ModerationCommand::Update(update) => {
                let RoomUpdate { before, after, heir } = &**update;
                let script = UpdateScript {
                    scope: scope(LeaveReason::Left),
                    old_version: before.version,
                    meta: after,
                    updated_event: participant_event::updated_template(room, after),
                    updated_details: updated_details(after),
                    admits: admits(before, after),
                    now: rfc3339_now()?,
                    reconnecting_event: reconnecting_event(),
                    heir: heir.as_ref(),
                    denied_event: after
                        .asks_more_than(before)
                        .then(|| participant_event::denied(room, Some(participant_event::DOOR_CHANGED))),
                };
                self.run_moderation(room, caller, &script).await
            }
        }
    }

    async fn run_moderation<S: ScriptArguments>(
        &self,
        room: &RoomId,
        caller: Caller<'_>,
        script: &S,
    ) -> Result<S::Reply, StoreError> {
        let p = self.partition_of(room);
        match caller {
            Caller::Seat { seat, .. } => self.run_after(p, script, seat).await,
            Caller::Operator => self.run(p, script).await,
        }
    }

    /// Changes the call, whatever its version is. Everyone in the room and the outbox get the
    /// change. `heir` is the participant who becomes host.
    ///
    /// # Errors
    /// See [`StoreError`]. `Unavailable`, if the call changed 32 times meanwhile.
    pub async fn update(
        &self,
        room: &RoomId,
        caller: Caller<'_>,
        heir: Option<&PeerId>,
        change: impl Fn(&mut RoomMeta),
    ) -> Result<UpdateOutcome, StoreError> {
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            let RoomPeek::Open { meta, .. } = self.peek(room).await? else {
                return Ok(UpdateOutcome::Refused(ModerationOutcome::Absent));
            };
            let mut after = (*meta).clone();
            change(&mut after);
            after.version = meta.version + 1;
            let done = UpdateOutcome::Done(Box::new(after.clone()));
            let update = RoomUpdate { before: *meta, after, heir: heir.cloned() };
            match self.moderate(room, caller, &ModerationCommand::Update(Box::new(update))).await? {
                ModerationOutcome::Done(_) => return Ok(done),
                ModerationOutcome::Changed => {}
                refused => return Ok(UpdateOutcome::Refused(refused)),
            }
        }
        Err(StoreError::Unavailable)
    }
}

/// Returns the participants of the lobby that a change admits while there are places: those who
/// would not have to wait any more.
fn admits(before: &RoomMeta, after: &RoomMeta) -> &'static str {
    if after.locked {
        return "none";
    }
    let (was, is) = (&before.settings, &after.settings);
    // A locked room admits nobody by itself. Its places count when it is unlocked.
    let more_places = before.locked || after.max_participants > before.max_participants;
    match (was.waiting_room_enabled, is.waiting_room_enabled) {
        (true, false) => "all",
        (false, false) if more_places => "all",
        (true, true) if is.auto_admit_guests && (more_places || !was.auto_admit_guests) => "guests",
        _ => "none",
    }
}

/// Returns the details of the `updated` fact: the fields of the call's record.
fn updated_details(meta: &RoomMeta) -> String {
    let details = serde_json::json!({
        "title": meta.name,
        "settings": meta.settings,
        "maxParticipants": meta.max_participants,
        "locked": meta.locked,
        "hostId": meta.host,
        "revision": meta.version,
        "type": meta.call_type,
        "passcodeHash": meta.passcode_hash,
        "invitedUserIds": meta.invited,
    });
    details.to_string()
}
