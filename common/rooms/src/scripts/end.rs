//! end: ends a call.

use switchboard_core::domain::CallId;
use switchboard_core::wire::EventKind;

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::{Ended, Seat, StoreError};

/// Arguments of `end.lua`.
#[derive(Debug)]
pub struct EndScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Caller.
    pub caller: EndCaller<'a>,
    /// `room:call-ended`.
    pub ended_event: String,
    /// Details of the `ended` fact as JSON.
    pub ended_details: String,
    /// Lifetime of the tombstone in ms.
    pub tombstone_ms: u64,
}

/// Caller who ends a call.
#[derive(Clone, Copy, Debug)]
pub enum EndCaller<'a> {
    /// The host, whose seat names the call.
    Host(&'a Seat),
    /// A caller who was authorized elsewhere, for this call.
    Authorized(&'a CallId),
}

impl ScriptArguments for EndScript<'_> {
    const SCRIPT: Script = Script::End;
    type Reply = Ended;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        let (call, seat) = match self.caller {
            EndCaller::Host(seat) => (None, Some(seat)),
            EndCaller::Authorized(call) => (Some(call), None),
        };
        self.scope.write_keys(to);
        to.key(&[&keys.chat(partition, self.scope.room.room)]);
        to.key(&[&keys.chat_index(partition, self.scope.room.room)]);
        self.scope.write_arguments(to);
        to.optional(call.map(CallId::as_str));
        to.event(EventKind::CallEnded, self.ended_event.as_bytes());
        to.text(&self.ended_details);
        to.number(self.tombstone_ms);
        to.optional(seat.map(|seat| seat.peer.as_str()));
        to.optional(seat.map(|seat| seat.generation.to_string()).as_deref());
    }

    fn parse(reply: &Reply) -> Result<Ended, StoreError> {
        match reply.status() {
            "OK" => Ok(Ended::Done),
            "ENDED" => Ok(Ended::Already),
            "DENIED" => Ok(Ended::Denied),
            "STANDIN" => Ok(Ended::StandIn),
            "STALE" => Ok(Ended::Stale),
            _ => Err(reply.unknown()),
        }
    }
}
