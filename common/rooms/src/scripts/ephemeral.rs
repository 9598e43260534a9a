//! ephemeral: sends an event that is in no log.

use switchboard_core::wire::EventKind;

use super::{Reply, RoomScope, Script, ScriptArguments, ScriptWriter};
use crate::{EphemeralOutcome, Seat, StoreError};

/// Arguments of `ephemeral.lua`.
#[derive(Debug)]
pub struct EphemeralScript<'a> {
    /// The room.
    pub scope: RoomScope<'a>,
    /// Sender.
    pub seat: &'a Seat,
    /// Kind of the event.
    pub kind: EventKind,
    /// Event as receivers get it.
    pub event: &'a str,
    /// Names of settings that must be on, separated by spaces.
    pub required_settings: &'a str,
}

impl ScriptArguments for EphemeralScript<'_> {
    const SCRIPT: Script = Script::Ephemeral;
    type Reply = EphemeralOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write_keys(to);
        self.scope.write_arguments(to);
        to.text(self.seat.peer.as_str());
        to.number(self.seat.generation);
        to.event(self.kind, self.event.as_bytes());
        to.text(self.required_settings);
    }

    fn parse(reply: &Reply) -> Result<EphemeralOutcome, StoreError> {
        match reply.status() {
            "OK" => Ok(EphemeralOutcome::Done),
            "OFF" => Ok(EphemeralOutcome::Off(reply.text(1)?.into())),
            "STALE" => Ok(EphemeralOutcome::Stale),
            _ => Err(reply.unknown()),
        }
    }
}
