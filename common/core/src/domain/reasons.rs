//! Reasons why a participant left, and why a call ended, as clients and webhooks get them
//! (`docs/PROTOCOL.md`, "Reasons").

/// Reason why a participant has no seat, or no place in the lobby, any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// The participant left, joined another room, or lost the sign-in or the API key of its token.
    Left,
    /// The participant did not come back within the grace period.
    Timeout,
    /// Host, moderator, backend or operator removed the participant.
    Kicked,
    /// The user got a seat in place of the place in the lobby.
    Replaced,
    /// Host, moderator or backend refused the participant in the lobby.
    Denied,
    /// The call ended. Clients get `room:call-ended` instead; webhooks get this.
    Ended,
}

impl LeaveReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [Self::Left, Self::Timeout, Self::Kicked, Self::Replaced, Self::Denied, Self::Ended];

    /// Returns the text on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Timeout => "timeout",
            Self::Kicked => "kicked",
            Self::Replaced => "replaced",
            Self::Denied => "denied",
            Self::Ended => "ended",
        }
    }
}

impl AsRef<str> for LeaveReason {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// Reason why a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The host ended it.
    ByHost,
    /// The backend of its app ended it.
    ByApp,
    /// An operator ended it.
    ByOperator,
    /// Its host, or the backend of its app, deleted it.
    Deleted,
    /// It took place, and nobody has been in it for some minutes.
    Empty,
    /// It had a date, and no participant joined. Such a call becomes cancelled, not ended.
    NeverOpened,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::ByHost, Self::ByApp, Self::ByOperator, Self::Deleted, Self::Empty, Self::NeverOpened];

    /// Returns the text on the wire and in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByHost => "ended_by_host",
            Self::ByApp => "ended_by_app",
            Self::ByOperator => "ended_by_operator",
            Self::Deleted => "deleted",
            Self::Empty => "empty",
            Self::NeverOpened => "never_opened",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the first column of the table behind a heading of docs/PROTOCOL.md.
    fn first_column(heading: &str) -> Vec<&'static str> {
        let protocol = include_str!("../../../../docs/PROTOCOL.md");
        let section = protocol.split(heading).nth(1).unwrap_or_default();
        let table = section.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        table.skip(2).filter_map(|row| row.split('`').nth(1)).collect()
    }

    #[test]
    fn the_protocol_page_lists_every_reason_and_no_other() {
        let (left, ended) = (LeaveReason::ALL.map(LeaveReason::as_str), EndReason::ALL.map(EndReason::as_str));
        assert_eq!(first_column("### Reasons of leaving"), left);
        assert_eq!(first_column("### Reasons of the end of a call"), ended);
    }
}
