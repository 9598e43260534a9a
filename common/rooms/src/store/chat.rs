//! Chat history of a room, and ephemeral events.

use redis::cmd;
use serde::Deserialize;
use switchboard_core::domain::UserId;
use switchboard_core::wire::EventKind;

use super::Rooms;
use crate::scripts::EphemeralScript;
use crate::seat::SeatText;
use crate::values::{entries, text};
use crate::{EphemeralOutcome, History, Seat, StoreError};

/// Number of messages that one request reads.
const PAGE: usize = 100;

impl Rooms {
    /// Reads up to `limit` messages that the seat's user may read: public ones, and private ones
    /// from or to this user. Reads the messages before `before`, or the last ones. Returns `None`
    /// if the seat is not this session's any more.
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
        let reader = UserId::parse(seat.peer.user()).map_err(|_| StoreError::expected("a user id"))?;
        let mut history = History { messages: Vec::new(), more: false };
        let (mut from, mut reached) = ("+".to_owned(), before.is_none());
        loop {
            let (mut read_seat, mut read_page) = (cmd("HGET"), cmd("XREVRANGE"));
            read_seat.arg(keys.room(p, &seat.room)).arg(format!("s:{}", seat.peer));
            read_page.arg(keys.chat(p, &seat.room)).arg(&from).arg("-").arg("COUNT").arg(PAGE);
            let answer = self.plain(p, "chat_history", &[read_seat, read_page]).await?;
            let current = answer.first().and_then(text).and_then(SeatText::parse);
            if current.is_none_or(|current| current.generation != seat.generation) {
                return Ok(None);
            }
            let page = entries(answer.get(1))?;
            for (_, fields) in &page {
                let Some((_, payload)) = fields.get("d").and_then(|event| event.split_once(',')) else { continue };
                if !reached {
                    reached = message_id(payload) == before;
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

    /// Sends an event to everyone else that is in no log, because no client needs it later.
    /// `required_settings`: names of settings that must be on, separated by spaces.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn send_ephemeral(
        &self,
        seat: &Seat,
        kind: EventKind,
        event: &str,
        required_settings: &str,
    ) -> Result<EphemeralOutcome, StoreError> {
        let scope = self.context().room_scope(&seat.room);
        self.run(scope.partition, &EphemeralScript { scope, seat, kind, event, required_settings }).await
    }
}

/// Reads the id of a message.
fn message_id(payload: &str) -> Option<&str> {
    #[derive(Deserialize)]
    struct Message<'a> {
        id: &'a str,
    }
    serde_json::from_str::<Message<'_>>(payload).ok().map(|message| message.id)
}
