//! Data that every request is written with: names, hashes of the scripts, options, and this node.

use std::time::Duration;

use switchboard_core::domain::{NodeId, RoomId};
use switchboard_core::wire::{participant_event, server_event};

use crate::keys::Keys;
use crate::model::OperationNumber;
use crate::scripts::{
    BroadcastScript, ChatScript, HandScript, Hashes, MediaScript, OperationScope, RelayScript, RelaysScript, RoomScope,
    ScriptArguments, SeatScope, log_bounds, write_command,
};
use crate::{Chat, Op, OpKind, RoomOptions, Seat};

/// Shared by the store and its lanes.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) keys: Keys,
    pub(crate) hashes: Hashes,
    pub(crate) options: RoomOptions,
    pub(crate) node: NodeId,
    log_bounds: String,
}

impl Context {
    pub(crate) fn new(options: RoomOptions, node: NodeId) -> Self {
        let keys = Keys::new(&options.prefix, options.partitions);
        let log_bounds = log_bounds(options.log_max_len, options.log_max_bytes);
        Self { keys, hashes: Hashes::compute(), options, node, log_bounds }
    }

    /// Appends the command of a script.
    pub(crate) fn write<S: ScriptArguments>(&self, arguments: &S, out: &mut Vec<u8>) {
        write_command(out, self.hashes.of(S::SCRIPT), arguments);
    }

    /// Returns the first keys and arguments of every script about a room.
    pub(crate) fn room_scope<'a>(&'a self, room: &'a RoomId) -> RoomScope<'a> {
        RoomScope {
            keys: &self.keys,
            partition: self.keys.partition_of(room),
            room,
            window_ms: millis(self.options.window),
            log_bounds: &self.log_bounds,
        }
    }

    /// Returns the first keys and arguments of every script that takes, moves or frees a seat.
    /// `reason` is the reason in `room:user-left`, for a seat that the script frees.
    pub(crate) fn seat_scope<'a>(&'a self, room: &'a RoomId, reason: impl AsRef<str>) -> SeatScope<'a> {
        let reason = reason.as_ref();
        SeatScope {
            room: self.room_scope(room),
            empty_after_ms: millis(self.options.empty_after),
            departure_events: departure_events(reason),
            left_details: serde_json::json!({ "reason": reason }).to_string(),
        }
    }

    fn operation_scope<'a>(&'a self, seat: &'a Seat, op: &'a Op, number: OperationNumber) -> OperationScope<'a> {
        OperationScope {
            room: self.room_scope(&seat.room),
            sender: &seat.peer,
            generation: seat.generation,
            number: number.number,
            bytes_to_trim: number.bytes_to_trim,
            dedupe: op.dedupe.as_deref(),
            kind: op.event_kind,
        }
    }

    /// Appends one command for several relays. Operations that are no relays are left out.
    pub(crate) fn write_relays<'a>(
        &'a self,
        operations: impl Iterator<Item = (&'a Seat, &'a Op, OperationNumber)>,
        out: &mut Vec<u8>,
    ) {
        let relays = operations.filter_map(|(seat, op, number)| match &op.kind {
            OpKind::Relay { to } => {
                Some(RelayScript { scope: self.operation_scope(seat, op, number), to, event: &op.event })
            }
            OpKind::Broadcast | OpKind::Media(_) | OpKind::Hand { .. } | OpKind::Chat(_) => None,
        });
        let relays: Vec<_> = relays.collect();
        out.reserve(relays.iter().map(|relay| relay.event.len() + 512).sum());
        let script = RelaysScript { relays: &relays };
        // Most calls have none, and looking up a metric costs something.
        if let shared @ 1.. = script.shared() {
            metrics::counter!("switchboard_relays_shared_total").increment(shared as u64);
        }
        self.write(&script, out);
    }

    /// Appends the command of a numbered operation. Every event takes this way, so it formats and
    /// copies nothing twice.
    pub(crate) fn write_operation(&self, seat: &Seat, op: &Op, number: OperationNumber, out: &mut Vec<u8>) {
        let scope = self.operation_scope(seat, op, number);
        let event = &*op.event;
        out.reserve(event.len() + 512);
        match &op.kind {
            OpKind::Relay { to } => self.write(&RelayScript { scope, to, event }, out),
            OpKind::Broadcast => self.write(&BroadcastScript { scope, event }, out),
            OpKind::Media(switch) => self.write(&MediaScript { scope, event, switch }, out),
            OpKind::Hand { raised_at } => {
                self.write(&HandScript { scope, event, raised_at: raised_at.as_deref() }, out);
            }
            OpKind::Chat(Chat { to, stamp }) => {
                let (length, lifetime) = self.options.chat_history;
                let script = ChatScript {
                    scope,
                    to: to.as_ref(),
                    event,
                    stamp,
                    history_length: length as u64,
                    history_bytes: self.options.chat_history_bytes as u64,
                    history_ms: millis(lifetime),
                    outbox_max: self.options.outbox_max as u64,
                };
                self.write(&script, out);
            }
        }
    }
}

/// Returns the templates of the events that the end of a seat may cause.
fn departure_events(reason: &str) -> [String; 4] {
    let left = server_event::user_left_template(reason);
    let cancelled = participant_event::join_request_cancelled_template(reason);
    [left, cancelled, participant_event::role_changed_template(), participant_event::join_request_template()]
}

/// Returns a duration in ms.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
