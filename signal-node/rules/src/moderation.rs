//! What host and moderators do to others, to the lobby and to the call. Which role may is `domain::grant`'s table; the script asks it of
//! the seats as they are.

use switchboard_core::domain::{Action, Code, PeerId, Refusal};
use switchboard_core::wire::client_event::Command;

use super::effect::Effect;
use super::session::SessionView;

/// Passes a command on if the session's role allows it.
pub(super) fn command(command: Command, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = session.seated()?;
    let action = action(&command);
    place.role.authorize(action)?;
    if target(&command) == Some(&place.peer) {
        return Err(Refusal::new(Code::Forbidden, "You may not do this to yourself"));
    }
    if let Command::TransferHost { peer } = &command
        && peer.user().starts_with("guest-")
    {
        return Err(Refusal::new(Code::Forbidden, "A guest cannot be made host"));
    }
    Ok(Effect::Command(action, command))
}

const fn action(command: &Command) -> Action {
    match command {
        Command::Admit { .. } | Command::Deny { .. } => Action::Admit,
        Command::Mute { .. } => Action::Mute,
        Command::Kick { .. } => Action::Kick,
        Command::SetRole { .. } => Action::SetRole,
        Command::TransferHost { .. } => Action::TransferHost,
        Command::Lock { .. } => Action::Lock,
        Command::Update(_) => Action::Update,
    }
}

const fn target(command: &Command) -> Option<&PeerId> {
    match command {
        Command::Mute { peer, .. }
        | Command::Kick { peer, .. }
        | Command::SetRole { peer, .. }
        | Command::TransferHost { peer } => Some(peer),
        Command::Admit { .. } | Command::Deny { .. } | Command::Lock { .. } | Command::Update(_) => None,
    }
}
