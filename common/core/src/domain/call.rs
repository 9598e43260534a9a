//! A call's status and type, and how a call may go from one status to the next.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a call ended that had a date and nobody came to: it is cancelled, not ended.
pub const NEVER_OPENED: &str = "never_opened";

/// Where a call is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
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
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Scheduled, Self::Waiting, Self::Live, Self::Ended, Self::Cancelled];

    /// As on the wire and in the records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Waiting => "waiting",
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Cancelled => "cancelled",
        }
    }

    /// The table of legal transitions; every update of a record is filtered by it.
    ///
    /// A date given or taken away before anybody came moves a call between `scheduled` and `waiting`. The first participant makes it
    /// `live`. What is over stays so.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Scheduled => matches!(next, Self::Waiting | Self::Live | Self::Ended | Self::Cancelled),
            Self::Waiting => matches!(next, Self::Scheduled | Self::Live | Self::Ended | Self::Cancelled),
            Self::Live => matches!(next, Self::Ended),
            Self::Ended | Self::Cancelled => false,
        }
    }

    /// The statuses that may become this one.
    pub fn predecessors(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |status| status.may_become(self))
    }

    /// Whether nobody can join any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Cancelled)
    }
}

/// Who may join a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallType {
    /// Anybody with the link, guests too.
    Public,
    /// Signed-in users with the link.
    Private,
    /// The host and those invited.
    InvitedOnly,
}

#[cfg(test)]
mod tests {
    use super::CallStatus::{Cancelled, Ended, Live, Scheduled, Waiting};
    use super::*;

    #[test]
    fn a_call_goes_through_its_life_in_one_direction() {
        let legal = [
            (Scheduled, Waiting),
            (Scheduled, Live),
            (Scheduled, Ended),
            (Scheduled, Cancelled),
            (Waiting, Scheduled),
            (Waiting, Live),
            (Waiting, Ended),
            (Waiting, Cancelled),
            (Live, Ended),
        ];
        for from in CallStatus::ALL {
            for to in CallStatus::ALL {
                assert_eq!(from.may_become(to), legal.contains(&(from, to)), "{from:?} -> {to:?}");
            }
            let nowhere = CallStatus::ALL.iter().all(|to| !from.may_become(*to));
            assert_eq!(from.is_over(), nowhere, "{from:?}");
            assert_eq!(serde_json::to_value(from).unwrap(), from.as_str());
        }
        assert_eq!(Live.predecessors().collect::<Vec<_>>(), [Scheduled, Waiting]);
    }
}
