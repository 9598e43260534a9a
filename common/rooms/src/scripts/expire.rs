//! expire: handles one deadline that may be due.

use switchboard_core::wire::EventKind;

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::StoreError;

/// Arguments of `expire.lua`.
#[derive(Debug)]
pub struct ExpireScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Peer id of the seat; `*` for the empty room, `+` for its lobby.
    pub peer: &'a str,
    /// Generation of the seat; 0 for the room and its lobby.
    pub generation: &'a str,
    /// `room:call-ended`.
    pub ended_event: &'a str,
    /// Details of the `ended` fact as JSON.
    pub ended_details: &'a str,
    /// Lifetime of the tombstone in ms.
    pub tombstone_ms: u64,
    /// The present time in RFC 3339.
    pub now: &'a str,
    /// `participant:connection-changed` to reconnecting, a template.
    pub reconnecting_event: &'a str,
}

/// Reply of `expire.lua` and of `sweep_one.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadlineReply {
    /// The deadline or the seat was handled.
    Done,
    /// The deadline is not due or not valid any more; the seat is not the named one.
    Stale,
}

impl DeadlineReply {
    pub(super) fn parse(reply: &Reply) -> Result<Self, StoreError> {
        match reply.status() {
            "OK" => Ok(Self::Done),
            "STALE" => Ok(Self::Stale),
            _ => Err(reply.unknown()),
        }
    }
}

impl ScriptArguments for ExpireScript<'_> {
    const SCRIPT: Script = Script::Expire;
    type Reply = DeadlineReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        self.scope.write_keys(to);
        to.key(&[&keys.chat(partition, self.scope.room.room)]);
        to.key(&[&keys.chat_index(partition, self.scope.room.room)]);
        self.scope.write_arguments(to);
        to.text(self.peer);
        to.text(self.generation);
        to.event(EventKind::CallEnded, self.ended_event.as_bytes());
        to.text(self.ended_details);
        to.number(self.tombstone_ms);
        to.text(self.now);
        to.event(EventKind::ConnectionChanged, self.reconnecting_event.as_bytes());
    }

    fn parse(reply: &Reply) -> Result<DeadlineReply, StoreError> {
        DeadlineReply::parse(reply)
    }
}
