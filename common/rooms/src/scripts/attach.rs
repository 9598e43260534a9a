//! attach: a session resumes a seat.

use switchboard_core::domain::{ConnectionState, MediaState, Participant, Role, RoomMeta};
use switchboard_core::wire::{EventKind, LogId};

use super::{GivenSeat, Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::values::room_meta;
use crate::{Attach, StoreError};

/// Arguments of `attach.lua`.
#[derive(Debug)]
pub struct AttachScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Node that serves the seat from now on.
    pub node: &'a str,
    /// The request.
    pub attach: &'a Attach,
    /// Time of the first attempt, as a `BUSY` reply gave it.
    pub first_try: Option<&'a str>,
    /// `participant:connection-changed` to connected, a template.
    pub connected_event: &'a str,
}

/// Reply of `attach.lua`.
#[derive(Clone, Debug)]
pub enum AttachReply {
    /// The seat is resumed.
    Resumed(Box<AttachedSeat>),
    /// There is no seat to resume.
    Fresh,
    /// The log does not go back to the offset.
    Missed,
    /// Another socket attached less than a second ago. Holds the time of the first attempt.
    Busy(String),
    /// The node is not registered.
    Fenced,
}

/// A resumed seat. The struct has more than eight fields, because a seat in Redis consists of them.
#[derive(Clone, Debug)]
pub struct AttachedSeat {
    /// Seat with its new generation, and the last id of the log.
    pub given: GivenSeat,
    /// Role.
    pub role: Role,
    /// Connected, or waiting in the lobby.
    pub state: ConnectionState,
    /// Metadata of the call.
    pub meta: RoomMeta,
    /// Participant at the time of the join.
    pub participant: Participant,
    /// Media.
    pub media: MediaState,
    /// Time at which the hand was raised; `None` while it is down.
    pub hand_raised_at: Option<String>,
    /// Whether the backend of the app gave the permissions of the participant in this room.
    pub permissions_given: bool,
    /// Join id.
    pub join: LogId,
    /// Log id at which the client's view of the log begins.
    pub from: LogId,
    /// Hashes of the client's address, as in `Proof`.
    pub address: Option<Box<str>>,
    /// Number of participants of the call, without the lobby.
    pub participants: u32,
}

impl ScriptArguments for AttachScript<'_> {
    const SCRIPT: Script = Script::Attach;
    type Reply = AttachReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        self.scope.write_keys(to);
        to.key(&[&keys.nodes(partition)]);
        to.key(&[&keys.on(partition, self.node)]);
        self.scope.write_arguments(to);
        to.text(self.attach.user.as_str());
        to.text(&self.attach.pid);
        to.text(self.node);
        to.text(&self.attach.handle.to_string());
        to.text(&self.attach.offset.to_string());
        to.optional(self.first_try);
        to.event(EventKind::ConnectionChanged, self.connected_event.as_bytes());
        to.optional(self.attach.address.as_deref());
    }

    fn parse(reply: &Reply) -> Result<AttachReply, StoreError> {
        Ok(match reply.status() {
            "OK" => AttachReply::Resumed(Box::new(AttachedSeat::parse(reply)?)),
            "FRESH" => AttachReply::Fresh,
            "MISSED" => AttachReply::Missed,
            "BUSY" => AttachReply::Busy(reply.text(1)?.to_owned()),
            "FENCED" => AttachReply::Fenced,
            _ => return Err(reply.unknown()),
        })
    }
}

impl AttachedSeat {
    fn parse(reply: &Reply) -> Result<Self, StoreError> {
        let json = |what: &'static str| move |_| StoreError::expected(what);
        Ok(Self {
            given: reply.given_seat()?.ok_or_else(|| StoreError::expected("a seat"))?,
            role: Role::parse(reply.text(4)?).ok_or_else(|| StoreError::expected("a role"))?,
            state: ConnectionState::parse(reply.text(5)?).ok_or_else(|| StoreError::expected("a state"))?,
            meta: room_meta(reply.text(6)?)?,
            participant: serde_json::from_str(reply.text(7)?).map_err(json("a participant"))?,
            media: serde_json::from_str(reply.text(8)?).map_err(json("a media state"))?,
            join: reply.id(9)?,
            from: reply.id(10)?,
            address: Some(reply.text(11)?).filter(|address| *address != "-").map(Into::into),
            hand_raised_at: Some(reply.text(13)?).filter(|time| *time != "-").map(Into::into),
            permissions_given: reply.text(14)? != "-",
            participants: reply.text(12)?.parse().map_err(|_| StoreError::expected("a count"))?,
        })
    }
}
