//! reseat: puts back a seat that Redis lost.

use switchboard_core::wire::EventKind;

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::{ReseatOutcome, Seat, SeatCopy, StoreError};
use switchboard_core::domain::{CallPermissions, RoomMeta};

/// Arguments of `reseat.lua`.
#[derive(Debug)]
pub struct ReseatScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Node that serves the seat.
    pub node: &'a str,
    /// The seat.
    pub seat: &'a Seat,
    /// Number of the last operation that the node has used.
    pub last_op: u64,
    /// Copy of the seat's data.
    pub copy: &'a SeatCopy,
    /// Metadata for a room that is missing.
    pub meta: &'a RoomMeta,
    /// Participant as JSON.
    pub participant: String,
    /// `room:user-joined`, a template, for a seat in the lobby.
    pub joined_event: String,
    /// Details of the `joined` fact as JSON, for a seat in the lobby.
    pub joined_details: String,
    /// Grace period in ms.
    pub grace_ms: u64,
}

impl ScriptArguments for ReseatScript<'_> {
    const SCRIPT: Script = Script::Reseat;
    type Reply = ReseatOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        let Self { seat, copy, meta, .. } = self;
        let handle = seat.handle.to_string();
        self.scope.write_keys(to);
        to.key(&[&keys.nodes(partition)]);
        to.key(&[&keys.on(partition, self.node)]);
        self.scope.write_arguments(to);
        to.text(copy.public.id.as_str());
        to.text(&copy.pid);
        to.text(self.node);
        to.optional((!copy.away).then_some(&*handle));
        to.text(copy.role.as_str());
        to.text(seat.peer.as_str());
        to.number(seat.generation);
        to.number(self.last_op);
        to.text(&copy.join_id.to_string());
        to.text(&self.participant);
        to.text(&serde_json::json!(copy.media).to_string());
        to.text(&serde_json::json!(meta).to_string());
        to.number(meta.version);
        to.text(meta.call_id.as_str());
        to.text(meta.host.as_str());
        to.number(u64::from(meta.max_participants));
        to.flag(meta.locked);
        to.text(copy.state.as_str());
        to.text(&copy.from.to_string());
        to.optional(copy.address.as_deref());
        to.event(EventKind::UserJoined, self.joined_event.as_bytes());
        to.text(&self.joined_details);
        to.number(self.grace_ms);
        to.optional(copy.hand_raised_at.as_deref());
        let given = copy.permissions.filter(|_| copy.permissions_given);
        to.optional(given.map(CallPermissions::to_json).as_deref());
    }

    fn parse(reply: &Reply) -> Result<ReseatOutcome, StoreError> {
        match reply.status() {
            "OK" => Ok(ReseatOutcome::Done),
            "GONE" => Ok(ReseatOutcome::Gone),
            "FENCED" => Ok(ReseatOutcome::Fenced),
            _ => Err(reply.unknown()),
        }
    }
}
