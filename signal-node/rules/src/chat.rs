//! Chat. A message is plain text, relayed as JSON. A client that shows it must escape it for HTML.
//!
//! The script checks the settings of the call: whether chat is on, kept and recorded.

use serde::Serialize;
use switchboard_core::domain::{PeerId, PublicUser, Refusal};
use switchboard_core::wire::EventKind;
use switchboard_core::wire::client_event::{Chat, ChatHistory};
use switchboard_core::wire::server_event::{self, encode};

use super::effect::{Effect, Logged, LoggedKind};
use super::media::setting_off;
use super::session::{SessionView, Stamp};

/// `chat:message`
pub(super) fn message(chat: Chat, session: &SessionView<'_>, stamp: Stamp) -> Result<Effect, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Out<'a> {
        id: &'a str,
        from: &'a PeerId,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a PeerId>,
        from_user: &'a PublicUser,
        message: &'a str,
        timestamp: &'a str,
        r#type: &'static str,
    }
    let seat = session.seated()?;
    check(session)?;
    let (id, timestamp) = (stamp.id(), stamp.at.to_string());
    let event = encode(
        EventKind::ChatMessage.name(),
        &Out {
            id: &id,
            from: &seat.peer,
            to: chat.to.as_ref(),
            from_user: &session.user.without_metadata(),
            message: &chat.message,
            timestamp: &timestamp,
            r#type: "text",
        },
    );
    let kind = LoggedKind::Chat { to: chat.to, id: id.into(), timestamp: timestamp.into() };
    Ok(Effect::Log(Logged::new(kind, EventKind::ChatMessage, event, chat.id)))
}

/// `chat:history`
pub(super) fn history(wanted: ChatHistory, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    session.seated().map(|_| Effect::History(wanted))
}

/// `chat:typing`: ephemeral, because it is worthless a moment later.
pub(super) fn typing(is_typing: bool, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = session.seated()?;
    check(session)?;
    let event = server_event::typing(&seat.peer, &session.user.without_metadata(), is_typing);
    Ok(Effect::Ephemeral { event_kind: EventKind::ChatTyping, event, required_settings: "canChat chatEnabled" })
}

/// Checks that the user's permissions allow chat.
pub(super) fn check(session: &SessionView<'_>) -> Result<(), Refusal> {
    if session.permissions.can_chat {
        return Ok(());
    }
    Err(setting_off("canChat"))
}
