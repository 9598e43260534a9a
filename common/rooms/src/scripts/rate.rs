//! spend: requests against a rate. guess: wrong guesses of a secret.

use std::time::Duration;

use switchboard_core::domain::{Rate, RateOutcome};

use super::{Reply, Script, ScriptArguments, ScriptWriter};
use crate::StoreError;
use crate::keys::Keys;

/// Arguments of `spend.lua`.
#[derive(Debug)]
pub struct SpendScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Class of requests.
    pub class: &'a str,
    /// Subject that is counted.
    pub subject: &'a str,
    /// Rate.
    pub rate: Rate,
}

impl ScriptArguments for SpendScript<'_> {
    const SCRIPT: Script = Script::Spend;
    type Reply = RateOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let partition = self.keys.partition_of_subject(self.subject);
        to.key(&[&self.keys.rate(partition, self.class, self.subject)]);
        to.number(interval_us(self.rate));
        to.number(u64::from(self.rate.requests));
    }

    fn parse(reply: &Reply) -> Result<RateOutcome, StoreError> {
        let (number, reset_after) = (reply.number(1)?, Duration::from_micros(reply.number(2)?));
        match reply.status() {
            "OK" => {
                Ok(RateOutcome { remaining: u32::try_from(number).unwrap_or(u32::MAX), retry_after: None, reset_after })
            }
            "WAIT" => Ok(RateOutcome { remaining: 0, retry_after: Some(Duration::from_micros(number)), reset_after }),
            _ => Err(reply.unknown()),
        }
    }
}

/// Step of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuessStep {
    /// The guess is about to be compared.
    Try,
    /// It was wrong.
    Wrong,
    /// It was right.
    Right,
}

/// Bounds of guesses of one secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuessBounds {
    /// Wrong guesses of one address. `None`: no limit.
    pub address: Option<Rate>,
    /// Wrong guesses of all addresses together, above which the secret is guarded. `None`: never.
    pub all: Option<Rate>,
    /// Time between two guesses of an address while the secret is guarded. Once a day an address
    /// without other wrong guesses has a second guess at once.
    pub pause: Duration,
}

/// Reply of `guess.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuessReply {
    /// The step was taken. `known`: the address has guessed right before.
    Done {
        /// Whether the address has guessed right before.
        known: bool,
    },
    /// The address has no guess before this time.
    Wait {
        /// Time to wait.
        after: Duration,
        /// The secret is guarded; otherwise the address has reached its own rate.
        guarded: bool,
    },
}

/// Time that a guess in progress holds its address while the secret is guarded.
const GUESS_LEASE_US: u64 = 10_000_000;
/// Time that a right guess is remembered.
const KNOWN_US: u64 = 12 * 3600 * 1_000_000;
/// Time in which an address has one second try at once while the secret is guarded.
const SPARE_US: u64 = 24 * 3600 * 1_000_000;
/// An address that has guessed right has so many times the rate of others.
const KNOWN_FACTOR: u64 = 6;

/// Arguments of `guess.lua`.
#[derive(Debug)]
pub struct GuessScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Class of guesses.
    pub class: &'a str,
    /// Secret that is guessed.
    pub secret: &'a str,
    /// Address that guesses.
    pub address: &'a str,
    /// Step.
    pub step: GuessStep,
    /// Bounds.
    pub bounds: GuessBounds,
}

impl ScriptArguments for GuessScript<'_> {
    const SCRIPT: Script = Script::Guess;
    type Reply = GuessReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        // Both keys are in the partition of the secret.
        let partition = self.keys.partition_of_subject(self.secret);
        let all = self.keys.rate(partition, self.class, self.secret);
        to.key(&[&all, ":", self.address]);
        to.key(&[&all]);
        to.text(match self.step {
            GuessStep::Try => "try",
            GuessStep::Wrong => "wrong",
            GuessStep::Right => "right",
        });
        for rate in [self.bounds.address, self.bounds.all] {
            to.number(rate.map_or(0, interval_us));
            to.number(rate.map_or(0, |rate| u64::from(rate.requests)));
        }
        to.number(u64::try_from(self.bounds.pause.as_micros()).unwrap_or(u64::MAX));
        to.number(GUESS_LEASE_US);
        to.number(KNOWN_US);
        to.number(KNOWN_FACTOR);
        to.number(SPARE_US);
    }

    fn parse(reply: &Reply) -> Result<GuessReply, StoreError> {
        match reply.status() {
            "OK" => Ok(GuessReply::Done { known: reply.number(1)? == 1 }),
            "WAIT" => Ok(GuessReply::Wait {
                after: Duration::from_micros(reply.number(1)?),
                guarded: reply.text(2)? == "all",
            }),
            _ => Err(reply.unknown()),
        }
    }
}

fn interval_us(rate: Rate) -> u64 {
    u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX)
}
