//! What is read from Redis for one session, and what it tells others in passing: in no log.

use serde_json::json;
use switchboard_core::domain::{Code, ConnectionState, Refusal, Timestamp};
use switchboard_core::wire::client_event::ChatHistory;
use switchboard_rooms::{EphemeralOutcome, RoomStats};

use super::Dispatcher;
use super::enter::unavailable;
use super::session::Session;
use switchboard_rules::media;

impl Dispatcher {
    /// `chat:history`
    pub(super) async fn history(&self, session: &Session, wanted: ChatHistory) -> Result<String, Refusal> {
        let entered = session.entered.as_ref().ok_or(Code::NotInRoom)?;
        let found = self.rooms.history(&entered.seat, wanted.before.as_deref(), wanted.limit).await;
        let history = found.map_err(unavailable)?.ok_or(Code::NotInRoom)?;
        Ok(format!(r#","messages":[{}],"hasMore":{}"#, history.messages.join(","), history.more))
    }

    /// `chat:typing`
    pub(super) async fn hint(
        &self,
        session: &Session,
        event: &str,
        required_settings: &str,
    ) -> Result<String, Refusal> {
        let entered = session.entered.as_ref().ok_or(Code::NotInRoom)?;
        match self.rooms.send_ephemeral(&entered.seat, event, required_settings).await.map_err(unavailable)? {
            EphemeralOutcome::Done => Ok(String::new()),
            EphemeralOutcome::Off(setting) => Err(media::off(&setting)),
            EphemeralOutcome::Stale => Err(Code::NotInRoom.into()),
        }
    }

    /// `webrtc:get-stats`
    pub(super) async fn stats(&self, session: &Session, of_the_call: bool) -> Result<String, Refusal> {
        let entered = session.entered.as_ref().ok_or(Code::NotInRoom)?;
        let stats = self.rooms.stats(&entered.place.room).await.map_err(unavailable)?.ok_or(Code::NotInRoom)?;
        let fields = stats_fields(&stats, of_the_call).to_string();
        Ok(format!(",\"roomId\":\"{}\",{}", entered.place.room, &fields[1..fields.len() - 1]))
    }
}

/// Durations are whole seconds of Redis' clock.
fn stats_fields(stats: &RoomStats, of_the_call: bool) -> serde_json::Value {
    let count = |state| stats.seats.iter().filter(|stay| stay.participant.connection_state == state).count();
    let since = |start: Timestamp| (stats.taken_at.seconds() - start.seconds()).max(0);
    let (connected, reconnecting) = (count(ConnectionState::Connected), count(ConnectionState::Reconnecting));
    let present = stats.seats.iter().filter(|stay| stay.participant.connection_state != ConnectionState::Waiting);
    let participants: Vec<_> = present
        .map(|stay| {
            let who = &stay.participant;
            json!({
                "peerId": who.peer_id,
                "userId": who.user_id,
                "role": who.role,
                "connectionState": who.connection_state,
                "mediaState": who.media_state,
                "joinedAt": who.joined_at,
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
    if of_the_call {
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
