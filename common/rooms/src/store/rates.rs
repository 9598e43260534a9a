//! Requests against rates: one counter for each subject, spread over the partitions.

use std::time::Duration;

use redis::Cmd;

use super::Rooms;
use crate::scripts::Script;
use crate::{Partition, Rate, RateOutcome, StoreError};

impl Rooms {
    /// Spends one request of `subject` against the rate of `class`. The subject is kept as it is given: no secret, and of bounded length.
    ///
    /// # Errors
    /// See [`StoreError`]; `Unavailable` leaves open whether it was spent.
    pub async fn spend(&self, class: &str, subject: &str, rate: Rate) -> Result<RateOutcome, StoreError> {
        let (p, mut command) = self.rate_command(Script::Spend, class, subject, rate);
        command.arg(rate.requests);
        let words = self.run(p, Script::Spend.name(), command).await?;
        let (number, reset_after) = (words.number(1)?, Duration::from_micros(words.number(2)?));
        match words.word() {
            "OK" => {
                Ok(RateOutcome { remaining: u32::try_from(number).unwrap_or(u32::MAX), retry_after: None, reset_after })
            }
            "WAIT" => Ok(RateOutcome { remaining: 0, retry_after: Some(Duration::from_micros(number)), reset_after }),
            _ => Err(words.unknown()),
        }
    }

    /// Gives one request back that [`spend`](Rooms::spend) took.
    ///
    /// # Errors
    /// See [`StoreError`]; `Unavailable` leaves open whether it was given back.
    pub async fn refund(&self, class: &str, subject: &str, rate: Rate) -> Result<(), StoreError> {
        let (p, command) = self.rate_command(Script::Refund, class, subject, rate);
        let words = self.run(p, Script::Refund.name(), command).await?;
        if words.word() == "OK" { Ok(()) } else { Err(words.unknown()) }
    }

    fn rate_command(&self, script: Script, class: &str, subject: &str, rate: Rate) -> (Partition, Cmd) {
        let context = self.context();
        let p = context.keys.partition_of_subject(subject);
        let mut command = context.script(script, &[&context.keys.rate(p, class, subject)]);
        command.arg(u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX));
        (p, command)
    }
}
