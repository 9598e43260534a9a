//! Seats: taken, resumed, lost, given up, put back.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use redis::{Cmd, Value, cmd};
use tokio::sync::oneshot;

use super::Rooms;
use crate::call::{Call, Request};
use crate::context::{Context, millis};
use crate::reply::{Words, log_entries, meta, snapshot, text, unexpected};
use crate::scripts::Script;
use crate::topology::Topology;
use crate::*;
use switchboard_core::domain::{ConnectionState, Participant, PublicUser, Role, RoomId, SessionHandle};
use switchboard_core::wire::server_event::{
    Joiner, PEER_PLACEHOLDER, connection_changed_template, participant_template, user_joined_template,
};

/// Entries of the log that a resume reads: past it the session is fresh.
const REPLAY_ENTRIES: usize = 5_000;
/// Bytes of events that a resume may bring.
const REPLAY_BYTES: usize = 1 << 20;
/// How long a resume waits for another socket with the same private id to end.
const BUSY_FOR: Duration = Duration::from_secs(1);
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// A seat that Redis gave and nobody has taken over yet: a caller may be gone by the time of the answer, or was told that Redis is
/// unavailable. Dropped, it is given up again, or it would be a ghost.
struct Claim {
    topology: Weak<Topology>,
    seat: Option<Arc<Seat>>,
    give_up: fn(&Context, &Arc<Seat>) -> Call,
    reply: Words,
}

impl Claim {
    /// Takes the seat over.
    fn take(mut self) -> Result<Arc<Seat>, StoreError> {
        self.seat.take().ok_or_else(|| self.reply.unknown())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let (Some(seat), Some(topology)) = (self.seat.take(), self.topology.upgrade()) {
            topology.queues.push((self.give_up)(&topology.context, &seat));
        }
    }
}

type Claimed = Result<(Claim, Option<Value>), StoreError>;

impl Rooms {
    /// Takes a seat. A lost answer is no loss: the same private id finds its seat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn join(&self, join: Join) -> Result<Joined, StoreError> {
        let context = self.context();
        let p = self.partition_of(&join.room);
        let mut read = cmd("HGETALL");
        read.arg(context.keys.room(p, &join.room));
        let script = join_command(context, &join)?;
        // One transaction: the snapshot is the room right after the join, and cheaper than one made in the script.
        let commands = vec![cmd("MULTI"), script, read, cmd("EXEC")];
        let (claim, hash) = self.claim(&join.room, join.handle, Script::Join, commands, left).await?;
        match claim.reply.word() {
            "OK" => {
                let id = claim.reply.id(3)?;
                let room = snapshot(&hash.ok_or_else(|| unexpected("a room"))?)?;
                // Ended between a join whose answer was lost and its repetition.
                let Some(snapshot) = room else { return Ok(Joined::Ended) };
                Ok(Joined::Seated { seat: claim.take()?, id, snapshot: Box::new(snapshot) })
            }
            "WAITING" => Ok(Joined::Waiting { id: claim.reply.id(3)?, seat: claim.take()? }),
            "FULL" => Ok(Joined::Full),
            "LOCKED" => Ok(Joined::Locked),
            "BANNED" => Ok(Joined::Banned),
            "ENDED" => Ok(Joined::Ended),
            "ABSENT" => Ok(Joined::Absent),
            "CHANGED" => Ok(Joined::Changed),
            "FENCED" => Ok(Joined::Fenced),
            _ => Err(claim.reply.unknown()),
        }
    }

    /// Resumes a seat, and reads what its client missed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attach(&self, attach: Attach) -> Result<Attached, StoreError> {
        let started = Instant::now();
        let mut first_try = "-".to_owned();
        loop {
            let command = attach_command(self.context(), &attach, &first_try);
            let (claim, _) = self.claim(&attach.room, attach.handle, Script::Attach, vec![command], detached).await?;
            match claim.reply.word() {
                "OK" => return self.resume(&attach, claim).await,
                "FRESH" => return Ok(Attached::Fresh),
                "MISSED" => return Ok(Attached::Missed),
                "FENCED" => return Ok(Attached::Fenced),
                "BUSY" if started.elapsed() >= BUSY_FOR => return Ok(Attached::Busy),
                "BUSY" => first_try = claim.reply.text(1)?.to_owned(),
                _ => return Err(claim.reply.unknown()),
            }
            tokio::time::sleep(BUSY_PAUSE).await;
        }
    }

    /// What an attached session missed. When that cannot be read or is too much, the claim's end detaches the seat: a fresh join of the
    /// same client replaces it.
    async fn resume(&self, attach: &Attach, claim: Claim) -> Result<Attached, StoreError> {
        let peer = claim.reply.peer(1)?;
        let last = claim.reply.id(3)?;
        let meta = meta(claim.reply.text(6)?)?;
        let copy = copy(&claim.reply, &attach.pid)?;
        let p = self.partition_of(&attach.room);
        let mut read = cmd("XRANGE");
        read.arg(self.context().keys.log(p, &attach.room)).arg(format!("({}", attach.offset)).arg(last.to_string());
        read.arg("COUNT").arg(REPLAY_ENTRIES + 1);
        // The floor last: the log may have been trimmed since the script looked, by the script's own event too.
        let mut floor = cmd("HGET");
        floor.arg(self.context().keys.room(p, &attach.room)).arg("floor");
        let answer = self.plain(p, "replay", vec![read, floor]).await?;
        let trimmed = answer.get(1).and_then(text).and_then(LogId::parse).is_some_and(|floor| attach.offset < floor);
        if trimmed {
            return Ok(Attached::Missed);
        }
        let too_many = matches!(answer.first(), Some(Value::Array(entries)) if entries.len() > REPLAY_ENTRIES);
        let joined = (copy.state != ConnectionState::Waiting).then_some(copy.join_id);
        let missed = log_entries(answer.first(), &peer, joined)?;
        if too_many || missed.iter().map(|entry| entry.event.len()).sum::<usize>() > REPLAY_BYTES {
            return Ok(Attached::Missed);
        }
        Ok(Attached::Resumed(Box::new(Resumed { seat: claim.take()?, copy, missed, last, meta })))
    }

    /// The socket of a seat was lost: its peers see it `reconnecting`, and it is kept for the grace. Sent however long it takes, whatever
    /// is answered here.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn detach(&self, seat: &Arc<Seat>) -> Result<Left, StoreError> {
        self.go(seat, Script::Detach, detach_command(self.context(), seat)).await
    }

    /// Gives up a seat. Sent however long it takes, whatever is answered here.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leave(&self, seat: &Arc<Seat>, reason: &str) -> Result<Left, StoreError> {
        self.go(seat, Script::Leave, leave_command(self.context(), seat, reason)).await
    }

    async fn go(&self, seat: &Arc<Seat>, script: Script, command: Cmd) -> Result<Left, StoreError> {
        let p = self.partition_of(&seat.room);
        let answer = self.ask(p, script.name(), vec![command], |call| call.ending(seat)).await?;
        let words = Words::of(answer)?;
        match words.word() {
            "OK" => Ok(Left::Done),
            "STALE" => Ok(Left::Stale),
            _ => Err(words.unknown()),
        }
    }

    /// Puts a seat back that Redis may have lost, from this node's copy: after a new epoch or a role change.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn reseat(&self, seat: &Arc<Seat>, copy: &Reseat, meta: &RoomMeta) -> Result<Reseated, StoreError> {
        let context = self.context();
        let p = self.partition_of(&seat.room);
        let node = context.node.as_str();
        let more = [context.keys.nodes(p), context.keys.on(p, node)];
        let mut command = context.seat_script(Script::Reseat, &seat.room, &[&more[0], &more[1]], "left");
        let comer = Joiner {
            user: &copy.public,
            role: copy.role,
            media: copy.media,
            state: copy.state,
            joined_at: &copy.joined_at,
            node,
        };
        let participant =
            participant_template(&comer).replace(PEER_PLACEHOLDER, &serde_json::json!(seat.peer).to_string());
        command
            .arg(copy.public.id.as_str())
            .arg(&copy.pid)
            .arg(node)
            .arg(if copy.away { "-".to_owned() } else { seat.handle.to_string() })
            .arg(copy.role.as_str());
        command.arg(seat.peer.as_str()).arg(seat.generation).arg(seat.op.load(Ordering::Relaxed));
        command.arg(copy.join_id.to_string()).arg(participant).arg(serde_json::json!(copy.media).to_string());
        command.arg(serde_json::json!(meta).to_string()).arg(meta.version).arg(meta.call_id.as_str());
        command.arg(meta.host.as_str()).arg(meta.max_participants).arg(u8::from(meta.locked));
        command.arg(copy.state.as_str()).arg(copy.from.to_string()).arg(copy.address.as_deref().unwrap_or("-"));
        command.arg(user_joined_template(&copy.public)).arg(joined_details(&copy.public, copy.role, node));
        command.arg(millis(context.options.grace));
        let answer = self.ask(p, Script::Reseat.name(), vec![command], |call| call.after_ops_of(seat)).await?;
        let words = Words::of(answer)?;
        match words.word() {
            "OK" => Ok(Reseated::Done),
            "GONE" => Ok(Reseated::Gone),
            "FENCED" => Ok(Reseated::Fenced),
            _ => Err(words.unknown()),
        }
    }

    /// Asks for a seat. What comes back, now or after the caller was refused, is a claim: taken over, or given up.
    async fn claim(
        &self,
        room: &RoomId,
        handle: SessionHandle,
        script: Script,
        commands: Vec<Cmd>,
        give_up: fn(&Context, &Arc<Seat>) -> Call,
    ) -> Claimed {
        let topology = Arc::downgrade(&self.inner.topology);
        let claim_of = {
            let (topology, room) = (topology.clone(), room.clone());
            move |values| claim(topology.clone(), &room, handle, give_up, values)
        };
        let (sender, answer) = oneshot::channel::<Claimed>();
        let late = claim_of.clone();
        let tell = move |result: Result<Vec<Value>, StoreError>| {
            // A caller that is gone drops the claim.
            let _ = sender.send(result.and_then(claim_of));
        };
        let call = Call::new(self.partition_of(room), script.name(), Request::Fixed(commands), Box::new(tell));
        self.push(call.or_late(Box::new(move |values| drop(late(values)))));
        answer.await.unwrap_or(Err(StoreError::Unavailable))
    }
}

/// Reads the answer of `join` (a transaction) or `attach` (a script).
fn claim(
    topology: Weak<Topology>,
    room: &RoomId,
    handle: SessionHandle,
    give_up: fn(&Context, &Arc<Seat>) -> Call,
    mut values: Vec<Value>,
) -> Claimed {
    let mut hash = None;
    if values.len() > 1 {
        let Some(Value::Array(mut parts)) = values.pop() else { return Err(unexpected("a transaction")) };
        hash = parts.pop();
        values = parts;
    }
    let reply = Words::of(values)?;
    let seat = match reply.word() {
        "OK" | "WAITING" => Some(Arc::new(Seat::new(room.clone(), reply.peer(1)?, reply.number(2)?, handle))),
        _ => None,
    };
    if let (Some(topology), Some(_), Ok(id)) = (topology.upgrade(), &seat, reply.id(3)) {
        topology.seen_ms.fetch_max(id.ms, Ordering::Relaxed);
    }
    Ok((Claim { topology, seat, give_up, reply }, hash))
}

/// The call that gives up a seat nobody claimed.
fn left(context: &Context, seat: &Arc<Seat>) -> Call {
    unclaimed(context, seat, Script::Leave, leave_command(context, seat, "left"))
}

/// The call that lets go of a seat that nobody resumed after all.
fn detached(context: &Context, seat: &Arc<Seat>) -> Call {
    unclaimed(context, seat, Script::Detach, detach_command(context, seat))
}

fn unclaimed(context: &Context, seat: &Arc<Seat>, script: Script, command: Cmd) -> Call {
    let p = context.keys.partition_of(&seat.room);
    Call::new(p, script.name(), Request::Fixed(vec![command]), Box::new(|_| {})).ending(seat)
}

fn join_command(context: &Context, join: &Join) -> Result<Cmd, StoreError> {
    let p = context.keys.partition_of(&join.room);
    let node = context.node.as_str();
    let more = [context.keys.nodes(p), context.keys.on(p, node)];
    let mut command = context.seat_script(Script::Join, &join.room, &[&more[0], &more[1]], "replaced");
    let now = super::nodes::rfc3339_now()?;
    command.arg(join.user.as_str()).arg(&join.pid).arg(node).arg(join.handle.to_string()).arg(join.role.as_str());
    command.arg(join.meta_version).arg(join.old_pid.as_deref().unwrap_or("-")).arg(u8::from(join.waits));
    let comer = Joiner {
        user: &join.public,
        role: join.role,
        media: join.media,
        state: ConnectionState::Connected,
        joined_at: &now,
        node,
    };
    command.arg(participant_template(&comer));
    command.arg(user_joined_template(&join.public)).arg(serde_json::json!(join.media).to_string());
    command.arg(joined_details(&join.public, join.role, node)).arg(join.given.map_or("-", Role::as_str));
    command.arg(join.proof.issued_ms).arg(join.proof.address.as_deref().unwrap_or("-"));
    command.arg(context.options.lobby_places);
    command.arg(participant_template(&Joiner { state: ConnectionState::Waiting, ..comer }));
    Ok(command)
}

/// The `joined` fact: who came as what, and where.
fn joined_details(user: &PublicUser, role: Role, node: &str) -> String {
    serde_json::json!({ "user": user, "role": role, "node": node }).to_string()
}

/// How a resumed seat looks, from the answer of `attach`.
fn copy(reply: &Words, pid: &str) -> Result<Reseat, StoreError> {
    let participant: Participant = serde_json::from_str(reply.text(7)?).map_err(|_| unexpected("a participant"))?;
    Ok(Reseat {
        pid: pid.to_owned(),
        state: ConnectionState::parse(reply.text(5)?).ok_or_else(|| unexpected("a state"))?,
        away: false,
        role: Role::parse(reply.text(4)?).ok_or_else(|| unexpected("a role"))?,
        public: participant.user,
        media: serde_json::from_str(reply.text(8)?).map_err(|_| unexpected("a media state"))?,
        join_id: reply.id(9)?,
        from: reply.id(10)?,
        joined_at: participant.joined_at,
        address: Some(reply.text(11)?).filter(|address| *address != "-").map(Into::into),
    })
}

fn attach_command(context: &Context, attach: &Attach, first_try: &str) -> Cmd {
    let p = context.keys.partition_of(&attach.room);
    let node = context.node.as_str();
    let more = [context.keys.nodes(p), context.keys.on(p, node)];
    let mut command = context.seat_script(Script::Attach, &attach.room, &[&more[0], &more[1]], "left");
    command.arg(attach.user.as_str()).arg(&attach.pid).arg(node).arg(attach.handle.to_string());
    command.arg(attach.offset.to_string()).arg(first_try);
    command.arg(connection_changed_template(ConnectionState::Connected, Some(node)));
    command
}

fn detach_command(context: &Context, seat: &Seat) -> Cmd {
    let mut command = own_seat_command(context, seat, Script::Detach, "left");
    command.arg(millis(context.options.grace));
    command.arg(connection_changed_template(ConnectionState::Reconnecting, None));
    command
}

fn leave_command(context: &Context, seat: &Seat, reason: &str) -> Cmd {
    own_seat_command(context, seat, Script::Leave, reason)
}

fn own_seat_command(context: &Context, seat: &Seat, script: Script, reason: &str) -> Cmd {
    let p = context.keys.partition_of(&seat.room);
    let mut command = context.seat_script(script, &seat.room, &[&context.keys.on(p, context.node.as_str())], reason);
    command.arg(seat.peer.as_str()).arg(seat.generation);
    command
}
