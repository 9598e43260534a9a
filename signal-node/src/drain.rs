//! Going away without anybody noticing: readiness fails, then clients are moved off at a paced rate, within a deadline.
//! Each resumes on another node with nothing missed.

use std::sync::Arc;
use std::time::Duration;

use switchboard_core::domain::DisconnectReason;
use switchboard_core::wire::server_event::encode;
use switchboard_rooms::Partition;
use tokio::time::{Instant, sleep, timeout_at};

use crate::hub::{Hub, Link, told};
use switchboard_socketio::SocketServer;
use switchboard_socketio::send_queue::Message;

/// Between two steps. Sockets are closed in steps, so that the other nodes see their clients come in a stream and not in a wave.
const STEP: Duration = Duration::from_millis(100);

/// How many each step closes at least: 200 a second, which a node takes in beside its own work. More only when the time is short.
const LEAST: usize = 20;

/// How a node goes.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// From failing readiness to the first closed socket: time for load balancers to look elsewhere.
    pub delay: Duration,
    /// From the signal to the last socket closed.
    pub deadline: Duration,
}

impl Drain {
    /// Moves every client off. Returns when no socket is left, or at the deadline.
    pub async fn run(self, server: &SocketServer, hub: &Arc<Hub>, partitions: u16) {
        let started = Instant::now();
        metrics::gauge!("switchboard_draining").set(1.0);
        let end = started + self.deadline;
        let links = |hub: &Hub| -> Vec<Arc<Link>> { (0..partitions).flat_map(|p| hub.links(Partition(p))).collect() };
        let event = encode("server:draining", &serde_json::json!({ "deadlineMs": self.deadline.as_millis() }));
        for link in links(hub) {
            // Who is closing already needs no hint.
            let _closing = link.outbox.send(Message::packet(format!("42[{event}]")));
        }
        sleep(self.delay.min(self.deadline)).await;
        server.refuse_new();
        let seated = links(hub);
        tracing::info!(sockets = server.open_sockets(), seated = seated.len(), "moving clients off");
        let step = step(seated.len(), end.saturating_duration_since(Instant::now()));
        for some in seated.chunks(step) {
            some.iter().for_each(|link| link.close(DisconnectReason::Draining));
            metrics::counter!("switchboard_drained_sessions_total").increment(some.len() as u64);
            sleep(STEP).await;
        }
        server.close_all(told(DisconnectReason::Draining));
        if timeout_at(end.max(Instant::now() + Duration::from_secs(1)), server.drained()).await.is_err() {
            tracing::warn!(sockets = server.open_sockets(), "the drain deadline passed with sockets open");
        }
    }
}

/// How many sessions a step closes, of so many in so much time. A fifth of it is left for those who are in no room and for the goodbyes.
fn step(sessions: usize, time: Duration) -> usize {
    let steps = (time * 4 / 5).as_millis() / STEP.as_millis();
    sessions.div_ceil(usize::try_from(steps).unwrap_or(usize::MAX).max(1)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_at_one_pace_unless_the_time_is_short() {
        let seconds = |sessions, time| {
            let steps = usize::div_ceil(sessions, step(sessions, Duration::from_secs(time)));
            STEP * u32::try_from(steps).unwrap()
        };
        assert_eq!(seconds(10, 50), STEP);
        assert_eq!(seconds(5_000, 50), Duration::from_secs(25));
        assert_eq!(seconds(5_000, 600), Duration::from_secs(25));
        assert_eq!(seconds(20_000, 50), Duration::from_secs(40));
        assert_eq!(seconds(20_000, 0), STEP);
    }
}
