//! Sessions of this node that are in a room, or entering one: finds the receivers of an envelope.
//!
//! Sharded by partition, because envelopes arrive by partition. A session registers *before* its
//! script runs and buffers from then on. Later it gets only events that are newer than the position
//! in the script's reply.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use switchboard_core::domain::{DisconnectReason, PeerId, RoomId, SessionHandle};
use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_core::wire::offset::Offset;
use switchboard_core::wire::{EventKind, event_batch};
use switchboard_rooms::{LogId, Partition};
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use switchboard_socketio::send_queue::SendQueue;
use tracing::info_span;

use super::incoming::{Content, Incoming, Receivers};
use super::packets::ephemeral_packet;
use super::replica::SeatReplica;
use super::session_link::{CatchUpRequest, SessionLink};
use super::session_state::{DeliveryStart, SubscriptionState};
use crate::meters::DeliveryMeter;

/// All sessions of this node that are in a room, by partition and room.
#[derive(Debug)]
pub struct Hub {
    partitions: Vec<Mutex<Shard>>,
    next_handle: AtomicU64,
    meter: DeliveryMeter,
}

/// Sessions of one partition.
#[derive(Debug, Default)]
struct Shard {
    rooms: HashMap<RoomId, LocalRoom>,
    /// Number of subscription gaps. A session that was registered at a smaller number may have
    /// missed an event.
    gap_count: u64,
    /// A subscription gap has begun and not ended. Events may be missing before those that arrive.
    lost: bool,
    /// Redis TIME (ms) of the last canary. All older events were delivered.
    canary_ms: u64,
    canary_at: Option<Instant>,
    /// Seats whose clients disconnected, until the end of their grace period. If Redis loses its
    /// data meanwhile, only this node knows them.
    disconnected: Vec<(Instant, SeatReplica)>,
    /// Sessions whose seat Redis does not know as theirs: taken over, or lost with the Redis data.
    /// The next check decides.
    suspects: Vec<Arc<SessionLink>>,
}

/// A room with sessions on this node.
#[derive(Debug, Default)]
struct LocalRoom {
    links: Vec<Arc<SessionLink>>,
    /// Participants of the room on all nodes, as costs count them: those of the last snapshot and
    /// the joins and leaves since. A gap may make it a little wrong until the next snapshot.
    participants: u32,
    /// Position up to which they are counted.
    counted_at: LogId,
}

/// The last canary of a partition: proof that its subscription works.
#[derive(Clone, Copy, Debug, Default)]
pub struct Canary {
    /// Redis TIME of the check that published it, in milliseconds; 0 before the first.
    pub ms: u64,
    /// Time of its arrival.
    pub arrived: Option<Instant>,
}

impl Hub {
    /// Creates a hub without sessions.
    #[must_use]
    pub fn new(partitions: u16) -> Self {
        let partitions = (0..partitions).map(|_| Mutex::default()).collect();
        Self { partitions, next_handle: AtomicU64::new(1), meter: DeliveryMeter::default() }
    }

    fn shard(&self, partition: Partition) -> MutexGuard<'_, Shard> {
        // A panic under the lock leaves at worst one session half registered; the others must
        // continue.
        self.partitions[usize::from(partition.0)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a session for a room. It buffers until [`Hub::go_live`].
    pub fn register(&self, partition: Partition, room: RoomId, send_queue: SendQueue) -> Arc<SessionLink> {
        let handle = SessionHandle(self.next_handle.fetch_add(1, Ordering::Relaxed));
        let mut shard = self.shard(partition);
        let link = Arc::new(SessionLink::new(handle, room.clone(), send_queue, shard.gap_count));
        let links = &mut shard.rooms.entry(room).or_default().links;
        if links.is_empty() {
            metrics::gauge!("switchboard_rooms").increment(1.0);
        }
        links.push(Arc::clone(&link));
        metrics::gauge!("switchboard_sessions").increment(1.0);
        link
    }

    /// Sets the number of participants that a room had at a position of its log. Ignores an older
    /// position.
    pub fn set_participants(&self, partition: Partition, room: &RoomId, at: LogId, participants: u32) {
        if let Some(local) = self.shard(partition).rooms.get_mut(room).filter(|local| at >= local.counted_at) {
            (local.participants, local.counted_at) = (participants, at);
        }
    }

    /// Returns the number of participants of a room on all nodes, about; 0 if no session of this
    /// node is in the room.
    #[must_use]
    pub fn participants(&self, partition: Partition, room: &RoomId) -> u32 {
        self.shard(partition).rooms.get(room).map_or(0, |local| local.participants)
    }

    /// Removes a session. No envelope reaches it after that.
    pub fn unregister(&self, partition: Partition, link: &SessionLink) {
        let mut shard = self.shard(partition);
        if let Some(LocalRoom { links, .. }) = shard.rooms.get_mut(&link.room) {
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

    /// Delivers an envelope to its receivers here. The packet is encoded once and shared. Returns
    /// the read that is due before the receiver continues.
    pub fn deliver(&self, partition: Partition, envelope: Envelope<'_>) -> Option<CatchUpRequest> {
        match envelope {
            Envelope::Event { id: (ms, seq), room, to, kind, event } => {
                for (id, event) in event_batch::events(LogId { ms, seq }, kind, event) {
                    self.deliver_logged(partition, id, (&room, kind, event), &to);
                }
            }
            Envelope::Canary { ms } => {
                let mut shard = self.shard(partition);
                (shard.canary_ms, shard.canary_at) = (ms, Some(Instant::now()));
            }
            Envelope::Ephemeral { room, from, kind, event } => {
                self.deliver_ephemeral(partition, &room, &from, (kind, event));
            }
            Envelope::Drop { room, handle } => {
                if let Some(link) = self.find(partition, &room, handle) {
                    link.close(DisconnectReason::Fenced);
                }
            }
            Envelope::Replaced { room, handle } => {
                if let Some(link) = self.find(partition, &room, handle) {
                    link.close(DisconnectReason::Replaced);
                }
            }
            // `CatchUp::deliver` handles it, because the answer is a request to Redis.
            Envelope::Probe { .. } => {}
            Envelope::Admitted { id: (ms, seq), room, handle, join } => {
                let content = Content::Admitted { join: LogId { ms: join.0, seq: join.1 } };
                let link = self.find(partition, &room, handle)?;
                return link.deliver(Incoming { id: LogId { ms, seq }, receivers: Receivers::Session, content });
            }
            Envelope::RoomGone { room, handle: Some(handle) } => {
                if let Some(link) = self.find(partition, &room, handle) {
                    link.mark_removed();
                }
            }
            Envelope::RoomGone { room, handle: None } => {
                let shard = self.shard(partition);
                shard.rooms.get(&room).iter().flat_map(|local| &local.links).for_each(|link| link.mark_removed());
            }
        }
        None
    }

    fn deliver_logged(
        &self,
        partition: Partition,
        id: LogId,
        (room, kind, event): (&RoomId, EventKind, &str),
        to: &Audience,
    ) {
        let mut shard = self.shard(partition);
        let Some(local) = shard.rooms.get_mut(room) else { return };
        local.count(id, kind);
        let links = &local.links;
        let _span = follow(info_span!(target: TARGET, "deliver", position = %id), room).entered();
        let content = Content::event(id, room, kind, event);
        match to {
            Audience::One(handle) => {
                if let Some(link) = links.iter().find(|link| link.handle == *handle) {
                    link.deliver(Incoming { id, receivers: Receivers::Session, content });
                }
            }
            Audience::All { except } => {
                for link in links {
                    let receivers = Receivers::Room { except: except.clone() };
                    link.deliver(Incoming { id, receivers, content: content.clone() });
                }
            }
            Audience::Moderators => {
                for link in links {
                    link.deliver(Incoming { id, receivers: Receivers::Moderators, content: content.clone() });
                }
            }
        }
        drop(shard);
        self.meter.delivered(id.ms);
    }

    fn deliver_ephemeral(&self, partition: Partition, room: &RoomId, from: &PeerId, (kind, event): (EventKind, &str)) {
        let shard = self.shard(partition);
        let Some(LocalRoom { links, .. }) = shard.rooms.get(room) else { return };
        let message = ephemeral_packet(kind, event);
        for link in links {
            link.deliver_ephemeral(from, &message);
        }
    }

    /// Returns the session with this handle in a room.
    pub fn find(&self, partition: Partition, room: &RoomId, handle: SessionHandle) -> Option<Arc<SessionLink>> {
        let shard = self.shard(partition);
        shard.rooms.get(room)?.links.iter().find(|link| link.handle == handle).cloned()
    }

    /// Begins a gap, because the subscription is lost. All sessions of the partition buffer and
    /// keep their positions until [`Hub::subscription_restored`] returns their reads.
    ///
    /// To wait until then would be too late: later events and canaries arrive between the return of
    /// the subscription and the report of it. A position that followed them would be past the
    /// missed events.
    pub fn subscription_lost(&self, partition: Partition) {
        let mut shard = self.shard(partition);
        shard.lost = true;
        let _read_when_restored = shard.start_gap();
    }

    /// Ends a gap. Returns the reads of the sessions of the partition, which buffer until then.
    pub fn subscription_restored(&self, partition: Partition) -> Vec<CatchUpRequest> {
        let mut shard = self.shard(partition);
        shard.lost = false;
        shard.start_gap()
    }

    /// Delivers from `start` on to a session whose script has replied. The session is live only
    /// after the returned read, if there is one. While the subscription is lost it is live only
    /// after the read that [`Hub::subscription_restored`] returns.
    #[must_use]
    pub fn go_live(
        &self,
        partition: Partition,
        link: &Arc<SessionLink>,
        replica: SeatReplica,
        start: DeliveryStart,
    ) -> Option<CatchUpRequest> {
        // Locked to the end: a gap that began in between would miss a session that is neither
        // entering nor live.
        let shard = self.shard(partition);
        link.go_live(replica, start, SubscriptionState { gap_count: shard.gap_count, lost: shard.lost })
    }

    /// Begins to buffer for a session that joined the room that it is in already. The returned read
    /// sends `room:joined` once more; `None` while the subscription is lost, because then no
    /// session may become live.
    #[must_use]
    pub fn join_again(&self, partition: Partition, link: &Arc<SessionLink>) -> Option<CatchUpRequest> {
        let shard = self.shard(partition);
        if shard.lost { None } else { link.join_again(before(shard.canary_ms)) }
    }

    /// Returns the offset that keeps the position of a quiet client recent: everything up to it was
    /// delivered. `None` while that is unknown, or if the client has it already.
    #[must_use]
    pub fn fresh_offset(&self, partition: Partition, link: &SessionLink) -> Option<Offset> {
        let canary = before(self.shard(partition).canary_ms);
        if !link.is_behind(canary) {
            return None;
        }
        Some(Offset { id: canary, room: link.room.clone() })
    }

    /// Returns the last canary that arrived.
    #[must_use]
    pub fn canary(&self, partition: Partition) -> Canary {
        let shard = self.shard(partition);
        Canary { ms: shard.canary_ms, arrived: shard.canary_at }
    }

    /// Returns whether the subscription of the partition is lost at the moment.
    #[must_use]
    pub fn is_subscription_lost(&self, partition: Partition) -> bool {
        self.shard(partition).lost
    }

    /// Keeps the replica of a seat whose client disconnected, until the end of its grace period.
    pub fn keep_disconnected(&self, partition: Partition, replica: SeatReplica, until: Instant) {
        let mut shard = self.shard(partition);
        let now = Instant::now();
        shard.disconnected.retain(|(until, _)| *until > now);
        shard.disconnected.push((until, replica));
    }

    /// Returns the replicas of seats whose clients disconnected and may still come back.
    #[must_use]
    pub fn disconnected(&self, partition: Partition) -> Vec<SeatReplica> {
        let now = Instant::now();
        let shard = self.shard(partition);
        shard.disconnected.iter().filter(|(until, _)| *until > now).map(|(_, replica)| replica.clone()).collect()
    }

    /// Marks a session whose seat Redis does not know as its own. The next check of the node
    /// decides. Each of its events that wait may say so, and one mark is enough.
    pub fn mark_suspect(&self, partition: Partition, link: &Arc<SessionLink>) {
        let mut shard = self.shard(partition);
        if !shard.suspects.iter().any(|marked| Arc::ptr_eq(marked, link)) {
            shard.suspects.push(Arc::clone(link));
        }
    }

    /// Returns whether sessions were marked since they were taken.
    #[must_use]
    pub fn has_suspects(&self, partition: Partition) -> bool {
        !self.shard(partition).suspects.is_empty()
    }

    /// Takes the sessions that were marked since the last call.
    #[must_use]
    pub fn take_suspects(&self, partition: Partition) -> Vec<Arc<SessionLink>> {
        std::mem::take(&mut self.shard(partition).suspects)
    }

    /// Returns the number of sessions of a partition.
    #[must_use]
    pub fn session_count(&self, partition: Partition) -> usize {
        self.shard(partition).rooms.values().map(|local| local.links.len()).sum()
    }

    /// Returns all sessions of a partition.
    #[must_use]
    pub fn links(&self, partition: Partition) -> Vec<Arc<SessionLink>> {
        self.shard(partition).rooms.values().flat_map(|local| &local.links).cloned().collect()
    }
}

impl LocalRoom {
    /// Counts a participant who joined or left at a position.
    fn count(&mut self, id: LogId, kind: EventKind) {
        if id <= self.counted_at {
            return;
        }
        self.participants = match kind {
            EventKind::UserJoined => self.participants + 1,
            EventKind::UserLeft => self.participants.saturating_sub(1),
            _ => return,
        };
        self.counted_at = id;
    }
}

impl Shard {
    /// Makes all sessions that have a seat buffer. Returns their reads.
    fn start_gap(&mut self) -> Vec<CatchUpRequest> {
        self.gap_count += 1;
        let (gap_count, floor) = (self.gap_count, before(self.canary_ms));
        self.rooms.values().flat_map(|local| &local.links).filter_map(|link| link.start_gap(gap_count, floor)).collect()
    }
}

/// Returns the position up to which all events were delivered: the millisecond before a canary. An
/// entry within the canary's own millisecond may be younger than the canary.
fn before(canary_ms: u64) -> LogId {
    LogId { ms: canary_ms.saturating_sub(1), seq: 0 }
}
