//! Rates of events of one session: reads (the chat history and the figures of the room), and hands
//! and reactions. They are counted in this node's memory, because a session is on one node at a
//! time.

use std::time::Duration;

use switchboard_core::domain::Refusal;
use switchboard_core::wire::EventKind;
use switchboard_rooms::Rate;
use switchboard_rules::Effect;
use switchboard_rules::effect::{Logged, LoggedKind};
use tokio::time::Instant;

/// Rate of `chat:history`: a client may read the whole history in a burst, then a page every 2 s.
const HISTORY_RATE: Rate = Rate { requests: 30, period: Duration::from_secs(60) };
/// Rate of `webrtc:get-stats`: each read costs by the participants of the room.
const STATS_RATE: Rate = Rate { requests: 15, period: Duration::from_secs(30) };
/// Rate of `participant:set-hand`: each change is in the room's log.
const HAND_RATE: Rate = Rate { requests: 10, period: Duration::from_secs(20) };
/// Rate of `participant:reaction`: each reaction is drawn by every client.
const REACTION_RATE: Rate = Rate { requests: 20, period: Duration::from_secs(10) };

/// State of one rate.
#[derive(Debug, Default)]
struct SessionRate {
    /// Time at which the whole burst is available again.
    full_at: Option<Instant>,
}

/// Rates of one session.
#[derive(Debug, Default)]
pub struct SessionRates {
    history: SessionRate,
    stats: SessionRate,
    hand: SessionRate,
    reaction: SessionRate,
}

impl SessionRates {
    /// Counts an effect that has a rate.
    ///
    /// # Errors
    /// `RATE_LIMIT_EXCEEDED`, with the time until the next one.
    pub(super) fn spend(&mut self, effect: &Effect) -> Result<(), Refusal> {
        let read_limited = |_: &Refusal| metrics::counter!("switchboard_reads_limited_total").increment(1);
        let reaction_limited = |_: &Refusal| metrics::counter!("switchboard_reactions_limited_total").increment(1);
        match effect {
            Effect::History(_) => self.history.spend(HISTORY_RATE).inspect_err(read_limited),
            Effect::Stats { .. } => self.stats.spend(STATS_RATE).inspect_err(read_limited),
            Effect::Log(Logged { kind: LoggedKind::Hand { .. }, .. }) => {
                self.hand.spend(HAND_RATE).inspect_err(reaction_limited)
            }
            Effect::Ephemeral { event_kind: EventKind::Reaction, .. } => {
                self.reaction.spend(REACTION_RATE).inspect_err(reaction_limited)
            }
            _ => Ok(()),
        }
    }
}

impl SessionRate {
    fn spend(&mut self, rate: Rate) -> Result<(), Refusal> {
        let now = Instant::now();
        let debt = self.full_at.map_or(Duration::ZERO, |full_at| full_at.saturating_duration_since(now));
        let debt = rate.take(debt, 1).map_err(Refusal::rate_exceeded)?;
        self.full_at = Some(now + debt);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use switchboard_core::domain::Code;
    use switchboard_core::wire::client_event::ChatHistory;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_allowed_then_one_event_for_each_interval() {
        let effects: [(Rate, fn() -> Effect); 4] = [
            (HISTORY_RATE, || Effect::History(ChatHistory { before: None, limit: 1 })),
            (STATS_RATE, || Effect::Stats { with_call: true }),
            (HAND_RATE, || {
                let kind = LoggedKind::Hand { raised_at: None };
                Effect::Log(Logged::new(kind, EventKind::HandChanged, String::new(), None))
            }),
            (REACTION_RATE, || Effect::Ephemeral {
                event_kind: EventKind::Reaction,
                event: String::new(),
                required_settings: "",
            }),
        ];
        for (rate, effect) in effects {
            let (mut rates, effect) = (SessionRates::default(), effect());
            for _ in 0..rate.requests {
                assert!(rates.spend(&effect).is_ok());
            }
            assert_eq!(rates.spend(&effect).unwrap_err().code, Code::RateLimitExceeded);
            tokio::time::advance(rate.interval()).await;
            assert!(rates.spend(&effect).is_ok() && rates.spend(&effect).is_err());
            tokio::time::advance(rate.period).await;
            for _ in 0..rate.requests {
                assert!(rates.spend(&effect).is_ok());
            }
            assert!(rates.spend(&effect).is_err());
        }
    }

    #[tokio::test]
    async fn typing_and_other_logged_events_have_no_rate_of_their_own() {
        let mut rates = SessionRates::default();
        let typing =
            Effect::Ephemeral { event_kind: EventKind::ChatTyping, event: String::new(), required_settings: "" };
        let chat = Effect::Log(Logged::new(LoggedKind::Broadcast, EventKind::DataChannel, String::new(), None));
        assert!((0..1000).all(|_| rates.spend(&typing).is_ok() && rates.spend(&chat).is_ok()));
    }
}
