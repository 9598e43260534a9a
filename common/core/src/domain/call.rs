//! The status and the type of a call, and the legal transitions between statuses.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallStatus {
    /// The call has a date, and no participant has joined yet.
    Scheduled,
    /// The call has no date, and no participant has joined yet.
    Waiting,
    /// A participant has joined.
    Live,
    /// The call is over.
    Ended,
    /// The call was cancelled before a participant joined.
    Cancelled,
}

impl CallStatus {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Scheduled, Self::Waiting, Self::Live, Self::Ended, Self::Cancelled];

    /// Returns the name on the wire and in the records.
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

    /// Returns whether a call may change from this status to `next`. Every update of a record is
    /// filtered by this table.
    ///
    /// Setting or removing the date moves a call between `scheduled` and `waiting` before the first
    /// participant joins. The first participant makes the call `live`. A call that empties before
    /// it has taken place goes back. One that is over does so when its host reopens it.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Scheduled => matches!(next, Self::Waiting | Self::Live | Self::Ended | Self::Cancelled),
            Self::Waiting => matches!(next, Self::Scheduled | Self::Live | Self::Ended | Self::Cancelled),
            Self::Live => matches!(next, Self::Scheduled | Self::Waiting | Self::Ended),
            Self::Ended | Self::Cancelled => matches!(next, Self::Scheduled | Self::Waiting),
        }
    }

    /// Returns the statuses that may change to this one.
    pub fn predecessors(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |status| status.may_become(self))
    }

    /// Returns whether the call is over, so that joining is impossible.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::Cancelled)
    }
}

/// Type of a call: the users who may join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallType {
    /// Every user and guest with the link.
    Public,
    /// Every signed-in user with the link; with a list of invited users, those alone.
    Private,
    /// The host and users who are invited by name.
    InvitedOnly,
}

impl CallType {
    /// Every type with its name on the wire and in the records.
    pub const NAMES: [(&'static str, Self); 3] =
        [("public", Self::Public), ("private", Self::Private), ("invited_only", Self::InvitedOnly)];
}

#[cfg(test)]
mod tests {
    use super::CallStatus::{Cancelled, Ended, Live, Scheduled, Waiting};
    use super::*;

    #[test]
    fn a_call_changes_its_status_only_along_legal_transitions() {
        let legal = [
            (Scheduled, Waiting),
            (Scheduled, Live),
            (Scheduled, Ended),
            (Scheduled, Cancelled),
            (Waiting, Scheduled),
            (Waiting, Live),
            (Waiting, Ended),
            (Waiting, Cancelled),
            (Live, Scheduled),
            (Live, Waiting),
            (Live, Ended),
            (Ended, Scheduled),
            (Ended, Waiting),
            (Cancelled, Scheduled),
            (Cancelled, Waiting),
        ];
        for from in CallStatus::ALL {
            for to in CallStatus::ALL {
                assert_eq!(from.may_become(to), legal.contains(&(from, to)), "{from:?} -> {to:?}");
            }
            let cannot_be_joined = !from.may_become(Live) && from != Live;
            assert_eq!(from.is_over(), cannot_be_joined, "{from:?}");
            assert_eq!(serde_json::to_value(from).unwrap(), from.as_str());
        }
        assert_eq!(Live.predecessors().collect::<Vec<_>>(), [Scheduled, Waiting]);
    }

    #[test]
    fn the_names_of_types_are_those_of_their_json() {
        for (name, call_type) in CallType::NAMES {
            assert_eq!(serde_json::to_value(call_type).unwrap(), name);
        }
    }
}
