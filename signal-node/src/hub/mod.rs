//! The sessions of this node that are in a room, or on their way into one: where an envelope finds its receivers.
//!
//! Sharded by the rooms' partitions, as envelopes arrive by partition. A session registers here *before* its script runs,
//! buffers what arrives meanwhile, and then delivers only what is newer than the position that the script answered.

mod packets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use switchboard_common::domain::{DisconnectReason, MediaChange, PeerId, RoomId, RoomMeta, SessionHandle};
use switchboard_common::room::{LogEntry, LogId, Partition, Reseat, Seat};
use switchboard_common::wire::envelope::{Audience, Envelope};
use switchboard_common::wire::offset::Offset;

use crate::meters::DeliveryMeter;
use crate::outbox::{Message, Outbox};
use packets::hint;
pub use packets::{close, packet, told};

/// Messages that a session may buffer while its script is on the way or its log is read. More is a room that talks faster than
/// Redis answers: the client then resumes from the log.
const BUFFER: usize = 4096;

/// Every session that is in a room, by partition and room.
#[derive(Debug)]
pub struct Hub {
    partitions: Vec<Mutex<Shard>>,
    next_handle: AtomicU64,
    meter: DeliveryMeter,
}

/// The rooms of one partition.
#[derive(Debug, Default)]
struct Shard {
    rooms: HashMap<RoomId, Vec<Arc<Link>>>,
    /// Raised at each gap of the subscription: who was on the way in an older one may have missed something.
    epoch: u64,
    /// The subscription has a gap that has not ended: what arrives already may have a hole before it.
    interrupted: bool,
    /// Redis TIME (ms) of the last canary: everything older was delivered.
    canary_ms: u64,
    canary_at: Option<Instant>,
    /// Sessions whose seat Redis does not know as theirs: taken over, or lost with Redis' data. The next beat tells which.
    doubted: Vec<Arc<Link>>,
}

/// A session in a room: the receiving end.
#[derive(Debug)]
pub struct Link {
    /// Its name in the seat.
    pub handle: SessionHandle,
    /// The room.
    pub room: RoomId,
    /// The way to the client.
    pub outbox: Outbox,
    state: Mutex<Delivery>,
}

/// What a script gave a session, and what Redis would have to be told if it forgot.
#[derive(Debug)]
pub struct Holding {
    /// The seat.
    pub seat: Arc<Seat>,
    /// How the seat looks.
    pub copy: Reseat,
    /// The room's call.
    pub meta: Arc<RoomMeta>,
}

#[derive(Debug)]
struct Delivery {
    holding: Option<Box<Holding>>,
    /// The position of the last event delivered.
    seen: LogId,
    /// What arrives while a script or a log read is on the way; `None` when live.
    buffer: Option<Vec<Buffered>>,
    /// The last position before the gap for which it buffers.
    before_gap: LogId,
    /// The subscription epoch up to which nothing is missing.
    epoch: u64,
    /// The room is gone: the session is in no room any more.
    gone: bool,
}

#[derive(Debug)]
struct Buffered {
    id: LogId,
    except: Option<PeerId>,
    message: Message,
}

/// Proof that a partition's subscription lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Canary {
    /// Redis TIME of the beat that sent it, in milliseconds; 0 before the first.
    pub ms: u64,
    /// When it came.
    pub arrived: Option<Instant>,
}

/// A session that may have missed something: read its room's log after `from` and give it to [`Link::caught_up`].
#[derive(Debug)]
pub struct CatchUp {
    /// The session.
    pub link: Arc<Link>,
    /// The last position that is surely delivered.
    pub from: LogId,
    /// The subscription epoch that this mends; a later gap is mended by its own.
    pub epoch: u64,
}

impl Hub {
    /// An empty hub for this many partitions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        let partitions = (0..partitions).map(|_| Mutex::default()).collect();
        Self { partitions, next_handle: AtomicU64::new(1), meter: DeliveryMeter::default() }
    }

    fn shard(&self, partition: Partition) -> MutexGuard<'_, Shard> {
        // A panic under the lock leaves at worst one link half-registered; the rest must go on.
        self.partitions[usize::from(partition.0)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a session for a room; from now on it buffers what arrives.
    pub fn register(&self, partition: Partition, room: RoomId, outbox: Outbox) -> Arc<Link> {
        let handle = SessionHandle(self.next_handle.fetch_add(1, Ordering::Relaxed));
        let mut shard = self.shard(partition);
        let state = Delivery {
            holding: None,
            seen: LogId::default(),
            buffer: Some(Vec::new()),
            before_gap: LogId::default(),
            epoch: shard.epoch,
            gone: false,
        };
        let link = Arc::new(Link { handle, room: room.clone(), outbox, state: Mutex::new(state) });
        let links = shard.rooms.entry(room).or_default();
        if links.is_empty() {
            metrics::gauge!("switchboard_rooms").increment(1.0);
        }
        links.push(Arc::clone(&link));
        metrics::gauge!("switchboard_sessions").increment(1.0);
        link
    }

    /// Forgets a session; nothing reaches it through this link any more.
    pub fn unregister(&self, partition: Partition, link: &Link) {
        let mut shard = self.shard(partition);
        if let Some(links) = shard.rooms.get_mut(&link.room) {
            let before = links.len();
            links.retain(|other| other.handle != link.handle);
            if links.len() < before {
                metrics::gauge!("switchboard_sessions").decrement(1.0);
            }
            if links.is_empty() {
                shard.rooms.remove(&link.room);
                metrics::gauge!("switchboard_rooms").decrement(1.0);
            }
        }
    }

    /// Delivers an envelope to its sessions here. The packet is encoded once and shared.
    pub fn deliver(&self, partition: Partition, envelope: Envelope) {
        match envelope {
            Envelope::Event { id: (ms, seq), room, to, event } => {
                let id = LogId { ms, seq };
                let shard = self.shard(partition);
                let Some(links) = shard.rooms.get(&room) else { return };
                let message = packet(id, &room, &event);
                match to {
                    Audience::One(handle) => {
                        if let Some(link) = links.iter().find(|link| link.handle == handle) {
                            link.deliver(id, None, message);
                        }
                    }
                    Audience::All { except } => {
                        for link in links {
                            link.deliver(id, except.as_ref(), message.clone());
                        }
                    }
                }
                drop(shard);
                self.meter.delivered(ms);
            }
            Envelope::Canary { ms } => {
                let mut shard = self.shard(partition);
                (shard.canary_ms, shard.canary_at) = (ms, Some(Instant::now()));
            }
            Envelope::Hint { room, from, event } => {
                let shard = self.shard(partition);
                let Some(links) = shard.rooms.get(&room) else { return };
                let message = hint(&event);
                for link in links {
                    link.hint(&from, &message);
                }
            }
            Envelope::Drop { room, handle } => {
                let shard = self.shard(partition);
                let links = shard.rooms.get(&room).into_iter().flatten();
                if let Some(link) = links.into_iter().find(|link| link.handle == handle) {
                    link.close(DisconnectReason::Fenced);
                }
            }
            Envelope::RoomGone { room } => {
                let shard = self.shard(partition);
                shard.rooms.get(&room).into_iter().flatten().for_each(|link| link.lock().gone = true);
            }
        }
    }

    /// The subscription was lost: from here on every session of the partition buffers, and its position stands still, until the
    /// subscription is whole and [`Hub::gap`] says what to read. To wait until then would be too late: between the subscription's
    /// return and the news of it, later events and canaries arrive, and a position that followed them would be past the hole.
    pub fn interrupted(&self, partition: Partition) {
        let mut shard = self.shard(partition);
        shard.interrupted = true;
        let _read_when_whole = shard.open_gap();
    }

    /// The subscription is whole after a gap: every session of the partition buffers until its log was read. Returns what to read.
    pub fn gap(&self, partition: Partition) -> Vec<CatchUp> {
        let mut shard = self.shard(partition);
        shard.interrupted = false;
        shard.open_gap()
    }

    /// Makes a link whose script has answered live: `first` goes out, then what was buffered after `seen`. If the
    /// subscription had a gap meanwhile, it is live only after what is returned was read; if the gap has not ended, after
    /// what [`Hub::gap`] will return.
    #[must_use]
    pub fn go_live(
        &self,
        partition: Partition,
        link: &Arc<Link>,
        holding: Holding,
        seen: LogId,
        first: Option<Message>,
    ) -> Option<CatchUp> {
        // Held to the end: a gap that opened in between would find a link neither on its way nor live, and pass it by.
        let shard = self.shard(partition);
        let mut state = link.lock();
        state.holding = Some(Box::new(holding));
        (state.seen, state.before_gap) = (seen, seen);
        if let Some(message) = first {
            link.send(message);
        }
        let across_a_gap = std::mem::replace(&mut state.epoch, shard.epoch) != shard.epoch;
        if shard.interrupted {
            return None;
        }
        if across_a_gap {
            return Some(CatchUp { link: Arc::clone(link), from: seen, epoch: shard.epoch });
        }
        link.flush(&mut state);
        None
    }

    /// The offset that keeps a quiet client's position fresh: everything up to it was delivered. `None` while that is unknown.
    #[must_use]
    pub fn tick(&self, partition: Partition, link: &Link) -> Option<Offset> {
        let canary = before(self.shard(partition).canary_ms);
        let state = link.lock();
        if state.buffer.is_some() || state.holding.is_none() || canary <= state.seen {
            return None;
        }
        Some(Offset { ms: canary.ms, seq: 0, room: link.room.clone() })
    }

    /// The last canary that arrived.
    #[must_use]
    pub fn canary(&self, partition: Partition) -> Canary {
        let shard = self.shard(partition);
        Canary { ms: shard.canary_ms, arrived: shard.canary_at }
    }

    /// Whether the partition's subscription is lost at the moment.
    #[must_use]
    pub fn is_interrupted(&self, partition: Partition) -> bool {
        self.shard(partition).interrupted
    }

    /// Redis does not know a session's seat as its own: the janitor decides what that means.
    pub fn doubt(&self, partition: Partition, link: &Arc<Link>) {
        self.shard(partition).doubted.push(Arc::clone(link));
    }

    /// The sessions that were doubted since the last time.
    #[must_use]
    pub fn take_doubted(&self, partition: Partition) -> Vec<Arc<Link>> {
        std::mem::take(&mut self.shard(partition).doubted)
    }

    /// Every session of a partition.
    #[must_use]
    pub fn links(&self, partition: Partition) -> Vec<Arc<Link>> {
        self.shard(partition).rooms.values().flatten().cloned().collect()
    }
}

impl Shard {
    /// Every session that a script has seated buffers from here on.
    fn open_gap(&mut self) -> Vec<CatchUp> {
        self.epoch += 1;
        let (epoch, floor) = (self.epoch, before(self.canary_ms));
        self.rooms.values().flatten().filter_map(|link| link.open_gap(epoch, floor)).collect()
    }
}

impl Link {
    fn lock(&self) -> MutexGuard<'_, Delivery> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The seat, once a script has given one.
    #[must_use]
    pub fn seat(&self) -> Option<Arc<Seat>> {
        self.lock().holding.as_ref().map(|holding| holding.seat.clone())
    }

    /// What Redis is to be told if it forgot the seat.
    #[must_use]
    pub fn held(&self) -> Option<(Arc<Seat>, Reseat, Arc<RoomMeta>)> {
        let state = self.lock();
        let Holding { seat, copy, meta } = state.holding.as_deref()?;
        Some((seat.clone(), copy.clone(), meta.clone()))
    }

    /// Keeps the copy of the seat true to its media, once Redis has taken the change.
    pub fn media_changed(&self, change: MediaChange) {
        if let Some(holding) = &mut self.lock().holding {
            holding.copy.media = change.applied_to(holding.copy.media);
        }
    }

    /// Whether the room ended under the session.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Closes the session's transport, with a goodbye only when the client shall stay away.
    pub fn close(&self, reason: DisconnectReason) {
        close(&self.outbox, reason);
    }

    fn deliver(&self, id: LogId, except: Option<&PeerId>, message: Message) {
        let mut state = self.lock();
        if let Some(buffer) = &mut state.buffer {
            if buffer.len() == BUFFER {
                drop(state);
                metrics::counter!("switchboard_delivery_buffer_overflows_total").increment(1);
                self.close(DisconnectReason::Fenced);
                return;
            }
            buffer.push(Buffered { id, except: except.cloned(), message });
            return;
        }
        self.pass(&mut state, id, except, message);
    }

    /// Sends what is worth nothing later: only to who is live, and not to its sender.
    fn hint(&self, from: &PeerId, message: &Message) {
        let state = self.lock();
        let seated = state.holding.as_ref().is_some_and(|holding| holding.seat.peer != *from);
        if seated && state.buffer.is_none() {
            self.send(message.clone());
        }
    }

    /// Sends an event unless the session has it already or is its sender.
    fn pass(&self, state: &mut Delivery, id: LogId, except: Option<&PeerId>, message: Message) {
        if id <= state.seen {
            return;
        }
        state.seen = id;
        if except.is_none() || except != state.holding.as_ref().map(|holding| &holding.seat.peer) {
            self.send(message);
        }
    }

    fn send(&self, message: Message) {
        // Overflow closes the socket by itself, and a closed one resumes from the log: nothing is lost by going on.
        let _closing = self.outbox.send(message);
    }

    fn flush(&self, state: &mut Delivery) {
        for Buffered { id, except, message } in state.buffer.take().unwrap_or_default() {
            self.pass(state, id, except.as_ref(), message);
        }
    }

    /// Back to buffering, unless a script is still on the way: then `go_live` finds out. Everything up to `floor` was
    /// delivered, but to a session that buffers already: its position is where its own gap began.
    fn open_gap(self: &Arc<Self>, epoch: u64, floor: LogId) -> Option<CatchUp> {
        let mut state = self.lock();
        state.holding.as_ref()?;
        state.epoch = epoch;
        if state.buffer.is_none() {
            state.before_gap = state.seen.max(floor);
            state.buffer = Some(Vec::new());
        }
        Some(CatchUp { link: Arc::clone(self), from: state.before_gap, epoch })
    }

    /// Delivers what the log has after a gap, then what arrived meanwhile, unless there was another gap by then: what is
    /// buffered may have a hole, which that gap's own reading fills.
    pub fn caught_up(&self, epoch: u64, missed: Vec<LogEntry>) {
        let mut state = self.lock();
        for entry in missed {
            let message = packet(entry.id, &self.room, &entry.event);
            self.pass(&mut state, entry.id, None, message);
        }
        if state.epoch == epoch {
            self.flush(&mut state);
        }
    }
}

/// Everything strictly before a canary's millisecond was delivered; within it an entry may be younger than the canary.
fn before(canary_ms: u64) -> LogId {
    LogId { ms: canary_ms.saturating_sub(1), seq: 0 }
}

#[cfg(test)]
mod tests;
