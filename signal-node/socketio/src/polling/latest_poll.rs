//! The GET requests (polls) of a session.
//!
//! One poll hangs at a time. The response of the latest poll is kept until the next poll shows that
//! the client has received it.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::fingerprint::Fingerprint;
use super::payload::noop;
use crate::protocol::CloseReason;

/// Time in which a client must repeat a poll whose connection broke; otherwise the session ends.
/// Clients and proxies that repeat requests do so immediately.
const REPEAT_TIMEOUT: Duration = Duration::from_secs(1);

/// The latest poll and its result.
#[derive(Debug, Default)]
pub(super) struct LatestPoll {
    /// Number of the poll, which distinguishes a poll from its repetition.
    number: u64,
    fingerprint: Option<Fingerprint>,
    hanging: Option<oneshot::Sender<Bytes>>,
    /// Its response. Kept only with a fingerprint, because only then can the poll be repeated.
    response: Option<Bytes>,
    /// Deadline for its repetition. Set when the connection broke before the response was written.
    repeat_deadline: Option<Instant>,
}

impl LatestPoll {
    /// Returns whether a poll waits for a response.
    pub(super) fn is_hanging(&self) -> bool {
        self.hanging.is_some()
    }

    /// Returns the number of the latest poll; 0 before the first.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the deadline for the repetition of a broken poll.
    pub(super) fn repeat_deadline(&self) -> Option<Instant> {
        self.repeat_deadline
    }

    /// Returns the response of the latest poll, if this request repeats that poll.
    pub(super) fn repeated_response(&mut self, fingerprint: Option<Fingerprint>) -> Option<Bytes> {
        let response = self.response.clone().filter(|_| fingerprint.is_some() && fingerprint == self.fingerprint)?;
        self.repeat_deadline = None;
        Some(response)
    }

    /// Accepts a poll. Returns its number, and the receiver of its response. A repetition of the
    /// hanging poll replaces that poll.
    ///
    /// # Errors
    /// The session ends: another poll hangs, or the client lost the response of the last poll and
    /// did not repeat it.
    pub(super) fn begin(
        &mut self,
        fingerprint: Option<Fingerprint>,
    ) -> Result<(u64, oneshot::Receiver<Bytes>), CloseReason> {
        let repeats = fingerprint.is_some() && fingerprint == self.fingerprint;
        match &self.hanging {
            Some(hanging) if !repeats && !hanging.is_closed() => {
                return Err(CloseReason::ProtocolError("two polls at the same time"));
            }
            Some(_) if !repeats => return Err(CloseReason::TransportLost),
            None if self.repeat_deadline.is_some() => return Err(CloseReason::TransportLost),
            Some(_) | None => {}
        }
        let (sender, response) = oneshot::channel();
        if let Some(first) = self.hanging.replace(sender) {
            // Releases the first poll in case its connection is still open.
            let _released_or_gone = first.send(noop());
        }
        *self = Self {
            number: self.number + 1,
            fingerprint,
            hanging: self.hanging.take(),
            response: None,
            repeat_deadline: None,
        };
        Ok((self.number, response))
    }

    /// Answers the hanging poll, if there is one.
    ///
    /// # Errors
    /// The client closed the poll's connection and cannot repeat the poll.
    pub(super) fn answer(&mut self, payload: Bytes) -> Result<(), CloseReason> {
        let Some(hanging) = self.hanging.take() else { return Ok(()) };
        self.response = self.fingerprint.map(|_| payload.clone());
        match hanging.send(payload) {
            Err(_) if self.response.is_none() => Err(CloseReason::TransportLost),
            Err(_) | Ok(()) => Ok(()),
        }
    }

    /// Records that the poll's connection broke before its response was written.
    ///
    /// # Errors
    /// The session ends, because the poll has no fingerprint and cannot be repeated.
    pub(super) fn disconnected(&mut self, number: u64) -> Result<(), CloseReason> {
        if number != self.number {
            return Ok(());
        }
        self.fingerprint.ok_or(CloseReason::TransportLost)?;
        self.repeat_deadline = Some(Instant::now() + REPEAT_TIMEOUT);
        Ok(())
    }
}
