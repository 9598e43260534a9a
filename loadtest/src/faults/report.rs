//! The figures of a round, of a fault over its rounds, and how they are shown.

use std::time::Duration;

use serde::Serialize;

use super::audit::Audit;

/// What one round, or all rounds of a fault, came to. Times are seconds, the longest of all rounds. More than eight fields:
/// it is a line of the table.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Line {
    pub(crate) fault: &'static str,
    pub(crate) rounds: usize,
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
    pub(crate) doubled: usize,
    pub(crate) reordered: usize,
    /// Participants without a client after the grace, and clients who are no participants.
    pub(crate) ghosts: usize,
    /// Sockets lost.
    pub(crate) dropped: usize,
    pub(crate) resumed: usize,
    /// Sessions that began anew where they should have been resumed.
    pub(crate) fresh: usize,
    /// Until everybody who shares a room with somebody who vanished was told.
    pub(crate) told: f64,
    /// From the end of the fault until everybody has a socket and an acknowledgement again.
    pub(crate) back: f64,
    /// The longest time that a client was without a socket.
    pub(crate) without: f64,
    /// The 99th percentile of the wait for an acknowledgement before the fault, and while it lasted; milliseconds.
    pub(crate) p99_before: f64,
    pub(crate) p99_during: f64,
    /// What must hold and did not, one text each.
    pub(crate) violations: Vec<String>,
}

impl Line {
    /// Counts the audit of a round.
    pub(crate) fn count(&mut self, audit: Audit) {
        self.acknowledged += audit.acknowledged;
        self.lost += audit.lost;
        self.doubled += audit.doubled;
        self.reordered += audit.reordered;
    }

    /// Adds another round of the same fault.
    pub(crate) fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.ghosts += other.ghosts;
        self.dropped += other.dropped;
        self.resumed += other.resumed;
        self.fresh += other.fresh;
        self.told = self.told.max(other.told);
        self.back = self.back.max(other.back);
        self.without = self.without.max(other.without);
        self.p99_before = self.p99_before.max(other.p99_before);
        self.p99_during = self.p99_during.max(other.p99_during);
        self.violations.extend(other.violations);
    }
}

/// Seconds, to two digits.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// The table, in Markdown.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = String::from(
        "| fault | rounds | acknowledged | lost | doubled | reordered | ghosts | sockets lost | resumed | fresh | told s | back s | longest without a socket s | p99 before ms | p99 during ms |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for line in lines {
        let Line { fault, rounds, acknowledged, lost, doubled, reordered, ghosts, dropped, resumed, fresh, .. } = line;
        let Line { told, back, without, p99_before, p99_during, .. } = line;
        text += &format!(
            "| {fault} | {rounds} | {acknowledged} | {lost} | {doubled} | {reordered} | {ghosts} | {dropped} | {resumed} | {fresh} | {told:.1} | {back:.1} | {without:.1} | {p99_before:.1} | {p99_during:.1} |\n"
        );
    }
    text
}
