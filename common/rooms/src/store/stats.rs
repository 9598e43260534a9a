//! Rooms in figures.

use redis::cmd;

use super::Rooms;
use crate::reply::{stats, time_ms};
use crate::*;
use switchboard_core::domain::RoomId;

impl Rooms {
    /// The room's figures; `None` when it is not open.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stats(&self, room: &RoomId) -> Result<Option<RoomStats>, StoreError> {
        let p = self.partition_of(room);
        let mut read = cmd("HGETALL");
        read.arg(self.context().keys.room(p, room));
        let answer = self.plain(p, "stats", vec![read, cmd("TIME")]).await?;
        let taken_ms = time_ms(answer.get(1))?;
        answer.first().map_or(Ok(None), |hash| stats(hash, taken_ms))
    }
}
