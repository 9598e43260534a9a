//! Names of the events that clients send. The parser and the AsyncAPI document both go through this
//! list, so that neither can miss an event of the other.

/// Lists the events: variant and name on the wire.
macro_rules! event_names {
    ($($event:ident $name:literal;)*) => {
        /// Name of an event that clients send.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the contract describes each event")]
        pub enum EventName { $($event,)* }

        impl EventName {
            /// Every event.
            pub const ALL: &[Self] = &[$(Self::$event,)*];

            /// Returns the name on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$event => $name,)* }
            }

            /// Returns the event with this name; `None` for an unknown one.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$event),)* _ => None }
            }
        }
    };
}

event_names! {
    RoomCreate "room:create";
    RoomJoin "room:join";
    RoomLeave "room:leave";
    RoomEndCall "room:end-call";
    Offer "webrtc:offer";
    Answer "webrtc:answer";
    IceCandidate "webrtc:ice-candidate";
    ConnectionState "webrtc:connection-state";
    RenegotiationNeeded "webrtc:renegotiation-needed";
    DataChannel "webrtc:data-channel";
    GetIceServers "webrtc:get-ice-servers";
    GetStats "webrtc:get-stats";
    UpdateMediaState "participant:update-media-state";
    ScreenShare "webrtc:screen-share";
    ScreenShareChanged "participant:screen-share-changed";
    SetHand "participant:set-hand";
    Reaction "participant:reaction";
    ChatMessage "chat:message";
    ChatHistory "chat:history";
    ChatTyping "chat:typing";
    Admit "room:admit";
    Deny "room:deny";
    Mute "participant:mute";
    LowerHand "participant:lower-hand";
    Kick "participant:kick";
    SetRole "participant:set-role";
    TransferHost "room:transfer-host";
    Lock "room:lock";
    Update "room:update";
}
