//! Entry point of the rules: every client event enters here.

use switchboard_core::domain::Refusal;
use switchboard_core::wire::client_event::ClientEvent;

use super::effect::Effect;
use super::session::{SessionView, Stamp};
use super::{chat, media, membership, moderation, reactions, relay, stats};

/// Returns the effect of an event.
///
/// # Errors
/// The refusal for the client.
pub fn handle(event: ClientEvent<'_>, session: &SessionView<'_>, stamp: Stamp) -> Result<Effect, Refusal> {
    match event {
        ClientEvent::Create(create) => membership::create(create, session),
        ClientEvent::Join(join) => membership::join(join, session),
        ClientEvent::Leave(room) => membership::leave(room.as_ref(), session),
        ClientEvent::EndCall(room) => membership::end_call(room.as_ref(), session),
        ClientEvent::Signal(signal) => relay::signal(signal, session),
        ClientEvent::GetIceServers => Ok(Effect::IceServers),
        ClientEvent::UpdateMedia { media, id } => media::update(media, id, session),
        ClientEvent::ScreenShare { enabled, id } => media::share_screen(enabled, id, session),
        ClientEvent::SetHand { raised, id } => reactions::set_hand(raised, id, session, stamp),
        ClientEvent::Reaction { emoji } => reactions::react(&emoji, session),
        ClientEvent::Command(command) => moderation::command(command, session),
        ClientEvent::Chat(message) => chat::message(message, session, stamp),
        ClientEvent::ChatHistory(wanted) => chat::history(wanted, session),
        ClientEvent::GetStats => stats::get(session),
        ClientEvent::Typing { is_typing } => chat::typing(is_typing, session),
    }
}
