//! Pings Redis, and tells every client: `cluster:degraded` once when it stops to reply,
//! `cluster:restored` once when it replies again.

use std::time::Duration;

use switchboard_core::wire::server_event::encode;
use switchboard_rooms::Rooms;
use switchboard_socketio::send_queue::Message;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::node_health::NodeHealth;
use crate::session_registry::SessionRegistry;

/// Time between two pings.
const PING_INTERVAL: Duration = Duration::from_millis(500);
/// A shard that does not reply within this time is degraded.
const PING_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Pings between two samples of the memory of Redis, which changes slowly.
const PINGS_PER_MEMORY_SAMPLE: u32 = 20;

/// Watches Redis for one node.
#[derive(Debug)]
pub struct RedisHealth {
    /// Room state.
    pub rooms: Rooms,
    /// Sessions that are notified.
    pub sessions: SessionRegistry,
    /// Health of this node. Redis counts as restored only when the node is healthy too, because
    /// before that no event reaches its clients.
    pub health: NodeHealth,
}

impl RedisHealth {
    /// Pings every shard until `stop`, through the same lanes as events.
    pub async fn run(self, stop: CancellationToken) {
        let mut degraded = false;
        let mut pings: u32 = 0;
        let mut ticks = interval(PING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        metrics::gauge!("switchboard_cluster_degraded").set(0.0);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            let replied = matches!(timeout(PING_TIMEOUT, self.rooms.ping()).await, Ok(Ok(())));
            match (degraded, replied) {
                (false, false) => {
                    degraded = true;
                    metrics::counter!("switchboard_cluster_degradations_total").increment(1);
                    tracing::warn!("redis does not reply");
                    self.broadcast("cluster:degraded", "store_silent", true);
                }
                (true, true) if self.health.is_healthy() => {
                    degraded = false;
                    tracing::info!("redis replies again");
                    self.broadcast("cluster:restored", "store_answers", false);
                }
                _ => {}
            }
            metrics::gauge!("switchboard_cluster_degraded").set(f64::from(u8::from(degraded)));
            if replied && pings.is_multiple_of(PINGS_PER_MEMORY_SAMPLE) {
                self.sample_memory().await;
            }
            pings = pings.wrapping_add(1);
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            metrics::gauge!("switchboard_send_queue_bytes").set(self.sessions.queued_bytes() as f64);
        }
    }

    async fn sample_memory(&self) {
        if let Ok(Ok(Some(ratio))) = timeout(PING_TIMEOUT, self.rooms.memory_used_ratio()).await {
            metrics::gauge!("switchboard_redis_memory_used_ratio").set(ratio);
        }
    }

    /// Sends an event to all clients, without an offset, because it is in no log.
    fn broadcast(&self, event: &str, reason: &str, sticky: bool) {
        let event = encode(event, &serde_json::json!({ "reason": reason }));
        self.sessions.broadcast(&Message::packet(format!("42[{event}]")), sticky);
    }
}
