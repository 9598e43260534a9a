//! Requests against rates: one counter for each subject, spread over the partitions.

use super::Rooms;
use crate::scripts::{RefundScript, SpendScript};
use crate::{Rate, RateOutcome, StoreError};

impl Rooms {
    /// Takes one request of `subject` from the rate of `class`. The subject becomes part of a key,
    /// so it must hold no secret and must be of bounded length.
    ///
    /// # Errors
    /// See [`StoreError`]. After `Unavailable` it is unknown whether the request was counted.
    pub async fn spend(&self, class: &str, subject: &str, rate: Rate) -> Result<RateOutcome, StoreError> {
        let keys = &self.context().keys;
        self.run(keys.partition_of_subject(subject), &SpendScript { keys, class, subject, rate }).await
    }

    /// Gives back one request that [`spend`](Rooms::spend) took.
    ///
    /// # Errors
    /// See [`StoreError`]. After `Unavailable` it is unknown whether the request was given back.
    pub async fn refund(&self, class: &str, subject: &str, rate: Rate) -> Result<(), StoreError> {
        let keys = &self.context().keys;
        self.run(keys.partition_of_subject(subject), &RefundScript { keys, class, subject, rate }).await
    }
}
