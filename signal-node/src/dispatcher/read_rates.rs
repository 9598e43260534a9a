//! Rates of the reads that one session may ask for: the chat history and the figures of the room.
//! They are counted in this node's memory, because a session is on one node at a time.

use std::time::Duration;

use switchboard_core::domain::Refusal;
use switchboard_rooms::Rate;
use tokio::time::Instant;

/// Rate of `chat:history`: a client may read the whole history in a burst, then a page every 2 s.
pub(super) const HISTORY_RATE: Rate = Rate { requests: 30, period: Duration::from_secs(60) };
/// Rate of `webrtc:get-stats`: each read costs by the participants of the room.
pub(super) const STATS_RATE: Rate = Rate { requests: 15, period: Duration::from_secs(30) };

/// State of one rate.
#[derive(Debug, Default)]
pub(super) struct ReadRate {
    /// Time at which the whole burst is available again.
    full_at: Option<Instant>,
}

/// Reads of one session.
#[derive(Debug, Default)]
pub struct ReadRates {
    /// `chat:history`
    pub(super) history: ReadRate,
    /// `webrtc:get-stats`
    pub(super) stats: ReadRate,
}

impl ReadRate {
    /// Counts one read.
    ///
    /// # Errors
    /// `RATE_LIMIT_EXCEEDED`, with the time until the next read.
    pub(super) fn spend(&mut self, rate: Rate) -> Result<(), Refusal> {
        let now = Instant::now();
        let debt = self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        let debt = rate.take(debt, 1).map_err(|wait| {
            metrics::counter!("switchboard_reads_limited_total").increment(1);
            Refusal::rate_exceeded(wait)
        })?;
        self.full_at = Some(now + debt);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use switchboard_core::domain::Code;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_then_one_read_for_each_interval() {
        let mut rate = ReadRate::default();
        for _ in 0..HISTORY_RATE.requests {
            assert!(rate.spend(HISTORY_RATE).is_ok());
        }
        assert_eq!(rate.spend(HISTORY_RATE).map_err(|refusal| refusal.code), Err(Code::RateLimitExceeded));
        tokio::time::advance(HISTORY_RATE.interval()).await;
        assert!(rate.spend(HISTORY_RATE).is_ok() && rate.spend(HISTORY_RATE).is_err());
        tokio::time::advance(HISTORY_RATE.period).await;
        for _ in 0..HISTORY_RATE.requests {
            assert!(rate.spend(HISTORY_RATE).is_ok());
        }
        assert!(rate.spend(HISTORY_RATE).is_err());
    }
}
