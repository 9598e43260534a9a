//! Leaving a room, ending a call, and the end of a connection.

use switchboard_core::domain::{Code, DisconnectReason, EndReason, LeaveReason, Refusal, RoomId};
use switchboard_rooms::{Ended, StoreError};
use switchboard_socketio::CloseReason;
use tokio::time::Instant;

use super::Dispatcher;
use super::refusals::{stands_in, store_refusal};
use super::session::{ClientSession, CurrentRoom};
use crate::delivery::transport_reason;

/// These reasons are final: the seat gets no grace period.
const FINAL_REASONS: [DisconnectReason; 2] = [DisconnectReason::Revoked, DisconnectReason::Removed];

/// Way in which a session gives up its seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The seat is free immediately.
    Leave,
    /// The connection was lost: the seat is kept for the grace period.
    Detach,
}

impl Dispatcher {
    /// `room:leave`. Always succeeds: if Redis is away, the seat is freed there later.
    pub(super) async fn leave(&self, session: &mut ClientSession) -> Result<String, Refusal> {
        let Some(current) = session.room.take() else { return Err(Code::NotInRoom.into()) };
        let room = current.view.room.clone();
        session.idle_since = Instant::now();
        self.depart(current, Exit::Leave).await;
        Ok(format!(r#","roomId":"{}""#, room.name()))
    }

    /// `room:end-call`
    pub(super) async fn end_call(&self, session: &mut ClientSession, room: &RoomId) -> Result<String, Refusal> {
        let Some(current) = &session.room else { return Err(Code::NotInRoom.into()) };
        match self.rooms.end_as_host(&current.seat, EndReason::ByHost.as_str()).await.map_err(store_refusal)? {
            Ended::Done | Ended::Already => Ok(format!(r#","roomId":"{}""#, room.name())),
            Ended::Denied => Err(Code::HostRequired.into()),
            Ended::StandIn => Err(stands_in()),
            Ended::Stale => Err(Code::NotInRoom.into()),
        }
    }

    /// Ends a session with its connection. After a goodbye or a final reason the seat is free;
    /// otherwise the client may come back.
    pub(super) async fn close_session(&self, mut session: ClientSession, reason: CloseReason) {
        let is_final = matches!(reason, CloseReason::ServerClosed(reason) if FINAL_REASONS.map(transport_reason).contains(&reason));
        let exit = if reason.is_intentional() || is_final { Exit::Leave } else { Exit::Detach };
        if let Some(current) = session.room.take() {
            self.depart(current, exit).await;
        }
    }

    /// Leaves a room that ended, or that removed the session. Sends nothing, because the client was
    /// notified before.
    pub(super) fn leave_if_removed(&self, session: &mut ClientSession) {
        if let Some(current) = session.room.take_if(|current| current.link.is_removed()) {
            self.hub.unregister(current.partition, &current.link);
            session.idle_since = Instant::now();
            let rooms = self.rooms.clone();
            self.tasks.spawn(async move { rooms.leave(&current.seat, LeaveReason::Left.as_str()).await });
        }
    }

    /// Gives up a seat. A missing reply changes nothing, because `Rooms` repeats the request until
    /// Redis has it. A seat that another socket has taken meanwhile is not touched by the script.
    pub(super) async fn depart(&self, current: CurrentRoom, exit: Exit) {
        self.hub.unregister(current.partition, &current.link);
        if exit == Exit::Detach
            && let Some(mut replica) = current.link.restorable_replica()
        {
            replica.copy.away = true;
            let until = std::time::Instant::now() + self.rooms.options().grace;
            self.hub.keep_disconnected(current.partition, replica, until);
        }
        let done = match exit {
            Exit::Leave => self.rooms.leave(&current.seat, LeaveReason::Left.as_str()).await,
            Exit::Detach => self.rooms.detach(&current.seat).await,
        };
        if let Err(StoreError::Unexpected(detail)) = done {
            tracing::error!(detail, "unexpected reply to a departure");
        }
    }
}
