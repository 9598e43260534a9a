//! relay, bcast, media, hand and chat: the numbered operations of a seat.

use switchboard_core::domain::{ConditionalMediaChange, Generation, PeerId};
use switchboard_core::wire::EventKind;

use super::{Reply, RoomScope, Script, ScriptArguments, ScriptWriter};
use crate::{OpReply, StoreError};

/// Room, sender, number and event kind of an operation: `KEYS[1-2]`, `ARGV[1-7]` and the key of the
/// client's own id for the event, which is the last one.
#[derive(Clone, Copy, Debug)]
pub struct OperationScope<'a> {
    /// The room.
    pub room: RoomScope<'a>,
    /// Sender.
    pub sender: &'a PeerId,
    /// Generation of the sender's seat.
    pub generation: Generation,
    /// Number of the operation.
    pub number: u64,
    /// The client's own id for the event.
    pub dedupe: Option<&'a str>,
    /// Kind of the event.
    pub kind: EventKind,
    /// Bytes that the seat has sent since it last trimmed the log, if this operation trims it.
    pub bytes_to_trim: Option<u64>,
}

impl OperationScope<'_> {
    /// Writes the key of the client's own id, if there is one.
    fn write_dedupe(&self, to: &mut ScriptWriter<'_>) {
        if let Some(id) = self.dedupe {
            to.key(&[&self.room.keys.dedupe(self.room.partition, self.room.room, self.sender, id)]);
        }
    }

    /// Writes the last argument, if the operation trims the log.
    fn write_bytes_to_trim(&self, to: &mut ScriptWriter<'_>) {
        if let Some(bytes) = self.bytes_to_trim {
            to.number(bytes);
        }
    }

    /// Writes `ARGV[1-7]`.
    fn write_arguments(&self, to: &mut ScriptWriter<'_>) {
        self.room.write_arguments(to);
        to.text(self.sender.as_str());
        to.number(self.generation);
        to.number(self.number);
    }
}

/// Reads the reply of any operation.
pub(crate) fn operation_reply(reply: &Reply) -> Result<OpReply, StoreError> {
    Ok(match reply.status() {
        "OK" => {
            if reply.text(2).is_ok() {
                metrics::counter!("switchboard_room_log_cuts_total").increment(1);
            }
            OpReply::Logged { id: reply.id(1)?, duplicate: false }
        }
        "DUP" => match reply.text(2)? {
            "" => OpReply::Logged { id: reply.id(1)?, duplicate: true },
            note => OpReply::Known { id: reply.id(1)?, note: note.into() },
        },
        "NOPEER" => OpReply::NoPeer,
        "DENIED" => OpReply::Denied,
        "OFF" => OpReply::Off(reply.text(1)?.into()),
        "FULL" => OpReply::Full,
        // A gap without an unanswered operation of the seat before it: Redis lost operations. The
        // client resumes with a new generation.
        "STALE" | "GAP" => OpReply::Stale,
        _ => return Err(reply.unknown()),
    })
}

/// Arguments of `relay.lua`.
#[derive(Debug)]
pub struct RelayScript<'a> {
    /// Room, sender and number.
    pub scope: OperationScope<'a>,
    /// Receiver.
    pub to: &'a PeerId,
    /// Event as the receiver gets it.
    pub event: &'a [u8],
}

impl ScriptArguments for RelayScript<'_> {
    const SCRIPT: Script = Script::Relay;
    type Reply = OpReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.room.write_keys(to);
        self.scope.write_dedupe(to);
        self.scope.write_arguments(to);
        to.text(self.to.as_str());
        to.event(self.scope.kind, self.event);
        self.scope.write_bytes_to_trim(to);
    }

    fn parse(reply: &Reply) -> Result<OpReply, StoreError> {
        operation_reply(reply)
    }
}

/// Arguments of `bcast.lua`.
#[derive(Debug)]
pub struct BroadcastScript<'a> {
    /// Room, sender and number.
    pub scope: OperationScope<'a>,
    /// Event as receivers get it.
    pub event: &'a [u8],
}

impl ScriptArguments for BroadcastScript<'_> {
    const SCRIPT: Script = Script::Bcast;
    type Reply = OpReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.room.write_keys(to);
        self.scope.write_dedupe(to);
        self.scope.write_arguments(to);
        to.event(self.scope.kind, self.event);
        self.scope.write_bytes_to_trim(to);
    }

    fn parse(reply: &Reply) -> Result<OpReply, StoreError> {
        operation_reply(reply)
    }
}

/// Arguments of `media.lua`.
#[derive(Debug)]
pub struct MediaScript<'a> {
    /// Room, sender and number.
    pub scope: OperationScope<'a>,
    /// `participant:media-state-changed`, a template.
    pub event: &'a [u8],
    /// The change, and the role and settings that the rules assumed.
    pub switch: &'a ConditionalMediaChange,
}

impl ScriptArguments for MediaScript<'_> {
    const SCRIPT: Script = Script::Media;
    type Reply = OpReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let ConditionalMediaChange { change, role, required_settings, required_to_unmute } = self.switch;
        self.scope.room.write_keys(to);
        self.scope.write_dedupe(to);
        self.scope.write_arguments(to);
        to.event(self.scope.kind, self.event);
        to.text(role.as_str());
        for wish in [change.video_enabled, change.audio_enabled, change.screen_share_enabled] {
            match wish {
                Some(on) => to.flag(on),
                None => to.optional(None),
            }
        }
        for settings in required_settings {
            to.text(settings);
        }
        to.text(required_to_unmute);
        self.scope.write_bytes_to_trim(to);
    }

    fn parse(reply: &Reply) -> Result<OpReply, StoreError> {
        operation_reply(reply)
    }
}

/// Arguments of `hand.lua`.
#[derive(Debug)]
pub struct HandScript<'a> {
    /// Room, sender and number.
    pub scope: OperationScope<'a>,
    /// `participant:hand-changed`, a template if the hand is raised.
    pub event: &'a [u8],
    /// Time at which the hand is raised; `None` lowers it.
    pub raised_at: Option<&'a str>,
}

impl ScriptArguments for HandScript<'_> {
    const SCRIPT: Script = Script::Hand;
    type Reply = OpReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        self.scope.room.write_keys(to);
        self.scope.write_dedupe(to);
        self.scope.write_arguments(to);
        to.event(self.scope.kind, self.event);
        to.optional(self.raised_at);
        self.scope.write_bytes_to_trim(to);
    }

    fn parse(reply: &Reply) -> Result<OpReply, StoreError> {
        operation_reply(reply)
    }
}

/// Arguments of `chat.lua`.
#[derive(Debug)]
pub struct ChatScript<'a> {
    /// Room, sender and number.
    pub scope: OperationScope<'a>,
    /// Receiver; `None` for everyone else.
    pub to: Option<&'a PeerId>,
    /// `chat:message` as receivers get it.
    pub event: &'a [u8],
    /// Id and time of the message, for the reply to a repetition.
    pub stamp: &'a str,
    /// Approximate maximum length of the history.
    pub history_length: u64,
    /// Maximum number of bytes of the history, about.
    pub history_bytes: u64,
    /// Lifetime of the history after the last message in ms.
    pub history_ms: u64,
    /// Maximum number of facts in the outbox.
    pub outbox_max: u64,
}

impl ScriptArguments for ChatScript<'_> {
    const SCRIPT: Script = Script::Chat;
    type Reply = OpReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let RoomScope { keys, partition, room, .. } = self.scope.room;
        self.scope.room.write_keys(to);
        to.key(&[&keys.chat(partition, room)]);
        to.key(&[&keys.chat_index(partition, room)]);
        to.key(&[&keys.outbox(partition)]);
        self.scope.write_dedupe(to);
        self.scope.write_arguments(to);
        to.text(self.to.map_or("*", PeerId::as_str));
        to.event(self.scope.kind, self.event);
        to.text(self.stamp);
        to.number(self.history_length);
        to.number(self.history_ms);
        to.number(self.outbox_max);
        to.number(self.history_bytes);
        self.scope.write_bytes_to_trim(to);
    }

    fn parse(reply: &Reply) -> Result<OpReply, StoreError> {
        operation_reply(reply)
    }
}
