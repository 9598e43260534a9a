//! Seats: join, attach, detach, leave, reseat. The file has more than 400 lines, because all of it
//! is the life of a seat, with the arguments of its scripts.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{Value, cmd};
use switchboard_core::domain::{ConnectionState, LeaveReason, PublicUser, Role, RoomId, RoomMeta, UserId};
use switchboard_core::wire::server_event::{
    self, Joiner, PEER_PLACEHOLDER, participant_template, reconnecting_template, user_joined_template,
};

use super::claim::{Claim, Claimed, GiveUp};
use super::room_log::RoomLog;
use super::{Rooms, rfc3339_now};
use crate::context::{Context, millis};
use crate::lanes::{Commands, Payload, Request};
use crate::scripts::{
    AliveScript, AttachReply, AttachScript, AttachedSeat, DetachScript, JoinReply, JoinScript, LeaveScript,
    ProfileScript, ReseatScript, Script,
};
use crate::values::{LogReader, SeatLog, snapshot, text};
use crate::{
    Attach, Attached, Join, Joined, LeaveOutcome, LogId, ProfileUpdate, ReseatOutcome, Resumed, Seat, SeatCopy,
    Snapshot, StoreError, socket_id,
};

/// Maximum number of log entries that a resume reads. With more, the session is fresh.
const REPLAY_ENTRIES_MAX: usize = 5_000;
/// Maximum number of bytes of the events that a resume brings. With more, the session is fresh.
const REPLAY_BYTES_MAX: usize = 1 << 20;
/// How long a resume waits for another socket with the same private id to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two attempts of such a resume.
const BUSY_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two attempts of a join that waits for an earlier socket of the same user.
const PROBE_INTERVAL: Duration = Duration::from_millis(100);

impl Rooms {
    /// Takes a seat. May be sent again after a lost reply, because the same private id finds its
    /// seat. If the user has a seat whose client may be gone, waits until its socket answers, at
    /// most [`RoomOptions::probe`](crate::RoomOptions::probe).
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn join(&self, join: Join) -> Result<Joined, StoreError> {
        let read = async || self.snapshot(&join.room).await.map(|room| room.map(Box::new));
        self.join_and_read(&join, Box::new, read).await
    }

    /// Takes a seat as [`join`](Rooms::join) does. A small room is read in the same transaction,
    /// and given to `small`. A large one is read with `large` after the seat is taken, so that a
    /// refused join costs no read, and sessions that join together can share one. The seat is given
    /// up if `large` fails. Its `None` means that the room is gone.
    ///
    /// # Errors
    /// See [`StoreError`], or the error of `large`.
    pub async fn join_and_read<R>(
        &self,
        join: &Join,
        small: impl FnOnce(Snapshot) -> R,
        large: impl AsyncFnOnce() -> Result<Option<R>, StoreError>,
    ) -> Result<Joined<R>, StoreError> {
        let taken = match self.take_seat(join).await? {
            Ok(taken) => taken,
            Err(other) => return Ok(other),
        };
        let room = match &taken.read {
            Some(hash) => snapshot(hash)?.map(small),
            // The events since the join are delivered after the room, so that nobody is missing.
            None => large().await?,
        };
        taken.seated(room)
    }

    /// Runs the script of a join. Reads the room in the same transaction if it may be small.
    /// Returns the seat in the call, or any other result.
    async fn take_seat<R>(&self, join: &Join) -> Result<Result<TakenSeat, Joined<R>>, StoreError> {
        let context = self.context();
        let mut probing = Probing::new(context);
        loop {
            let script = join_script(context, join, probing.first_try(), false)?;
            let mut commands = Commands::default();
            // The lobby gets nothing of the room, and a join that waits must not cost by its
            // participants. A user who was in the call already need not wait.
            if !join.waits && !self.large_rooms().contains(&join.room) {
                // One transaction: the snapshot is the room right after the join. A snapshot made
                // by the script costs four times as much.
                let mut read = cmd("HGETALL");
                read.arg(context.keys.room(self.partition_of(&join.room), &join.room));
                commands.push(&cmd("MULTI"));
                commands.push_script(context, &script);
                commands.push(&read);
                commands.push(&cmd("EXEC"));
            } else {
                commands.push_script(context, &script);
            }
            let claimed = self.claim::<JoinScript<'_>>(&join.room, join.handle, commands, GiveUp::Leave).await?;
            let Claimed { claim, reply, read } = claimed;
            if let Some(hash) = &read {
                self.large_rooms().saw(&join.room, hash);
            }
            return Ok(match reply {
                JoinReply::Seated(given) => Ok(TakenSeat { claim, read, id: given.id, join_id: given.id }),
                JoinReply::Back { given, join } => Ok(TakenSeat { claim, read, id: given.id, join_id: join }),
                JoinReply::Waiting(given) => Err(Joined::Waiting { seat: claim.take()?, id: given.id }),
                JoinReply::Probing(first_try) => {
                    probing.wait(first_try).await?;
                    continue;
                }
                refused => Err(refusal(&refused)?),
            });
        }
    }

    /// Asks whether [`join`](Rooms::join) would give a seat at this moment. Any process may ask.
    /// Answers [`Joined::Possible`] or a refusal, never `Fenced`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn may_join(&self, join: &Join) -> Result<Joined, StoreError> {
        let context = self.context();
        let mut probing = Probing::new(context);
        loop {
            let script = join_script(context, join, probing.first_try(), true)?;
            match self.run(self.partition_of(&join.room), &script).await? {
                JoinReply::Possible => return Ok(Joined::Possible),
                JoinReply::Probing(first_try) => probing.wait(first_try).await?,
                refused => return refusal(&refused),
            }
        }
    }

    /// Records that the client of a seat is alive, for a join of the same user that asked.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn confirm_alive(&self, seat: &Seat) -> Result<(), StoreError> {
        let scope = self.context().room_scope(&seat.room);
        self.run(scope.partition, &AliveScript { scope, seat }).await.map(drop)
    }

    /// Changes fields of a user's profile on all seats in a room, and announces the profile.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn change_profile(&self, room: &RoomId, user: &UserId, update: &ProfileUpdate) -> Result<(), StoreError> {
        let script = ProfileScript { scope: self.context().seat_scope(room, LeaveReason::Left), user, update };
        self.run(self.partition_of(room), &script).await.map(drop)
    }

    /// Resumes a seat and reads the events that its client missed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attach(&self, attach: Attach) -> Result<Attached, StoreError> {
        let context = self.context();
        let started = Instant::now();
        let connected_event = connected_template(context, &attach.pid);
        let mut first_try: Option<String> = None;
        loop {
            let script = AttachScript {
                scope: context.seat_scope(&attach.room, LeaveReason::Left),
                node: context.node.as_str(),
                attach: &attach,
                first_try: first_try.as_deref(),
                connected_event: &connected_event,
            };
            let commands = Commands::script(context, &script);
            let claimed = self.claim::<AttachScript<'_>>(&attach.room, attach.handle, commands, GiveUp::Detach).await?;
            match claimed.reply {
                AttachReply::Resumed(seat) => return self.resume(&attach, *seat, claimed.claim).await,
                AttachReply::Fresh => return Ok(Attached::Fresh),
                AttachReply::Missed => return Ok(Attached::Missed { bytes_read: 0 }),
                AttachReply::Fenced => return Ok(Attached::Fenced),
                AttachReply::Busy(_) if started.elapsed() >= BUSY_TIMEOUT => return Ok(Attached::Busy),
                AttachReply::Busy(time) => first_try = Some(time),
            }
            tokio::time::sleep(BUSY_INTERVAL).await;
        }
    }

    /// Reads the events that an attached session missed. If they cannot be read or are too many,
    /// the dropped claim detaches the seat, and a fresh join of the same client replaces it.
    async fn resume(&self, attach: &Attach, found: AttachedSeat, claim: Claim) -> Result<Attached, StoreError> {
        let last = found.given.id;
        let p = self.partition_of(&attach.room);
        let broadcasts_from = (found.state != ConnectionState::Waiting).then_some(found.join);
        let mut log = SeatLog::new(LogReader { peer: &found.given.peer, broadcasts_from, role: found.role });
        let (mut entries, mut bytes_read) = (0, 0);
        {
            let _permit = self.replay_permit().await?;
            let mut pages = self.log_pages(p, &attach.room, "replay", attach.offset, Some(last));
            while let Some(page) = pages.next().await? {
                entries += page.entries;
                bytes_read += page.bytes;
                log.add(&page.reply)?;
                if entries > REPLAY_ENTRIES_MAX || log.bytes() > REPLAY_BYTES_MAX {
                    return Ok(Attached::Missed { bytes_read });
                }
            }
        }
        // The floor last: the log may have been trimmed since the script read it, also by the
        // script's own event.
        let mut floor = cmd("HGET");
        floor.arg(self.context().keys.room(p, &attach.room)).arg("floor");
        let answer = self.plain(p, "replay", &[floor]).await?;
        let trimmed = answer.first().and_then(text).and_then(LogId::parse).is_some_and(|floor| attach.offset < floor);
        if trimmed {
            return Ok(Attached::Missed { bytes_read });
        }
        let mut missed = log.entries();
        missed.retain(|entry| entry.id > attach.offset);
        let copy = SeatCopy {
            pid: attach.pid.clone(),
            state: found.state,
            away: false,
            role: found.role,
            permissions: found.participant.permissions,
            permissions_given: found.permissions_given,
            public: found.participant.user,
            media: found.media,
            hand_raised_at: found.hand_raised_at,
            join_id: found.join,
            from: found.from,
            joined_at: found.participant.joined_at,
            address: found.address,
        };
        Ok(Attached::Resumed(Box::new(Resumed {
            seat: claim.take()?,
            copy,
            last: RoomLog::resumed_at(last, &missed),
            missed,
            bytes_read,
            meta: found.meta,
            participants: found.participants,
        })))
    }

    /// Keeps a seat that lost its socket for the grace period. Peers see `reconnecting`. The
    /// request is sent however long it waits, even after this method returned `Unavailable`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn detach(&self, seat: &Arc<Seat>) -> Result<LeaveOutcome, StoreError> {
        let event = reconnecting_template();
        let script = detach_script(self.context(), seat, &event);
        self.run_shaped(self.partition_of(&seat.room), &script, |request| request.giving_up(seat)).await
    }

    /// Gives up a seat. The request is sent however long it waits, even after this method returned
    /// `Unavailable`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leave(&self, seat: &Arc<Seat>, reason: &str) -> Result<LeaveOutcome, StoreError> {
        let script = leave_script(self.context(), seat, reason);
        self.run_shaped(self.partition_of(&seat.room), &script, |request| request.giving_up(seat)).await
    }

    /// Puts a seat back from this node's copy, if Redis lost it: after a new epoch or a takeover.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn reseat(
        &self,
        seat: &Arc<Seat>,
        copy: &SeatCopy,
        meta: &RoomMeta,
    ) -> Result<ReseatOutcome, StoreError> {
        let context = self.context();
        let node = context.node.as_str();
        let joiner = Joiner {
            user: &copy.public,
            role: copy.role,
            permissions: copy.permissions,
            media: copy.media,
            state: copy.state,
            joined_at: &copy.joined_at,
            node,
            socket_id: &socket_id(&copy.pid),
        };
        let script = ReseatScript {
            scope: context.seat_scope(&seat.room, LeaveReason::Left),
            node,
            seat,
            last_op: seat.op.load(Ordering::Relaxed),
            copy,
            meta,
            participant: participant_template(&joiner)
                .replace(PEER_PLACEHOLDER, &serde_json::json!(seat.peer).to_string()),
            joined_event: user_joined_template(&copy.public),
            joined_details: joined_details(&copy.public, copy.role, node),
            grace_ms: millis(context.options.grace),
        };
        self.run_after(self.partition_of(&seat.room), &script, seat).await
    }
}

/// The wait of a join for earlier sockets of the same user.
struct Probing {
    first_try: Option<String>,
    deadline: Instant,
}

impl Probing {
    fn new(context: &Context) -> Self {
        // The script ends the wait by the Redis clock. This bound holds if that clock goes back.
        Self { first_try: None, deadline: Instant::now() + 2 * context.options.probe + PROBE_INTERVAL }
    }

    fn first_try(&self) -> Option<&str> {
        self.first_try.as_deref()
    }

    /// Waits until the next attempt is due. `first_try` is the time in the reply.
    async fn wait(&mut self, first_try: String) -> Result<(), StoreError> {
        if Instant::now() >= self.deadline {
            return Err(StoreError::Unavailable);
        }
        self.first_try = Some(first_try);
        tokio::time::sleep(PROBE_INTERVAL).await;
        Ok(())
    }
}

/// Returns the answer to a join that gave no seat.
fn refusal<R>(reply: &JoinReply) -> Result<Joined<R>, StoreError> {
    match reply {
        JoinReply::Full => Ok(Joined::Full),
        JoinReply::TooManyDevices => Ok(Joined::TooManyDevices),
        JoinReply::Locked => Ok(Joined::Locked),
        JoinReply::Banned => Ok(Joined::Banned),
        JoinReply::Removed => Ok(Joined::Removed),
        JoinReply::Ended => Ok(Joined::Ended),
        JoinReply::Absent => Ok(Joined::Absent),
        JoinReply::Changed => Ok(Joined::Changed),
        JoinReply::Fenced => Ok(Joined::Fenced),
        JoinReply::Seated(_)
        | JoinReply::Back { .. }
        | JoinReply::Waiting(_)
        | JoinReply::Possible
        | JoinReply::Probing(_) => Err(StoreError::expected("a refusal of a join")),
    }
}

/// A seat in the call that Redis gave and no session has taken over yet.
struct TakenSeat {
    claim: Claim,
    /// Answer to the read of the room in the same transaction.
    read: Option<Value>,
    id: LogId,
    join_id: LogId,
}

impl TakenSeat {
    /// Takes the seat over, with the room as it was read.
    fn seated<R>(self, room: Option<R>) -> Result<Joined<R>, StoreError> {
        // The call ended between a join whose reply was lost and its repetition.
        let Some(snapshot) = room else { return Ok(Joined::Ended) };
        Ok(Joined::Seated { seat: self.claim.take()?, id: self.id, join_id: self.join_id, snapshot })
    }
}

/// Makes the request that gives up a seat that no session took.
pub(super) fn departure_request(context: &Context, seat: &Arc<Seat>, give_up: GiveUp) -> Request {
    let (script, commands) = match give_up {
        GiveUp::Leave => (Script::Leave, Commands::script(context, &leave_script(context, seat, LeaveReason::Left))),
        GiveUp::Detach => {
            (Script::Detach, Commands::script(context, &detach_script(context, seat, &reconnecting_template())))
        }
    };
    let p = context.keys.partition_of(&seat.room);
    Request::new(p, script.name(), Payload::Commands(commands), Box::new(|_| {})).giving_up(seat)
}

fn detach_script<'a>(context: &'a Context, seat: &'a Seat, reconnecting_event: &'a str) -> DetachScript<'a> {
    DetachScript {
        scope: context.seat_scope(&seat.room, LeaveReason::Left),
        node: context.node.as_str(),
        peer: seat.peer.as_str(),
        generation: seat.generation,
        grace_ms: millis(context.options.grace),
        reconnecting_event,
    }
}

fn leave_script<'a>(context: &'a Context, seat: &'a Seat, reason: impl AsRef<str>) -> LeaveScript<'a> {
    LeaveScript {
        scope: context.seat_scope(&seat.room, reason),
        node: context.node.as_str(),
        peer: seat.peer.as_str(),
        generation: seat.generation,
    }
}

fn join_script<'a>(
    context: &'a Context,
    join: &'a Join,
    first_try: Option<&'a str>,
    only_asks: bool,
) -> Result<JoinScript<'a>, StoreError> {
    let node = context.node.as_str();
    let now = rfc3339_now()?;
    let joiner = Joiner {
        user: &join.public,
        role: join.role,
        permissions: join.permissions,
        media: join.media,
        state: ConnectionState::Connected,
        joined_at: &now,
        node,
        socket_id: &socket_id(&join.pid),
    };
    Ok(JoinScript {
        scope: context.seat_scope(&join.room, LeaveReason::Replaced),
        node,
        join,
        participant: participant_template(&joiner),
        waiting_participant: participant_template(&Joiner { state: ConnectionState::Waiting, ..joiner }),
        joined_event: user_joined_template(&join.public),
        media: serde_json::json!(join.media).to_string(),
        joined_details: joined_details(&join.public, join.role, node),
        lobby_places: context.options.lobby_places,
        devices_max: context.options.devices_max,
        back_event: connected_template(context, &join.pid),
        first_try,
        probe_ms: millis(context.options.probe),
        only_asks,
    })
}

/// Returns `participant:connection-changed` of a participant whose session with this hashed private
/// id is on this node from now on.
fn connected_template(context: &Context, pid: &str) -> String {
    server_event::connected_template(context.node.as_str(), &socket_id(pid))
}

/// Returns the details of the `joined` fact: user, role and node.
fn joined_details(user: &PublicUser, role: Role, node: &str) -> String {
    serde_json::json!({ "user": user, "role": role, "node": node }).to_string()
}
