//! Leaving, ending, and the end of a socket.

use std::sync::Arc;
use std::time::Duration;

use switchboard_common::domain::{Code, Refusal, RoomId};
use switchboard_common::room::{Ended, Left, Rooms, Seat, StoreError};

use super::Dispatcher;
use super::enter::unavailable;
use super::session::{Entered, Session};
use crate::transport::CloseReason;

/// Between tries to tell Redis that somebody is gone. A node that dies meanwhile is swept, which says the same.
const PAUSE: Duration = Duration::from_millis(500);

/// How somebody goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
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
        self.depart(entered, Exit::Leave).await;
        Ok(format!(r#","roomId":"{room}""#))
    }

    /// `room:end-call`
    pub(super) async fn end_call(&self, session: &mut Session, room: &RoomId) -> Result<String, Refusal> {
        let Some(entered) = &session.entered else { return Err(Code::NotInRoom.into()) };
        match self.rooms.end_by(&entered.seat, "ended_by_host").await.map_err(unavailable)? {
            Ended::Done | Ended::Already => Ok(format!(r#","roomId":"{room}""#)),
            Ended::Denied => Err(Code::HostRequired.into()),
            Ended::Stale => Err(Code::NotInRoom.into()),
        }
    }

    /// The end of a socket: who said goodbye has left, anybody else may come back.
    pub(super) async fn close_session(&self, mut session: Session, reason: CloseReason) {
        let exit = if reason.is_goodbye() { Exit::Leave } else { Exit::Detach };
        if let Some(entered) = session.entered.take() {
            self.depart(entered, exit).await;
        }
    }

    /// A room that ended is left without a word: its members were told.
    pub(super) fn forget_gone_room(&self, session: &mut Session) {
        if let Some(entered) = session.entered.take_if(|entered| entered.link.is_gone()) {
            self.hub.unregister(entered.partition, &entered.link);
            self.depart_later(entered, Exit::Leave);
        }
    }

    /// Gives up a seat. Tried once here; if Redis does not answer, again and again apart from the session.
    async fn depart(&self, entered: Entered, exit: Exit) {
        self.hub.unregister(entered.partition, &entered.link);
        if give_up(&self.rooms, &entered.seat, exit).await.is_err() {
            self.depart_later(entered, exit);
        }
    }

    fn depart_later(&self, entered: Entered, exit: Exit) {
        let rooms = self.rooms.clone();
        self.tasks.spawn(async move {
            while give_up(&rooms, &entered.seat, exit).await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

/// One try. A seat that is somebody else's by now is given up just as well.
async fn give_up(rooms: &Rooms, seat: &Arc<Seat>, exit: Exit) -> Result<Left, StoreError> {
    match exit {
        Exit::Leave => rooms.leave(seat, "left").await,
        Exit::Detach => rooms.detach(seat).await,
    }
}
