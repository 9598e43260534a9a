//! open, reserve and reopen: creates a room; keeps a room id for a call; lets an ended call take
//! place once more.

use switchboard_core::domain::{CallId, RoomId, RoomMeta};

use super::{Reply, RoomScope, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::keys::Keys;
use crate::{Partition, Reopened, Reserved, StoreError};

/// Arguments of `open.lua`.
#[derive(Debug)]
pub struct OpenScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Metadata of the call.
    pub meta: &'a RoomMeta,
    /// Metadata as JSON.
    pub meta_json: String,
    /// Details of the `created` fact as JSON; `None` to open a room for a call that has a record.
    pub created_details: Option<&'a str>,
}

/// Reply of `open.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenReply {
    /// The room is open.
    Open,
    /// The room is open with an older version of the metadata.
    Older,
    /// Another call has the room.
    Exists,
    /// The call has ended.
    Ended,
    /// The record of another call is about to be written. Only with `created_details`.
    Pending,
}

impl ScriptArguments for OpenScript<'_> {
    const SCRIPT: Script = Script::Open;
    type Reply = OpenReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let RoomScope { keys, partition, room, .. } = self.scope.room;
        self.scope.write_keys(to);
        to.key(&[&keys.reservation(partition, room)]);
        self.scope.write_arguments(to);
        to.text(&self.meta_json);
        to.number(self.meta.version);
        to.text(self.meta.call_id.as_str());
        to.text(self.meta.host.as_str());
        to.number(u64::from(self.meta.max_participants));
        to.optional(self.created_details);
        to.flag(self.meta.locked);
    }

    fn parse(reply: &Reply) -> Result<OpenReply, StoreError> {
        match reply.status() {
            "OK" => Ok(OpenReply::Open),
            "OLDER" => Ok(OpenReply::Older),
            "EXISTS" => Ok(OpenReply::Exists),
            "ENDED" => Ok(OpenReply::Ended),
            "PENDING" => Ok(OpenReply::Pending),
            _ => Err(reply.unknown()),
        }
    }
}

/// Arguments of `reserve.lua`.
#[derive(Debug)]
pub struct ReserveScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition of the room.
    pub partition: Partition,
    /// Room.
    pub room: &'a RoomId,
    /// Call for which the room id is kept.
    pub call: &'a CallId,
    /// Lifetime of the reservation in ms; 0 gives it up.
    pub lifetime_ms: u64,
}

impl ScriptArguments for ReserveScript<'_> {
    const SCRIPT: Script = Script::Reserve;
    type Reply = Reserved;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&self.keys.room_parts(self.partition, self.room));
        to.key(&[&self.keys.reservation(self.partition, self.room)]);
        to.text(self.call.as_str());
        to.number(self.lifetime_ms);
    }

    fn parse(reply: &Reply) -> Result<Reserved, StoreError> {
        match reply.status() {
            "OK" => Ok(Reserved::Done),
            "EXISTS" => Ok(Reserved::Exists),
            "PENDING" => Ok(Reserved::Pending),
            _ => Err(reply.unknown()),
        }
    }
}

/// Arguments of `reopen.lua`.
#[derive(Debug)]
pub struct ReopenScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Call that has ended.
    pub call: &'a CallId,
}

impl ScriptArguments for ReopenScript<'_> {
    const SCRIPT: Script = Script::Reopen;
    type Reply = Reopened;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write_keys(to);
        self.scope.write_arguments(to);
        to.text(self.call.as_str());
    }

    fn parse(reply: &Reply) -> Result<Reopened, StoreError> {
        match reply.status() {
            "OK" | "OPEN" => Ok(Reopened::Done),
            "EXISTS" => Ok(Reopened::Taken),
            _ => Err(reply.unknown()),
        }
    }
}
