//! Reads for one session (chat history, statistics), and ephemeral events to others.

use serde_json::json;
use switchboard_core::domain::{Code, ConnectionState, Refusal, Timestamp};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::client_event::ChatHistory;
use switchboard_rooms::{EphemeralOutcome, RoomStats};
use switchboard_rules::media;

use super::Dispatcher;
use super::costs;
use super::refusals::store_refusal;
use super::session::ClientSession;

impl Dispatcher {
    /// `chat:history`
    pub(super) async fn history(&self, session: &mut ClientSession, wanted: ChatHistory) -> Result<String, Refusal> {
        let room = session.room.as_ref().ok_or(Code::NotInRoom)?;
        let found = self.rooms.history(&room.seat, wanted.before.as_deref(), wanted.limit).await;
        let history = found.map_err(store_refusal)?.ok_or(Code::NotInRoom)?;
        let messages = history.messages.join(",");
        session.budget.charge(costs::page(messages.len()));
        Ok(match history.next {
            Some(next) => format!(r#","messages":[{messages}],"hasMore":true,"next":"{next}""#),
            None => format!(r#","messages":[{messages}],"hasMore":false"#),
        })
    }

    /// `chat:typing`, `participant:reaction`
    pub(super) async fn send_ephemeral(
        &self,
        session: &ClientSession,
        (kind, event): (EventKind, &str),
        required_settings: &str,
    ) -> Result<String, Refusal> {
        let room = session.room.as_ref().ok_or(Code::NotInRoom)?;
        let sent = self.rooms.send_ephemeral(&room.seat, kind, event, required_settings).await;
        match sent.map_err(store_refusal)? {
            EphemeralOutcome::Done => Ok(String::new()),
            EphemeralOutcome::Off(setting) => Err(media::setting_off(&setting)),
            EphemeralOutcome::Stale => Err(Code::NotInRoom.into()),
        }
    }

    /// `webrtc:get-stats`
    pub(super) async fn stats(&self, session: &ClientSession, with_call: bool) -> Result<String, Refusal> {
        let room = session.room.as_ref().ok_or(Code::NotInRoom)?;
        let stats = self.rooms.stats(&room.view.room).await.map_err(store_refusal)?.ok_or(Code::NotInRoom)?;
        let fields = stats_fields(&stats, with_call).to_string();
        Ok(format!(",\"roomId\":\"{}\",{}", room.view.room.name(), &fields[1..fields.len() - 1]))
    }
}

/// Returns the fields of the reply. Durations are whole seconds of the Redis clock.
fn stats_fields(stats: &RoomStats, with_call: bool) -> serde_json::Value {
    let count = |state| stats.seats.iter().filter(|stay| stay.participant.connection_state == state).count();
    let since = |start: Timestamp| (stats.taken_at.seconds() - start.seconds()).max(0);
    let (connected, reconnecting) = (count(ConnectionState::Connected), count(ConnectionState::Reconnecting));
    let present = stats.seats.iter().filter(|stay| stay.participant.connection_state != ConnectionState::Waiting);
    let participants: Vec<_> = present
        .map(|stay| {
            let participant = &stay.participant;
            json!({
                "peerId": participant.peer_id,
                "userId": participant.user_id,
                "role": participant.role,
                "connectionState": participant.connection_state,
                "mediaState": participant.media_state,
                "joinedAt": participant.joined_at,
                "duration": since(stay.since),
            })
        })
        .collect();
    let mut fields = json!({
        "takenAt": stats.taken_at,
        "connected": connected,
        "reconnecting": reconnecting,
        "participants": participants,
    });
    if with_call {
        fields["call"] = json!({
            "callId": stats.call,
            "openedAt": stats.opened_at,
            "duration": since(stats.opened_at),
            "currentParticipants": connected + reconnecting,
            "maxConcurrentParticipants": stats.peak,
            "waiting": count(ConnectionState::Waiting),
            "chatMessages": stats.messages,
        });
    }
    fields
}
