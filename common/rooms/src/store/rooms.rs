//! Rooms as a whole: peek, open, read, end.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use switchboard_core::domain::{CallId, LeaveReason, PeerId, Role, RoomId, RoomMeta, UserId};
use switchboard_core::wire::server_event;

use super::Rooms;
use super::moderation::UPDATE_ATTEMPTS_MAX;
use super::room_log::RoomLog;
use crate::context::millis;
use crate::scripts::{EndCaller, EndScript, OpenReply, OpenScript, ReopenScript, ReserveScript};
use crate::values::{given_permissions, items, room_meta, snapshot, text};
use crate::{
    Caller, CaughtUp, Created, Ended, JoinStanding, LogEntry, LogId, ModerationCommand, Opened, Proof, Reopened,
    Reserved, RoomPeek, RoomUpdate, Seat, Snapshot, StoreError, TokenGrant,
};

/// Time for which a room id is kept for a call: longer than the insert of its record can take, and
/// longer than a first join that has found no record.
const RESERVATION_LIFETIME: Duration = Duration::from_secs(30);
/// Fields of the room's hash that a peek reads.
const PEEK_FIELDS: &[&str] = &["st", "m", "lock", "host", "n"];

impl Rooms {
    /// Reads a room without a seat in it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn peek(&self, room: &RoomId) -> Result<RoomPeek, StoreError> {
        let p = self.partition_of(room);
        let mut read = cmd("HMGET");
        read.arg(self.context().keys.room(p, room)).arg(PEEK_FIELDS);
        let answer = self.plain(p, "peek", &[read]).await?;
        read_peek(items(answer.first())?)
    }

    /// Reads a room for a user who wants to join: [`peek`](Rooms::peek), and the user's standing.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn peek_for(
        &self,
        room: &RoomId,
        user: &UserId,
        proof: &Proof,
    ) -> Result<(RoomPeek, JoinStanding), StoreError> {
        let p = self.partition_of(room);
        let mut read = cmd("HMGET");
        read.arg(self.context().keys.room(p, room)).arg(PEEK_FIELDS).arg(format!("g:{user}")).arg(format!("k:{user}"));
        read.arg(format!("b:{user}")).arg(format!("r:{user}")).arg(format!("s:{user}"));
        // The first device may have left, and another one still have a seat.
        let devices = self.options().devices_max.max(1) as usize;
        for device in 2..=devices {
            read.arg(format!("s:{user}#{device}"));
        }
        for hash in proof.address.iter().flat_map(|hashes| hashes.split(',')) {
            read.arg(format!("b:@{hash}"));
        }
        let mut reads = vec![read];
        if !room.is_of_default_app() {
            let mut newest = cmd("HGET");
            newest.arg(self.context().keys.grants(p, room)).arg(user.as_str());
            reads.push(newest);
        }
        let answer = self.plain(p, "peek_for", &reads).await?;
        let fields = items(answer.first())?;
        let peek = read_peek(fields)?;
        let field = |index: usize| fields.get(PEEK_FIELDS.len() + index).and_then(text);
        let is_host = matches!(&peek, RoomPeek::Open { host, .. } if host == user);
        let given = if is_host { Some(Role::Host) } else { field(0).and_then(Role::parse) };
        let removed_ms = field(1).and_then(|ms| ms.parse().ok());
        // As in `join.lua`: an account is known by its id, a guest without a seat by its address
        // too.
        let seats: Vec<&str> = (4..4 + devices).filter_map(field).collect();
        let address_banned =
            || (PEEK_FIELDS.len() + 4 + devices..fields.len()).any(|index| text(&fields[index]).is_some());
        let is_new_guest = user.is_guest() && seats.is_empty();
        let banned = field(2).is_some() || (is_new_guest && address_banned());
        // A place in the lobby is no seat.
        let seated = seats.iter().any(|seat| !seat.starts_with("waiting "));
        let given_permissions = given_permissions(field(3))?;
        let newest_grant = answer.get(1).and_then(text).map(TokenGrant::parse);
        let newest_grant =
            newest_grant.map(|grant| grant.ok_or_else(|| StoreError::expected("a grant"))).transpose()?;
        Ok((peek, JoinStanding { given, given_permissions, banned, seated, removed_ms, newest_grant }))
    }

    /// Opens the room for a call that has a record, with this metadata or newer. A room that is
    /// open with an older version is changed as by any other change of the call: participants are
    /// notified, and the lobby is asked again or admitted. A room of another call stays as it is.
    ///
    /// # Errors
    /// See [`StoreError`]. `Unavailable`, if the call changed 32 times meanwhile.
    pub async fn open(&self, room: &RoomId, meta: &RoomMeta) -> Result<Opened, StoreError> {
        for _ in 0..UPDATE_ATTEMPTS_MAX {
            match self.run_open(room, meta, None).await? {
                OpenReply::Open => return Ok(Opened::Open),
                OpenReply::Ended => return Ok(Opened::Ended),
                OpenReply::Exists => return Ok(Opened::Taken),
                OpenReply::Pending => return Err(StoreError::expected("a reply to opening a room")),
                OpenReply::Older => {
                    let RoomPeek::Open { meta: before, .. } = self.peek(room).await? else { continue };
                    if before.version < meta.version {
                        let update = RoomUpdate { before: *before, after: meta.clone(), heir: None };
                        // Whatever the outcome is, the next attempt sees the room as it is then.
                        self.moderate(room, Caller::Operator, &ModerationCommand::Update(Box::new(update))).await?;
                    }
                }
            }
        }
        Err(StoreError::Unavailable)
    }

    /// Keeps a room id for a call whose record is about to be written: until the room is opened,
    /// for 30 s at most, nobody creates another call in it. Nobody can join the call by this.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn reserve(&self, room: &RoomId, call: &CallId) -> Result<Reserved, StoreError> {
        self.run_reserve(room, call, RESERVATION_LIFETIME).await
    }

    /// Gives up the room id that is kept for a call.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn release(&self, room: &RoomId, call: &CallId) -> Result<(), StoreError> {
        self.run_reserve(room, call, Duration::ZERO).await.map(drop)
    }

    async fn run_reserve(&self, room: &RoomId, call: &CallId, lifetime: Duration) -> Result<Reserved, StoreError> {
        let (keys, partition) = (&self.context().keys, self.partition_of(room));
        let script = ReserveScript { keys, partition, room, call, lifetime_ms: millis(lifetime) };
        self.run(partition, &script).await
    }

    /// Lets a call that has ended take place once more: removes its tombstone, and writes the
    /// `reopened` fact. Does nothing while the call is open, or if another call has the room.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn reopen(&self, room: &RoomId, call: &CallId) -> Result<Reopened, StoreError> {
        let scope = self.context().seat_scope(room, LeaveReason::Left);
        self.run(scope.room.partition, &ReopenScript { scope, call }).await
    }

    /// Creates the room unless it exists, and the `created` fact. `details`: the call's record as
    /// JSON.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn create(&self, room: &RoomId, meta: &RoomMeta, details: &str) -> Result<Created, StoreError> {
        Ok(match self.run_open(room, meta, Some(details)).await? {
            OpenReply::Open | OpenReply::Older => Created::Done,
            OpenReply::Exists => Created::Exists,
            OpenReply::Ended => Created::Ended,
            OpenReply::Pending => Created::Pending,
        })
    }

    async fn run_open(
        &self,
        room: &RoomId,
        meta: &RoomMeta,
        created_details: Option<&str>,
    ) -> Result<OpenReply, StoreError> {
        let meta_json = serde_json::to_string(meta).map_err(|_| StoreError::expected("metadata that JSON can hold"))?;
        let scope = self.context().seat_scope(room, LeaveReason::Left);
        self.run(scope.room.partition, &OpenScript { scope, meta, meta_json, created_details }).await
    }

    /// Ends the call for its host in a seat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_as_host(&self, seat: &Arc<Seat>, reason: &str) -> Result<Ended, StoreError> {
        let script = self.end_script(&seat.room, EndCaller::Host(seat), reason);
        self.run_after(self.partition_of(&seat.room), &script, seat).await
    }

    /// Ends the call for a caller who was authorized elsewhere, whether or not the room is in
    /// Redis.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end(&self, room: &RoomId, call: &CallId, reason: &str) -> Result<Ended, StoreError> {
        let script = self.end_script(room, EndCaller::Authorized(call), reason);
        self.run(self.partition_of(room), &script).await
    }

    fn end_script<'a>(&'a self, room: &'a RoomId, caller: EndCaller<'a>, reason: &str) -> EndScript<'a> {
        EndScript {
            scope: self.context().seat_scope(room, LeaveReason::Ended),
            caller,
            ended_event: server_event::call_ended(room, reason),
            ended_details: serde_json::json!({ "reason": reason }).to_string(),
            tombstone_ms: millis(self.options().tombstone),
        }
    }

    /// Reads the room; `None` if it is not open.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn snapshot(&self, room: &RoomId) -> Result<Option<Snapshot>, StoreError> {
        let p = self.partition_of(room);
        let mut read = cmd("HGETALL");
        read.arg(self.context().keys.room(p, room));
        let answer = self.read_large(p, "snapshot", &[read]).await?;
        let Some(hash) = answer.first() else { return Ok(None) };
        self.large_rooms().saw(room, hash);
        snapshot(hash)
    }

    /// Reads the events for `peer` after `after`, oldest first; `None` if the log does not go back
    /// that far or the room is gone. The session must then start afresh.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn read(&self, room: &RoomId, peer: &PeerId, after: LogId) -> Result<Option<Vec<LogEntry>>, StoreError> {
        let log = self.read_log(room, &[peer], after).await?;
        Ok((log.is_open() && log.is_complete(after)).then_some(log.entries_for(0, peer, after)?))
    }

    /// Reads what sessions of one room missed, each after its own position, after a gap in the
    /// node's subscription. The log is read once for all of them. Checks the seats too, because the
    /// message that a seat was lost may have been lost in the same gap and is not sent twice.
    /// Returns an answer for each session, in order.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn catch_up(&self, room: &RoomId, sessions: &[(Arc<Seat>, LogId)]) -> Result<Vec<CaughtUp>, StoreError> {
        let peers: Vec<&PeerId> = sessions.iter().map(|(seat, _)| &seat.peer).collect();
        let Some(first) = sessions.iter().map(|(_, after)| *after).min() else { return Ok(Vec::new()) };
        let log = self.read_log(room, &peers, first).await?;
        sessions.iter().enumerate().map(|(index, (seat, after))| log.caught_up(index, seat, *after)).collect()
    }

    /// Reads the log after `after` in pages, and the data that tell what it is for these peers.
    async fn read_log(&self, room: &RoomId, peers: &[&PeerId], after: LogId) -> Result<RoomLog, StoreError> {
        let p = self.partition_of(room);
        let keys = &self.context().keys;
        let (mut read, mut pages) = (self.log_pages(p, room, "read", after, None), Vec::new());
        while let Some(page) = read.next().await? {
            pages.push(page.reply);
        }
        let fields = RoomLog::fields(keys, p, room, peers);
        // The floor last: if the log is complete after the read, it was complete during the read.
        let answer = self.plain(p, "read", &[fields, cmd("TIME")]).await?;
        let [fields, time] = &answer[..] else { return Err(StoreError::expected("two replies")) };
        RoomLog::parse(pages, fields, time, self.options().window)
    }
}

fn read_peek(fields: &[Value]) -> Result<RoomPeek, StoreError> {
    let field = |index: usize| fields.get(index).and_then(text);
    Ok(match (field(0), field(1), field(3)) {
        (Some("ended"), ..) => RoomPeek::Ended,
        (Some(_), Some(json), Some(host)) => RoomPeek::Open {
            meta: Box::new(room_meta(json)?),
            locked: field(2) == Some("1"),
            host: UserId::parse(host).map_err(|_| StoreError::expected("a host"))?,
            participants: field(4).and_then(|n| n.parse().ok()).unwrap_or(0),
        },
        _ => RoomPeek::Absent,
    })
}
