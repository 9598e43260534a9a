//! Makes `room:joined` and `room:created` from the room as Redis has it.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use serde_json::{Value, json};
use switchboard_auth::{IceConfig, IceGrant};
use switchboard_core::domain::{
    Action, CallType, ConnectionState, NodeId, Participant, PeerId, Role, RoomId, RoomMeta,
};
use switchboard_rooms::{LogId, SeatCopy, Snapshot};
use switchboard_socketio::send_queue::Message;

use super::replica::SeatReplica;

/// Maximum length of an acknowledgement with the lists of participants, in bytes: those of about 60
/// participants. Longer lists travel once.
const ACKNOWLEDGED_MAX: usize = 64 * 1024;

/// A room at one moment, for all sessions that enter it meanwhile. Its list of participants, which
/// may have hundreds of kilobytes, is encoded once for all of them.
#[derive(Debug)]
pub struct SharedSnapshot {
    /// The room.
    pub room: Snapshot,
    participants: OnceLock<String>,
}

impl SharedSnapshot {
    /// Takes a room as it was read.
    #[must_use]
    pub const fn new(room: Snapshot) -> Self {
        Self { room, participants: OnceLock::new() }
    }

    /// Returns the participants without the lobby, as JSON.
    fn participants(&self) -> &str {
        self.participants.get_or_init(|| {
            let seats = self.room.seats.iter();
            let seated: Vec<&Participant> =
                seats.filter(|seat| seat.connection_state != ConnectionState::Waiting).collect();
            json!(seated).to_string()
        })
    }
}

/// `room:joined` for a session that was admitted from the lobby or joins again, and the replica
/// that goes with it.
#[derive(Debug)]
pub struct JoinedSnapshot {
    /// Packet of `room:joined`.
    pub message: Message,
    /// Fields of its payload, for an acknowledgement: see [`JoinedPayload::acknowledged`].
    pub fields: String,
    /// Restorable fields of the seat from now on.
    pub copy: SeatCopy,
    /// Call of the room.
    pub meta: Arc<RoomMeta>,
}

/// Payload of `room:joined` and `room:created` for one participant.
#[derive(Debug)]
pub struct JoinedPayload {
    /// All fields but the lists, as a JSON object.
    fields: Value,
    /// The lists, for [`JoinedPayload::lists`].
    room: Arc<SharedSnapshot>,
    /// The lobby as JSON, for a participant that may admit others.
    waiting: Option<String>,
}

impl JoinedPayload {
    /// Makes the payload for the participant `peer`. Participants that may admit others also get
    /// the list of the lobby.
    #[must_use]
    pub fn new(node: &NodeId, room: &RoomId, peer: &PeerId, snapshot: Arc<SharedSnapshot>, ice: &IceGrant) -> Self {
        let Snapshot { meta, host, locked, seats } = &snapshot.room;
        let is_waiting = |seat: &&Participant| seat.connection_state == ConnectionState::Waiting;
        let own = seats.iter().find(|seat| seat.peer_id == *peer && !is_waiting(seat));
        let role = own.map_or(Role::Guest, |own| own.role);
        let mut fields = json!({
            "roomId": room.name(),
            "id": room.name(),
            "callId": meta.call_id,
            "name": meta.name,
            "peerId": peer,
            "user": own.map(|own| &own.user),
            "settings": meta.settings,
            "isHost": role == Role::Host,
            "hostId": host,
            "role": role,
            "isPrivate": meta.call_type != CallType::Public,
            "maxParticipants": meta.max_participants,
            "locked": locked,
            "createdAt": meta.created_at,
            "node": node,
            "iceServers": ice.servers,
        });
        if let Some(ttl) = ice.ttl {
            fields["iceTtl"] = json!(ttl);
        }
        let waiting = role.may(Action::Admit).then(|| json!(seats.iter().filter(is_waiting).collect::<Vec<_>>()));
        Self { fields, waiting: waiting.map(|list| list.to_string()), room: snapshot }
    }

    /// Returns the lists as fields of a JSON object, each after a comma.
    fn lists(&self) -> String {
        let waiting = self.waiting.as_ref().map(|list| format!(r#","waiting":{list}"#)).unwrap_or_default();
        format!(r#","participants":{}{waiting}"#, self.room.participants())
    }

    /// Returns the packet of the event of this name, with an offset.
    #[must_use]
    pub fn packet(&self, event: &str, offset: impl Display) -> Message {
        let fields = self.fields.to_string();
        let object = &fields[..fields.len() - 1];
        Message::packet(format!(r#"42["{event}",{object}{}}},"{offset}"]"#, self.lists())).owed()
    }

    /// Returns the fields, each after a comma, as an acknowledgement has them after
    /// `{"success":true`. Above [`ACKNOWLEDGED_MAX`] bytes they are without the lists of
    /// participants, which the client has got in the event.
    #[must_use]
    pub fn acknowledged(&self) -> String {
        let fields = acknowledged_fields(&self.fields);
        let lists = self.room.participants().len() + self.waiting.as_ref().map_or(0, String::len);
        if fields.len() + lists > ACKNOWLEDGED_MAX { fields } else { fields + &self.lists() }
    }
}

/// Returns the fields of a payload, each after a comma, as an acknowledgement has them after
/// `{"success":true`.
#[must_use]
pub fn acknowledged_fields(payload: &Value) -> String {
    let text = payload.to_string();
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
    snapshot: &Arc<SharedSnapshot>,
    at: LogId,
) -> Option<JoinedSnapshot> {
    let own = snapshot.room.seats.iter().find(|seat| seat.peer_id == replica.seat.peer)?;
    let mut copy = replica.copy.clone();
    (copy.role, copy.permissions, copy.media) = (own.role, own.permissions, own.media_state);
    copy.joined_at.clone_from(&own.joined_at);
    copy.hand_raised_at.clone_from(&own.hand_raised_at);
    let ice = ice.for_participant(room, &own.user.id, unix_now());
    let payload = JoinedPayload::new(node, room, &replica.seat.peer, Arc::clone(snapshot), &ice);
    let message = payload.packet("room:joined", format_args!("{at}.{}", room.name()));
    let meta = Arc::new(snapshot.room.meta.clone());
    Some(JoinedSnapshot { message, fields: payload.acknowledged(), copy, meta })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use switchboard_core::domain::{CallId, CallSettings, MediaState, PublicUser, UserId};

    use super::*;

    fn participant(number: usize, state: ConnectionState) -> Participant {
        let id = format!("{number:024x}");
        let public = PublicUser::new(UserId::parse(&id).unwrap(), "\u{6f22}".repeat(100), None);
        serde_json::from_value(json!({
            "peerId": id,
            "userId": id,
            "user": public,
            "role": if number == 0 { Role::Host } else { Role::Participant },
            "mediaState": MediaState::default(),
            "connectionState": state,
            "isConnected": true,
            "joinedAt": "2026-01-01T00:00:00.000Z",
            "socketId": "s",
        }))
        .unwrap()
    }

    fn room(participants: usize, waiting: usize) -> Arc<SharedSnapshot> {
        let host = UserId::parse(&format!("{:024x}", 0)).unwrap();
        let meta = RoomMeta {
            call_id: CallId::parse("65a000000000000000000001").unwrap(),
            name: "A call".into(),
            host: host.clone(),
            call_type: CallType::Public,
            settings: CallSettings::default(),
            max_participants: 500,
            locked: false,
            passcode_hash: None,
            invited: Vec::new(),
            created_at: "2026-01-01T00:00:00.000Z".into(),
            version: 1,
        };
        let seated = (0..participants).map(|number| participant(number, ConnectionState::Connected));
        let lobby = (0..waiting).map(|number| participant(1000 + number, ConnectionState::Waiting));
        let seats = seated.chain(lobby).collect();
        Arc::new(SharedSnapshot::new(Snapshot { meta, host, locked: false, seats }))
    }

    fn payload(room: &Arc<SharedSnapshot>, number: usize) -> JoinedPayload {
        let (node, id) = (NodeId::parse("n1").unwrap(), RoomId::parse("R").unwrap());
        let ice = IceGrant { servers: Vec::new(), ttl: None };
        JoinedPayload::new(&node, &id, &PeerId::parse(&format!("{number:024x}")).unwrap(), Arc::clone(room), &ice)
    }

    fn fields(payload: &JoinedPayload) -> Value {
        serde_json::from_str(&format!(r#"{{"success":true{}}}"#, payload.acknowledged())).unwrap()
    }

    #[test]
    fn each_session_gets_its_own_fields_with_the_same_list_and_only_hosts_get_the_lobby() {
        let room = room(3, 2);
        let [host, other] = [0, 1].map(|number| payload(&room, number));
        for (payload, number) in [(&host, 0), (&other, 1)] {
            let event: Value = serde_json::from_str(&payload.packet("room:joined", "7-0.R").text()[2..]).unwrap();
            assert_eq!((&event[0], &event[2]), (&json!("room:joined"), &json!("7-0.R")));
            assert_eq!(event[1]["peerId"], format!("{number:024x}"));
            assert_eq!(event[1]["participants"].as_array().unwrap().len(), 3);
            let mut acknowledged = fields(payload);
            acknowledged.as_object_mut().unwrap().remove("success");
            assert_eq!(acknowledged, event[1]);
        }
        assert_eq!(fields(&host)["waiting"].as_array().unwrap().len(), 2);
        assert!(fields(&other).get("waiting").is_none());
        assert!(std::ptr::eq(host.room.participants(), other.room.participants()), "encoded once");
    }

    #[test]
    fn long_lists_travel_in_the_event_alone() {
        let large = payload(&room(500, 0), 1);
        assert!(large.packet("room:joined", "7-0.R").text().contains(r#""participants":["#));
        assert!(fields(&large).get("participants").is_none() && fields(&large)["peerId"].is_string());
    }
}
