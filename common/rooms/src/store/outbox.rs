//! The outbox of each partition: one owner at a time reads its facts in order, and drops what it has written.

use std::collections::HashMap;
use std::time::Duration;

use redis::{Cmd, cmd};

use super::Rooms;
use crate::context::millis;
use crate::reply::{Words, entries, unexpected};
use crate::scripts::Script;
use crate::*;
use switchboard_core::domain::{CallId, PeerId, RoomId, UserId};

impl Rooms {
    /// Takes or renews the lease of a partition's outbox; `false`: another has it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn own(&self, partition: Partition, token: &str, lease: Duration) -> Result<bool, StoreError> {
        let context = self.context();
        let mut command = context.script(Script::Own, &[&context.keys.owner(partition)]);
        command.arg(token).arg(millis(lease));
        held(&self.run(partition, Script::Own.name(), command).await?)
    }

    /// Gives the lease of a partition's outbox up: another can take it at once. `false`: it was lost before.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn disown(&self, partition: Partition, token: &str) -> Result<bool, StoreError> {
        let context = self.context();
        let mut command = context.script(Script::Disown, &[&context.keys.owner(partition)]);
        command.arg(token);
        held(&self.run(partition, Script::Disown.name(), command).await?)
    }

    /// Up to `count` facts after `after`, oldest first.
    ///
    /// # Errors
    /// See [`StoreError`]; one entry that makes no sense is enough for `Unexpected`.
    pub async fn facts(
        &self,
        partition: Partition,
        after: Option<LogId>,
        count: usize,
    ) -> Result<Vec<Fact>, StoreError> {
        let found = self.outbox(partition, after, count).await?;
        found.into_iter().map(|entry| entry.fact.map_err(|_| unexpected("a fact"))).collect()
    }

    /// As [`Rooms::facts`], for a consumer that has to get past entries which make no sense.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn outbox(
        &self,
        partition: Partition,
        after: Option<LogId>,
        count: usize,
    ) -> Result<Vec<OutboxEntry>, StoreError> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut read = cmd("XRANGE");
        read.arg(self.context().keys.outbox(partition)).arg(from).arg("+").arg("COUNT").arg(count);
        let answer = self.plain(partition, "facts", vec![read]).await?;
        let read = |(id, fields): (LogId, HashMap<&str, &str>)| OutboxEntry {
            id,
            event_id: format!("{}:{id}", partition.0),
            fact: fact(partition, id, &|name| fields.get(name).copied().unwrap_or_default())
                .ok_or_else(|| format!("{fields:?}")),
        };
        Ok(entries(answer.first())?.into_iter().map(read).collect())
    }

    /// Drops the facts up to and with `upto`, while the lease holds; `false`: it is lost.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn ack(&self, partition: Partition, token: &str, upto: LogId) -> Result<bool, StoreError> {
        let context = self.context();
        let keys = &context.keys;
        let mut command: Cmd = context.script(Script::Ack, &[&keys.owner(partition), &keys.outbox(partition)]);
        command.arg(token).arg(LogId { seq: upto.seq + 1, ..upto }.to_string());
        held(&self.run(partition, Script::Ack.name(), command).await?)
    }

    /// Facts that wait.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn outbox_len(&self, partition: Partition) -> Result<u64, StoreError> {
        let mut command = cmd("XLEN");
        command.arg(self.context().keys.outbox(partition));
        match self.plain(partition, "outbox_len", vec![command]).await?.first() {
            Some(redis::Value::Int(length)) => u64::try_from(*length).map_err(|_| unexpected("a length")),
            _ => Err(unexpected("a length")),
        }
    }
}

fn held(words: &Words) -> Result<bool, StoreError> {
    match words.word() {
        "OK" => Ok(true),
        "LOST" => Ok(false),
        _ => Err(words.unknown()),
    }
}

fn fact<'a>(partition: Partition, id: LogId, field: &dyn Fn(&str) -> &'a str) -> Option<Fact> {
    // About a call as a whole there is no peer, or no join.
    let about = match (PeerId::parse(field("p")), UserId::parse(field("u")), LogId::parse(field("j"))) {
        (Ok(peer), Ok(user), Some(join_id)) => Some(Presence { peer, user, join_id }),
        _ => None,
    };
    Some(Fact {
        id,
        event_id: format!("{}:{id}", partition.0),
        kind: field("k").to_owned(),
        call: CallId::parse(field("c")).ok()?,
        room: RoomId::parse(field("r")).ok()?,
        about,
        count: field("n").parse().ok()?,
        details: field("d").to_owned(),
    })
}
