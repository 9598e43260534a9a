//! revoke: revokes a sign-in before its tokens expire.

use super::{Reply, Script, ScriptArguments, ScriptWriter};
use crate::keys::Keys;
use crate::{Partition, RevocationReason, StoreError};

/// Arguments of `revoke.lua`.
#[derive(Debug)]
pub struct RevokeScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition of the list.
    pub partition: Partition,
    /// Id of the sign-in.
    pub sign_in: &'a str,
    /// Time to remember it in ms.
    pub keep_ms: u64,
    /// Reason of the revocation.
    pub reason: RevocationReason,
}

impl ScriptArguments for RevokeScript<'_> {
    const SCRIPT: Script = Script::Revoke;
    type Reply = ();

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.revoked(self.partition)]);
        to.text(self.sign_in);
        to.number(self.keep_ms);
        to.text(self.reason.as_str());
    }

    fn parse(reply: &Reply) -> Result<(), StoreError> {
        if reply.status() == "OK" { Ok(()) } else { Err(reply.unknown()) }
    }
}
