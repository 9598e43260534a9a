//! What every call is written with: the names, the scripts' hashes, the options, and this node's id.

use redis::Cmd;

use super::keys::Keys;
use super::scripts::{Hashes, Script};
use super::{Chat, Op, OpKind, Partition, RoomOptions, Seat};
use crate::domain::{MediaSwitch, NodeId, RoomId};
use crate::wire::{people_event, server_event};

/// Shared by the store and its lanes.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) keys: Keys,
    pub(super) hashes: Hashes,
    pub(super) options: RoomOptions,
    pub(super) node: NodeId,
}

impl Context {
    pub(super) fn new(options: RoomOptions, node: NodeId) -> Self {
        Self { keys: Keys::new(&options.prefix, options.partitions), hashes: Hashes::compute(), options, node }
    }

    /// `EVALSHA` of a script with its keys; its arguments follow.
    pub(super) fn script(&self, script: Script, keys: &[&str]) -> Cmd {
        let mut command = Cmd::with_capacity(3 + keys.len() + 24, 512);
        command.arg("EVALSHA").arg(self.hashes.of(script)).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        command
    }

    /// A script of `lua/seats.lua`, with its keys, further ones, and its first seven arguments. `reason`: why somebody who is unseated
    /// by it left.
    pub(super) fn seat_script(&self, script: Script, room: &RoomId, more_keys: &[&str], reason: &str) -> Cmd {
        let p = self.keys.partition_of(room);
        let own = [self.keys.room(p, room), self.keys.log(p, room), self.keys.deadlines(p), self.keys.outbox(p)];
        let keys: Vec<&str> = own.iter().map(String::as_str).chain(more_keys.iter().copied()).collect();
        let mut command = self.script(script, &keys);
        self.prelude(&mut command, p, room);
        command
            .arg(millis(self.options.empty_after))
            .arg(partings(reason))
            .arg(serde_json::json!({ "reason": reason }).to_string());
        command
    }

    /// The arguments of `lua/prelude.lua`.
    fn prelude(&self, command: &mut Cmd, p: Partition, room: &RoomId) {
        command
            .arg(self.keys.channels(p))
            .arg(room.as_str())
            .arg(millis(self.options.window))
            .arg(self.options.log_max_len);
    }

    /// A numbered operation.
    pub(super) fn op(&self, p: Partition, seat: &Seat, op: &Op, number: u64) -> Cmd {
        let (room, log) = (self.keys.room(p, &seat.room), self.keys.log(p, &seat.room));
        let mut keys = vec![room, log];
        let script = match op.kind {
            OpKind::Relay { .. } => Script::Relay,
            OpKind::Broadcast => Script::Bcast,
            OpKind::Media(_) => Script::Media,
            OpKind::Chat(_) => {
                keys.extend([self.keys.chat(p, &seat.room), self.keys.outbox(p)]);
                Script::Chat
            }
        };
        keys.extend(op.dedupe.as_ref().map(|id| self.keys.dedupe(p, &seat.room, &seat.peer, id)));
        let mut command = Cmd::with_capacity(24, 320 + op.event.len());
        command.arg("EVALSHA").arg(self.hashes.of(script)).arg(keys.len()).arg(&keys);
        self.prelude(&mut command, p, &seat.room);
        command.arg(seat.peer.as_str()).arg(seat.generation).arg(number);
        match &op.kind {
            OpKind::Relay { to } => {
                command.arg(to.as_str()).arg(&op.event[..]);
            }
            OpKind::Broadcast => {
                command.arg(&op.event[..]);
            }
            OpKind::Media(MediaSwitch { change, role, rests_on, unmuting_rests_on }) => {
                command.arg(&op.event[..]).arg(role.as_str());
                for wish in [change.video_enabled, change.audio_enabled, change.screen_share_enabled] {
                    command.arg(wish.map_or("-", |on| if on { "1" } else { "0" }));
                }
                command.arg(rests_on).arg(unmuting_rests_on);
            }
            OpKind::Chat(Chat { to, stamp }) => {
                let (kept, kept_for) = self.options.chat_kept;
                command.arg(to.as_ref().map_or("*", |to| to.as_str())).arg(&op.event[..]).arg(stamp.as_ref());
                command.arg(kept).arg(millis(kept_for)).arg(self.options.outbox_max);
            }
        }
        command
    }

    /// An event of a seat's that is in no log.
    pub(super) fn hint(&self, seat: &Seat, event: &str, rests_on: &str) -> Cmd {
        let p = self.keys.partition_of(&seat.room);
        let mut command = self.script(Script::Hint, &[&self.keys.room(p, &seat.room), &self.keys.log(p, &seat.room)]);
        self.prelude(&mut command, p, &seat.room);
        command.arg(seat.peer.as_str()).arg(seat.generation).arg(event).arg(rests_on);
        command
    }
}

/// What may have to be told when a seat ends, one template a line: JSON has no line feeds.
fn partings(reason: &str) -> String {
    let left = server_event::user_left_template(reason);
    let cancelled = people_event::join_request_cancelled_template(reason);
    [left, cancelled, people_event::role_changed_template(), people_event::join_request_template()].join("\n")
}

/// Milliseconds, as scripts count.
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
