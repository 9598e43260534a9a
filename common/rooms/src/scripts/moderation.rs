//! admit, deny, role, permissions, mute, lower_hand, kick and update: commands of hosts, moderators
//! and operators.

use switchboard_core::domain::{MediaKind, PeerId, PermissionsChange, Role, RoomMeta};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::participant_event;

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::{Caller, ModerationOutcome, StoreError};

/// `KEYS[1-5]` and `ARGV[1-11]` of the moderation scripts: with `lua/shared/moderation.lua`.
#[derive(Debug)]
pub struct ModerationScope<'a> {
    /// The room.
    pub seats: SeatScope<'a>,
    /// Caller of the command.
    pub caller: Caller<'a>,
    /// Random id of the command, so that the script recognizes a repetition.
    pub command_id: String,
}

impl ModerationScope<'_> {
    /// Writes `KEYS[1-5]` and `ARGV[1-11]`.
    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.seats.write_keys(to);
        self.seats.write_arguments(to);
        match self.caller {
            Caller::Seat { seat, action } => {
                to.text(seat.peer.as_str());
                to.number(seat.generation);
                to.text(action.minimum_role().as_str());
            }
            Caller::Operator => {
                to.optional(None);
                to.optional(None);
                to.text(Role::Host.as_str());
            }
        }
        to.text(&self.command_id);
    }
}

fn outcome(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
    Ok(match reply.status() {
        "OK" => ModerationOutcome::Done(reply.peers_from(1)?),
        "NOPEER" => ModerationOutcome::NoPeer,
        "ABOVE" => ModerationOutcome::Above,
        "STANDIN" => ModerationOutcome::StandIn,
        "FULL" => ModerationOutcome::Full,
        "DENIED" => ModerationOutcome::Denied,
        "CHANGED" => ModerationOutcome::Changed,
        "ABSENT" => ModerationOutcome::Absent,
        "STALE" => ModerationOutcome::Stale,
        _ => return Err(reply.unknown()),
    })
}

/// Arguments of `admit.lua`.
#[derive(Debug)]
pub struct AdmitScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Participant; `None` for all.
    pub target: Option<&'a PeerId>,
    /// The present time in RFC 3339.
    pub now: String,
    /// `participant:connection-changed` to reconnecting, a template.
    pub reconnecting_event: String,
}

impl ScriptArguments for AdmitScript<'_> {
    const SCRIPT: Script = Script::Admit;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.text(self.target.map_or("*", PeerId::as_str));
        to.text(&self.now);
        to.event(EventKind::ConnectionChanged, self.reconnecting_event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}

/// Arguments of `deny.lua`.
#[derive(Debug)]
pub struct DenyScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Participant.
    pub target: &'a PeerId,
    /// `room:denied`.
    pub denied_event: String,
}

impl ScriptArguments for DenyScript<'_> {
    const SCRIPT: Script = Script::Deny;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.text(self.target.as_str());
        to.event(EventKind::Denied, self.denied_event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}

/// Arguments of `role.lua`.
#[derive(Debug)]
pub struct RoleScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Participant.
    pub target: &'a PeerId,
    /// New role.
    pub role: Role,
}

impl ScriptArguments for RoleScript<'_> {
    const SCRIPT: Script = Script::Role;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.text(self.target.as_str());
        to.text(self.role.as_str());
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}

/// Arguments of `permissions.lua`.
#[derive(Debug)]
pub struct PermissionsScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Participant.
    pub target: &'a PeerId,
    /// Permissions to change.
    pub change: PermissionsChange,
}

impl ScriptArguments for PermissionsScript<'_> {
    const SCRIPT: Script = Script::Permissions;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.text(self.target.as_str());
        to.text(&serde_json::json!(self.change).to_string());
        to.text(&permission_events(self.scope.caller.peer()));
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}

/// Returns the events of other permissions, as `lua/shared/permissions.lua` takes them: templates,
/// one a line, because JSON has no line feeds. `by`: participant who changed the permissions.
pub(super) fn permission_events(by: Option<&PeerId>) -> String {
    let muted = |kind| EventKind::Muted.prefix(&participant_event::muted_template(kind, by));
    let events = [
        EventKind::PermissionsChanged.prefix(&participant_event::permissions_changed_template()),
        EventKind::MediaChanged.prefix(&participant_event::media_changed_template()),
        muted(MediaKind::Video),
        muted(MediaKind::Audio),
        muted(MediaKind::ScreenShare),
    ];
    events.join("\n")
}

/// Arguments of `mute.lua`.
#[derive(Debug)]
pub struct MuteScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Participant.
    pub target: &'a PeerId,
    /// Medium.
    pub kind: MediaKind,
    /// `participant:media-state-changed`, a template.
    pub changed_event: String,
    /// `participant:muted`, a template.
    pub muted_event: String,
}

impl ScriptArguments for MuteScript<'_> {
    const SCRIPT: Script = Script::Mute;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.text(self.target.as_str());
        to.text(self.kind.field());
        to.event(EventKind::MediaChanged, self.changed_event.as_bytes());
        to.event(EventKind::Muted, self.muted_event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}

/// Arguments of `lower_hand.lua`.
#[derive(Debug)]
pub struct LowerHandScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Participant.
    pub target: &'a PeerId,
    /// `participant:hand-changed`, a template.
    pub changed_event: String,
}

impl ScriptArguments for LowerHandScript<'_> {
    const SCRIPT: Script = Script::LowerHand;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.text(self.target.as_str());
        to.event(EventKind::HandChanged, self.changed_event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}

/// Arguments of `kick.lua`.
#[derive(Debug)]
pub struct KickScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Participant.
    pub target: &'a PeerId,
    /// Whether the user is banned.
    pub ban: bool,
    /// `room:kicked`, a template.
    pub kicked_event: String,
}

impl ScriptArguments for KickScript<'_> {
    const SCRIPT: Script = Script::Kick;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.text(self.target.as_str());
        to.flag(self.ban);
        to.event(EventKind::Kicked, self.kicked_event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}

/// Arguments of `update.lua`.
#[derive(Debug)]
pub struct UpdateScript<'a> {
    /// Room and caller.
    pub scope: ModerationScope<'a>,
    /// Version of the metadata that the caller decided on.
    pub old_version: u64,
    /// New metadata.
    pub meta: &'a RoomMeta,
    /// `room:updated`, a template.
    pub updated_event: String,
    /// Details of the `updated` fact as JSON.
    pub updated_details: String,
    /// Participants of the lobby that the change admits: `none`, `guests` or `all`.
    pub admits: &'static str,
    /// The present time in RFC 3339.
    pub now: String,
    /// `participant:connection-changed` to reconnecting, a template.
    pub reconnecting_event: String,
    /// Participant who becomes host.
    pub heir: Option<&'a PeerId>,
    /// `room:denied`, if the participants in the lobby must ask again.
    pub denied_event: Option<String>,
}

impl ScriptArguments for UpdateScript<'_> {
    const SCRIPT: Script = Script::Update;
    type Reply = ModerationOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write(to);
        to.number(self.old_version);
        to.text(&serde_json::json!(self.meta).to_string());
        to.number(self.meta.version);
        to.number(u64::from(self.meta.max_participants));
        to.flag(self.meta.locked);
        to.event(EventKind::RoomUpdated, self.updated_event.as_bytes());
        to.text(&self.updated_details);
        to.text(self.admits);
        to.text(&self.now);
        to.event(EventKind::ConnectionChanged, self.reconnecting_event.as_bytes());
        to.optional(self.heir.map(PeerId::as_str));
        match &self.denied_event {
            Some(event) => to.event(EventKind::Denied, event.as_bytes()),
            None => to.optional(None),
        }
    }

    fn parse(reply: &Reply) -> Result<ModerationOutcome, StoreError> {
        outcome(reply)
    }
}
