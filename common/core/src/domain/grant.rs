//! The role table: what each role may do in a room. The README's table is tested against this one.

use super::participant::Role;
use super::refusal::{Code, Refusal};

/// Something that not every participant may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// End the call for everybody.
    EndCall,
    /// Let people in from the lobby, or turn them away.
    Admit,
    /// Mute others.
    Mute,
    /// Remove others, and keep them out.
    Kick,
    /// Lock and unlock the room.
    Lock,
    /// Change name, settings and capacity.
    Update,
    /// Set others' roles.
    SetRole,
    /// Make somebody else host.
    TransferHost,
}

impl Action {
    /// Every action, for documents and tests.
    pub const ALL: &[Self] = &[
        Self::EndCall,
        Self::Admit,
        Self::Mute,
        Self::Kick,
        Self::Lock,
        Self::Update,
        Self::SetRole,
        Self::TransferHost,
    ];

    /// The lowest role that may.
    #[must_use]
    pub const fn least_role(self) -> Role {
        match self {
            Self::Admit | Self::Mute | Self::Kick | Self::Lock => Role::Moderator,
            Self::EndCall | Self::Update | Self::SetRole | Self::TransferHost => Role::Host,
        }
    }
}

impl Action {
    /// Whether it is done to one participant, who must then be of a lower role than whoever does it.
    #[must_use]
    pub const fn has_target(self) -> bool {
        matches!(self, Self::Mute | Self::Kick | Self::SetRole | Self::TransferHost)
    }

    /// In a few words, as the README's table has it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::EndCall => "end the call for everybody",
            Self::Admit => "see who waits, let in, turn away",
            Self::Mute => "mute others",
            Self::Kick => "remove others, keep them out",
            Self::Lock => "lock and unlock the room",
            Self::Update => "change name, settings and places",
            Self::SetRole => "set roles",
            Self::TransferHost => "make somebody else host",
        }
    }
}

impl Role {
    /// Whether this role may do `action`.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        self >= action.least_role()
    }

    /// Whether this role may do `action` to somebody of another: a room's script asks the same of the seats as they are.
    #[must_use]
    pub fn may_to(self, action: Action, other: Self) -> bool {
        self.may(action) && (!action.has_target() || other < self)
    }

    /// What a role that may not is refused with.
    ///
    /// # Errors
    /// `HOST_REQUIRED` when only the host may, else `FORBIDDEN`.
    pub fn must_be_allowed(self, action: Action) -> Result<(), Refusal> {
        if self.may(action) { Ok(()) } else { Err(action.refusal()) }
    }
}

impl Action {
    /// The refusal for somebody whose role may not.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        match self.least_role() {
            Role::Host => Code::HostRequired.into(),
            _ => Refusal::new(Code::Forbidden, "Only host and moderators may do this"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows: guest, participant, moderator, host, as they stand in `Role`.
    const TABLE: [(Action, [bool; 4]); 8] = [
        (Action::EndCall, [false, false, false, true]),
        (Action::Admit, [false, false, true, true]),
        (Action::Mute, [false, false, true, true]),
        (Action::Kick, [false, false, true, true]),
        (Action::Lock, [false, false, true, true]),
        (Action::Update, [false, false, false, true]),
        (Action::SetRole, [false, false, false, true]),
        (Action::TransferHost, [false, false, false, true]),
    ];

    #[test]
    fn every_cell_of_the_role_table_is_as_decided() {
        assert_eq!(TABLE.map(|(action, _)| action), Action::ALL);
        for (action, cells) in TABLE {
            assert_eq!(Role::ALL.map(|role| role.may(action)), cells, "{action:?}");
            for role in Role::ALL {
                let refusal = role.must_be_allowed(action).err().map(|refusal| refusal.code);
                let code = if action.least_role() == Role::Host { Code::HostRequired } else { Code::Forbidden };
                assert_eq!(refusal, (!role.may(action)).then_some(code), "{role:?} {action:?}");
            }
        }
    }

    #[test]
    fn nobody_acts_on_an_equal_or_higher_role() {
        for (action, role, other) in [
            (Action::Kick, Role::Moderator, Role::Moderator),
            (Action::Mute, Role::Moderator, Role::Host),
            (Action::SetRole, Role::Host, Role::Host),
        ] {
            assert!(!role.may_to(action, other), "{action:?}");
        }
        assert!(
            Role::Moderator.may_to(Action::Kick, Role::Participant) && Role::Host.may_to(Action::Mute, Role::Moderator)
        );
        assert!(Role::Moderator.may_to(Action::Admit, Role::Host), "who waits has no role yet");
    }

    #[test]
    fn the_table_of_the_readme_is_this_one() {
        let readme = include_str!("../../../../README.md");
        for action in Action::ALL {
            let cells = Role::ALL.map(|role| if role.may(*action) { " yes |" } else { " |" });
            let row = format!("| {} |{}", action.words(), cells.concat());
            assert!(readme.lines().any(|line| line == row), "the README has no line {row:?}");
        }
    }
}
