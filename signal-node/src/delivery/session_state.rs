//! Decides which events a session gets, in which order, and when the room's log must be read.
//!
//! Pure: no lock, no queue, no clock. A session is in one of three states:
//!
//! - *buffering*, while its script or a read of the log is in progress: events wait;
//! - *waiting* in the lobby: it receives direct messages but no broadcasts;
//! - *live*: it receives each event that is newer than its position.

use switchboard_core::domain::{Action, ConnectionState, MediaChange, PeerId, RoomId};
use switchboard_core::wire::replica_update::ReplicaUpdate;
use switchboard_rooms::{LogEntry, LogId};
use switchboard_socketio::send_queue::Message;

use super::incoming::{Content, Incoming, Receivers};
use super::joined_snapshot::JoinedSnapshot;
use super::mutation::{Rule, holds};
use super::replica::SeatReplica;

/// Maximum number of events that a session buffers. More events mean that the room is faster than
/// Redis replies. The client is then disconnected and resumes from the log.
const BUFFERED_EVENTS_MAX: usize = 4096;

/// Sends a message to the client of a session.
pub(super) type SendMessage<'a> = &'a mut dyn FnMut(Message);

/// State of one session in a room.
#[derive(Debug)]
pub(super) struct SessionState {
    /// Copy of the seat; `None` until a script gave one.
    replica: Option<Box<SeatReplica>>,
    /// Position of the last event that was delivered.
    seen: LogId,
    /// Events that wait while a script or a read of the log is in progress; `None` when live.
    buffer: Option<Vec<Incoming>>,
    /// Last position before the gap because of which the session buffers.
    before_gap: LogId,
    /// Number of subscription gaps from which this session misses nothing.
    gap_count: u64,
    /// Position at which `room:joined` is due: of the admission from the lobby, or of a repeated
    /// join. `None` once it was sent.
    admitted: Option<LogId>,
    /// The room ended, or the session was removed from it.
    removed: bool,
    /// The client was sent the event that removes it. It gets no event of the room after that.
    farewell_sent: bool,
}

/// A read of the room's log that must come before the session continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogRead {
    /// Last position up to which all events are known to be delivered.
    pub(super) from: LogId,
    /// Number of the subscription gap that this read closes. A later gap has its own read.
    pub(super) gap_count: u64,
}

/// The buffer is full, and the client must be disconnected.
#[derive(Debug)]
pub(super) struct BufferFull;

/// Position at which delivery to a session begins.
#[derive(Debug)]
pub enum DeliveryStart {
    /// After this position, once the message was sent.
    After(LogId, Option<Message>),
    /// After this position, which admits the session from the lobby: the room must be read first.
    Admission(LogId),
}

/// State of a partition's subscription.
#[derive(Clone, Copy, Debug)]
pub(super) struct SubscriptionState {
    /// Number of gaps so far.
    pub(super) gap_count: u64,
    /// A gap has begun and not ended.
    pub(super) lost: bool,
}

impl SessionState {
    /// Creates the state of a session whose script is in progress. It buffers.
    pub(super) fn new(gap_count: u64) -> Self {
        Self {
            replica: None,
            seen: LogId::default(),
            buffer: Some(Vec::new()),
            before_gap: LogId::default(),
            gap_count,
            admitted: None,
            removed: false,
            farewell_sent: false,
        }
    }

    /// Copy of the seat; `None` until a script gave one.
    pub(super) fn replica(&self) -> Option<&SeatReplica> {
        self.replica.as_deref()
    }

    /// Position of an admission after which `room:joined` was not sent yet.
    pub(super) fn admitted(&self) -> Option<LogId> {
        self.admitted
    }

    /// Whether the room ended, or the session was removed from it.
    pub(super) fn is_removed(&self) -> bool {
        self.removed
    }

    /// Marks the session as removed from its room.
    pub(super) fn mark_removed(&mut self) {
        self.removed = true;
    }

    /// Applies the session's own change of media to the replica.
    pub(super) fn apply_media_change(&mut self, change: MediaChange) {
        if let Some(replica) = &mut self.replica {
            replica.apply_media_change(change);
        }
    }

    /// Takes the seat that a script gave, and delivers from `start` on, with the buffered events
    /// that are newer. Continues to buffer if the subscription is lost, or returns the read that is
    /// due first: after a gap since the session was registered, and after an admission.
    pub(super) fn go_live(
        &mut self,
        replica: SeatReplica,
        start: DeliveryStart,
        subscription: SubscriptionState,
        send: SendMessage<'_>,
    ) -> Option<LogRead> {
        self.replica = Some(Box::new(replica));
        let (seen, first, admitted) = match start {
            DeliveryStart::After(seen, first) => (seen, first, None),
            DeliveryStart::Admission(at) => (at, None, Some(at)),
        };
        (self.seen, self.before_gap, self.admitted) = (seen, seen, admitted);
        if let Some(message) = first {
            send(message);
        }
        let across_a_gap = std::mem::replace(&mut self.gap_count, subscription.gap_count) != subscription.gap_count;
        if subscription.lost && holds(Rule::LostSubscription) {
            return None;
        }
        if (across_a_gap && holds(Rule::GapDuringScript)) || admitted.is_some() {
            return Some(LogRead { from: seen, gap_count: subscription.gap_count });
        }
        self.flush(send)
    }

    /// Whether everything up to this position was delivered, and the client does not know that yet.
    pub(super) fn is_behind(&self, position: LogId) -> bool {
        self.buffer.is_none() && self.replica.is_some() && position > self.seen
    }

    /// Delivers or buffers an event. Returns the read that is due before the session continues.
    ///
    /// # Errors
    /// [`BufferFull`] when [`BUFFERED_EVENTS_MAX`] events wait already.
    pub(super) fn deliver(&mut self, event: Incoming, send: SendMessage<'_>) -> Result<Option<LogRead>, BufferFull> {
        match &mut self.buffer {
            Some(buffer) if buffer.len() == BUFFERED_EVENTS_MAX => Err(BufferFull),
            Some(buffer) => {
                if self.replica.is_some() || holds(Rule::Overtaking) {
                    buffer.push(event);
                }
                Ok(None)
            }
            None => Ok(self.accept(event, send)),
        }
    }

    /// Whether the session gets an ephemeral event of `from`: only if it is live, out of the lobby,
    /// in the room, and not the sender.
    pub(super) fn takes_ephemeral(&self, from: &PeerId) -> bool {
        let seated = self
            .replica
            .as_ref()
            .is_some_and(|replica| replica.copy.state != ConnectionState::Waiting && replica.seat.peer != *from);
        seated && !self.removed && self.buffer.is_none()
    }

    /// Begins to buffer because the subscription has a gap. Returns the read that closes the gap;
    /// `None` while a script is in progress, because `go_live` finds the gap by its number.
    ///
    /// Everything up to `floor` was delivered. The floor does not count for a session that buffers
    /// already: its own gap began at its position.
    pub(super) fn start_gap(&mut self, gap_count: u64, floor: LogId) -> Option<LogRead> {
        self.replica.as_ref().filter(|_| !self.farewell_sent)?;
        self.gap_count = gap_count;
        if self.buffer.is_none() || !holds(Rule::GapBegins) {
            self.before_gap = self.seen.max(floor);
            self.buffer.get_or_insert_default();
        }
        Some(LogRead { from: self.before_gap, gap_count })
    }

    /// Begins to buffer, so that `room:joined` is sent once more at the session's position. Returns
    /// the read that is due first; `None` for a session that is in no room any more.
    ///
    /// Everything up to `floor` was delivered. The last event of a quiet room may be older than the
    /// log.
    pub(super) fn join_again(&mut self, floor: LogId) -> Option<LogRead> {
        self.replica.as_ref().filter(|_| !self.farewell_sent)?;
        if self.buffer.is_none() {
            self.before_gap = self.seen.max(floor);
            self.buffer = Some(Vec::new());
        }
        self.admitted.get_or_insert(self.before_gap);
        Some(LogRead { from: self.before_gap, gap_count: self.gap_count })
    }

    /// Delivers the entries of a read, then the buffered events. An admitted session gets
    /// `room:joined` first; without a snapshot the same read is due again.
    ///
    /// The buffered events stay buffered if another gap began meanwhile, because events may be
    /// missing between them. The read of that gap delivers those.
    pub(super) fn apply_log(
        &mut self,
        gap_count: u64,
        snapshot: Option<JoinedSnapshot>,
        (room, missed): (&RoomId, &[LogEntry]),
        send: SendMessage<'_>,
    ) -> Option<LogRead> {
        if let Some(from) = self.admitted {
            let Some(JoinedSnapshot { message, copy, meta, .. }) = snapshot else {
                return Some(LogRead { from, gap_count });
            };
            self.admitted = None;
            if let Some(replica) = self.replica.as_deref_mut() {
                (replica.copy, replica.meta) = (copy, meta);
            }
            send(message);
        }
        for entry in missed {
            let again = self.accept(Incoming::from_log(entry, room), send);
            if again.is_some() {
                return again;
            }
        }
        let is_last_gap = self.gap_count == gap_count || !holds(Rule::GapWhileReading);
        if is_last_gap { self.flush(send) } else { None }
    }

    /// Sends the event that removed the session, if it waits in the buffer. Returns whether the
    /// client has it. What else waits is lost with the seat: without one no log can be read.
    pub(super) fn say_farewell(&mut self, send: SendMessage<'_>) -> bool {
        let farewell = self.buffer.as_mut().and_then(|buffer| {
            let at = buffer.iter().position(Incoming::is_farewell)?;
            Some(buffer.swap_remove(at))
        });
        if let Some(farewell) = farewell {
            self.accept(farewell, send);
        }
        self.farewell_sent
    }

    /// Sends an event, except one that the session has, sent itself, or must not see in the lobby.
    /// An admission makes the session buffer again until the room and its log were read.
    fn accept(&mut self, event: Incoming, send: SendMessage<'_>) -> Option<LogRead> {
        if (event.id <= self.seen && holds(Rule::Newer)) || self.farewell_sent {
            return None;
        }
        let replica = self.replica.as_deref_mut()?;
        let waits = replica.copy.state == ConnectionState::Waiting;
        let is_receiver = match &event.receivers {
            Receivers::Session => true,
            Receivers::Room { .. } | Receivers::Moderators if waits => return None,
            Receivers::Room { except } => except.as_ref() != Some(&replica.seat.peer),
            // Changes of role are in the same log, so the replica has the role of this moment.
            Receivers::Moderators => replica.copy.role.may(Action::Admit),
        };
        self.seen = event.id;
        if !is_receiver {
            return None;
        }
        match event.content {
            Content::Event { message, update } => {
                match update.as_deref() {
                    // Before the message is sent, so that a client that reacts immediately is out
                    // of the room already.
                    Some(ReplicaUpdate::Farewell) => (self.removed, self.farewell_sent) = (true, true),
                    Some(update) => replica.apply(update),
                    None => {}
                }
                send(message);
                None
            }
            Content::Admitted { join } => {
                replica.copy.state = ConnectionState::Connected;
                replica.copy.join_id = join;
                self.admitted = Some(event.id);
                self.before_gap = event.id;
                self.buffer.get_or_insert_default();
                Some(LogRead { from: event.id, gap_count: self.gap_count })
            }
        }
    }

    /// Delivers the buffered events and goes live.
    fn flush(&mut self, send: SendMessage<'_>) -> Option<LogRead> {
        let mut read = None;
        for event in self.buffer.take().unwrap_or_default() {
            match &mut self.buffer {
                // An event before this one admitted the session: the rest comes after its read.
                Some(buffer) => buffer.push(event),
                None => read = self.accept(event, send),
            }
        }
        read
    }
}
