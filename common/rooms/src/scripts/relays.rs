//! Several relays in one call of `relay.lua`.

use switchboard_core::wire::event_batch::{EVENTS_MAX, may_share_an_entry};

use super::operation::operation_reply;
use super::{RelayScript, Reply, Script, ScriptArguments, ScriptWriter};
use crate::{OpReply, StoreError};

/// Arguments of `relay.lua` for several relays, at least two. None of them has a de-duplication key
/// or trims the log. Consecutive ones that may share a log entry do.
#[derive(Debug)]
pub struct RelaysScript<'a> {
    /// Relays, in the order in which they take effect. On a cluster they are of one partition.
    pub relays: &'a [RelayScript<'a>],
}

impl<'a> RelaysScript<'a> {
    /// Returns the relays of each log entry.
    fn entries(&self) -> impl Iterator<Item = &'a [RelayScript<'a>]> {
        self.relays.chunk_by(shares_an_entry).flat_map(|relays| relays.chunks(EVENTS_MAX))
    }

    /// Returns the number of relays that share the log entry of the one before them.
    pub(crate) fn shared(&self) -> usize {
        self.relays.len() - self.entries().count()
    }
}

/// Returns whether a relay may be in one log entry with the one before it.
fn shares_an_entry(before: &RelayScript<'_>, relay: &RelayScript<'_>) -> bool {
    let (one, two) = (&before.scope, &relay.scope);
    may_share_an_entry(one.kind)
        && one.kind == two.kind
        && one.number + 1 == two.number
        && one.generation == two.generation
        && one.sender == two.sender
        && one.room.room == two.room.room
        && before.to == relay.to
}

impl ScriptArguments for RelaysScript<'_> {
    const SCRIPT: Script = Script::Relay;
    type Reply = Vec<OpReply>;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        for entry in self.entries() {
            entry[0].scope.room.write_keys(to);
        }
        for (index, entry) in self.entries().enumerate() {
            let (first, last) = (&entry[0], &entry[entry.len() - 1]);
            if index > 0 {
                first.scope.room.write_place(to);
            } else {
                first.scope.room.write_arguments(to);
            }
            to.text(first.scope.sender.as_str());
            to.number(first.scope.generation);
            if entry.len() == 1 {
                to.number(first.scope.number);
            } else {
                to.text(&format!("{}-{}", first.scope.number, last.scope.number));
            }
            to.text(first.to.as_str());
            to.events(first.scope.kind, entry.iter().map(|relay| relay.event));
        }
    }

    fn parse(reply: &Reply) -> Result<Vec<OpReply>, StoreError> {
        reply.each(operation_reply)
    }
}
