//! Reads from the rooms' logs the events that this node missed, and delivers them to their
//! sessions.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use switchboard_auth::IceConfig;
use switchboard_core::domain::{DisconnectReason, NodeId, RoomId, SessionHandle};
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::{CaughtUp, LogId, Partition, Rooms};
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use super::joined_snapshot::{JoinedSnapshot, joined_snapshot};
use super::session_link::{CatchUpRequest, SessionLink};

/// Reads in flight after one gap. A node with 20,000 sessions must not queue all of them in Redis
/// at the same time.
const READS_IN_FLIGHT_MAX: usize = 64;
/// Maximum number of attempts to read a log. After that the client is disconnected and resumes,
/// which reads the log too.
const READ_ATTEMPTS_MAX: u32 = 20;
/// Time between two attempts to read a log.
const READ_RETRY_INTERVAL: Duration = Duration::from_millis(250);

/// Catch-up of one node. Clones share its parts.
#[derive(Clone, Debug)]
pub struct CatchUp {
    /// This node.
    pub node: NodeId,
    /// ICE servers, for `room:joined`.
    pub ice: Arc<IceConfig>,
    /// Room state, for logs and snapshots.
    pub rooms: Rooms,
    /// Sessions of this node.
    pub hub: Arc<Hub>,
    /// Tasks that read logs, because receiving must not wait for a read.
    pub tasks: TaskTracker,
}

impl CatchUp {
    /// Reads the logs of all sessions of a partition after a subscription gap.
    pub fn subscription_restored(&self, partition: Partition, cause: &'static str) {
        metrics::counter!("switchboard_subscription_gaps_total", "cause" => cause).increment(1);
        let requests = self.hub.subscription_restored(partition);
        if !requests.is_empty() {
            let catch_up = self.clone();
            self.tasks.spawn(async move {
                let reads = stream::iter(requests);
                let read = async |request| drop(catch_up.read_log(request).await);
                reads.for_each_concurrent(READS_IN_FLIGHT_MAX, read).await;
            });
        }
    }

    /// Delivers an envelope. An admission from the lobby starts a read of the room and its log.
    pub fn deliver(&self, partition: Partition, envelope: Envelope<'_>) {
        if let Envelope::Probe { room, handle } = &envelope {
            return self.probe(partition, room, *handle);
        }
        let request = self.hub.deliver(partition, envelope);
        self.start(request);
    }

    /// Pings a client, and tells its room when it answers. The join that asked does not wait longer
    /// than this.
    fn probe(&self, partition: Partition, room: &RoomId, handle: SessionHandle) {
        let Some(link) = self.hub.find(partition, room, handle) else { return };
        let (rooms, answer) = (self.rooms.clone(), link.send_queue.probe());
        self.tasks.spawn(async move {
            let answered = tokio::time::timeout(rooms.options().probe, answer).await;
            if let (Ok(Ok(())), Some(seat)) = (answered, link.seat()) {
                // Without the answer, the join takes the seat over, and the client joins again.
                let _asked_again = rooms.confirm_alive(&seat).await;
            }
        });
    }

    /// Starts a read in a task of its own, if there is one to do.
    pub fn start(&self, request: Option<CatchUpRequest>) {
        if let Some(request) = request {
            let catch_up = self.clone();
            self.tasks.spawn(async move { drop(catch_up.read_log(request).await) });
        }
    }

    /// Sends `room:joined` once more to a session that joined the room that it is in already.
    /// Returns the fields of its payload; `None` if the room cannot be read.
    pub async fn join_again(&self, partition: Partition, link: &Arc<SessionLink>) -> Option<String> {
        self.read_log(self.hub.join_again(partition, link)?).await
    }

    /// Reads the log of one session and delivers the missed events, after `room:joined` if that is
    /// due. Returns the fields of the payload of `room:joined`. Disconnects the client after
    /// [`READ_ATTEMPTS_MAX`] attempts, and if the log no longer reaches back far enough.
    async fn read_log(&self, CatchUpRequest { link, mut from, mut gap_count }: CatchUpRequest) -> Option<String> {
        let (mut suspected, mut joined) = (false, None);
        for _ in 0..READ_ATTEMPTS_MAX {
            let seat = link.seat()?;
            let snapshot = match link.admitted() {
                Some(at) => {
                    from = from.max(at);
                    // Before the log is read: a participant may be announced twice, never omitted.
                    self.read_snapshot(&link, at).await
                }
                None => None,
            };
            joined = snapshot.as_ref().map(|snapshot| snapshot.fields.clone()).or(joined);
            match self.rooms.catch_up(&seat, from).await {
                Ok(CaughtUp::Missed(missed)) => match link.apply_log(gap_count, snapshot, &missed) {
                    Some(again) => {
                        (from, gap_count) = (again.from, again.gap_count);
                        continue;
                    }
                    None => return joined,
                },
                Ok(CaughtUp::TooOld) => break,
                // The session left while its log was read. Its client may have another seat.
                Ok(CaughtUp::NotSeated)
                    if self.hub.find(self.rooms.partition_of(&link.room), &link.room, link.handle).is_none() =>
                {
                    return None;
                }
                // The next heartbeat disconnects the client, or restores the seat; then the log
                // can be read.
                Ok(CaughtUp::NotSeated) if !suspected => {
                    self.hub.mark_suspect(self.rooms.partition_of(&link.room), &link);
                    suspected = true;
                }
                Ok(CaughtUp::NotSeated) | Err(_) => {}
            }
            tokio::time::sleep(READ_RETRY_INTERVAL).await;
        }
        link.close(DisconnectReason::Fenced);
        None
    }

    /// Reads the room for a session to which `room:joined` is due at the position `at`.
    async fn read_snapshot(&self, link: &SessionLink, at: LogId) -> Option<JoinedSnapshot> {
        let room = self.rooms.snapshot(&link.room).await.ok().flatten()?;
        link.with_replica(|replica| joined_snapshot((&self.node, &self.ice), &link.room, replica, room, at)).flatten()
    }
}
