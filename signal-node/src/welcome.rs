//! What somebody who comes into a room is told of it: `room:joined`.

use std::sync::Arc;

use serde_json::{Value, json};
use switchboard_core::domain::{Action, CallType, ConnectionState, NodeId, Participant, PeerId, Role, RoomId};
use switchboard_core::wire::server_event::encode;
use switchboard_rooms::{LogId, Snapshot};

use crate::hub::{Holding, Welcome};
use switchboard_socketio::send_queue::Message;

/// The fields of `room:joined` and `room:created` for the one at `peer`. Whoever may let people in is told who waits.
#[must_use]
pub fn joined_payload(node: &NodeId, room: &RoomId, peer: &PeerId, snapshot: &Snapshot) -> Value {
    let (waiting, participants): (Vec<&Participant>, Vec<&Participant>) =
        snapshot.seats.iter().partition(|seat| seat.connection_state == ConnectionState::Waiting);
    let own = participants.iter().find(|seat| seat.peer_id == *peer);
    let role = own.map_or(Role::Guest, |own| own.role);
    let meta = &snapshot.meta;
    let mut payload = json!({
        "roomId": room,
        "id": room,
        "callId": meta.call_id,
        "name": meta.name,
        "peerId": peer,
        "user": own.map(|own| &own.user),
        "participants": participants,
        "settings": meta.settings,
        "isHost": role == Role::Host,
        "hostId": snapshot.host,
        "role": role,
        "isPrivate": meta.call_type != CallType::Public,
        "maxParticipants": meta.max_participants,
        "locked": snapshot.locked,
        "createdAt": meta.created_at,
        "node": node,
    });
    if role.may(Action::Admit) {
        payload["waiting"] = json!(waiting);
    }
    payload
}

/// `room:joined` for a session that was let in at the position `at`. `None`: it has no seat in the room any more.
#[must_use]
pub fn welcome(node: &NodeId, room: &RoomId, holding: &Holding, snapshot: Snapshot, at: LogId) -> Option<Welcome> {
    let own = snapshot.seats.iter().find(|seat| seat.peer_id == holding.seat.peer)?;
    let mut copy = holding.copy.clone();
    (copy.role, copy.media) = (own.role, own.media_state);
    copy.joined_at.clone_from(&own.joined_at);
    let event = encode("room:joined", &joined_payload(node, room, &holding.seat.peer, &snapshot));
    let message = Message::packet(format!(r#"42[{event},"{at}.{room}"]"#));
    Some(Welcome { message, copy, meta: Arc::new(snapshot.meta) })
}
