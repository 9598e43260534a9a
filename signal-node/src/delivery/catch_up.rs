//! Reads from the rooms' logs the events that this node missed, and delivers them to their
//! sessions.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use switchboard_auth::IceConfig;
use switchboard_core::domain::{DisconnectReason, NodeId, RoomId, SessionHandle};
use switchboard_core::wire::envelope::Envelope;
use switchboard_rooms::{CaughtUp, LogId, Partition, Rooms};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::hub::Hub;
use super::joined_snapshot::{JoinedSnapshot, SharedSnapshot, joined_snapshot};
use super::room_reads::RoomReads;
use super::session_link::{CatchUpRequest, SessionLink};

/// Maximum number of rooms whose logs this node reads at the same time. Rooms beyond it wait here
/// and not in the queue to Redis, where a slow link would make them late.
const READS_IN_FLIGHT_MAX: usize = 8;
/// Maximum number of attempts to read a log. After that the client is disconnected and resumes,
/// which reads the log too.
const READ_ATTEMPTS_MAX: u32 = 20;
/// Shortest and longest time between two attempts to read a log. It doubles with each of them.
const READ_RETRY_INTERVALS: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

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
    /// A permit for each room whose log is being read.
    pub reads: ReadPermits,
    /// Reads of rooms that sessions share.
    pub room_reads: RoomReads,
}

/// Permits for reads of rooms and their logs.
#[derive(Clone, Debug)]
pub struct ReadPermits(Arc<Semaphore>);

impl Default for ReadPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(READS_IN_FLIGHT_MAX)))
    }
}

/// Sessions that need another read of their room's log.
#[derive(Default)]
struct Unfinished {
    requests: Vec<CatchUpRequest>,
    /// A read failed, or Redis does not know a seat. The next read comes after a pause.
    must_wait: bool,
}

impl CatchUp {
    /// Reads the logs of all sessions of a partition after a subscription gap.
    pub fn subscription_restored(&self, partition: Partition, cause: &'static str) {
        metrics::counter!("switchboard_subscription_gaps_total", "cause" => cause).increment(1);
        let mut rooms: HashMap<RoomId, Vec<CatchUpRequest>> = HashMap::new();
        for request in self.hub.subscription_restored(partition) {
            rooms.entry(request.link.room.clone()).or_default().push(request);
        }
        for (room, requests) in rooms {
            let catch_up = self.clone();
            self.tasks.spawn(async move { drop(catch_up.read_log(&room, requests).await) });
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
            let room = request.link.room.clone();
            self.tasks.spawn(async move { drop(catch_up.read_log(&room, vec![request]).await) });
        }
    }

    /// Sends `room:joined` once more to a session that joined the room that it is in already.
    /// Returns the fields of its payload; `None` if the room cannot be read.
    pub async fn join_again(&self, partition: Partition, link: &Arc<SessionLink>) -> Option<String> {
        self.read_log(&link.room, vec![self.hub.join_again(partition, link)?]).await
    }

    /// Reads a room's log for sessions in it and delivers the missed events, to each after
    /// `room:joined` if that is due. Returns the fields of the payload of the last `room:joined`.
    /// Disconnects clients after [`READ_ATTEMPTS_MAX`] attempts, and if the log no longer reaches
    /// back far enough.
    async fn read_log(&self, room: &RoomId, mut requests: Vec<CatchUpRequest>) -> Option<String> {
        let (mut joined, mut interval) = (None, READ_RETRY_INTERVALS.0);
        for _ in 0..READ_ATTEMPTS_MAX {
            let unfinished = {
                let _permit = self.reads.0.acquire().await.ok()?;
                self.read_once(room, requests, &mut joined).await
            };
            requests = unfinished.requests;
            if requests.is_empty() {
                return joined;
            }
            if unfinished.must_wait {
                metrics::counter!("switchboard_catch_up_retries_total").increment(1);
                tokio::time::sleep(interval).await;
                interval = (interval * 2).min(READ_RETRY_INTERVALS.1);
            }
        }
        for request in requests {
            request.link.close(DisconnectReason::Fenced);
        }
        joined
    }

    /// Reads the room, if `room:joined` is due to a session, and its log. Returns the sessions that
    /// need another read.
    async fn read_once(&self, room: &RoomId, requests: Vec<CatchUpRequest>, joined: &mut Option<String>) -> Unfinished {
        let mut sessions = Vec::with_capacity(requests.len());
        let mut readers = Vec::with_capacity(requests.len());
        for request in requests {
            // A session without a seat has ended.
            let Some(seat) = request.link.seat() else { continue };
            let admitted = request.link.admitted();
            sessions.push((seat, admitted.map_or(request.from, |at| request.from.max(at))));
            readers.push((request, admitted));
        }
        let snapshot = if readers.iter().any(|(_, admitted)| admitted.is_some()) {
            // Before the log is read: a participant may be announced twice, never omitted.
            self.room_reads.read(room).await.ok().flatten()
        } else {
            None
        };
        let Ok(answers) = self.rooms.catch_up(room, &sessions).await else {
            return Unfinished { requests: readers.into_iter().map(|(request, _)| request).collect(), must_wait: true };
        };
        let mut unfinished = Unfinished::default();
        for ((request, admitted), answer) in readers.into_iter().zip(answers) {
            let due = match answer {
                CaughtUp::Missed(_) => {
                    admitted.and_then(|at| self.joined_snapshot(&request.link, snapshot.as_ref()?, at))
                }
                CaughtUp::TooOld | CaughtUp::NotSeated => None,
            };
            unfinished.must_wait |= admitted.is_some() && due.is_none();
            if let Some(due) = &due {
                *joined = Some(due.fields.clone());
            }
            match apply(&self.hub, self.rooms.partition_of(room), request, due, answer) {
                AfterRead::Done => {}
                AfterRead::Next(request) => unfinished.requests.push(request),
                AfterRead::Later(request) => {
                    unfinished.must_wait = true;
                    unfinished.requests.push(request);
                }
            }
        }
        unfinished
    }

    /// Makes `room:joined` for a session to which it is due at the position `at`.
    fn joined_snapshot(&self, link: &SessionLink, room: &Arc<SharedSnapshot>, at: LogId) -> Option<JoinedSnapshot> {
        let participants = room.room.participants();
        self.hub.set_participants(self.rooms.partition_of(&link.room), &link.room, at, participants);
        link.with_replica(|replica| joined_snapshot((&self.node, &self.ice), &link.room, replica, room, at)).flatten()
    }
}

/// Work that is left for a session after a read of its log.
pub(super) enum AfterRead {
    /// Nothing.
    Done,
    /// Another read.
    Next(CatchUpRequest),
    /// The same read, after a pause.
    Later(CatchUpRequest),
}

/// Delivers to a session the events that the read of its log returned, after `room:joined` if that
/// is due.
pub(super) fn apply(
    hub: &Hub,
    partition: Partition,
    request: CatchUpRequest,
    due: Option<JoinedSnapshot>,
    answer: CaughtUp,
) -> AfterRead {
    let link = &request.link;
    match answer {
        CaughtUp::Missed(missed) => {
            link.apply_log(request.gap_count, due, &missed).map_or(AfterRead::Done, AfterRead::Next)
        }
        CaughtUp::TooOld => {
            link.close(DisconnectReason::Fenced);
            AfterRead::Done
        }
        // Removed while its log was read.
        CaughtUp::NotSeated if link.say_farewell() => AfterRead::Done,
        // A session that left meanwhile needs nothing. Of the others, the next check of the node
        // disconnects the client or restores the seat.
        CaughtUp::NotSeated if hub.find(partition, &link.room, link.handle).is_some() => {
            hub.mark_suspect(partition, link);
            AfterRead::Later(request)
        }
        CaughtUp::NotSeated => AfterRead::Done,
    }
}
