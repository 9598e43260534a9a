//! Events and incidents of one client.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::audit::Sent;

/// Events with an id between two bursts of candidates.
const EVENTS_WITH_ID: usize = 8;
/// Candidates of a burst.
const BURST: usize = 4;

/// Returns whether the event with this number has an id. The others are candidates, which are sent
/// at once, so that those that wait together share a log entry.
pub(crate) const fn has_id(number: usize) -> bool {
    number % (EVENTS_WITH_ID + BURST) < EVENTS_WITH_ID
}

/// Record of one client. The struct has more than eight fields, because each is one column of the
/// audit and no code acts on them.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Peer id; `None` before the first join.
    pub(crate) peer_id: Option<String>,
    pub(crate) connected: bool,
    /// Peer ids of the participants that the client knows, itself included.
    pub(crate) participants: BTreeSet<String>,
    /// Accepted CONNECT packets.
    pub(crate) connects: usize,
    /// Requests with an acknowledgement id.
    pub(crate) requests: u64,
    attempts: u64,
    /// Sent events, by number.
    pub(crate) sent: Vec<Sent>,
    /// Numbers of the partner's events, in order of arrival.
    pub(crate) received: Vec<usize>,
    /// Node of each accepted CONNECT, and whether the session was resumed there.
    pub(crate) nodes: Vec<(String, bool)>,
    pub(crate) resumed: usize,
    /// Reconnects that got a new session instead of the old one.
    pub(crate) new_sessions: usize,
    /// Reason of each lost socket.
    pub(crate) socket_losses: Vec<String>,
    /// Dials that failed while reconnecting.
    pub(crate) failed_dials: usize,
    /// Longest time without a socket.
    pub(crate) longest_outage: Duration,
    /// Peer ids reported as reconnecting, each with its time.
    pub(crate) reconnecting_peers: Vec<(String, Instant)>,
    /// Refusals, by code.
    pub(crate) refused: BTreeMap<String, usize>,
    /// Violations of guarantees that hold under every fault.
    pub(crate) violations: Vec<String>,
}

impl Record {
    /// Adds a new event and returns its number.
    pub(crate) fn start_event(&mut self, now: Instant) -> usize {
        let attempts = (!has_id(self.sent.len())).then_some(0);
        self.sent.push(Sent { first_sent_at: now, first: 0, last: 0, attempts, acknowledged: None });
        self.sent.len() - 1
    }

    /// Records an attempt to send an event.
    pub(crate) fn add_attempt(&mut self, number: usize) {
        self.attempts += 1;
        let event = &mut self.sent[number];
        event.last = self.attempts;
        event.attempts = event.attempts.map(|attempts| attempts + 1);
        if event.first == 0 {
            event.first = self.attempts;
        }
    }

    /// Whether every sent event is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.sent.iter().all(|event| event.acknowledged.is_some())
    }

    /// First acknowledgement of an event first sent after `moment`.
    pub(crate) fn first_ack_after(&self, moment: Instant) -> Option<Instant> {
        self.sent.iter().filter(|event| event.first_sent_at > moment).find_map(|event| event.acknowledged)
    }
}
