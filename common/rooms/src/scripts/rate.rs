//! spend and refund: requests against a rate.

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

/// Arguments of `refund.lua`.
#[derive(Debug)]
pub struct RefundScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Class of requests.
    pub class: &'a str,
    /// Subject that is counted.
    pub subject: &'a str,
    /// Rate.
    pub rate: Rate,
}

impl ScriptArguments for RefundScript<'_> {
    const SCRIPT: Script = Script::Refund;
    type Reply = ();

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let partition = self.keys.partition_of_subject(self.subject);
        to.key(&[&self.keys.rate(partition, self.class, self.subject)]);
        to.number(interval_us(self.rate));
    }

    fn parse(reply: &Reply) -> Result<(), StoreError> {
        if reply.status() == "OK" { Ok(()) } else { Err(reply.unknown()) }
    }
}

fn interval_us(rate: Rate) -> u64 {
    u64::try_from(rate.interval().as_micros()).unwrap_or(u64::MAX)
}
