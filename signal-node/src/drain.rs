//! Going away without anybody noticing: readiness fails, then clients are moved off at a paced rate, within a deadline.
//! Each resumes on another node with nothing missed.

use std::sync::Arc;
use std::time::Duration;

use switchboard_common::domain::DisconnectReason;
use switchboard_common::room::Partition;
use switchboard_common::wire::server_event::encode;
use tokio::time::{Instant, sleep, timeout_at};

use crate::hub::{Hub, Link, told};
use crate::outbox::Message;
use crate::transport::Server;

/// Sockets are closed in this many steps, so that the other nodes see their clients come in a stream and not in a wave.
const STEPS: u32 = 20;

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
    pub async fn run(self, server: &Server, hub: &Arc<Hub>, partitions: u16) {
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
        // A fifth of the time is left for those who are not in a room and for the goodbyes.
        let pause = (end.saturating_duration_since(Instant::now()) * 4 / 5) / STEPS;
        let step = seated.len().div_ceil(STEPS as usize).max(1);
        for some in seated.chunks(step) {
            some.iter().for_each(|link| link.close(DisconnectReason::Draining));
            metrics::counter!("switchboard_drained_sessions_total").increment(some.len() as u64);
            sleep(pause.min(Duration::from_millis(250))).await;
        }
        server.close_all(told(DisconnectReason::Draining));
        if timeout_at(end.max(Instant::now() + Duration::from_secs(1)), server.drained()).await.is_err() {
            tracing::warn!(sockets = server.open_sockets(), "the drain deadline passed with sockets open");
        }
    }
}
