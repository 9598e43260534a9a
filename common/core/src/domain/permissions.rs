//! Permissions: which role may do which action in a room.
//!
//! A test compares this table with the one in `README.md` ("Roles").

use super::participant::Role;
use super::refusal::{Code, Refusal};

/// Action that requires the moderator or host role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// End the call for all participants.
    EndCall,
    /// See the lobby; admit or deny the participants who wait there.
    Admit,
    /// Mute another participant.
    Mute,
    /// Lower the hand of another participant.
    LowerHand,
    /// Remove another participant, and optionally ban them.
    Kick,
    /// Lock or unlock the room.
    Lock,
    /// Change the call's name, settings or capacity.
    Update,
    /// Set the role of another participant.
    SetRole,
    /// Transfer the host role to another participant.
    TransferHost,
}

impl Action {
    /// All actions, for documents and tests.
    pub const ALL: &[Self] = &[
        Self::EndCall,
        Self::Admit,
        Self::Mute,
        Self::LowerHand,
        Self::Kick,
        Self::Lock,
        Self::Update,
        Self::SetRole,
        Self::TransferHost,
    ];

    /// Returns the lowest role that may do this action.
    #[must_use]
    pub const fn minimum_role(self) -> Role {
        match self {
            Self::Admit | Self::Mute | Self::LowerHand | Self::Kick | Self::Lock => Role::Moderator,
            Self::EndCall | Self::Update | Self::SetRole | Self::TransferHost => Role::Host,
        }
    }

    /// Returns the title of this action's row in the table of `README.md`.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::EndCall => "end the call for all",
            Self::Admit => "see the lobby, admit, deny",
            Self::Mute => "mute others",
            Self::LowerHand => "lower the hands of others",
            Self::Kick => "remove and ban others",
            Self::Lock => "lock and unlock the room",
            Self::Update => "change name, settings and number of seats",
            Self::SetRole => "set roles",
            Self::TransferHost => "transfer the host role",
        }
    }

    /// Returns the refusal for a caller whose role is too low: `HOST_REQUIRED` if only the host may
    /// do this action, else `FORBIDDEN`.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self.minimum_role() {
            Role::Host => Code::HostRequired.into(),
            _ => Refusal::new(Code::Forbidden, "Only the host and moderators may do this"),
        }
    }
}

impl Role {
    /// Returns whether this role may do `action`.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        self >= action.minimum_role()
    }

    /// Checks that this role may do `action`.
    ///
    /// # Errors
    /// `HOST_REQUIRED` if only the host may do it, else `FORBIDDEN`.
    pub fn authorize(self, action: Action) -> Result<(), Refusal> {
        if self.may(action) { Ok(()) } else { Err(action.refusal()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Columns: guest, participant, moderator, host (the order of `Role::ALL`).
    const TABLE: [(Action, [bool; 4]); 9] = [
        (Action::EndCall, [false, false, false, true]),
        (Action::Admit, [false, false, true, true]),
        (Action::Mute, [false, false, true, true]),
        (Action::LowerHand, [false, false, true, true]),
        (Action::Kick, [false, false, true, true]),
        (Action::Lock, [false, false, true, true]),
        (Action::Update, [false, false, false, true]),
        (Action::SetRole, [false, false, false, true]),
        (Action::TransferHost, [false, false, false, true]),
    ];

    #[test]
    fn every_role_may_do_exactly_the_actions_of_its_column() {
        assert_eq!(TABLE.map(|(action, _)| action), Action::ALL);
        for (action, cells) in TABLE {
            assert_eq!(Role::ALL.map(|role| role.may(action)), cells, "{action:?}");
            for role in Role::ALL {
                let refusal = role.authorize(action).err().map(|refusal| refusal.code);
                let code = if action.minimum_role() == Role::Host { Code::HostRequired } else { Code::Forbidden };
                assert_eq!(refusal, (!role.may(action)).then_some(code), "{role:?} {action:?}");
            }
        }
    }

    #[test]
    fn the_table_in_the_readme_is_this_one() {
        let readme = include_str!("../../../../README.md");
        for action in Action::ALL {
            let cells = Role::ALL.map(|role| if role.may(*action) { " yes |" } else { " |" });
            let row = format!("| {} |{}", action.description(), cells.concat());
            assert!(readme.lines().any(|line| line == row), "README.md has no line {row:?}");
        }
    }
}
