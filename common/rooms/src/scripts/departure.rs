//! detach and leave: a seat loses its socket, or is given up.

use switchboard_core::domain::Generation;
use switchboard_core::wire::EventKind;

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::{LeaveOutcome, StoreError};

/// Arguments of `detach.lua`.
#[derive(Debug)]
pub struct DetachScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Node that served the seat.
    pub node: &'a str,
    /// Peer id of the seat.
    pub peer: &'a str,
    /// Generation of the seat.
    pub generation: Generation,
    /// Grace period in ms.
    pub grace_ms: u64,
    /// `participant:connection-changed` to reconnecting, a template.
    pub reconnecting_event: &'a str,
}

impl ScriptArguments for DetachScript<'_> {
    const SCRIPT: Script = Script::Detach;
    type Reply = LeaveOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        self.scope.write_keys(to);
        to.key(&[&keys.on(partition, self.node)]);
        self.scope.write_arguments(to);
        to.text(self.peer);
        to.number(self.generation);
        to.number(self.grace_ms);
        to.event(EventKind::ConnectionChanged, self.reconnecting_event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<LeaveOutcome, StoreError> {
        outcome(reply)
    }
}

/// Arguments of `leave.lua`.
#[derive(Debug)]
pub struct LeaveScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Node that serves the seat.
    pub node: &'a str,
    /// Peer id of the seat.
    pub peer: &'a str,
    /// Generation of the seat.
    pub generation: Generation,
}

impl ScriptArguments for LeaveScript<'_> {
    const SCRIPT: Script = Script::Leave;
    type Reply = LeaveOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        self.scope.write_keys(to);
        to.key(&[&keys.on(partition, self.node)]);
        self.scope.write_arguments(to);
        to.text(self.peer);
        to.number(self.generation);
    }

    fn parse(reply: &Reply) -> Result<LeaveOutcome, StoreError> {
        outcome(reply)
    }
}

fn outcome(reply: &Reply) -> Result<LeaveOutcome, StoreError> {
    match reply.status() {
        "OK" => Ok(LeaveOutcome::Done),
        "STALE" => Ok(LeaveOutcome::Stale),
        _ => Err(reply.unknown()),
    }
}
