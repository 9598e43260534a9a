//! Results of a round or of all rounds of a fault, and their table.

use std::time::Duration;

use serde::Serialize;

use super::audit::Audit;

/// Result of one round, or the sum of all rounds of a fault. Durations are the maximum over all
/// rounds. The struct has more than eight fields, because it is a row of the table.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct FaultResult {
    pub(crate) fault: &'static str,
    pub(crate) rounds: usize,
    pub(crate) acknowledged: usize,
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) reordered: usize,
    /// Participants without a client after the grace period, plus clients that are missing as
    /// participants.
    pub(crate) ghosts: usize,
    /// Sockets lost.
    pub(crate) sockets_lost: usize,
    pub(crate) resumed: usize,
    /// Reconnects that got a new session instead of the old one.
    pub(crate) new_sessions: usize,
    /// Time until all clients, which start at once, joined and had an event acknowledged, in
    /// seconds.
    pub(crate) join_seconds: f64,
    /// Time until every client in a room with a vanished client is notified, in seconds.
    pub(crate) detection_seconds: f64,
    /// Time from the end of the fault until every client is connected and acknowledged again, in
    /// seconds.
    pub(crate) recovery_seconds: f64,
    /// Longest time of a client without a socket, in seconds.
    pub(crate) longest_outage_seconds: f64,
    /// 99th percentile of the acknowledgement time before and during the fault, in milliseconds.
    pub(crate) p99_before_ms: f64,
    pub(crate) p99_during_ms: f64,
    /// One text for each violated guarantee.
    pub(crate) violations: Vec<String>,
}

impl FaultResult {
    /// Adds the audit of a round.
    pub(crate) fn count(&mut self, audit: Audit) {
        self.acknowledged += audit.acknowledged;
        self.lost += audit.lost;
        self.duplicated += audit.duplicated;
        self.reordered += audit.reordered;
    }

    /// Adds another round of the same fault.
    pub(crate) fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.ghosts += other.ghosts;
        self.sockets_lost += other.sockets_lost;
        self.resumed += other.resumed;
        self.new_sessions += other.new_sessions;
        self.join_seconds = self.join_seconds.max(other.join_seconds);
        self.detection_seconds = self.detection_seconds.max(other.detection_seconds);
        self.recovery_seconds = self.recovery_seconds.max(other.recovery_seconds);
        self.longest_outage_seconds = self.longest_outage_seconds.max(other.longest_outage_seconds);
        self.p99_before_ms = self.p99_before_ms.max(other.p99_before_ms);
        self.p99_during_ms = self.p99_during_ms.max(other.p99_during_ms);
        self.violations.extend(other.violations);
    }
}

/// Seconds, rounded to two decimal places.
pub(crate) fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}

/// Formats the results as a Markdown table.
pub(crate) fn table(results: &[FaultResult]) -> String {
    let mut text = String::from(
        "| fault | rounds | acked | lost | duplicated | reordered | ghosts | sockets lost | resumed | new sessions \
         | joined s | detected s | recovered s | outage s | p99 before ms | during ms |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for result in results {
        let FaultResult {
            fault,
            rounds,
            acknowledged,
            lost,
            duplicated,
            reordered,
            ghosts,
            sockets_lost,
            resumed,
            new_sessions,
            ..
        } = result;
        let FaultResult {
            join_seconds,
            detection_seconds,
            recovery_seconds,
            longest_outage_seconds,
            p99_before_ms,
            p99_during_ms,
            ..
        } = result;
        text += &format!(
            "| {fault} | {rounds} | {acknowledged} | {lost} | {duplicated} | {reordered} | {ghosts} | {sockets_lost} \
             | {resumed} | {new_sessions} | {join_seconds:.1} | {detection_seconds:.1} \
             | {recovery_seconds:.1} | {longest_outage_seconds:.1} | {p99_before_ms:.1} | {p99_during_ms:.1} |\n"
        );
    }
    text
}
