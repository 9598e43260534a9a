//! Mends what this node and Redis no longer agree on: events that the subscription missed are read from the rooms' logs, seats
//! that Redis lost are taken again from this node's copies.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use switchboard_core::domain::{DisconnectReason, NodeId, RoomMeta};
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::{CaughtUp, Partition, ReseatOutcome, Rooms, Seat, SeatCopy};
use tokio_util::task::TaskTracker;

use crate::hub::{CatchUp, Holding, Hub, Link};
use crate::welcome::welcome;

/// Calls in flight for one mending: a node of 20,000 sessions must not queue them all on Redis at once.
const CALLS: usize = 64;
/// Tries to read a log, and the pause between two. After that the session resumes, which reads the log too.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);

/// The mender of one node.
#[derive(Clone, Debug)]
pub struct Mender {
    /// This node.
    pub node: NodeId,
    /// The rooms' logs.
    pub rooms: Rooms,
    /// The sessions.
    pub hub: Arc<Hub>,
    /// Reading goes on apart from receiving, which must not wait for it.
    pub tasks: TaskTracker,
}

impl Mender {
    /// A partition's subscription is whole again after it was not: what was missed is read from the logs.
    pub fn gap(&self, partition: Partition, cause: &'static str) {
        metrics::counter!("switchboard_subscription_gaps_total", "cause" => cause).increment(1);
        let missed = self.hub.gap(partition);
        if !missed.is_empty() {
            let mender = self.clone();
            self.tasks.spawn(async move {
                stream::iter(missed).for_each_concurrent(CALLS, |missed| mender.catch_up(missed)).await;
            });
        }
    }

    /// Delivers what was published. Who is let in from the lobby is to be told first what it finds there.
    pub fn deliver(&self, partition: Partition, envelope: Envelope<'_>) {
        if let Some(admitted) = self.hub.deliver(partition, envelope) {
            let mender = self.clone();
            self.tasks.spawn(async move { mender.catch_up(admitted).await });
        }
    }

    /// Reads one session's log and delivers what it missed; if it was let in from the lobby, after what it is told of the room.
    pub async fn catch_up(&self, CatchUp { link, mut from, mut epoch }: CatchUp) {
        let mut doubted = false;
        for _ in 0..TRIES {
            let Some(seat) = link.seat() else { return };
            let welcome = match link.admitted() {
                Some(at) => {
                    from = from.max(at);
                    // The room is read before the log: what the log has since is said once more rather than not at all.
                    match self.rooms.snapshot(&link.room).await {
                        Ok(Some(room)) => {
                            link.look(|holding| welcome(&self.node, &link.room, holding, room, at)).flatten()
                        }
                        Ok(None) | Err(_) => None,
                    }
                }
                None => None,
            };
            match self.rooms.catch_up(&seat, from).await {
                Ok(CaughtUp::Missed(missed)) => match link.caught_up(epoch, welcome, &missed) {
                    Some(again) => {
                        (from, epoch) = (again.from, again.epoch);
                        continue;
                    }
                    None => return,
                },
                Ok(CaughtUp::TooOld) => break,
                // The next beat closes the session, or takes its seat again; then there is a log to read.
                Ok(CaughtUp::NotSeated) if !doubted => {
                    self.hub.doubt(self.rooms.partition_of(&link.room), &link);
                    doubted = true;
                }
                Ok(CaughtUp::NotSeated) | Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        link.close(DisconnectReason::Fenced);
    }

    /// Takes a partition's seats again; who has its seat keeps it. Who cannot resumes, finds nothing, and joins afresh.
    pub async fn reseat(&self, partition: Partition) {
        self.verify(self.hub.links(partition)).await;
        // Also those whose sockets were lost a moment ago, or nobody would ever tell the room that they are gone.
        let departed = stream::iter(self.hub.departed(partition));
        departed.for_each_concurrent(CALLS, |Holding { seat, copy, meta }| self.put_back(seat, copy, meta)).await;
    }

    async fn put_back(&self, seat: Arc<Seat>, copy: SeatCopy, meta: Arc<RoomMeta>) {
        // Whatever keeps it from being there, nobody is left to be told.
        let outcome = self.rooms.reseat(&seat, &copy, &meta).await;
        let outcome = if matches!(outcome, Ok(ReseatOutcome::Done)) { "departed" } else { "gone" };
        metrics::counter!("switchboard_reseats_total", "outcome" => outcome).increment(1);
    }

    /// The same for single sessions.
    pub async fn verify(&self, links: Vec<Arc<Link>>) {
        stream::iter(links).for_each_concurrent(CALLS, |link| self.take_again(link)).await;
    }

    async fn take_again(&self, link: Arc<Link>) {
        let Some(Holding { seat, copy, meta }) = link.held() else { return };
        let outcome = match self.rooms.reseat(&seat, &copy, &meta).await {
            Ok(ReseatOutcome::Done) => "done",
            Ok(ReseatOutcome::Gone | ReseatOutcome::Fenced) => "gone",
            Err(_) => "error",
        };
        metrics::counter!("switchboard_reseats_total", "outcome" => outcome).increment(1);
        if outcome != "done" {
            link.close(DisconnectReason::Fenced);
        }
    }
}
