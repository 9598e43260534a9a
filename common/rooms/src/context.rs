//! What every call is written with: the names, the scripts' hashes, the options, and this node's id.

use redis::Cmd;

use super::keys::Keys;
use super::packed::Packed;
use super::scripts::{Hashes, Script};
use super::{Chat, Op, OpKind, Partition, RoomOptions, Seat};
use switchboard_core::domain::{ConditionalMediaChange, NodeId, RoomId};
use switchboard_core::wire::{participant_event, server_event};

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

    /// A numbered operation, at the end of a pipeline. This is every event's way: nothing is formatted or copied twice.
    pub(super) fn op(&self, p: Partition, seat: &Seat, op: &Op, number: u64, out: &mut Vec<u8>) {
        let (start, room) = (self.keys.start(p), seat.room.as_str());
        let (script, own_keys, own_words) = match op.kind {
            OpKind::Relay { .. } => (Script::Relay, 0, 2),
            OpKind::Broadcast => (Script::Bcast, 0, 1),
            OpKind::Media(_) => (Script::Media, 0, 9),
            OpKind::Chat(_) => (Script::Chat, 2, 6),
        };
        let keys = 2 + own_keys + usize::from(op.dedupe.is_some());
        out.reserve(op.event.len() + 512);
        let mut packed = Packed::begin(out, 3 + keys + 4 + 3 + own_words);
        packed.word(&["EVALSHA"]);
        packed.word(&[self.hashes.of(script)]);
        packed.number(keys as u64);
        packed.word(&[start, "r:", room]);
        packed.word(&[start, "l:", room]);
        if matches!(op.kind, OpKind::Chat(_)) {
            packed.bytes(self.keys.chat(p, &seat.room).as_bytes());
            packed.bytes(self.keys.outbox(p).as_bytes());
        }
        if let Some(id) = &op.dedupe {
            packed.bytes(self.keys.dedupe(p, &seat.room, &seat.peer, id).as_bytes());
        }
        packed.word(&[start, "node:"]);
        packed.word(&[room]);
        packed.number(millis(self.options.window));
        packed.number(self.options.log_max_len as u64);
        packed.word(&[seat.peer.as_str()]);
        packed.number(seat.generation);
        packed.number(number);
        match &op.kind {
            OpKind::Relay { to } => {
                packed.word(&[to.as_str()]);
                packed.bytes(&op.event);
            }
            OpKind::Broadcast => packed.bytes(&op.event),
            OpKind::Media(ConditionalMediaChange { change, role, required_settings, required_to_unmute }) => {
                packed.bytes(&op.event);
                packed.word(&[role.as_str()]);
                for wish in [change.video_enabled, change.audio_enabled, change.screen_share_enabled] {
                    packed.word(&[wish.map_or("-", |on| if on { "1" } else { "0" })]);
                }
                required_settings.iter().for_each(|setting| packed.word(&[setting]));
                packed.word(&[required_to_unmute]);
            }
            OpKind::Chat(Chat { to, stamp }) => {
                let (kept, kept_for) = self.options.chat_kept;
                packed.word(&[to.as_ref().map_or("*", |to| to.as_str())]);
                packed.bytes(&op.event);
                packed.word(&[stamp]);
                packed.number(kept as u64);
                packed.number(millis(kept_for));
                packed.number(self.options.outbox_max as u64);
            }
        }
    }

    /// An event of a seat's that is in no log.
    pub(super) fn hint(&self, seat: &Seat, event: &str, required_settings: &str) -> Cmd {
        let p = self.keys.partition_of(&seat.room);
        let mut command = self.script(Script::Hint, &[&self.keys.room(p, &seat.room), &self.keys.log(p, &seat.room)]);
        self.prelude(&mut command, p, &seat.room);
        command.arg(seat.peer.as_str()).arg(seat.generation).arg(event).arg(required_settings);
        command
    }
}

/// What may have to be told when a seat ends, one template a line: JSON has no line feeds.
fn partings(reason: &str) -> String {
    let left = server_event::user_left_template(reason);
    let cancelled = participant_event::join_request_cancelled_template(reason);
    [left, cancelled, participant_event::role_changed_template(), participant_event::join_request_template()].join("\n")
}

/// Milliseconds, as scripts count.
pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
