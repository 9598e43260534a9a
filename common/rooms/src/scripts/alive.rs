//! alive: the socket of a seat has shown that its client is alive.

use super::{Reply, RoomScope, Script, ScriptArguments, ScriptWriter};
use crate::{Seat, StoreError};

/// Arguments of `alive.lua`.
#[derive(Debug)]
pub struct AliveScript<'a> {
    /// The room.
    pub scope: RoomScope<'a>,
    /// The seat.
    pub seat: &'a Seat,
}

impl ScriptArguments for AliveScript<'_> {
    const SCRIPT: Script = Script::Alive;
    /// Whether the seat is still the session's.
    type Reply = bool;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write_keys(to);
        self.scope.write_arguments(to);
        to.text(self.seat.peer.as_str());
        to.number(self.seat.generation);
    }

    fn parse(reply: &Reply) -> Result<bool, StoreError> {
        match reply.status() {
            "OK" => Ok(true),
            "STALE" => Ok(false),
            _ => Err(reply.unknown()),
        }
    }
}
