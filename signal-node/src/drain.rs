//! Moves clients off at shutdown: readiness fails first, then connections are closed at a limited
//! rate, within a deadline. Each client resumes on another node and misses no event.

use std::sync::Arc;
use std::time::Duration;

use switchboard_core::domain::DisconnectReason;
use switchboard_core::wire::server_event::encode;
use switchboard_rooms::Partition;
use switchboard_socketio::SocketServer;
use switchboard_socketio::send_queue::Message;
use tokio::time::{Instant, sleep, timeout_at};

use crate::delivery::{Hub, SessionLink, transport_reason};

/// Time between two steps. Connections are closed in steps, so that their clients do not reach the
/// other nodes all at the same time.
const STEP_INTERVAL: Duration = Duration::from_millis(100);

/// Minimum number of connections that each step closes: 200 a second, which another node can accept
/// beside its own work. A step closes more only if the deadline requires it.
const STEP_SESSIONS_MIN: usize = 20;

/// Minimum time that [`Drain::run`] waits for closed connections to end, even after the deadline.
const CLOSE_TIMEOUT_MIN: Duration = Duration::from_secs(1);

/// Times of a shutdown.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    /// Time from failing readiness to the first closed connection, in which load balancers stop
    /// sending new clients.
    pub delay: Duration,
    /// Time from the signal to the last closed connection.
    pub deadline: Duration,
}

impl Drain {
    /// Moves all clients off. Returns when no connection is left, or at the deadline.
    pub async fn run(self, server: &SocketServer, hub: &Arc<Hub>, partitions: u16) {
        let started = Instant::now();
        metrics::gauge!("switchboard_draining").set(1.0);
        let end = started + self.deadline;
        let links =
            |hub: &Hub| -> Vec<Arc<SessionLink>> { (0..partitions).flat_map(|p| hub.links(Partition(p))).collect() };
        let event = encode("server:draining", &serde_json::json!({ "deadlineMs": self.deadline.as_millis() }));
        for link in links(hub) {
            // A connection that is closing already needs no notice.
            let _closing = link.send_queue.send(Message::packet(format!("42[{event}]")));
        }
        sleep(self.delay.min(self.deadline)).await;
        server.refuse_new();
        let seated = links(hub);
        tracing::info!(sockets = server.open_sockets(), seated = seated.len(), "moving clients off");
        let step = step(seated.len(), end.saturating_duration_since(Instant::now()));
        for chunk in seated.chunks(step) {
            chunk.iter().for_each(|link| link.close(DisconnectReason::Draining));
            metrics::counter!("switchboard_drained_sessions_total").increment(chunk.len() as u64);
            sleep(STEP_INTERVAL).await;
        }
        server.close_all(transport_reason(DisconnectReason::Draining));
        if timeout_at(end.max(Instant::now() + CLOSE_TIMEOUT_MIN), server.drained()).await.is_err() {
            tracing::warn!(sockets = server.open_sockets(), "drain deadline passed with open sockets");
        }
    }
}

/// Returns the number of sessions that a step closes, so that all are closed in 4/5 of the time.
/// The rest is for sessions in no room and for the connections to end.
fn step(sessions: usize, time: Duration) -> usize {
    let steps = (time * 4 / 5).as_millis() / STEP_INTERVAL.as_millis();
    sessions.div_ceil(usize::try_from(steps).unwrap_or(usize::MAX).max(1)).max(STEP_SESSIONS_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_moved_off_at_one_rate_unless_the_deadline_is_near() {
        let time_for = |sessions, seconds| {
            let steps = usize::div_ceil(sessions, step(sessions, Duration::from_secs(seconds)));
            STEP_INTERVAL * u32::try_from(steps).unwrap()
        };
        assert_eq!(time_for(10, 50), STEP_INTERVAL);
        assert_eq!(time_for(5_000, 50), Duration::from_secs(25));
        assert_eq!(time_for(5_000, 600), Duration::from_secs(25));
        assert_eq!(time_for(20_000, 50), Duration::from_secs(40));
        assert_eq!(time_for(20_000, 0), STEP_INTERVAL);
    }
}
