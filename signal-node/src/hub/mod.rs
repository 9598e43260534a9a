//! The sessions of this node that are in a room, or on their way into one: where an envelope finds its receivers.
//!
//! Sharded by the rooms' partitions, as envelopes arrive by partition. A session registers here *before* its script runs,
//! buffers what arrives meanwhile, and then delivers only what is newer than the position that the script answered.

mod link;
mod packets;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use switchboard_core::domain::{DisconnectReason, RoomId, SessionHandle};
use switchboard_core::wire::envelope::{Audience, Envelope};
use switchboard_core::wire::news::News;
use switchboard_core::wire::offset::Offset;
use switchboard_rooms::{LogId, Partition};
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use tracing::info_span;

use crate::meters::DeliveryMeter;
use link::{Arrival, Reach, What};
pub use link::{CatchUp, Holding, Link, Start, Welcome, admission};
use packets::hint;
pub use packets::{close, packet, told};
use switchboard_socketio::send_queue::SendQueue;

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
    /// Seats whose sockets were lost, and until when: should Redis lose its data meanwhile, nobody else would know of them.
    departed: Vec<(Instant, Holding)>,
    /// Sessions whose seat Redis does not know as theirs: taken over, or lost with Redis' data. The next beat tells which.
    doubted: Vec<Arc<Link>>,
}

/// Proof that a partition's subscription lives.
#[derive(Clone, Copy, Debug, Default)]
pub struct Canary {
    /// Redis TIME of the beat that sent it, in milliseconds; 0 before the first.
    pub ms: u64,
    /// When it came.
    pub arrived: Option<Instant>,
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
    pub fn register(&self, partition: Partition, room: RoomId, outbox: SendQueue) -> Arc<Link> {
        let handle = SessionHandle(self.next_handle.fetch_add(1, Ordering::Relaxed));
        let mut shard = self.shard(partition);
        let link = Arc::new(Link::new(handle, room.clone(), outbox, shard.epoch));
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

    /// Delivers an envelope to its sessions here. The packet is encoded once and shared. Returns what is to be read before the session
    /// concerned goes on.
    pub fn deliver(&self, partition: Partition, envelope: Envelope<'_>) -> Option<CatchUp> {
        match envelope {
            Envelope::Event { id: (ms, seq), room, to, event } => {
                let id = LogId { ms, seq };
                let shard = self.shard(partition);
                let links = shard.rooms.get(&room)?;
                let _span = follow(info_span!(target: TARGET, "deliver", position = %id), &room).entered();
                let what = What::Event { message: packet(id, &room, event), news: News::of(event).map(Arc::new) };
                match to {
                    Audience::One(handle) => {
                        if let Some(link) = links.iter().find(|link| link.handle == handle) {
                            link.deliver(Arrival { id, reach: Reach::Own, what });
                        }
                    }
                    Audience::All { except } => {
                        for link in links {
                            let reach = Reach::All { except: except.clone() };
                            link.deliver(Arrival { id, reach, what: what.clone() });
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
                let links = shard.rooms.get(&room)?;
                let message = hint(event);
                for link in links {
                    link.hint(&from, &message);
                }
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
            Envelope::Admitted { id: (ms, seq), room, handle, join } => {
                let what = What::Admitted { join: LogId { ms: join.0, seq: join.1 } };
                let link = self.find(partition, &room, handle)?;
                return link.deliver(Arrival { id: LogId { ms, seq }, reach: Reach::Own, what });
            }
            Envelope::RoomGone { room, handle: Some(handle) } => {
                if let Some(link) = self.find(partition, &room, handle) {
                    link.set_gone();
                }
            }
            Envelope::RoomGone { room, handle: None } => {
                self.shard(partition).rooms.get(&room).into_iter().flatten().for_each(|link| link.set_gone());
            }
        }
        None
    }

    fn find(&self, partition: Partition, room: &RoomId, handle: SessionHandle) -> Option<Arc<Link>> {
        let shard = self.shard(partition);
        shard.rooms.get(room)?.iter().find(|link| link.handle == handle).cloned()
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

    /// Makes a link whose script has answered live: from `start` on, with what was buffered after it. If the subscription had a gap
    /// meanwhile, it is live only after what is returned was read; if the gap has not ended, after what [`Hub::gap`] will return.
    #[must_use]
    pub fn go_live(&self, partition: Partition, link: &Arc<Link>, holding: Holding, start: Start) -> Option<CatchUp> {
        // Held to the end: a gap that opened in between would find a link neither on its way nor live, and pass it by.
        let shard = self.shard(partition);
        link.go_live(holding, start, (shard.epoch, shard.interrupted))
    }

    /// The offset that keeps a quiet client's position fresh: everything up to it was delivered. `None` while that is unknown.
    #[must_use]
    pub fn tick(&self, partition: Partition, link: &Link) -> Option<Offset> {
        let canary = before(self.shard(partition).canary_ms);
        if !link.is_behind(canary) {
            return None;
        }
        Some(Offset { id: LogId { ms: canary.ms, seq: 0 }, room: link.room.clone() })
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

    /// Keeps the copy of a seat without a socket, until its grace is over.
    pub fn remember(&self, partition: Partition, holding: Holding, until: Instant) {
        let mut shard = self.shard(partition);
        let now = Instant::now();
        shard.departed.retain(|(until, _)| *until > now);
        shard.departed.push((until, holding));
    }

    /// The copies that are kept.
    #[must_use]
    pub fn departed(&self, partition: Partition) -> Vec<Holding> {
        let now = Instant::now();
        let shard = self.shard(partition);
        shard.departed.iter().filter(|(until, _)| *until > now).map(|(_, holding)| holding.clone()).collect()
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

/// Everything strictly before a canary's millisecond was delivered; within it an entry may be younger than the canary.
fn before(canary_ms: u64) -> LogId {
    LogId { ms: canary_ms.saturating_sub(1), seq: 0 }
}

#[cfg(test)]
mod tests;
