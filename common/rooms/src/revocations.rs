//! This process's copy of the revoked sign-ins, so that a check costs no round trip.
//!
//! It is refreshed every second. While Redis does not answer, the copy stays as it is: revoked
//! sign-ins stay refused, and all others stay valid. Otherwise an outage of Redis would sign every
//! user out.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{LogId, RevocationReason, Revoked, Rooms, StoreError};

/// Time between two reads of the list.
const REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// Sign-ins that are known to be revoked. Clones share the copy.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Why each sign-in was revoked, and Redis TIME in ms until which it must be remembered.
    sign_ins: HashMap<String, (RevocationReason, u64)>,
    /// Id of the last entry that was read.
    read: Option<LogId>,
}

impl Revocations {
    /// Returns whether a sign-in is known to be revoked, for any reason.
    #[must_use]
    pub fn has(&self, sign_in: &str) -> bool {
        self.reason(sign_in).is_some()
    }

    /// Returns the reason for which a sign-in is known to be revoked.
    #[must_use]
    pub fn reason(&self, sign_in: &str) -> Option<RevocationReason> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).sign_ins.get(sign_in).map(|(reason, _)| *reason)
    }

    /// Reads the new entries and returns them. Drops entries whose time is over.
    ///
    /// # Errors
    /// See [`StoreError`]. The copy is then unchanged.
    pub async fn refresh(&self, rooms: &Rooms) -> Result<Vec<Revoked>, StoreError> {
        let read = self.0.read().unwrap_or_else(PoisonError::into_inner).read;
        let (revoked, last, now_ms) = rooms.revoked(read).await?;
        let mut copy = self.0.write().unwrap_or_else(PoisonError::into_inner);
        copy.read = last.max(copy.read);
        for Revoked { sign_in, reason, until_ms, .. } in &revoked {
            let known = copy.sign_ins.entry(sign_in.clone()).or_insert((*reason, *until_ms));
            *known = (known.0.max(*reason), known.1.max(*until_ms));
        }
        copy.sign_ins.retain(|_, (_, until_ms)| *until_ms > now_ms);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("switchboard_revoked_sign_ins").set(copy.sign_ins.len() as f64);
        Ok(revoked)
    }

    /// Refreshes the copy until `stop`. Calls `revoked` with each new entry after it is in the
    /// copy.
    pub async fn follow(self, rooms: Rooms, revoked: impl Fn(&Revoked), stop: CancellationToken) {
        let mut ticks = interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.refresh(&rooms).await {
                Ok(new) => new.iter().for_each(&revoked),
                Err(StoreError::Unavailable) => {
                    metrics::counter!("switchboard_revocations_stale_total").increment(1);
                }
                Err(StoreError::Unexpected(detail)) => {
                    tracing::error!(detail, "the list of revoked sign-ins cannot be read");
                }
            }
        }
    }
}
