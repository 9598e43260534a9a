//! Sign-ins that were revoked before their tokens expire: one list for the whole deployment, in the
//! first partition.

use std::time::Duration;

use redis::cmd;

use super::Rooms;
use crate::context::millis;
use crate::scripts::RevokeScript;
use crate::values::{entries, time_ms};
use crate::{LogId, Partition, RevocationReason, Revoked, StoreError};

/// Partition of the list.
const HOME: Partition = Partition(0);
/// Number of entries that one request reads.
const PAGE: usize = 5_000;

impl Rooms {
    /// Revokes a sign-in. It stays in the list for at least `keep`.
    ///
    /// # Errors
    /// See [`StoreError`]. After `Unavailable` it is unknown whether it was written.
    pub async fn revoke(&self, sign_in: &str, reason: RevocationReason, keep: Duration) -> Result<(), StoreError> {
        let keys = &self.context().keys;
        self.run(HOME, &RevokeScript { keys, partition: HOME, sign_in, keep_ms: millis(keep), reason }).await
    }

    /// Returns the sign-ins that were revoked after `after`, oldest first, the position of the last
    /// entry that was read, and Redis TIME in ms. An entry that this version cannot read is logged
    /// and left out: the others must hold.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoked(&self, after: Option<LogId>) -> Result<(Vec<Revoked>, Option<LogId>, u64), StoreError> {
        let (mut found, mut after) = (Vec::new(), after);
        loop {
            let mut read = cmd("XRANGE");
            let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
            read.arg(self.context().keys.revoked(HOME)).arg(from).arg("+").arg("COUNT").arg(PAGE);
            let answer = self.plain(HOME, "revoked", &[read, cmd("TIME")]).await?;
            let page = entries(answer.first())?;
            let last = page.len() < PAGE;
            for (id, fields) in page {
                after = Some(id);
                let until_ms = fields.get("u").and_then(|ms| ms.parse().ok());
                let (Some(until_ms), Some(sign_in)) = (until_ms, fields.get("s")) else {
                    tracing::error!(%id, "unreadable entry in the list of revoked sign-ins");
                    continue;
                };
                let reason = RevocationReason::parse(fields.get("r").copied());
                found.push(Revoked { id, sign_in: (*sign_in).to_owned(), reason, until_ms });
            }
            if last {
                return Ok((found, after, time_ms(answer.get(1))?));
            }
        }
    }
}
