//! Seats: join, attach, detach, leave, reseat.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{Value, cmd};
use switchboard_core::domain::{ConnectionState, PublicUser, Role, RoomMeta};
use switchboard_core::wire::server_event::{
    Joiner, PEER_PLACEHOLDER, connection_changed_template, participant_template, user_joined_template,
};

use super::claim::Claim;
use super::{Rooms, rfc3339_now};
use crate::context::{Context, millis};
use crate::lanes::{Commands, Payload, Request};
use crate::scripts::{
    AttachReply, AttachScript, AttachedSeat, DetachScript, JoinReply, JoinScript, LeaveScript, ReseatScript,
    ScriptArguments,
};
use crate::values::{LogReader, log_entries, snapshot, text};
use crate::{Attach, Attached, Join, Joined, LeaveOutcome, LogId, ReseatOutcome, Resumed, Seat, SeatCopy, StoreError};

/// Maximum number of log entries that a resume reads. With more, the session is fresh.
const REPLAY_ENTRIES_MAX: usize = 5_000;
/// Maximum number of bytes of the events that a resume brings. With more, the session is fresh.
const REPLAY_BYTES_MAX: usize = 1 << 20;
/// How long a resume waits for another socket with the same private id to end.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between two attempts of such a resume.
const BUSY_INTERVAL: Duration = Duration::from_millis(100);

impl Rooms {
    /// Takes a seat. May be sent again after a lost reply, because the same private id finds its
    /// seat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn join(&self, join: Join) -> Result<Joined, StoreError> {
        let context = self.context();
        let script = join_script(context, &join)?;
        let mut commands = Commands::default();
        if join.waits {
            // The lobby gets nothing of the room, and a join that waits must not cost by its
            // participants.
            commands.push_script(context, &script);
        } else {
            // One transaction: the snapshot is the room right after the join. A snapshot made by
            // the script costs four times as much.
            let mut read = cmd("HGETALL");
            read.arg(context.keys.room(self.partition_of(&join.room), &join.room));
            commands.push(&cmd("MULTI"));
            commands.push_script(context, &script);
            commands.push(&read);
            commands.push(&cmd("EXEC"));
        }
        let claimed = self.claim::<JoinScript<'_>>(&join.room, join.handle, commands, leave_request).await?;
        Ok(match claimed.reply {
            JoinReply::Seated(given) => {
                let room = match &claimed.read {
                    Some(hash) => snapshot(hash)?,
                    // A user who was in the call already need not wait. The events since the join
                    // are delivered after the snapshot, so that nobody is missing in it.
                    None => self.snapshot(&join.room).await?,
                };
                // The call ended between a join whose reply was lost and its repetition.
                let Some(snapshot) = room else { return Ok(Joined::Ended) };
                Joined::Seated { seat: claimed.claim.take()?, id: given.id, snapshot: Box::new(snapshot) }
            }
            JoinReply::Waiting(given) => Joined::Waiting { seat: claimed.claim.take()?, id: given.id },
            JoinReply::Full => Joined::Full,
            JoinReply::TooManyDevices => Joined::TooManyDevices,
            JoinReply::Locked => Joined::Locked,
            JoinReply::Banned => Joined::Banned,
            JoinReply::Removed => Joined::Removed,
            JoinReply::Ended => Joined::Ended,
            JoinReply::Absent => Joined::Absent,
            JoinReply::Changed => Joined::Changed,
            JoinReply::Fenced => Joined::Fenced,
        })
    }

    /// Resumes a seat and reads the events that its client missed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn attach(&self, attach: Attach) -> Result<Attached, StoreError> {
        let context = self.context();
        let started = Instant::now();
        let connected_event = connection_changed_template(ConnectionState::Connected, Some(context.node.as_str()));
        let mut first_try: Option<String> = None;
        loop {
            let script = AttachScript {
                scope: context.seat_scope(&attach.room, "left"),
                node: context.node.as_str(),
                attach: &attach,
                first_try: first_try.as_deref(),
                connected_event: &connected_event,
            };
            let commands = Commands::script(context, &script);
            let claimed = self.claim::<AttachScript<'_>>(&attach.room, attach.handle, commands, detach_request).await?;
            match claimed.reply {
                AttachReply::Resumed(seat) => return self.resume(&attach, *seat, claimed.claim).await,
                AttachReply::Fresh => return Ok(Attached::Fresh),
                AttachReply::Missed => return Ok(Attached::Missed),
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
        let mut read = cmd("XRANGE");
        read.arg(self.context().keys.log(p, &attach.room)).arg(format!("({}", attach.offset)).arg(last.to_string());
        read.arg("COUNT").arg(REPLAY_ENTRIES_MAX + 1);
        // The floor last: the log may have been trimmed since the script read it, also by the
        // script's own event.
        let mut floor = cmd("HGET");
        floor.arg(self.context().keys.room(p, &attach.room)).arg("floor");
        let answer = self.read_large(p, "replay", &[read, floor]).await?;
        let trimmed = answer.get(1).and_then(text).and_then(LogId::parse).is_some_and(|floor| attach.offset < floor);
        if trimmed {
            return Ok(Attached::Missed);
        }
        let too_many = matches!(answer.first(), Some(Value::Array(entries)) if entries.len() > REPLAY_ENTRIES_MAX);
        let broadcasts_from = (found.state != ConnectionState::Waiting).then_some(found.join);
        let reader = LogReader { peer: &found.given.peer, broadcasts_from, role: found.role };
        let missed = log_entries(answer.get(..1).unwrap_or_default(), reader)?;
        if too_many || missed.iter().map(|entry| entry.event().len()).sum::<usize>() > REPLAY_BYTES_MAX {
            return Ok(Attached::Missed);
        }
        let copy = SeatCopy {
            pid: attach.pid.clone(),
            state: found.state,
            away: false,
            role: found.role,
            public: found.participant.user,
            media: found.media,
            join_id: found.join,
            from: found.from,
            joined_at: found.participant.joined_at,
            address: found.address,
        };
        Ok(Attached::Resumed(Box::new(Resumed { seat: claim.take()?, copy, missed, last, meta: found.meta })))
    }

    /// Keeps a seat that lost its socket for the grace period. Peers see `reconnecting`. The
    /// request is sent however long it waits, even after this method returned `Unavailable`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn detach(&self, seat: &Arc<Seat>) -> Result<LeaveOutcome, StoreError> {
        let event = reconnecting_event();
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
            media: copy.media,
            state: copy.state,
            joined_at: &copy.joined_at,
            node,
        };
        let script = ReseatScript {
            scope: context.seat_scope(&seat.room, "left"),
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

/// Makes the request that gives up a seat that no session took over.
fn leave_request(context: &Context, seat: &Arc<Seat>) -> Request {
    give_up_request(context, seat, &leave_script(context, seat, "left"))
}

/// Makes the request that detaches a seat that no session resumed after all.
fn detach_request(context: &Context, seat: &Arc<Seat>) -> Request {
    give_up_request(context, seat, &detach_script(context, seat, &reconnecting_event()))
}

fn give_up_request<S: ScriptArguments>(context: &Context, seat: &Arc<Seat>, script: &S) -> Request {
    let p = context.keys.partition_of(&seat.room);
    let payload = Payload::Commands(Commands::script(context, script));
    Request::new(p, S::SCRIPT.name(), payload, Box::new(|_| {})).giving_up(seat)
}

fn detach_script<'a>(context: &'a Context, seat: &'a Seat, reconnecting_event: &'a str) -> DetachScript<'a> {
    DetachScript {
        scope: context.seat_scope(&seat.room, "left"),
        node: context.node.as_str(),
        peer: seat.peer.as_str(),
        generation: seat.generation,
        grace_ms: millis(context.options.grace),
        reconnecting_event,
    }
}

fn leave_script<'a>(context: &'a Context, seat: &'a Seat, reason: &str) -> LeaveScript<'a> {
    LeaveScript {
        scope: context.seat_scope(&seat.room, reason),
        node: context.node.as_str(),
        peer: seat.peer.as_str(),
        generation: seat.generation,
    }
}

fn join_script<'a>(context: &'a Context, join: &'a Join) -> Result<JoinScript<'a>, StoreError> {
    let node = context.node.as_str();
    let now = rfc3339_now()?;
    let joiner = Joiner {
        user: &join.public,
        role: join.role,
        media: join.media,
        state: ConnectionState::Connected,
        joined_at: &now,
        node,
    };
    Ok(JoinScript {
        scope: context.seat_scope(&join.room, "replaced"),
        node,
        join,
        participant: participant_template(&joiner),
        waiting_participant: participant_template(&Joiner { state: ConnectionState::Waiting, ..joiner }),
        joined_event: user_joined_template(&join.public),
        media: serde_json::json!(join.media).to_string(),
        joined_details: joined_details(&join.public, join.role, node),
        lobby_places: context.options.lobby_places,
        devices_max: context.options.devices_max,
    })
}

fn reconnecting_event() -> String {
    connection_changed_template(ConnectionState::Reconnecting, None)
}

/// Returns the details of the `joined` fact: user, role and node.
fn joined_details(user: &PublicUser, role: Role, node: &str) -> String {
    serde_json::json!({ "user": user, "role": role, "node": node }).to_string()
}
