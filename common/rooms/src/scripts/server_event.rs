//! server_event: sends an event of an app's backend.

use switchboard_core::domain::{PeerId, Timestamp};
use switchboard_core::wire::EventKind;

use super::{Reply, RoomScope, Script, ScriptArguments, ScriptWriter};
use crate::{ServerEvent, ServerEventOutcome, StoreError};

/// Arguments of `server_event.lua`.
#[derive(Debug)]
pub struct ServerEventScript<'a> {
    /// The room.
    pub scope: RoomScope<'a>,
    /// The event.
    pub event: ServerEvent<'a>,
}

impl ScriptArguments for ServerEventScript<'_> {
    const SCRIPT: Script = Script::ServerEvent;
    type Reply = ServerEventOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let RoomScope { keys, partition, room, .. } = self.scope;
        let ServerEvent { id, to: receiver, event, digest, at } = self.event;
        self.scope.write_keys(to);
        to.key(&[&keys.server_dedupe(partition, room, id)]);
        self.scope.write_arguments(to);
        to.text(receiver.map_or("*", PeerId::as_str));
        to.event(EventKind::ServerEvent, event.as_bytes());
        to.text(digest);
        to.number(u64::try_from(at.0).unwrap_or(0));
    }

    fn parse(reply: &Reply) -> Result<ServerEventOutcome, StoreError> {
        match reply.status() {
            "OK" => Ok(ServerEventOutcome::Sent),
            "KNOWN" => Ok(ServerEventOutcome::Known(Timestamp(i64::try_from(reply.number(1)?).unwrap_or(i64::MAX)))),
            "REUSED" => Ok(ServerEventOutcome::Reused),
            "NOPEER" => Ok(ServerEventOutcome::NoPeer),
            "ABSENT" => Ok(ServerEventOutcome::Absent),
            _ => Err(reply.unknown()),
        }
    }
}
