//! What host, moderators and operators do to others, to the lobby and to the call: one script each.

use redis::Cmd;

use super::Rooms;
use super::nodes::{random_hex, rfc3339_now};
use crate::context::Context;
use crate::reply::Words;
use crate::scripts::Script;
use crate::*;
use switchboard_core::domain::{ConnectionState, PeerId, Role, RoomId};
use switchboard_core::wire::participant_event;
use switchboard_core::wire::server_event::connection_changed_template;

/// How often a change is decided again when the call changed meanwhile. Of several at once one gets through each time, so this is how many
/// at once all succeed.
const TRIES: u32 = 32;

impl Rooms {
    /// Does what is ordered, if the caller's role still allows it. An answer that is lost is no loss: the script knows the order again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn order(&self, room: &RoomId, by: By<'_>, order: &Order) -> Result<Ordered, StoreError> {
        let (script, command) = order_command(self.context(), room, by, order)?;
        let p = self.partition_of(room);
        let answer = match by {
            By::Seat { seat, .. } => self.ask(p, script.name(), vec![command], |call| call.after_ops_of(seat)).await?,
            By::Operator => self.plain(p, script.name(), vec![command]).await?,
        };
        ordered(&Words::of(answer)?)
    }

    /// Changes the call, whatever it is by then: everybody in the room is told, and the outbox. `heir`: who is host from now on.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn amend(
        &self,
        room: &RoomId,
        by: By<'_>,
        heir: Option<&PeerId>,
        change: impl Fn(&mut RoomMeta),
    ) -> Result<Amended, StoreError> {
        for _ in 0..TRIES {
            let Door::Open { meta, .. } = self.door(room).await? else { return Ok(Amended::Not(Ordered::Absent)) };
            let mut after = (*meta).clone();
            change(&mut after);
            after.version = meta.version + 1;
            let done = Amended::Done(Box::new(after.clone()));
            let order = Order::Update(Box::new(Amendment { before: *meta, after, heir: heir.cloned() }));
            match self.order(room, by, &order).await? {
                Ordered::Done(_) => return Ok(done),
                Ordered::Changed => {}
                refused => return Ok(Amended::Not(refused)),
            }
        }
        Err(StoreError::Unavailable)
    }
}

fn order_command(context: &Context, room: &RoomId, by: By<'_>, order: &Order) -> Result<(Script, Cmd), StoreError> {
    let begin = |script: Script, reason: &str| {
        let mut command = context.seat_script(script, room, &[], reason);
        match by {
            By::Seat { seat, action } => {
                command.arg(seat.peer.as_str()).arg(seat.generation).arg(action.minimum_role().as_str())
            }
            By::Operator => command.arg("-").arg("-").arg(Role::Host.as_str()),
        };
        command.arg(random_hex());
        command
    };
    let away = || connection_changed_template(ConnectionState::Reconnecting, None);
    Ok(match order {
        Order::Admit(who) => {
            let mut command = begin(Script::Admit, "left");
            command.arg(who.as_ref().map_or("*", PeerId::as_str)).arg(rfc3339_now()?).arg(away());
            (Script::Admit, command)
        }
        Order::Deny { peer, reason } => {
            let mut command = begin(Script::Deny, "denied");
            command.arg(peer.as_str()).arg(participant_event::denied(room, reason.as_deref()));
            (Script::Deny, command)
        }
        Order::Role { peer, role } => {
            let mut command = begin(Script::Role, "left");
            command.arg(peer.as_str()).arg(role.as_str());
            (Script::Role, command)
        }
        Order::Mute { peer, kind } => {
            let by = match by {
                By::Seat { seat, .. } => Some(&seat.peer),
                By::Operator => None,
            };
            let mut command = begin(Script::Mute, "left");
            command.arg(peer.as_str()).arg(kind.field()).arg(participant_event::media_changed_template());
            command.arg(participant_event::muted_template(*kind, by));
            (Script::Mute, command)
        }
        Order::Kick { peer, ban, reason } => {
            let mut command = begin(Script::Kick, "kicked");
            command.arg(peer.as_str()).arg(u8::from(*ban));
            command.arg(participant_event::kicked_template(room, *ban, reason.as_deref()));
            (Script::Kick, command)
        }
        Order::Update(amendment) => {
            let Amendment { before, after, heir } = &**amendment;
            let mut command = begin(Script::Update, "left");
            command.arg(before.version).arg(serde_json::json!(after).to_string()).arg(after.version);
            command.arg(after.max_participants).arg(u8::from(after.locked));
            command.arg(participant_event::updated_template(room, after)).arg(updated_details(after));
            command.arg(lets_in(before, after)).arg(rfc3339_now()?).arg(away());
            command.arg(heir.as_ref().map_or("-", PeerId::as_str));
            (Script::Update, command)
        }
    })
}

/// Whom of the lobby a change lets in, as far as there are places: those who would not have to wait any more.
fn lets_in(before: &RoomMeta, after: &RoomMeta) -> &'static str {
    let (was, is) = (&before.settings, &after.settings);
    let more_places = after.max_participants > before.max_participants;
    match (was.waiting_room_enabled, is.waiting_room_enabled) {
        (true, false) => "all",
        (false, false) if more_places => "all",
        (true, true) if is.auto_admit_guests && (more_places || !was.auto_admit_guests) => "guests",
        _ => "none",
    }
}

/// The `updated` fact: what the record is to have.
fn updated_details(meta: &RoomMeta) -> String {
    let details = serde_json::json!({
        "title": meta.name,
        "settings": meta.settings,
        "maxParticipants": meta.max_participants,
        "locked": meta.locked,
        "hostId": meta.host,
        "revision": meta.version,
        "type": meta.call_type,
        "passcodeHash": meta.passcode_hash,
        "invitedUserIds": meta.invited,
    });
    details.to_string()
}

fn ordered(words: &Words) -> Result<Ordered, StoreError> {
    Ok(match words.word() {
        "OK" => Ordered::Done(words.peers_from(1)?),
        "NOPEER" => Ordered::NoPeer,
        "ABOVE" => Ordered::Above,
        "FULL" => Ordered::Full,
        "DENIED" => Ordered::Denied,
        "CHANGED" => Ordered::Changed,
        "ABSENT" => Ordered::Absent,
        "STALE" => Ordered::Stale,
        _ => return Err(words.unknown()),
    })
}
