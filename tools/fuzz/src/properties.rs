//! Properties that must hold for any bytes: no function panics, and a decoded value survives
//! encoding and decoding. `make fuzz` searches for bytes that break a property.
//! `common/core/tests/corpus.rs` runs the corpus and mutations of it with every test run.

use serde_json::value::RawValue;
use switchboard_core::domain::AppId;
use switchboard_core::wire::EventKind;
use switchboard_core::wire::client_event::{self, ClientEvent, Limits};
use switchboard_core::wire::envelope::Envelope;
use switchboard_core::wire::event_batch::SEPARATOR;
use switchboard_core::wire::offset::Offset;
use switchboard_core::wire::{engine_io, socket_io};

/// Limit of the decoder, higher than any test needs.
const MAX_ATTACHMENTS: usize = 10;

/// Engine.IO: the packets of a long-polling payload.
pub fn engine_io(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for text in text.split(engine_io::SEPARATOR) {
        if let Ok(packet) = engine_io::Packet::decode(text) {
            assert_eq!(engine_io::Packet::decode(&packet.encode()).as_ref(), Ok(&packet));
        }
    }
}

/// Socket.IO: a packet.
pub fn socket_io(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(packet) = socket_io::Packet::decode(text, MAX_ATTACHMENTS) {
        let again = packet.encode();
        assert_eq!(socket_io::Packet::decode(&again, MAX_ATTACHMENTS), Ok(packet));
    }
}

/// Client event: the name, a line feed and the JSON of the argument. Values that pass through stay
/// within their limits and are JSON.
pub fn client_event(data: &[u8]) {
    let Some((name, argument)) = std::str::from_utf8(data).ok().and_then(|text| text.split_once('\n')) else { return };
    let Ok(argument) = RawValue::from_string(argument.to_owned()) else { return };
    let limits = Limits { sdp: 256, candidate: 64, chat: 20 };
    match client_event::parse(name, Some(&argument), &limits) {
        Err(refusal) => assert!(!refusal.message.is_empty()),
        Ok(ClientEvent::Signal(signal)) => {
            for (_, value) in signal.body {
                assert!(value.get().len() <= limits.sdp);
                assert!(serde_json::from_str::<&RawValue>(value.get()).is_ok());
                // Several events of a log entry are told apart by it.
                assert!(!value.get().as_bytes().contains(&SEPARATOR));
            }
        }
        Ok(ClientEvent::Chat(chat)) => assert!((1..=limits.chat).contains(&chat.message.chars().count())),
        Ok(_) => {}
    }
}

/// Envelope of a published event, and the offset that a client presents on reconnect.
pub fn envelope(data: &[u8]) {
    if let Some(Envelope::Event { kind, event, .. }) = Envelope::parse(data) {
        assert!(data.ends_with(event.as_bytes()));
        assert!(kind == EventKind::Unknown || data.ends_with(kind.prefix(event).as_bytes()));
    }
    let app = AppId::default();
    if let Some(offset) = std::str::from_utf8(data).ok().and_then(|text| Offset::parse(text, &app)) {
        assert_eq!(Offset::parse(&offset.to_string(), &app), Some(offset));
    }
}
