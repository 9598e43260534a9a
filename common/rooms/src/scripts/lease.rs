//! acquire_lease, release_lease and trim_outbox: the owner of a partition's outbox.

use switchboard_core::wire::LogId;

use super::{Reply, Script, ScriptArguments, ScriptWriter};
use crate::keys::Keys;
use crate::{Partition, StoreError};

/// Reply of the scripts that need the lease of an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseReply {
    /// The lease is, or was, this token's.
    Held,
    /// Another owner has the lease, or it expired.
    Lost,
}

impl LeaseReply {
    fn parse(reply: &Reply) -> Result<Self, StoreError> {
        match reply.status() {
            "OK" => Ok(Self::Held),
            "LOST" => Ok(Self::Lost),
            _ => Err(reply.unknown()),
        }
    }
}

/// Arguments of `acquire_lease.lua`.
#[derive(Debug)]
pub struct AcquireLeaseScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition of the outbox.
    pub partition: Partition,
    /// Token of the owner.
    pub token: &'a str,
    /// Duration of the lease in ms.
    pub duration_ms: u64,
}

impl ScriptArguments for AcquireLeaseScript<'_> {
    const SCRIPT: Script = Script::AcquireLease;
    type Reply = LeaseReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.lease(self.partition)]);
        to.text(self.token);
        to.number(self.duration_ms);
    }

    fn parse(reply: &Reply) -> Result<LeaseReply, StoreError> {
        LeaseReply::parse(reply)
    }
}

/// Arguments of `release_lease.lua`.
#[derive(Debug)]
pub struct ReleaseLeaseScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition of the outbox.
    pub partition: Partition,
    /// Token of the owner.
    pub token: &'a str,
}

impl ScriptArguments for ReleaseLeaseScript<'_> {
    const SCRIPT: Script = Script::ReleaseLease;
    type Reply = LeaseReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.lease(self.partition)]);
        to.text(self.token);
    }

    fn parse(reply: &Reply) -> Result<LeaseReply, StoreError> {
        LeaseReply::parse(reply)
    }
}

/// Arguments of `trim_outbox.lua`.
#[derive(Debug)]
pub struct TrimOutboxScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition of the outbox.
    pub partition: Partition,
    /// Token of the owner.
    pub token: &'a str,
    /// Id of the first fact to keep.
    pub first_kept: LogId,
}

impl ScriptArguments for TrimOutboxScript<'_> {
    const SCRIPT: Script = Script::TrimOutbox;
    type Reply = LeaseReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.lease(self.partition)]);
        to.key(&[&self.keys.outbox(self.partition)]);
        to.text(self.token);
        to.text(&self.first_kept.to_string());
    }

    fn parse(reply: &Reply) -> Result<LeaseReply, StoreError> {
        LeaseReply::parse(reply)
    }
}
