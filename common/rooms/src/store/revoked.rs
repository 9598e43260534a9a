//! Sign-ins that are over before their tokens are: one list for the whole deployment, in the first partition.

use std::time::Duration;

use redis::cmd;

use super::Rooms;
use crate::context::millis;
use crate::reply::{entries, time_ms, unexpected};
use crate::scripts::Script;
use crate::{LogId, Partition, Revoked, StoreError};

/// Where the list is.
const HOME: Partition = Partition(0);
/// Entries read at once.
const PAGE: usize = 5_000;

impl Rooms {
    /// Writes that a sign-in is over; it stays in the list for at least `keep`.
    ///
    /// # Errors
    /// See [`StoreError`]; `Unavailable` leaves open whether it was written.
    pub async fn revoke(&self, sign_in: &str, keep: Duration) -> Result<(), StoreError> {
        let context = self.context();
        let mut command = context.script(Script::Revoke, &[&context.keys.revoked(HOME)]);
        command.arg(sign_in).arg(millis(keep));
        let words = self.run(HOME, Script::Revoke.name(), command).await?;
        if words.word() == "OK" { Ok(()) } else { Err(words.unknown()) }
    }

    /// The sign-ins that were revoked after `after`, oldest first, and Redis TIME in milliseconds.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn revoked(&self, after: Option<LogId>) -> Result<(Vec<Revoked>, u64), StoreError> {
        let (mut found, mut after) = (Vec::new(), after);
        loop {
            let mut read = cmd("XRANGE");
            let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
            read.arg(self.context().keys.revoked(HOME)).arg(from).arg("+").arg("COUNT").arg(PAGE);
            let answer = self.plain(HOME, "revoked", vec![read, cmd("TIME")]).await?;
            let page = entries(answer.first())?;
            let last = page.len() < PAGE;
            for (id, fields) in page {
                let until_ms = fields.get("u").and_then(|ms| ms.parse().ok()).ok_or_else(|| unexpected("a time"))?;
                let sign_in = fields.get("s").ok_or_else(|| unexpected("a sign-in"))?;
                found.push(Revoked { id, sign_in: (*sign_in).to_owned(), until_ms });
                after = Some(id);
            }
            if last {
                return Ok((found, time_ms(answer.get(1))?));
            }
        }
    }
}
