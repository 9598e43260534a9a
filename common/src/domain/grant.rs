//! The role table: what each role may do in a room. The README's table is tested against this one.

use super::participant::Role;

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

impl Role {
    /// Whether this role may do `action`.
    #[must_use]
    pub fn may(self, action: Action) -> bool {
        self >= action.least_role()
    }
}
