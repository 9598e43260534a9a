//! Leaving, ending, and the end of a socket.

use switchboard_core::domain::{Code, DisconnectReason, Refusal, RoomId};
use switchboard_rooms::{Ended, StoreError};

use tokio::time::Instant;

use super::Dispatcher;
use super::enter::unavailable;
use super::session::{Entered, Session};
use crate::hub::told;
use switchboard_socketio::CloseReason;

/// Who is ended for these is not coming back.
const FOR_GOOD: [DisconnectReason; 2] = [DisconnectReason::Revoked, DisconnectReason::Removed];

/// How somebody goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// For good.
    Leave,
    /// Without goodbye: the seat is kept for the grace.
    Detach,
}

impl Dispatcher {
    /// `room:leave`. Always taken: if Redis is away, it is told later.
    pub(super) async fn leave(&self, session: &mut Session) -> Result<String, Refusal> {
        let Some(entered) = session.entered.take() else { return Err(Code::NotInRoom.into()) };
        let room = entered.place.room.clone();
        session.idle_since = Instant::now();
        self.depart(entered, Exit::Leave).await;
        Ok(format!(r#","roomId":"{room}""#))
    }

    /// `room:end-call`
    pub(super) async fn end_call(&self, session: &mut Session, room: &RoomId) -> Result<String, Refusal> {
        let Some(entered) = &session.entered else { return Err(Code::NotInRoom.into()) };
        match self.rooms.end_as_host(&entered.seat, "ended_by_host").await.map_err(unavailable)? {
            Ended::Done | Ended::Already => Ok(format!(r#","roomId":"{room}""#)),
            Ended::Denied => Err(Code::HostRequired.into()),
            Ended::Stale => Err(Code::NotInRoom.into()),
        }
    }

    /// The end of a socket: who said goodbye has left, anybody else may come back.
    pub(super) async fn close_session(&self, mut session: Session, reason: CloseReason) {
        let stays_away = matches!(reason, CloseReason::ServerClosed(reason) if FOR_GOOD.map(told).contains(&reason));
        let exit = if reason.is_intentional() || stays_away { Exit::Leave } else { Exit::Detach };
        if let Some(entered) = session.entered.take() {
            self.depart(entered, exit).await;
        }
    }

    /// A room that ended is left without a word: its members were told.
    pub(super) fn forget_gone_room(&self, session: &mut Session) {
        if let Some(entered) = session.entered.take_if(|entered| entered.link.is_gone()) {
            self.hub.unregister(entered.partition, &entered.link);
            session.idle_since = Instant::now();
            let rooms = self.rooms.clone();
            self.tasks.spawn(async move { rooms.leave(&entered.seat, "left").await });
        }
    }

    /// Gives up a seat. The store tells Redis however long it takes, so an answer that does not come changes nothing; a seat
    /// that is somebody else's by now is given up just as well.
    pub(super) async fn depart(&self, entered: Entered, exit: Exit) {
        self.hub.unregister(entered.partition, &entered.link);
        if exit == Exit::Detach
            && let Some(mut holding) = entered.link.held()
        {
            holding.copy.away = true;
            self.hub.remember(entered.partition, holding, std::time::Instant::now() + self.rooms.options().grace);
        }
        let done = match exit {
            Exit::Leave => self.rooms.leave(&entered.seat, "left").await,
            Exit::Detach => self.rooms.detach(&entered.seat).await,
        };
        if let Err(StoreError::Unexpected(detail)) = done {
            tracing::error!(detail, "a seat was given up with an unexpected answer");
        }
    }
}
