//! What a client remembers.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::audit::Sent;

/// Everything that happened to one client. More than eight fields: each is one column of the audit, and nothing acts on them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Its peer id, once it has been in the room.
    pub(crate) peer: Option<String>,
    pub(crate) connected: bool,
    /// CONNECTs that were accepted.
    pub(crate) connects: usize,
    /// Acknowledgements asked for.
    pub(crate) asks: u64,
    attempts: u64,
    /// What it sent, by number.
    pub(crate) sent: Vec<Sent>,
    /// What it received from its partner, by the partner's number.
    pub(crate) received: Vec<usize>,
    pub(crate) resumed: usize,
    /// Sessions that began anew where one should have been resumed.
    pub(crate) fresh: usize,
    /// Why its sockets were lost.
    pub(crate) dropped: Vec<String>,
    /// Attempts to come back that came to nothing.
    pub(crate) vain: usize,
    /// The longest time without a socket.
    pub(crate) longest_gap: Duration,
    /// Who was said to be reconnecting, and when.
    pub(crate) told: Vec<(String, Instant)>,
    /// Refusals by code.
    pub(crate) refused: BTreeMap<String, usize>,
    /// What must not happen at all.
    pub(crate) complaints: Vec<String>,
}

impl Record {
    /// A new event; its number.
    pub(crate) fn begin(&mut self, now: Instant) -> usize {
        self.sent.push(Sent { born: now, first: 0, last: 0, acknowledged: None });
        self.sent.len() - 1
    }

    /// An event goes out, once more or for the first time.
    pub(crate) fn attempt(&mut self, number: usize) {
        self.attempts += 1;
        let event = &mut self.sent[number];
        event.last = self.attempts;
        if event.first == 0 {
            event.first = self.attempts;
        }
    }

    /// Whether nothing is left to be acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.sent.iter().all(|event| event.acknowledged.is_some())
    }

    /// The first acknowledgement of an event that was first sent after this.
    pub(crate) fn first_answer_after(&self, moment: Instant) -> Option<Instant> {
        self.sent.iter().filter(|event| event.born > moment).find_map(|event| event.acknowledged)
    }
}
