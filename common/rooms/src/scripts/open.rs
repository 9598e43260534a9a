//! open and reopen: creates a room; lets an ended call take place once more.

use switchboard_core::domain::{CallId, RoomMeta};

use super::{Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::StoreError;

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
    /// Another call has the room. Only with `created_details`.
    Exists,
    /// The call has ended.
    Ended,
}

impl ScriptArguments for OpenScript<'_> {
    const SCRIPT: Script = Script::Open;
    type Reply = OpenReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write_keys(to);
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
    type Reply = ();

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.write_keys(to);
        self.scope.write_arguments(to);
        to.text(self.call.as_str());
    }

    fn parse(reply: &Reply) -> Result<(), StoreError> {
        match reply.status() {
            "OK" | "OPEN" => Ok(()),
            _ => Err(reply.unknown()),
        }
    }
}
