//! Codec of envelopes, the messages that scripts publish to a node:
//! `id room handle-or-*-or-@ excluded kind event`, separated by single spaces. The event is the
//! rest. The kind is a code of [`EventKind`]; control messages begin with `!` instead.
//!
//! | envelope | meaning |
//! |---|---|
//! | `<id> <room> <handle> - <kind> <event>` | for one session |
//! | `<id> <room> * <peer or -> <kind> <event>` | for every session of the room on this node, except that peer |
//! | `<id> <room> @ - <kind> <event>` | for the sessions of host and moderators on this node |
//! | `0-0 <room> * <peer> <kind> <event>` | the same for an ephemeral event, which has no offset |
//! | `<id> - canary - -` | the node's own canary; `id` is Redis TIME |
//! | `0-0 <room> <handle> - !drop` | the session lost its seat: close the transport, the client resumes |
//! | `0-0 <room> <handle> - !replaced` | another socket resumed the session: close the transport for good |
//! | `0-0 <room> <handle> - !probe` | the same user joins elsewhere: find out whether the client is alive |
//! | `<id> <room> <handle> - !admitted <join id>` | the session is admitted from the lobby; also in the log |
//! | `<id> <room> <handle or *> - !ended` | the room ended, or the session was removed: it is in no room |

use std::ops::Range;

use super::event_kind::EventKind;
use crate::domain::{PeerId, RoomId, SessionHandle};

/// Control message for an admission from the lobby, also in the room's log. The join id follows.
pub const ADMITTED: &str = "!admitted ";

/// Receiver of the events about the lobby, in envelopes and in the room's log: host and moderators.
/// No peer and no handle has this name.
pub const MODERATORS: &str = "@";

/// A parsed envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// An event of a room's log.
    Event {
        /// Milliseconds and sequence of its log id.
        id: (u64, u64),
        /// Room.
        room: RoomId,
        /// Receivers.
        to: Audience,
        /// Kind of the event.
        kind: EventKind,
        /// Inside of the Socket.IO array. Several events may share it: see
        /// [`events`](super::event_batch::events).
        event: &'a str,
    },
    /// An event that is in no log, for every session of the room on this node except its sender.
    Ephemeral {
        /// Room.
        room: RoomId,
        /// Sender.
        from: PeerId,
        /// Kind of the event.
        kind: EventKind,
        /// Inside of the Socket.IO array.
        event: &'a str,
    },
    /// The canary, with Redis TIME in milliseconds.
    Canary {
        /// Milliseconds.
        ms: u64,
    },
    /// A session lost its seat.
    Drop {
        /// The room of the seat.
        room: RoomId,
        /// The session.
        handle: SessionHandle,
    },
    /// Another socket has a session's seat.
    Replaced {
        /// The room of the seat.
        room: RoomId,
        /// The session.
        handle: SessionHandle,
    },
    /// The node of a session must find out whether its client is alive.
    Probe {
        /// The room of the seat.
        room: RoomId,
        /// The session.
        handle: SessionHandle,
    },
    /// A session is admitted from the lobby.
    Admitted {
        /// Milliseconds and sequence of its log id.
        id: (u64, u64),
        /// The room.
        room: RoomId,
        /// The session.
        handle: SessionHandle,
        /// Milliseconds and sequence of the join id.
        join: (u64, u64),
    },
    /// Sessions are in no room any more.
    RoomGone {
        /// The room.
        room: RoomId,
        /// Session that was removed; `None` for all, because the room ended.
        handle: Option<SessionHandle>,
    },
}

/// Receivers of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// One session.
    One(SessionHandle),
    /// Every session of the room on this node, except one peer.
    All {
        /// Sender, who does not receive the event.
        except: Option<PeerId>,
    },
    /// The sessions of host and moderators on this node.
    Moderators,
}

impl<'a> Envelope<'a> {
    /// Parses an envelope; `None` for any other message.
    #[must_use]
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(message).ok()?;
        let mut fields = Fields { text, at: 0 };
        let (id, room, handle, excluded) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let event = &text[fields.at..];
        let id = log_id(&text[id])?;
        if &text[handle.clone()] == "canary" {
            return Some(Self::Canary { ms: id.0 });
        }
        let room = RoomId::parse(&text[room]).ok()?;
        let to = match &text[handle] {
            "*" => Audience::All {
                except: match &text[excluded] {
                    "-" => None,
                    peer => Some(PeerId::parse(peer).ok()?),
                },
            },
            MODERATORS => Audience::Moderators,
            handle => Audience::One(SessionHandle::parse(handle)?),
        };
        match (event, &to) {
            ("!drop", Audience::One(handle)) => Some(Self::Drop { room, handle: *handle }),
            ("!replaced", Audience::One(handle)) => Some(Self::Replaced { room, handle: *handle }),
            ("!probe", Audience::One(handle)) => Some(Self::Probe { room, handle: *handle }),
            (event, Audience::One(handle)) if event.starts_with(ADMITTED) => {
                Some(Self::Admitted { id, room, handle: *handle, join: log_id(&event[ADMITTED.len()..])? })
            }
            ("!ended", Audience::One(handle)) => Some(Self::RoomGone { room, handle: Some(*handle) }),
            ("!ended", Audience::All { .. }) => Some(Self::RoomGone { room, handle: None }),
            _ => {
                let (kind, event) = EventKind::split(event)?;
                match &to {
                    Audience::All { except: Some(from) } if id == (0, 0) => {
                        Some(Self::Ephemeral { room, from: from.clone(), kind, event })
                    }
                    _ => Some(Self::Event { id, room, to, kind, event }),
                }
            }
        }
    }
}

/// `ms-seq`
fn log_id(text: &str) -> Option<(u64, u64)> {
    let (ms, seq) = text.split_once('-')?;
    Some((ms.parse().ok()?, seq.parse().ok()?))
}

/// Walks the space-separated fields without copying.
struct Fields<'a> {
    text: &'a str,
    at: usize,
}

impl Fields<'_> {
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let end = start + self.text[start..].find(' ')?;
        self.at = end + 1;
        Some(start..end)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Option<Envelope<'_>> {
        Envelope::parse(text.as_bytes())
    }

    #[test]
    fn each_kind_of_envelope_is_read() {
        let room = RoomId::parse("R1").unwrap();
        assert_eq!(parse("17-2 - canary - -"), Some(Envelope::Canary { ms: 17 }));
        assert_eq!(
            parse("0-0 R1 1f - !drop"),
            Some(Envelope::Drop { room: room.clone(), handle: SessionHandle(0x1f) })
        );
        assert_eq!(parse("9-0 R1 * - !ended"), Some(Envelope::RoomGone { room: room.clone(), handle: None }));
        let handle = SessionHandle(0x1f);
        assert_eq!(parse("9-0 R1 1f - !ended"), Some(Envelope::RoomGone { room: room.clone(), handle: Some(handle) }));
        assert_eq!(parse("0-0 R1 1f - !replaced"), Some(Envelope::Replaced { room: room.clone(), handle }));
        assert_eq!(parse("0-0 R1 1f - !probe"), Some(Envelope::Probe { room: room.clone(), handle }));
        let admitted = Envelope::Admitted { id: (9, 3), room: room.clone(), handle, join: (9, 2) };
        assert_eq!(parse("9-3 R1 1f - !admitted 9-2"), Some(admitted));
        let event = r#""chat:message",{"message":"a b"}"#;
        assert_eq!(
            parse(r#"9-1 R1 * u#2 c "chat:message",{"message":"a b"}"#),
            Some(Envelope::Event {
                id: (9, 1),
                room: room.clone(),
                to: Audience::All { except: Some(PeerId::parse("u#2").unwrap()) },
                kind: EventKind::ChatMessage,
                event
            })
        );
        assert_eq!(
            parse(r#"9-1 R1 a - c "chat:message",{"message":"a b"}"#),
            Some(Envelope::Event {
                id: (9, 1),
                room: room.clone(),
                to: Audience::One(SessionHandle(10)),
                kind: EventKind::ChatMessage,
                event
            })
        );
        assert_eq!(
            parse(r#"9-1 R1 @ - W "room:join-request",{}"#),
            Some(Envelope::Event {
                id: (9, 1),
                room: room.clone(),
                to: Audience::Moderators,
                kind: EventKind::JoinRequest,
                event: r#""room:join-request",{}"#
            })
        );
        assert_eq!(
            parse(r#"0-0 R1 * u#2 t "chat:message",{"message":"a b"}"#),
            Some(Envelope::Ephemeral { room, from: PeerId::parse("u#2").unwrap(), kind: EventKind::ChatTyping, event })
        );
    }

    proptest! {
        #[test]
        fn no_message_panics(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Envelope::parse(&message);
        }

        #[test]
        fn no_text_panics(message in "[0-9a-zA-Z*!#\" -]{0,60}") {
            let _ = parse(&message);
        }

        #[test]
        fn an_event_keeps_its_kind_whatever_its_text_is(event in ".{0,40}", index in 0..EventKind::ALL.len()) {
            let kind = EventKind::ALL[index];
            let message = format!("9-1 R1 a - {}", kind.prefix(&event));
            let parsed = parse(&message);
            let kept = matches!(parsed, Some(Envelope::Event { kind: k, event: e, .. }) if k == kind && e == event);
            prop_assert!(kept);
        }
    }
}
