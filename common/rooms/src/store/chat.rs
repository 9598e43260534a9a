//! What was said in a room, for who comes later; and what is said to pass.

use redis::cmd;
use serde::Deserialize;

use super::Rooms;
use crate::reply::{Words, entries, text};
use crate::scripts::Script;
use crate::*;
use switchboard_core::domain::UserId;

/// Messages read in one go.
const PAGE: usize = 100;

impl Rooms {
    /// Up to `limit` messages that the seat's user may read: what was said to all, and what it said or was told in private. Those before
    /// the message `before`, else the last ones. `None`: the seat is not this session's any more.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn history(
        &self,
        seat: &Seat,
        before: Option<&str>,
        limit: usize,
    ) -> Result<Option<History>, StoreError> {
        let p = self.partition_of(&seat.room);
        let keys = &self.context().keys;
        let reader = UserId::parse(seat.peer.user()).map_err(|_| StoreError::Unexpected("a peer's user".to_owned()))?;
        let mut history = History { messages: Vec::new(), more: false };
        let (mut from, mut reached) = ("+".to_owned(), before.is_none());
        loop {
            let (mut look, mut read) = (cmd("HGET"), cmd("XREVRANGE"));
            look.arg(keys.room(p, &seat.room)).arg(format!("s:{}", seat.peer));
            read.arg(keys.chat(p, &seat.room)).arg(&from).arg("-").arg("COUNT").arg(PAGE);
            let answer = self.plain(p, "chat_history", vec![look, read]).await?;
            let held = answer.first().and_then(text).and_then(|seat| seat.split(' ').nth(1));
            if held != Some(seat.generation.to_string().as_str()) {
                return Ok(None);
            }
            let page = entries(answer.get(1))?;
            for (_, fields) in &page {
                let Some((_, payload)) = fields.get("d").and_then(|event| event.split_once(',')) else { continue };
                if !reached {
                    reached = id_of(payload) == before;
                    continue;
                }
                let (to, sender) = (fields.get("t"), fields.get("f"));
                if to != Some(&"*") && to != Some(&reader.as_str()) && sender != Some(&reader.as_str()) {
                    continue;
                }
                if history.messages.len() == limit {
                    history.more = true;
                    break;
                }
                history.messages.push(payload.to_owned());
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE && !history.more => from = format!("({last}"),
                _ => break,
            }
        }
        history.messages.reverse();
        Ok(Some(history))
    }

    /// Tells everybody else what is worth nothing later. `required_settings`: settings that must be on, separated by spaces.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn hint(&self, seat: &Seat, event: &str, required_settings: &str) -> Result<Hinted, StoreError> {
        let command = self.context().hint(seat, event, required_settings);
        let words: Words = self.run(self.partition_of(&seat.room), Script::Hint.name(), command).await?;
        match words.word() {
            "OK" => Ok(Hinted::Done),
            "OFF" => Ok(Hinted::Off(words.text(1)?.into())),
            "STALE" => Ok(Hinted::Stale),
            _ => Err(words.unknown()),
        }
    }
}

/// The id of a message.
fn id_of(payload: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Message<'a> {
        id: &'a str,
    }
    serde_json::from_str::<Message<'_>>(payload).ok().map(|message| message.id)
}
