//! The outbox of each partition. One owner at a time reads the facts in order, and trims those that
//! it has written durably.

use std::collections::HashMap;
use std::time::Duration;

use redis::cmd;
use switchboard_core::domain::{CallId, PeerId, RoomId, UserId};

use super::Rooms;
use crate::context::millis;
use crate::scripts::{AcquireLeaseScript, LeaseReply, ReleaseLeaseScript, TrimOutboxScript};
use crate::values::entries;
use crate::{Fact, LogId, OutboxEntry, Partition, Presence, StoreError};

impl Rooms {
    /// Takes or renews the lease of a partition's outbox. Returns `false` if another owner has it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn acquire_lease(&self, p: Partition, token: &str, duration: Duration) -> Result<bool, StoreError> {
        let keys = &self.context().keys;
        let script = AcquireLeaseScript { keys, partition: p, token, duration_ms: millis(duration) };
        Ok(self.run(p, &script).await? == LeaseReply::Held)
    }

    /// Gives up the lease of a partition's outbox, so that another owner can take it immediately.
    /// Returns `false` if it was lost before.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn release_lease(&self, p: Partition, token: &str) -> Result<bool, StoreError> {
        let keys = &self.context().keys;
        Ok(self.run(p, &ReleaseLeaseScript { keys, partition: p, token }).await? == LeaseReply::Held)
    }

    /// Drops the facts up to and including `last`, while the lease holds. Returns `false` if the
    /// lease is lost.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn trim_outbox(&self, p: Partition, token: &str, last: LogId) -> Result<bool, StoreError> {
        let keys = &self.context().keys;
        let first_kept = LogId { seq: last.seq + 1, ..last };
        Ok(self.run(p, &TrimOutboxScript { keys, partition: p, token, first_kept }).await? == LeaseReply::Held)
    }

    /// Reads up to `count` entries after `after`, oldest first. Passes on those that are not facts,
    /// so that the owner can get past them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn outbox(
        &self,
        p: Partition,
        after: Option<LogId>,
        count: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut read = cmd("XRANGE");
        read.arg(self.context().keys.outbox(p)).arg(from).arg("+").arg("COUNT").arg(count);
        let answer = self.plain(p, "facts", &[read]).await?;
        let read = |(id, fields): (LogId, HashMap<&str, &str>)| OutboxEntry {
            id,
            event_id: format!("{}:{id}", p.0),
            fact: fact(p, id, &|name| fields.get(name).copied().unwrap_or_default())
                .ok_or_else(|| format!("{fields:?}")),
        };
        Ok(entries(answer.first())?.into_iter().map(read).collect())
    }

    /// Returns the number of facts in a partition's outbox.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn outbox_len(&self, p: Partition) -> Result<u64, StoreError> {
        let mut command = cmd("XLEN");
        command.arg(self.context().keys.outbox(p));
        match self.plain(p, "outbox_len", &[command]).await?.first() {
            Some(redis::Value::Int(length)) => u64::try_from(*length).map_err(|_| StoreError::expected("a length")),
            _ => Err(StoreError::expected("a length")),
        }
    }
}

fn fact<'a>(p: Partition, id: LogId, field: &dyn Fn(&str) -> &'a str) -> Option<Fact> {
    // A fact about the whole call has no peer, or no join id.
    let about = match (PeerId::parse(field("p")), UserId::parse(field("u")), LogId::parse(field("j"))) {
        (Ok(peer), Ok(user), Some(join_id)) => Some(Presence { peer, user, join_id }),
        _ => None,
    };
    Some(Fact {
        id,
        event_id: format!("{}:{id}", p.0),
        kind: field("k").to_owned(),
        call: CallId::parse(field("c")).ok()?,
        room: RoomId::parse(field("r")).ok()?,
        about,
        count: field("n").parse().ok()?,
        details: field("d").to_owned(),
    })
}
