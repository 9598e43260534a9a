//! The GETs of a session: one hangs at a time, and the answer of the latest is kept until the next one shows that it arrived.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::CloseReason;
use super::mark::Mark;
use super::payload::noop;

/// A GET whose connection broke comes again within this, or the session is over. Whoever repeats it does so at once.
const REPEAT: Duration = Duration::from_secs(1);

/// The latest GET, and what became of it.
#[derive(Debug, Default)]
pub(super) struct Gets {
    /// Counts them, so that one which was repeated is told apart from its repeat.
    number: u64,
    mark: Option<Mark>,
    hanging: Option<oneshot::Sender<Bytes>>,
    /// What it was answered. Only one with a mark can come again, and so only then.
    answer: Option<Bytes>,
    /// Its connection broke before the answer was written: by then it has come again.
    given_up: Option<Instant>,
}

impl Gets {
    /// Whether one waits for an answer.
    pub(super) fn is_hanging(&self) -> bool {
        self.hanging.is_some()
    }

    /// When one that was given up has to have come again.
    pub(super) fn given_up(&self) -> Option<Instant> {
        self.given_up
    }

    /// What the latest one was answered, if this is the same again.
    pub(super) fn repeated(&mut self, mark: Option<Mark>) -> Option<Bytes> {
        let answer = self.answer.clone().filter(|_| mark.is_some() && mark == self.mark)?;
        self.given_up = None;
        Some(answer)
    }

    /// Takes in another one; gives its number, and where its answer comes. When it is the hanging one again, it takes that one's place.
    ///
    /// # Errors
    /// Why the session is over: another one hangs, or the client gave up the last one, and with it what that was answered.
    pub(super) fn begin(&mut self, mark: Option<Mark>) -> Result<(u64, oneshot::Receiver<Bytes>), CloseReason> {
        let repeats = mark.is_some() && mark == self.mark;
        match &self.hanging {
            Some(hanging) if !repeats && !hanging.is_closed() => {
                return Err(CloseReason::ProtocolError("two polls at once"));
            }
            Some(_) if !repeats => return Err(CloseReason::TransportLost),
            None if self.given_up.is_some() => return Err(CloseReason::TransportLost),
            Some(_) | None => {}
        }
        let (answer, answered) = oneshot::channel();
        if let Some(first) = self.hanging.replace(answer) {
            // Whoever still waits for the first has nothing to wait for; as a rule nobody does.
            let _nobody = first.send(noop());
        }
        *self = Self { number: self.number + 1, mark, hanging: self.hanging.take(), answer: None, given_up: None };
        Ok((self.number, answered))
    }

    /// Answers the one that hangs, if one does.
    ///
    /// # Errors
    /// The client gave it up, and will not come for the answer.
    pub(super) fn answer(&mut self, payload: Bytes) -> Result<(), CloseReason> {
        let Some(hanging) = self.hanging.take() else { return Ok(()) };
        self.answer = self.mark.map(|_| payload.clone());
        match hanging.send(payload) {
            Err(_) if self.answer.is_none() => Err(CloseReason::TransportLost),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// Notes that the connection of this one broke before it had its answer.
    ///
    /// # Errors
    /// The session is over, unless the same request can come again.
    pub(super) fn give_up(&mut self, number: u64) -> Result<(), CloseReason> {
        if number != self.number {
            return Ok(());
        }
        self.mark.ok_or(CloseReason::TransportLost)?;
        self.given_up = Some(Instant::now() + REPEAT);
        Ok(())
    }
}
