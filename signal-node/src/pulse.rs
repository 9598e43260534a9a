//! Whether Redis answers, told to every client: `cluster:degraded` once when it does not, `cluster:restored` once when it does again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use switchboard_core::wire::server_event::encode;
use switchboard_rooms::Rooms;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::roster::Roster;
use switchboard_socketio::send_queue::Message;

/// Between two questions.
const ASK: Duration = Duration::from_millis(500);
/// Questions between two looks at Redis's memory, which changes slowly.
const MEMORY: u32 = 20;
/// A shard that is silent for longer is away.
const SILENT: Duration = Duration::from_millis(1_500);

/// What takes the pulse.
#[derive(Debug)]
pub struct Pulse {
    /// Room state.
    pub rooms: Rooms,
    /// Whom to tell.
    pub roster: Roster,
    /// Whether the last beat found the node registered and its subscription alive: before, a Redis that answers is of little use.
    pub well: Arc<AtomicBool>,
}

impl Pulse {
    /// Asks every shard, through the same lanes as events, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut degraded = false;
        let mut asked: u32 = 0;
        let mut asks = interval(ASK);
        asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        metrics::gauge!("switchboard_cluster_degraded").set(0.0);
        loop {
            tokio::select! {
                _ = asks.tick() => {}
                () = stop.cancelled() => return,
            }
            let answers = matches!(timeout(SILENT, self.rooms.ping()).await, Ok(Ok(())));
            let well = self.well.load(Ordering::Relaxed);
            match (degraded, answers) {
                (false, false) => {
                    degraded = true;
                    metrics::counter!("switchboard_cluster_degradations_total").increment(1);
                    tracing::warn!("redis does not answer: clients are told");
                    self.tell("cluster:degraded", "store_silent", true);
                }
                (true, true) if well => {
                    degraded = false;
                    tracing::info!("redis answers again: clients are told");
                    self.tell("cluster:restored", "store_answers", false);
                }
                _ => {}
            }
            metrics::gauge!("switchboard_cluster_degraded").set(f64::from(u8::from(degraded)));
            if answers && asked.is_multiple_of(MEMORY) {
                self.weigh().await;
            }
            asked = asked.wrapping_add(1);
            #[expect(clippy::cast_precision_loss, reason = "a gauge")]
            metrics::gauge!("switchboard_send_queue_bytes").set(self.roster.queued_bytes() as f64);
        }
    }

    async fn weigh(&self) {
        if let Ok(Ok(ratio)) = timeout(SILENT, self.rooms.memory_used_ratio()).await {
            metrics::gauge!("switchboard_redis_memory_used_ratio").set(ratio);
        }
    }

    /// In no log, so without an offset.
    fn tell(&self, event: &str, reason: &str, stands: bool) {
        let event = encode(event, &serde_json::json!({ "reason": reason }));
        self.roster.tell_all(&Message::packet(format!("42[{event}]")), stands);
    }
}
