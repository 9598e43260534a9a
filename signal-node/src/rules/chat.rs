//! Chat. A text stays text: it is passed on as JSON, and what shows it must not make it HTML.

use serde::Serialize;
use serde_json::json;
use switchboard_common::domain::{Code, PeerId, PublicUser, Refusal};
use switchboard_common::wire::client_event::Chat;
use switchboard_common::wire::server_event::encode;

use super::effect::{Effect, Logged, LoggedKind};
use super::session::{Place, SessionView, Stamp};

/// `chat:message`
pub(super) fn message(chat: Chat, session: &SessionView<'_>, stamp: Stamp<'_>) -> Result<Effect, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Out<'a> {
        id: &'a str,
        from: &'a PeerId,
        from_user: &'a PublicUser,
        message: &'a str,
        timestamp: &'a str,
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<&'a PeerId>,
    }
    let place = chatting(session)?;
    let event = encode(
        "chat:message",
        &Out {
            id: stamp.id,
            from: &place.peer,
            from_user: session.user,
            message: &chat.message,
            timestamp: stamp.now,
            r#type: "text",
            to: chat.to.as_ref(),
        },
    );
    let kind = chat.to.map_or(LoggedKind::Others, LoggedKind::One);
    let ack = format!(r#","id":"{}","timestamp":"{}""#, stamp.id, stamp.now);
    Ok(Effect::Log(Logged { ack, ..Logged::new(kind, event, chat.id) }))
}

/// `chat:typing`
pub(super) fn typing(is_typing: bool, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = chatting(session)?;
    let payload = json!({ "from": place.peer, "fromUser": session.user, "isTyping": is_typing });
    Ok(Effect::Log(Logged::new(LoggedKind::Others, encode("chat:typing", &payload), None)))
}

fn chatting<'a>(session: &SessionView<'a>) -> Result<&'a Place, Refusal> {
    let place = session.seated()?;
    if place.meta.settings.chat_enabled {
        Ok(place)
    } else {
        Err(Refusal::new(Code::Forbidden, "There is no chat in this call"))
    }
}
