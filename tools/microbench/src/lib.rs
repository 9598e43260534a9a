//! The pure code of an event's path through a node, one function per case on prepared input.
//! `benches/pure` measures their time. `examples/instructions` runs them under callgrind, whose
//! counts are the same on a busy and an idle machine.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;
use switchboard_core::domain::{
    AppId, CallId, CallPermissions, CallSettings, CallType, ConnectionState, PeerId, PublicUser, Role, RoomId,
    RoomMeta, Timestamp, UserId,
};
use switchboard_core::wire::client_event::{self, Limits};
use switchboard_core::wire::envelope::Envelope;
use switchboard_core::wire::offset::Offset;
use switchboard_core::wire::{engine_io, server_event, socket_io};
use switchboard_rules::{Effect, SeatView, SessionView, Stamp, handle};

const ALICE: &str = "65a000000000000000000001";
const BOB: &str = "65a000000000000000000002";

/// Name and function of a case. The result keeps the compiler from removing the work.
pub type Case = (&'static str, fn(&Input) -> usize);

/// All cases.
pub const CASES: &[Case] = &[
    ("decode_offer", decode_offer),
    ("decode_candidate", decode_candidate),
    ("parse_offer", parse_offer),
    ("handle_offer", handle_offer),
    ("handle_chat", handle_chat),
    ("parse_envelope", parse_envelope),
    ("parse_offset", parse_offset),
    ("encode_user_joined", encode_user_joined),
];

/// Input of the cases: an offer of 1 KiB, the size of a browser's offer without its media sections,
/// and its context.
#[derive(Debug)]
pub struct Input {
    offer: String,
    candidate: String,
    offer_argument: Box<RawValue>,
    chat_argument: Box<RawValue>,
    envelope: Bytes,
    user: PublicUser,
    user_json: String,
    seat: SeatView,
}

impl Input {
    /// Prepares the input.
    ///
    /// # Panics
    /// When the built-in values are invalid.
    #[must_use]
    pub fn prepare() -> Self {
        let sdp = "v=0\\r\\n".to_owned() + &"a=fmtp:111 minptime=10;useinbandfec=1\\r\\n".repeat(25);
        let offer = format!(r#"{{"to":"{BOB}","offer":{{"type":"offer","sdp":"{sdp}"}}}}"#);
        let candidate = "candidate:842163049 1 udp 1677729535 192.0.2.1 46154 typ srflx raddr 0.0.0.0 rport 0";
        let candidate = format!(r#"{{"to":"{BOB}","candidate":{{"candidate":"{candidate}","sdpMLineIndex":0}}}}"#);
        let chat = r#"{"message":"Can everybody see my screen?"}"#;
        let user = PublicUser::new(UserId::parse(ALICE).expect("an id"), "Alice".to_owned(), None);
        let user_json = serde_json::to_string(&user).expect("a user is JSON");
        let event = format!(
            r#""webrtc:offer",{{"from":"{ALICE}","to":"{BOB}","offer":{{"type":"offer","sdp":"{sdp}"}},"user":{user_json},"roomId":"ABCDEF123456"}}"#
        );
        let raw = |text: String| RawValue::from_string(text).expect("JSON");
        Self {
            envelope: Bytes::from(format!("1700000000000-0 ABCDEF123456 1f - o {event}")),
            offer_argument: raw(offer.clone()),
            chat_argument: raw(chat.to_owned()),
            offer: format!(r#"4217["webrtc:offer",{offer}]"#),
            candidate: format!(r#"42["webrtc:ice-candidate",{candidate}]"#),
            user,
            user_json,
            seat: seat(),
        }
    }
}

fn seat() -> SeatView {
    let meta = RoomMeta {
        call_id: CallId::parse("65a0000000000000000000ff").expect("an id"),
        name: "A call".to_owned(),
        host: UserId::parse(BOB).expect("an id"),
        call_type: CallType::Public,
        settings: CallSettings::default(),
        max_participants: 10,
        passcode_hash: None,
        invited: Vec::new(),
        created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        locked: false,
        version: 1,
    };
    SeatView {
        room: RoomId::parse("ABCDEF123456").expect("an id"),
        peer: PeerId::parse(ALICE).expect("an id"),
        role: Role::Participant,
        state: ConnectionState::Connected,
        meta: Arc::new(meta),
    }
}

fn decode(frame: &str) -> usize {
    let Ok(engine_io::Packet::Message(message)) = engine_io::Packet::decode(frame) else { return 0 };
    match socket_io::Packet::decode(&message, 0) {
        Ok(socket_io::Packet::Event(event)) => event.args.len(),
        _ => 0,
    }
}

/// Decodes a frame's text into the event's name and arguments.
#[inline(never)]
fn decode_offer(input: &Input) -> usize {
    decode(&input.offer)
}

/// Decodes a short frame.
#[inline(never)]
fn decode_candidate(input: &Input) -> usize {
    decode(&input.candidate)
}

/// Parses the argument's text into a typed event.
#[inline(never)]
fn parse_offer(input: &Input) -> usize {
    let parsed = client_event::parse("webrtc:offer", Some(&input.offer_argument), &Limits::default());
    usize::from(parsed.is_ok())
}

fn handle_event(input: &Input, name: &str, argument: &RawValue) -> usize {
    let session = SessionView {
        user: &input.user,
        user_json: &input.user_json,
        seat: Some(&input.seat),
        has_grant: false,
        permissions: CallPermissions::default(),
    };
    let stamp = Stamp { at: Timestamp(1_767_225_600_000), nonce: 7 };
    let parsed = client_event::parse(name, Some(argument), &Limits::default());
    match parsed.and_then(|event| handle(event, &session, stamp)) {
        Ok(Effect::Log(logged)) => logged.event.len(),
        _ => 0,
    }
}

/// Handles an offer: from the argument's text to the event for the receiver.
#[inline(never)]
fn handle_offer(input: &Input) -> usize {
    handle_event(input, "webrtc:offer", &input.offer_argument)
}

/// Handles a chat message.
#[inline(never)]
fn handle_chat(input: &Input) -> usize {
    handle_event(input, "chat:message", &input.chat_argument)
}

/// Parses a message that Redis publishes.
#[inline(never)]
fn parse_envelope(input: &Input) -> usize {
    match Envelope::parse(&input.envelope) {
        Some(Envelope::Event { event, .. }) => event.len(),
        _ => 0,
    }
}

/// Parses the offset that a client presents on reconnect.
#[inline(never)]
fn parse_offset(_: &Input) -> usize {
    usize::from(Offset::parse("1700000000000-17.ABCDEF123456", &AppId::default()).is_some())
}

/// Encodes the event that announces a new participant.
#[inline(never)]
fn encode_user_joined(input: &Input) -> usize {
    server_event::user_joined_template(&input.user).len()
}

/// Returns the CPU time of this process. The kernel counts in hundredths of a second.
///
/// # Panics
/// Without Linux's `/proc`.
#[must_use]
pub fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has /proc");
    let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_succeeds_on_its_input() {
        let input = Input::prepare();
        for (name, case) in CASES {
            assert!(case(&input) > 0, "{name}");
        }
    }
}
