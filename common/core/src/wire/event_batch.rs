//! Events that share an entry: consecutive ICE candidates of one participant for another are one
//! entry of the room's log and one envelope, `<kind> <event> <event> ...` with [`SEPARATOR`]
//! between events. Their receiver gets them as separate events.
//!
//! Each event has an id of its own: the first that of the entry, the others those that follow it.
//! The script that logs the entry reserves these, so that no later entry has one of them. A client
//! can therefore resume between two events of an entry.

use super::{EventKind, LogId};

/// Separates the events of an entry. No JSON text contains it: a string escapes control characters.
pub const SEPARATOR: u8 = 0x1e;

/// Maximum number of events of an entry.
pub const EVENTS_MAX: usize = 16;

/// Returns whether events of this kind may share an entry. Those of other kinds are rarely many at
/// the same moment.
#[must_use]
pub fn may_share_an_entry(kind: EventKind) -> bool {
    kind == EventKind::IceCandidate
}

/// Returns the events of an entry with their ids. `text` is the part behind the kind.
pub fn events(id: LogId, kind: EventKind, text: &str) -> impl Iterator<Item = (LogId, &str)> {
    let mut rest = Some(text);
    let texts = std::iter::from_fn(move || {
        let text = rest?;
        match text.split_once(char::from(SEPARATOR)).filter(|_| may_share_an_entry(kind)) {
            Some((event, others)) => {
                rest = Some(others);
                Some(event)
            }
            None => rest.take(),
        }
    });
    (0..).zip(texts).map(move |(place, event)| (id.later_by(place), event))
}

/// Returns the first id that an entry with events after this position can have: an entry that
/// begins before the position may have later events.
#[must_use]
pub fn first_entry_after(position: LogId) -> LogId {
    LogId { ms: position.ms, seq: position.seq.saturating_sub(EVENTS_MAX as u64 - 2) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_events_of_an_entry_have_the_ids_that_follow_it(
            texts in proptest::collection::vec("[ -~]{1,20}", 1..=EVENTS_MAX),
            ms: u64,
            seq in 0..1_000_u64,
        ) {
            let id = LogId { ms, seq };
            let joined = texts.join("\u{1e}");
            let found: Vec<_> = events(id, EventKind::IceCandidate, &joined).collect();
            prop_assert_eq!(found.iter().map(|(_, text)| *text).collect::<Vec<_>>(), texts);
            for (place, (event_id, _)) in (0..).zip(&found) {
                prop_assert_eq!(*event_id, LogId { ms, seq: seq + place });
            }
            // A read from any position finds the entry while it has an event behind the position.
            for (position, _) in &found[..found.len() - 1] {
                prop_assert!(first_entry_after(*position) <= id);
            }
        }
    }

    #[test]
    fn a_client_cannot_send_a_separator() {
        for text in ["\"\u{1e}\"", "{\"a\":\u{1e}1}", "\u{1e}1", "1\u{1e}"] {
            assert!(serde_json::value::RawValue::from_string(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_event_of_another_kind_is_never_divided() {
        let id = LogId { ms: 1, seq: 2 };
        assert_eq!(events(id, EventKind::Offer, "a\u{1e}b").collect::<Vec<_>>(), [(id, "a\u{1e}b")]);
    }
}
