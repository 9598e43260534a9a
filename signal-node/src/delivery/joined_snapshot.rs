//! Makes `room:joined` and `room:created` from the room as Redis has it.

use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Value, json};
use switchboard_auth::{IceConfig, IceGrant};
use switchboard_core::domain::{
    Action, CallType, ConnectionState, NodeId, Participant, PeerId, Role, RoomId, RoomMeta,
};
use switchboard_core::wire::server_event::encode;
use switchboard_rooms::{LogId, SeatCopy, Snapshot};
use switchboard_socketio::send_queue::Message;

use super::replica::SeatReplica;

/// Maximum length of an acknowledgement with the lists of participants, in bytes: those of about 60
/// participants. Longer lists travel once.
const ACKNOWLEDGED_MAX: usize = 64 * 1024;

/// `room:joined` for a session that was admitted from the lobby or joins again, and the replica
/// that goes with it.
#[derive(Debug)]
pub struct JoinedSnapshot {
    /// Packet of `room:joined`.
    pub message: Message,
    /// Fields of its payload, for an acknowledgement: see [`acknowledged_fields`].
    pub fields: String,
    /// Restorable fields of the seat from now on.
    pub copy: SeatCopy,
    /// Call of the room.
    pub meta: Arc<RoomMeta>,
}

/// Returns the fields of `room:joined` and `room:created` for the participant `peer`. Participants
/// that may admit others also get the list of the lobby.
#[must_use]
pub fn joined_payload(node: &NodeId, room: &RoomId, peer: &PeerId, snapshot: &Snapshot, ice: &IceGrant) -> Value {
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
        "iceServers": ice.servers,
    });
    if let Some(ttl) = ice.ttl {
        payload["iceTtl"] = json!(ttl);
    }
    if role.may(Action::Admit) {
        payload["waiting"] = json!(waiting);
    }
    payload
}

/// Returns the fields of a payload, each after a comma, as an acknowledgement has them after
/// `{"success":true`. Above [`ACKNOWLEDGED_MAX`] bytes they are without the lists of participants,
/// which the client has got in the event.
#[must_use]
pub fn acknowledged_fields(payload: &Value) -> String {
    let mut text = payload.to_string();
    if text.len() > ACKNOWLEDGED_MAX
        && let Value::Object(mut fields) = payload.clone()
    {
        fields.retain(|name, _| !matches!(name.as_str(), "participants" | "waiting"));
        text = Value::Object(fields).to_string();
    }
    format!(",{}", &text[1..text.len() - 1])
}

/// Returns seconds since the Unix epoch.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Makes `room:joined` for a session to which it is due at the position `at`. Returns `None` if it
/// has no seat in the room any more.
#[must_use]
pub(super) fn joined_snapshot(
    (node, ice): (&NodeId, &IceConfig),
    room: &RoomId,
    replica: &SeatReplica,
    snapshot: &Snapshot,
    at: LogId,
) -> Option<JoinedSnapshot> {
    let own = snapshot.seats.iter().find(|seat| seat.peer_id == replica.seat.peer)?;
    let mut copy = replica.copy.clone();
    (copy.role, copy.media) = (own.role, own.media_state);
    copy.joined_at.clone_from(&own.joined_at);
    copy.hand_raised_at.clone_from(&own.hand_raised_at);
    let ice = ice.for_participant(room, &own.user.id, unix_now());
    let payload = joined_payload(node, room, &replica.seat.peer, snapshot, &ice);
    let event = encode("room:joined", &payload);
    let message = Message::packet(format!(r#"42[{event},"{at}.{room}"]"#)).owed();
    Some(JoinedSnapshot { message, fields: acknowledged_fields(&payload), copy, meta: Arc::new(snapshot.meta.clone()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_travel_in_the_event_alone() {
        let fields = |count: usize| {
            let people = vec!["x".repeat(1000); count];
            acknowledged_fields(&json!({ "roomId": "R", "participants": people, "waiting": people }))
        };
        assert!(fields(5).contains(r#""participants":["#) && fields(5).contains(r#""waiting":["#));
        assert_eq!(fields(60), r#","roomId":"R""#);
    }
}
