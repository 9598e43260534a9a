//! Claims: seats that Redis gave and no session has taken over yet.

use std::sync::{Arc, Weak};

use redis::Value;
use switchboard_core::domain::{RoomId, SessionHandle};
use tokio::sync::oneshot;

use super::Rooms;
use super::members::departure_request;
use crate::executor::Executor;
use crate::lanes::{Commands, Payload, Request};
use crate::scripts::{Reply, ScriptArguments};
use crate::{Seat, StoreError};

/// Way in which a seat is given up that no session took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GiveUp {
    /// The seat is free immediately: it is new.
    Leave,
    /// The seat is kept for the grace period: it was there before.
    Detach,
}

/// A seat that no session has taken over yet. The caller may be gone when the reply comes, or may
/// have got `Unavailable` before. A claim that is dropped gives its seat up; otherwise the seat
/// would stay taken without a session.
pub(super) struct Claim {
    executor: Weak<Executor>,
    seat: Option<Arc<Seat>>,
    give_up: GiveUp,
}

impl Claim {
    /// Takes over the seat.
    pub(super) fn take(mut self) -> Result<Arc<Seat>, StoreError> {
        self.seat.take().ok_or_else(|| StoreError::expected("a seat"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(seat), Some(executor)) = (self.seat.take(), self.executor.upgrade()) {
            executor.push(departure_request(executor.context(), &seat, self.give_up));
        }
    }
}

/// Answer to a request for a seat.
pub(super) struct Claimed<R> {
    pub(super) claim: Claim,
    pub(super) reply: R,
    /// Answer to the command after the script in the same transaction.
    pub(super) read: Option<Value>,
}

/// Origin of a claim: the data that turn a reply into one.
#[derive(Clone)]
struct Claimant {
    executor: Weak<Executor>,
    room: RoomId,
    handle: SessionHandle,
    give_up: GiveUp,
}

impl Claimant {
    /// Reads the replies to a script, or to a transaction of a script and a command.
    fn claim<S: ScriptArguments>(self, mut answers: Vec<Value>) -> Result<Claimed<S::Reply>, StoreError> {
        let mut read = None;
        if answers.len() > 1 {
            let Some(Value::Array(mut parts)) = answers.pop() else {
                return Err(StoreError::expected("a transaction"));
            };
            read = parts.pop();
            answers = parts;
        }
        let reply = Reply::from_answers(answers)?;
        let Self { executor, room, handle, give_up } = self;
        let seat = reply.given_seat()?.map(|given| {
            if let Some(executor) = executor.upgrade() {
                executor.saw(given.id);
            }
            Arc::new(Seat::new(room, given.peer, given.generation, handle))
        });
        // Made before the rest of the reply is read, so that an error there gives the seat up.
        let give_up = if reply.gives_own_seat() { GiveUp::Detach } else { give_up };
        let claim = Claim { executor, seat, give_up };
        Ok(Claimed { reply: S::parse(&reply)?, claim, read })
    }
}

impl Rooms {
    /// Requests a seat with the script `S`. An answer that comes after the caller was refused gives
    /// the seat up.
    pub(super) async fn claim<S: ScriptArguments<Reply: Send + 'static>>(
        &self,
        room: &RoomId,
        handle: SessionHandle,
        commands: Commands,
        give_up: GiveUp,
    ) -> Result<Claimed<S::Reply>, StoreError> {
        let executor = Arc::downgrade(&self.inner.executor);
        let claimant = Claimant { executor, room: room.clone(), handle, give_up };
        let late = claimant.clone();
        let (sender, answer) = oneshot::channel();
        let on_answer = move |result: Result<Vec<Value>, StoreError>| {
            // A caller that is gone drops the claim.
            let _ = sender.send(result.and_then(|answers| claimant.claim::<S>(answers)));
        };
        let payload = Payload::Commands(commands);
        let request = Request::new(self.partition_of(room), S::SCRIPT.name(), payload, Box::new(on_answer));
        self.push(request.on_late_answer(Box::new(move |answers| drop(late.claim::<S>(answers)))));
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }
}
