//! One session in a room: the lock and the send queue around [`SessionState`], which decides.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use switchboard_core::domain::{DisconnectReason, MediaChange, PeerId, RoomId, SessionHandle};
use switchboard_rooms::{LogEntry, LogId, Seat};
use switchboard_socketio::send_queue::{Message, SendQueue};

use crate::app_limiters::AppPlace;

use super::incoming::Incoming;
use super::joined_snapshot::JoinedSnapshot;
use super::packets::close;
use super::replica::SeatReplica;
use super::session_state::{BufferFull, DeliveryStart, LogRead, SessionState, SubscriptionState};

/// The receiving end of a session in a room.
#[derive(Debug)]
pub struct SessionLink {
    /// Name of the session in its seat and in envelopes.
    pub handle: SessionHandle,
    /// Room of the session.
    pub room: RoomId,
    /// Queue of the client's connection.
    pub send_queue: SendQueue,
    state: Mutex<SessionState>,
    /// Time at which the session came back to its seat, if it did.
    resumed_at: OnceLock<Instant>,
    /// Place of the participant among those of the app.
    place: Mutex<Option<AppPlace>>,
}

/// Asks to read the room's log after `from` for a session that may have missed events.
/// [`SessionLink::apply_log`] takes the result.
#[derive(Debug)]
pub struct CatchUpRequest {
    /// The session.
    pub link: Arc<SessionLink>,
    /// Last position up to which all events are known to be delivered.
    pub from: LogId,
    /// Number of the subscription gap that the read closes.
    pub gap_count: u64,
}

impl SessionLink {
    /// Creates the link of a session whose script is in progress.
    pub(super) fn new(handle: SessionHandle, room: RoomId, send_queue: SendQueue, gap_count: u64) -> Self {
        let state = Mutex::new(SessionState::new(gap_count));
        Self { handle, room, send_queue, state, resumed_at: OnceLock::new(), place: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state. A session that is removed by it gives up its place at once, because its
    /// client may stay connected in no room.
    fn change<T>(&self, change: impl FnOnce(&mut SessionState) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        let is_removed = state.is_removed();
        drop(state);
        if is_removed {
            let place = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(place);
        }
        result
    }

    /// Keeps the place of the participant until the session has left the room, or was removed.
    pub fn hold_place(&self, place: Option<AppPlace>) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// Returns the seat; `None` until a script gave one.
    #[must_use]
    pub fn seat(&self) -> Option<Arc<Seat>> {
        self.lock().replica().map(|replica| replica.seat.clone())
    }

    /// Returns a copy of the replica to restore the seat with, if Redis lost it. `None` for a
    /// session that was removed, because its seat must not come back.
    #[must_use]
    pub fn restorable_replica(&self) -> Option<SeatReplica> {
        let state = self.lock();
        state.replica().filter(|_| !state.is_removed()).cloned()
    }

    /// Records that the session came back to its seat.
    pub fn mark_resumed(&self) {
        self.resumed_at.get_or_init(Instant::now);
    }

    /// Returns whether the session may be moved to another node: it is in its room, and did not
    /// come back to its seat within the time `rest`.
    #[must_use]
    pub fn may_move(&self, rest: Duration) -> bool {
        self.resumed_at.get().is_none_or(|at| at.elapsed() >= rest) && self.seat().is_some()
    }

    /// Reads the replica in place, without a copy.
    pub fn with_replica<T>(&self, read: impl FnOnce(&SeatReplica) -> T) -> Option<T> {
        self.lock().replica().map(read)
    }

    /// Returns the position at which `room:joined` is due and was not sent yet.
    #[must_use]
    pub fn admitted(&self) -> Option<LogId> {
        self.lock().admitted()
    }

    /// Applies the session's own change of media to the replica, after Redis has accepted it.
    pub fn apply_media_change(&self, change: MediaChange) {
        self.lock().apply_media_change(change);
    }

    /// Returns whether the room ended, or the session was removed from it.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.lock().is_removed()
    }

    /// Marks the session as removed from its room.
    pub(super) fn mark_removed(&self) {
        self.change(SessionState::mark_removed);
    }

    /// Closes the client's connection. The client stays away only if the reason says so.
    pub fn close(&self, reason: DisconnectReason) {
        close(&self.send_queue, reason);
    }

    /// See [`SessionState::go_live`].
    pub(super) fn go_live(
        self: &Arc<Self>,
        replica: SeatReplica,
        start: DeliveryStart,
        subscription: SubscriptionState,
    ) -> Option<CatchUpRequest> {
        let read = self.change(|state| state.go_live(replica, start, subscription, &mut |message| self.send(message)));
        self.request(read)
    }

    /// See [`SessionState::is_behind`].
    pub(super) fn is_behind(&self, position: LogId) -> bool {
        self.lock().is_behind(position)
    }

    /// Delivers or buffers an event. Closes the connection if the buffer is full.
    pub(super) fn deliver(self: &Arc<Self>, event: Incoming) -> Option<CatchUpRequest> {
        let outcome = self.change(|state| state.deliver(event, &mut |message| self.send(message)));
        match outcome {
            Ok(read) => self.request(read),
            Err(BufferFull) => {
                metrics::counter!("switchboard_delivery_buffer_overflows_total").increment(1);
                self.close(DisconnectReason::Fenced);
                None
            }
        }
    }

    /// Sends an ephemeral event, if the session is live and not the sender.
    pub(super) fn deliver_ephemeral(&self, from: &PeerId, message: &Message) {
        let state = self.lock();
        if state.takes_ephemeral(from) {
            self.send(message.clone());
        }
    }

    /// See [`SessionState::start_gap`].
    pub(super) fn start_gap(self: &Arc<Self>, gap_count: u64, floor: LogId) -> Option<CatchUpRequest> {
        let read = self.lock().start_gap(gap_count, floor);
        self.request(read)
    }

    /// See [`SessionState::join_again`].
    pub(super) fn join_again(self: &Arc<Self>, floor: LogId) -> Option<CatchUpRequest> {
        let read = self.lock().join_again(floor);
        self.request(read)
    }

    /// Delivers the entries that were read from the log, then the buffered events. Returns the next
    /// read if one is due: see [`SessionState::apply_log`].
    pub fn apply_log(
        self: &Arc<Self>,
        gap_count: u64,
        snapshot: Option<JoinedSnapshot>,
        missed: &[LogEntry],
    ) -> Option<CatchUpRequest> {
        let log = (&self.room, missed);
        let read = self.change(|state| state.apply_log(gap_count, snapshot, log, &mut |message| self.send(message)));
        self.request(read)
    }

    /// Sends the event that removed the session, if it waits for a read of the log. Returns whether
    /// the client has it.
    pub(super) fn say_farewell(&self) -> bool {
        self.change(|state| state.say_farewell(&mut |message| self.send(message)))
    }

    fn request(self: &Arc<Self>, read: Option<LogRead>) -> Option<CatchUpRequest> {
        read.map(|LogRead { from, gap_count }| CatchUpRequest { link: Arc::clone(self), from, gap_count })
    }

    fn send(&self, message: Message) {
        // A queue that overflows closes the connection by itself, and the client resumes from the
        // log: nothing is lost if the session continues.
        let _closing = self.send_queue.send(message);
    }
}
