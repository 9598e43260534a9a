//! This process's copy of the list of revoked sign-ins, so that asking costs no round trip.
//!
//! It is read again every second. While Redis does not answer, the copy stays as it is: what was revoked stays refused, and what is not
//! known to be revoked is let in. The other way round, an outage of Redis would sign everybody out.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{LogId, Rooms, StoreError};

/// Between two looks at the list.
const LOOK: Duration = Duration::from_secs(1);

/// The sign-ins known to be revoked. Clones share the copy.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Arc<RwLock<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// Until when (Redis TIME, ms) each must be remembered.
    until_ms: HashMap<String, u64>,
    /// The last entry read.
    read: Option<LogId>,
}

impl Revocations {
    /// Whether a sign-in is known to be over.
    #[must_use]
    pub fn has(&self, sign_in: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).until_ms.contains_key(sign_in)
    }

    /// Reads what is new; returns it. What need not be remembered any longer is forgotten.
    ///
    /// # Errors
    /// See [`StoreError`]; the copy is then as it was.
    pub async fn refresh(&self, rooms: &Rooms) -> Result<Vec<String>, StoreError> {
        let read = self.0.read().unwrap_or_else(PoisonError::into_inner).read;
        let (revoked, now_ms) = rooms.revoked(read).await?;
        let mut copy = self.0.write().unwrap_or_else(PoisonError::into_inner);
        copy.read = revoked.last().map(|last| last.id).or(copy.read).max(copy.read);
        copy.until_ms.extend(revoked.iter().map(|revoked| (revoked.sign_in.clone(), revoked.until_ms)));
        copy.until_ms.retain(|_, until_ms| *until_ms > now_ms);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("switchboard_revoked_sign_ins").set(copy.until_ms.len() as f64);
        Ok(revoked.into_iter().map(|revoked| revoked.sign_in).collect())
    }

    /// Keeps the copy fresh until `stop`, and tells `revoked` of each new entry after it is in the copy.
    pub async fn follow(self, rooms: Rooms, revoked: impl Fn(&str), stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                () = stop.cancelled() => return,
            }
            match self.refresh(&rooms).await {
                Ok(new) => new.iter().for_each(|sign_in| revoked(sign_in)),
                Err(StoreError::Unavailable) => {
                    metrics::counter!("switchboard_revocations_stale_total").increment(1);
                }
                Err(StoreError::Unexpected(detail)) => {
                    tracing::error!(detail, "the list of revoked sign-ins holds something unexpected");
                }
            }
        }
    }
}
