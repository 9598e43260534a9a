//! server_event: sends an event of an app's backend.

use switchboard_core::domain::PeerId;
use switchboard_core::wire::EventKind;

use super::{Reply, RoomScope, Script, ScriptArguments, ScriptWriter};
use crate::{ServerEventOutcome, StoreError};

/// Arguments of `server_event.lua`.
#[derive(Debug)]
pub struct ServerEventScript<'a> {
    /// The room.
    pub scope: RoomScope<'a>,
    /// Id of the event. The same id is sent once within the recovery window.
    pub id: &'a str,
    /// Receiver; `None` for everyone in the call.
    pub to: Option<&'a PeerId>,
    /// `server:event`, the event.
    pub event: &'a str,
}

impl ScriptArguments for ServerEventScript<'_> {
    const SCRIPT: Script = Script::ServerEvent;
    type Reply = ServerEventOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let RoomScope { keys, partition, room, .. } = self.scope;
        self.scope.write_keys(to);
        to.key(&[&keys.server_dedupe(partition, room, self.id)]);
        self.scope.write_arguments(to);
        to.text(self.to.map_or("*", PeerId::as_str));
        to.event(EventKind::ServerEvent, self.event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<ServerEventOutcome, StoreError> {
        match reply.status() {
            "OK" => Ok(ServerEventOutcome::Done),
            "NOPEER" => Ok(ServerEventOutcome::NoPeer),
            "ABSENT" => Ok(ServerEventOutcome::Absent),
            _ => Err(reply.unknown()),
        }
    }
}
