//! Commands of host and moderators: to participants, to the lobby and to the call.
//!
//! The table in `domain::permissions` has the rights of each role. The script checks them again
//! with the seats as they are.

use switchboard_core::domain::{Action, Code, PeerId, Refusal};
use switchboard_core::wire::client_event::Command;

use super::effect::Effect;
use super::session::SessionView;

/// Returns the command as an effect if the session's role allows it.
pub(super) fn command(command: Command, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = session.seated()?;
    let action = action(&command);
    seat.role.authorize(action)?;
    if target(&command) == Some(&seat.peer) {
        return Err(Refusal::new(Code::Forbidden, "You cannot do this to yourself"));
    }
    if let Command::TransferHost { peer } = &command
        && peer.user().starts_with("guest-")
    {
        return Err(Refusal::new(Code::Forbidden, "A guest cannot be made host"));
    }
    Ok(Effect::Command(action, command))
}

/// Returns the action that a command needs the right for.
const fn action(command: &Command) -> Action {
    match command {
        Command::Admit { .. } | Command::Deny { .. } => Action::Admit,
        Command::Mute { .. } => Action::Mute,
        Command::LowerHand { .. } => Action::LowerHand,
        Command::Kick { .. } => Action::Kick,
        Command::SetRole { .. } => Action::SetRole,
        Command::TransferHost { .. } => Action::TransferHost,
        Command::Lock { .. } => Action::Lock,
        Command::Update(_) => Action::Update,
    }
}

/// Returns the participant that a command is about, if it must not be the caller.
const fn target(command: &Command) -> Option<&PeerId> {
    match command {
        Command::Mute { peer, .. }
        | Command::LowerHand { peer }
        | Command::Kick { peer, .. }
        | Command::SetRole { peer, .. }
        | Command::TransferHost { peer } => Some(peer),
        Command::Admit { .. } | Command::Deny { .. } | Command::Lock { .. } | Command::Update(_) => None,
    }
}
