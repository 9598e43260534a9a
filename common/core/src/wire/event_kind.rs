//! Kinds of the server events that go through a room's log or its subscription.
//!
//! The sender of an event knows its kind. The kind goes along as one character, before the event's
//! text, in envelopes, log entries and the chat history. So a receiver never looks for an event's
//! name in the text.

/// Lists the kinds: variant, code, Socket.IO event name.
macro_rules! event_kinds {
    ($($(#[$doc:meta])* $kind:ident $code:literal $name:literal;)*) => {
        /// Kind of a server event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind { $($(#[$doc])* $kind,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Returns the code in envelopes and log entries: one ASCII letter. A code is never
            /// reused, because logs outlive a rollout.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$kind => $code,)* }
            }

            /// Returns the kind with this code; `None` for an unknown one.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                match code { $($code => Some(Self::$kind),)* _ => None }
            }

            /// Returns the name of the Socket.IO event.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

event_kinds! {
    /// Offer of a WebRTC connection.
    Offer "o" "webrtc:offer";
    /// Answer to an offer.
    Answer "a" "webrtc:answer";
    /// ICE candidate.
    IceCandidate "i" "webrtc:ice-candidate";
    /// State of a WebRTC connection.
    ConnectionState "s" "webrtc:connection-state";
    /// Request for a new offer.
    RenegotiationNeeded "n" "webrtc:renegotiation-needed";
    /// Message about a data channel.
    DataChannel "d" "webrtc:data-channel";
    /// Chat message.
    ChatMessage "c" "chat:message";
    /// A participant types.
    ChatTyping "t" "chat:typing";
    /// A participant joined the call.
    UserJoined "J" "room:user-joined";
    /// A participant left the call.
    UserLeft "L" "room:user-left";
    /// A participant lost the socket or is back.
    ConnectionChanged "C" "participant:connection-changed";
    /// A participant's media changed.
    MediaChanged "M" "participant:media-state-changed";
    /// A participant's screen share changed.
    ScreenShareChanged "S" "participant:screen-share-changed";
    /// A participant's hand was raised or lowered.
    HandChanged "H" "participant:hand-changed";
    /// A participant shows an emoji.
    Reaction "r" "participant:reaction";
    /// A participant's role changed.
    RoleChanged "R" "participant:role-changed";
    /// A participant's permissions changed.
    PermissionsChanged "G" "participant:permissions-changed";
    /// A participant's name or picture changed.
    ProfileChanged "N" "participant:profile-changed";
    /// The receiver was muted.
    Muted "U" "participant:muted";
    /// The call changed.
    RoomUpdated "P" "room:updated";
    /// A participant waits in the lobby.
    JoinRequest "W" "room:join-request";
    /// A participant does not wait any more.
    JoinRequestCancelled "X" "room:join-request-cancelled";
    /// The receiver was refused in the lobby.
    Denied "D" "room:denied";
    /// The receiver was removed.
    Kicked "K" "room:kicked";
    /// The call ended.
    CallEnded "E" "room:call-ended";
    /// Event of the backend of an app.
    ServerEvent "V" "server:event";
    /// An event of a newer version, during a rollout. It is delivered like any other.
    Unknown "?" "";
}

impl EventKind {
    /// Values of the label `kind` in `switchboard_relays_total`: see [`EventKind::metric_label`].
    pub const METRIC_LABELS: [&str; 6] = ["offer", "answer", "candidate", "media", "chat", "other"];

    /// Returns the label of the kind in metrics. The kinds that are rare share the label `other`.
    #[must_use]
    pub const fn metric_label(self) -> &'static str {
        match self {
            Self::Offer => "offer",
            Self::Answer => "answer",
            Self::IceCandidate => "candidate",
            Self::MediaChanged => "media",
            Self::ChatMessage => "chat",
            _ => "other",
        }
    }

    /// Returns the position of the kind in [`EventKind::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        // Both list the kinds in the order of their declaration.
        self as usize
    }

    /// Returns whether the event changes a node's replica of a seat or a room.
    #[must_use]
    pub const fn updates_replica(self) -> bool {
        matches!(
            self,
            Self::RoleChanged
                | Self::PermissionsChanged
                | Self::ProfileChanged
                | Self::HandChanged
                | Self::Muted
                | Self::RoomUpdated
                | Self::Denied
                | Self::Kicked
                | Self::CallEnded
        )
    }

    /// Splits `<code> <event>`, as log entries and envelopes hold it, into kind and event. Returns
    /// `None` if the text does not begin with one letter and a space.
    #[must_use]
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let (code, event) = text.split_once(' ')?;
        let is_code = code.len() == 1 && code != "!";
        is_code.then(|| (Self::from_code(code).unwrap_or(Self::Unknown), event))
    }

    /// Writes an event as log entries and envelopes hold it: `<code> <event>`.
    #[must_use]
    pub fn prefix(self, event: &str) -> String {
        [self.code(), " ", event].concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn each_kind_has_its_own_code_of_one_letter_and_is_read_by_it() {
        let codes: HashSet<&str> = EventKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), EventKind::ALL.len());
        for &kind in EventKind::ALL {
            assert!(kind.code().len() == 1 && kind.code() != "!");
            assert_eq!(EventKind::from_code(kind.code()), Some(kind));
            assert_eq!(EventKind::split(&kind.prefix("\"e\",{}")), Some((kind, "\"e\",{}")));
        }
    }

    #[test]
    fn each_kind_is_at_its_index_and_has_a_label_of_the_metric() {
        let labels: HashSet<&str> = EventKind::ALL.iter().map(|kind| kind.metric_label()).collect();
        assert_eq!(labels, HashSet::from(EventKind::METRIC_LABELS));
        assert!(EventKind::ALL.iter().enumerate().all(|(index, kind)| kind.index() == index));
    }

    #[test]
    fn a_text_without_a_code_has_no_kind() {
        for text in ["", "o", "\"chat:message\",{\"a\": 1}", "!ended", "! x", "oo x"] {
            assert_eq!(EventKind::split(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_event_with_a_code_of_a_newer_version_is_of_unknown_kind() {
        assert_eq!(EventKind::split("Z \"new\",{}"), Some((EventKind::Unknown, "\"new\",{}")));
    }
}
