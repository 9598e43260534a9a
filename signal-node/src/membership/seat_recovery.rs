//! Restores seats that Redis may have lost, from this node's replicas.

use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use switchboard_core::domain::DisconnectReason;
use switchboard_rooms::{Partition, ReseatOutcome, Rooms};
use tokio_util::task::TaskTracker;

use crate::delivery::{Hub, SeatReplica, SessionLink};

/// Requests in flight. A node with 20,000 sessions must not queue all of them in Redis at the same
/// time.
const REQUESTS_IN_FLIGHT_MAX: usize = 64;

/// Restores the seats of one node. Clones share its parts.
#[derive(Clone, Debug)]
pub struct SeatRecovery {
    /// Room state.
    pub rooms: Rooms,
    /// Sessions of this node.
    pub hub: Arc<Hub>,
    /// Tasks that restore seats, because heartbeats must not wait for them.
    pub tasks: TaskTracker,
}

impl SeatRecovery {
    /// Starts to restore all seats of a partition. A session that still has its seat keeps it. A
    /// session whose seat cannot be restored is disconnected; its client joins again.
    pub(super) fn start_partition(&self, partition: Partition) {
        let recovery = self.clone();
        self.tasks.spawn(async move {
            recovery.restore_sessions(recovery.hub.links(partition)).await;
            // Also the seats whose clients disconnected a moment ago. Without them no node would
            // tell the room that these participants are gone.
            stream::iter(recovery.hub.disconnected(partition))
                .for_each_concurrent(REQUESTS_IN_FLIGHT_MAX, |replica| recovery.restore_disconnected(replica))
                .await;
        });
    }

    /// Starts to restore the seats of some sessions.
    pub(super) fn start_sessions(&self, links: Vec<Arc<SessionLink>>) {
        let recovery = self.clone();
        self.tasks.spawn(async move { recovery.restore_sessions(links).await });
    }

    async fn restore_sessions(&self, links: Vec<Arc<SessionLink>>) {
        stream::iter(links).for_each_concurrent(REQUESTS_IN_FLIGHT_MAX, |link| self.restore_session(link)).await;
    }

    async fn restore_session(&self, link: Arc<SessionLink>) {
        let Some(SeatReplica { seat, copy, meta }) = link.restorable_replica() else { return };
        let outcome = match self.rooms.reseat(&seat, &copy, &meta).await {
            Ok(ReseatOutcome::Done) => "done",
            Ok(ReseatOutcome::Gone | ReseatOutcome::Fenced) => "gone",
            Err(_) => "error",
        };
        count(outcome);
        if outcome != "done" {
            link.close(DisconnectReason::Fenced);
        }
    }

    async fn restore_disconnected(&self, SeatReplica { seat, copy, meta }: SeatReplica) {
        // If it fails there is no client here that could be notified.
        let restored = matches!(self.rooms.reseat(&seat, &copy, &meta).await, Ok(ReseatOutcome::Done));
        count(if restored { "departed" } else { "gone" });
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("switchboard_reseats_total", "outcome" => outcome).increment(1);
}
