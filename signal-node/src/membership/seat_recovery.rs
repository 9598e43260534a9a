//! Restores seats that Redis may have lost, from this node's replicas.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use switchboard_core::domain::DisconnectReason;
use switchboard_rooms::{Partition, ReseatOutcome, Rooms, StoreError};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::delivery::{Hub, SeatReplica, SessionLink};

/// Requests in flight, of all partitions together. A node with 20,000 sessions must not queue all
/// of them in Redis at the same time.
const REQUESTS_IN_FLIGHT_MAX: usize = 64;
/// Maximum number of attempts to restore a seat, each of which waits for Redis for 2 s. After that
/// the client is disconnected.
const ATTEMPTS_MAX: u32 = 20;
/// Time between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Restores the seats of one node. Clones share its parts.
#[derive(Clone, Debug)]
pub struct SeatRecovery {
    rooms: Rooms,
    hub: Arc<Hub>,
    /// Tasks that restore seats, because heartbeats must not wait for them.
    tasks: TaskTracker,
    /// Permits for requests in flight.
    requests: Arc<Semaphore>,
}

impl SeatRecovery {
    /// Creates the recovery of this node's sessions, which runs in `tasks`.
    #[must_use]
    pub fn new(rooms: Rooms, hub: Arc<Hub>, tasks: TaskTracker) -> Self {
        Self { rooms, hub, tasks, requests: Arc::new(Semaphore::new(REQUESTS_IN_FLIGHT_MAX)) }
    }

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
        let partition = self.rooms.partition_of(&link.room);
        // A session that ended has given its seat up.
        let is_here = || self.hub.find(partition, &link.room, link.handle).is_some();
        match self.reseat(|| link.restorable_replica().filter(|_| is_here())).await {
            Ok(None) => {}
            Ok(Some(ReseatOutcome::Done)) => count("done"),
            Ok(Some(ReseatOutcome::Gone | ReseatOutcome::Fenced)) => {
                count("gone");
                link.close(DisconnectReason::Fenced);
            }
            Err(_) => {
                count("error");
                link.close(DisconnectReason::Fenced);
            }
        }
    }

    async fn restore_disconnected(&self, replica: SeatReplica) {
        // If it fails there is no client here that could be notified.
        let restored = matches!(self.reseat(|| Some(replica.clone())).await, Ok(Some(ReseatOutcome::Done)));
        count(if restored { "departed" } else { "gone" });
    }

    /// Puts a seat back while there is a copy of it; `None` when there is none. A Redis that does
    /// not reply says nothing about the seat, so the same is tried again.
    async fn reseat(&self, copy: impl Fn() -> Option<SeatReplica>) -> Result<Option<ReseatOutcome>, StoreError> {
        let mut attempts = 0;
        loop {
            // Nobody closes the semaphore.
            let permit = self.requests.acquire().await;
            let Some(SeatReplica { seat, copy, meta }) = copy() else { return Ok(None) };
            attempts += 1;
            let restored = self.rooms.reseat(&seat, &copy, &meta).await;
            drop(permit);
            match restored {
                Err(StoreError::Unavailable) if attempts < ATTEMPTS_MAX => count("retried"),
                outcome => return outcome.map(Some),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("switchboard_reseats_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use devcluster::redis::RedisServer;
    use switchboard_core::domain::{
        CallId, CallSettings, CallType, ConnectionState, MediaState, NodeId, PublicUser, Role, RoomId, RoomMeta, UserId,
    };
    use switchboard_rooms::conn::RedisUrl;
    use switchboard_rooms::{Join, Joined, Proof, RoomOptions, SeatCopy};
    use switchboard_socketio::send_queue::{SendQueue, SendQueueLimits};

    use super::*;
    use crate::delivery::DeliveryStart;

    #[tokio::test]
    async fn a_session_keeps_its_socket_while_redis_does_not_say_whether_its_seat_is_there() {
        let mut server = RedisServer::start().await.unwrap();
        let url = RedisUrl::parse(&server.url()).unwrap();
        let rooms = Rooms::connect(&url, RoomOptions::default(), NodeId::parse("n1").unwrap()).await.unwrap();
        rooms.register_node().await.unwrap();
        let user = UserId::parse("65a000000000000000000002").unwrap();
        let meta = RoomMeta {
            call_id: CallId::parse("65a000000000000000000001").unwrap(),
            name: String::new(),
            host: user.clone(),
            call_type: CallType::Public,
            settings: CallSettings::default(),
            max_participants: 2,
            locked: false,
            passcode_hash: None,
            invited: Vec::new(),
            created_at: String::new(),
            version: 1,
        };
        let room = RoomId::parse("R").unwrap();
        rooms.open(&room, &meta).await.unwrap();
        let (hub, partition) = (Arc::new(Hub::new(rooms.partitions())), rooms.partition_of(&room));
        let (send_queue, queue) = SendQueue::detached(SendQueueLimits { bytes: 1 << 20, messages: 100 });
        let link = hub.register(partition, room.clone(), send_queue);
        let public = PublicUser::new(user.clone(), "Ann".to_owned(), None);
        let join = Join {
            room: room.clone(),
            meta_version: 1,
            grant: None,
            user,
            pid: "pid".to_owned(),
            old_pid: None,
            handle: link.handle,
            role: Role::Host,
            waits: false,
            public: public.clone(),
            media: MediaState::default(),
            given: Some(Role::Host),
            permissions: None,
            given_permissions: None,
            proof: Proof::default(),
        };
        let Joined::Seated { seat, id, .. } = rooms.join(join).await.unwrap() else { panic!("a free room") };
        let copy = SeatCopy {
            pid: "pid".to_owned(),
            state: ConnectionState::Connected,
            away: false,
            role: Role::Host,
            permissions: None,
            permissions_given: false,
            public,
            media: MediaState::default(),
            hand_raised_at: None,
            join_id: id,
            from: id,
            joined_at: String::new(),
            address: None,
        };
        let replica = SeatReplica { seat, copy, meta: Arc::new(meta) };
        assert!(hub.go_live(partition, &link, replica, DeliveryStart::After(id, None)).is_none());

        let recovery = SeatRecovery::new(rooms.clone(), hub, TaskTracker::new());
        server.query::<()>(&redis::cmd("FLUSHALL")).await.unwrap();
        rooms.register_node().await.unwrap();
        server.process().pause().unwrap();
        recovery.start_partition(partition);
        recovery.tasks.close();
        // Longer than a request waits.
        let ended = tokio::time::timeout(Duration::from_secs(3), recovery.tasks.wait()).await;
        assert!(ended.is_err() && !queue.is_ending());
        server.process().resume().unwrap();
        tokio::time::timeout(Duration::from_secs(30), recovery.tasks.wait()).await.unwrap();
        assert!(!queue.is_ending());
        assert_eq!(rooms.snapshot(&room).await.unwrap().unwrap().seats.len(), 1, "the seat is back");
    }
}
