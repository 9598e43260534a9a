//! A call's status and type.

use serde::{Deserialize, Serialize};

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// Has a date; nobody has connected yet.
    Scheduled,
    /// Open; nobody has connected yet.
    Waiting,
    /// Somebody has connected.
    Live,
    /// Over.
    Ended,
    /// Called off before anybody connected.
    Cancelled,
}

impl CallStatus {
    /// Whether nobody can join any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Cancelled)
    }
}

/// Who may join a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallType {
    /// Anybody with the link, guests too.
    Public,
    /// Signed-in users with the link.
    Private,
    /// The host and those invited.
    InvitedOnly,
}
