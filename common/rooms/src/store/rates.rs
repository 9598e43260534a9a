//! Requests against rates: one counter for each subject, spread over the partitions.

use super::Rooms;
use crate::scripts::{GuessBounds, GuessReply, GuessScript, GuessStep, SpendScript};
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

    /// Takes one step of a guess of a secret by an address. `secret` and `address` become parts of
    /// keys, as the subject of [`spend`](Rooms::spend).
    ///
    /// # Errors
    /// See [`StoreError`]. After `Unavailable` it is unknown whether the step was counted.
    pub async fn guess(
        &self,
        class: &str,
        (secret, address): (&str, &str),
        step: GuessStep,
        bounds: GuessBounds,
    ) -> Result<GuessReply, StoreError> {
        let keys = &self.context().keys;
        let script = GuessScript { keys, class, secret, address, step, bounds };
        self.run(keys.partition_of_subject(secret), &script).await
    }
}
