//! Rooms as a whole: looked at, opened, read, ended.

use std::sync::Arc;

use redis::cmd;

use super::Rooms;
use crate::context::millis;
use crate::reply::{StoredSeat, Words, items, log_entries, meta, snapshot, text, time_ms, unexpected};
use crate::scripts::Script;
use crate::*;
use switchboard_core::domain::{CallId, Generation, PeerId, Role, RoomId, UserId};
use switchboard_core::wire::server_event;

impl Rooms {
    /// Looks at a room without entering it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn door(&self, room: &RoomId) -> Result<Door, StoreError> {
        let p = self.partition_of(room);
        let mut look = cmd("HMGET");
        look.arg(self.context().keys.room(p, room)).arg(DOOR);
        let answer = self.plain(p, "door", vec![look]).await?;
        read_door(items(answer.first())?)
    }

    /// Looks at a room as somebody who is about to enter it: [`door`](Rooms::door), and how it stands to this one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn approach(&self, room: &RoomId, user: &UserId, proof: &Proof) -> Result<(Door, Standing), StoreError> {
        let p = self.partition_of(room);
        let mut look = cmd("HMGET");
        look.arg(self.context().keys.room(p, room)).arg(DOOR).arg(format!("g:{user}")).arg(format!("k:{user}"));
        look.arg(format!("b:{user}")).arg(format!("b:@{}", proof.address.as_deref().unwrap_or("-")));
        let answer = self.plain(p, "approach", vec![look]).await?;
        let fields = items(answer.first())?;
        let door = read_door(fields)?;
        let field = |index: usize| fields.get(index).and_then(text);
        let is_host = matches!(&door, Door::Open { host, .. } if host == user);
        let given = if is_host { Some(Role::Host) } else { field(5).and_then(Role::parse) };
        let removed_ms = field(6).and_then(|ms| ms.parse().ok());
        Ok((door, Standing { given, banned: field(7).or(field(8)).is_some(), removed_ms }))
    }

    /// Makes sure the room is there, with this meta or a newer one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(&self, room: &RoomId, meta: &RoomMeta) -> Result<Opened, StoreError> {
        let words = self.make(room, meta, "-").await?;
        match words.word() {
            "OK" => Ok(Opened::Open),
            "ENDED" => Ok(Opened::Ended),
            _ => Err(words.unknown()),
        }
    }

    /// Creates the room unless it exists, and tells the outbox. `details`: the call's record as JSON.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create(&self, room: &RoomId, meta: &RoomMeta, details: &str) -> Result<Created, StoreError> {
        let words = self.make(room, meta, details).await?;
        match words.word() {
            "OK" => Ok(Created::Done),
            "EXISTS" => Ok(Created::Exists),
            "ENDED" => Ok(Created::Ended),
            _ => Err(words.unknown()),
        }
    }

    async fn make(&self, room: &RoomId, meta: &RoomMeta, details: &str) -> Result<Words, StoreError> {
        let json = serde_json::to_string(meta).map_err(|_| unexpected("a meta that JSON can hold"))?;
        let mut command = self.context().seat_script(Script::Open, room, &[], "left");
        command.arg(json).arg(meta.version).arg(meta.call_id.as_str()).arg(meta.host.as_str());
        command.arg(meta.max_participants).arg(details).arg(u8::from(meta.locked));
        self.run(self.partition_of(room), Script::Open.name(), command).await
    }

    /// The host ends the call from its seat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_by(&self, seat: &Arc<Seat>, reason: &str) -> Result<Ended, StoreError> {
        let mut command = self.end_command(&seat.room, "-", reason);
        command.arg(seat.peer.as_str()).arg(seat.generation);
        let p = self.partition_of(&seat.room);
        let answer = self.ask(p, Script::End.name(), vec![command], |call| call.after_ops_of(seat)).await?;
        ended(&Words::of(answer)?)
    }

    /// Ends the call, whoever asks and whether or not the room is in Redis.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end(&self, room: &RoomId, call: &CallId, reason: &str) -> Result<Ended, StoreError> {
        let mut command = self.end_command(room, call.as_str(), reason);
        command.arg("-").arg("-");
        ended(&self.run(self.partition_of(room), Script::End.name(), command).await?)
    }

    fn end_command(&self, room: &RoomId, call: &str, reason: &str) -> redis::Cmd {
        let context = self.context();
        let chat = context.keys.chat(context.keys.partition_of(room), room);
        let mut command = context.seat_script(Script::End, room, &[&chat], "ended");
        command
            .arg(call)
            .arg(server_event::call_ended(room, reason))
            .arg(serde_json::json!({ "reason": reason }).to_string())
            .arg(millis(self.options().tombstone));
        command
    }

    /// The room at this moment; `None` when it is not open.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn snapshot(&self, room: &RoomId) -> Result<Option<Snapshot>, StoreError> {
        let p = self.partition_of(room);
        let mut read = cmd("HGETALL");
        read.arg(self.context().keys.room(p, room));
        let answer = self.plain(p, "snapshot", vec![read]).await?;
        answer.first().map_or(Ok(None), snapshot)
    }

    /// What `peer` should have got after `after`, oldest first; `None` when that is no longer all there, or the room is gone: the session
    /// must start afresh.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn read(&self, room: &RoomId, peer: &PeerId, after: LogId) -> Result<Option<Vec<LogEntry>>, StoreError> {
        let found = self.look_back(room, peer, after).await?;
        Ok((found.open && found.whole).then_some(found.entries))
    }

    /// What a session should have got after `after`, for one whose node has heard nothing for a while. Its seat is looked at too: the
    /// message that told it of its loss may have been lost in the same gap, and nobody says it twice.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn catch_up(&self, seat: &Seat, after: LogId) -> Result<CaughtUp, StoreError> {
        let found = self.look_back(&seat.room, &seat.peer, after).await?;
        Ok(match found {
            LookBack { open, generation, .. } if !open || generation != Some(seat.generation) => CaughtUp::NotSeated,
            LookBack { whole: false, .. } => CaughtUp::TooOld,
            LookBack { entries, .. } => CaughtUp::Missed(entries),
        })
    }

    /// The log after `after` as `peer` gets it, and what else tells whether that is all.
    async fn look_back(&self, room: &RoomId, peer: &PeerId, after: LogId) -> Result<LookBack, StoreError> {
        let p = self.partition_of(room);
        let keys = &self.context().keys;
        let (mut log, mut look) = (cmd("XRANGE"), cmd("HMGET"));
        log.arg(keys.log(p, room)).arg(format!("({after}")).arg("+");
        look.arg(keys.room(p, room)).arg("st").arg("floor").arg(format!("s:{peer}"));
        // The floor last: what is whole after the reading was whole while reading.
        let answer = self.plain(p, "read", vec![log, look, cmd("TIME")]).await?;
        let fields = items(answer.get(1))?;
        let floor = fields.get(1).and_then(text).and_then(LogId::parse);
        let oldest = time_ms(answer.get(2))?.saturating_sub(millis(self.options().window));
        let seat = fields.get(2).and_then(text).and_then(StoredSeat::parse);
        Ok(LookBack {
            entries: log_entries(answer.first(), peer, seat.as_ref().and_then(StoredSeat::joined))?,
            open: fields.first().and_then(text) == Some("open"),
            whole: floor.is_none_or(|floor| floor <= after) && oldest <= after.ms,
            generation: seat.map(|seat| seat.generation),
        })
    }
}

/// What of a room's hash a look at its door reads.
const DOOR: &[&str] = &["st", "m", "lock", "host", "n"];

fn read_door(fields: &[redis::Value]) -> Result<Door, StoreError> {
    let field = |index: usize| fields.get(index).and_then(text);
    Ok(match (field(0), field(1), field(3)) {
        (Some("ended"), ..) => Door::Ended,
        (Some(_), Some(json), Some(host)) => Door::Open {
            meta: Box::new(meta(json)?),
            locked: field(2) == Some("1"),
            host: UserId::parse(host).map_err(|_| unexpected("a host"))?,
            participants: field(4).and_then(|n| n.parse().ok()).unwrap_or(0),
        },
        _ => Door::Absent,
    })
}

/// A look at a room's log from some id on, for one peer.
struct LookBack {
    entries: Vec<LogEntry>,
    open: bool,
    /// The log goes back as far as was asked.
    whole: bool,
    /// That of the peer's seat, if it has one.
    generation: Option<Generation>,
}

fn ended(words: &Words) -> Result<Ended, StoreError> {
    match words.word() {
        "OK" => Ok(Ended::Done),
        "ENDED" => Ok(Ended::Already),
        "DENIED" => Ok(Ended::Denied),
        "STALE" => Ok(Ended::Stale),
        _ => Err(words.unknown()),
    }
}
