//! Costs of events, in tokens of the rates of a socket and of its address. A token is one packet to
//! one participant, which the socket layer has counted. An event that is copied to many
//! participants, or that reads much, costs more.
//!
//! Pure: the number of participants is this node's count of the room, which may be a little behind.

use switchboard_rules::Effect;
use switchboard_rules::effect::{Logged, LoggedKind};

/// Copies of an event that cost one token. A copy costs an eighth of an event, because the log, the
/// script and the encoding are shared.
const COPIES_PER_TOKEN: u32 = 8;
/// Participants that cost one token in a join: they are in its snapshot, and get `room:user-joined`
/// and `room:user-left`.
const JOIN_PARTICIPANTS_PER_TOKEN: u32 = 2;
/// Participants that cost one token in a read of the room.
const READ_PARTICIPANTS_PER_TOKEN: u32 = 4;
/// Replayed events that cost one token.
const EVENTS_PER_TOKEN: usize = 8;
/// Bytes that cost one token.
const BYTES_PER_TOKEN: usize = 1024;
/// Bytes of a room's log that cost one token when they are read: as much as an event costs Redis.
const LOG_BYTES_PER_TOKEN: usize = 16 * 1024;
/// Tokens of a moderation command, without the copies of its event.
const COMMAND: u32 = 10;

/// Returns the tokens of bytes that are read or copied.
fn of_bytes(bytes: usize) -> u32 {
    u32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX)
}

/// Returns the tokens of an event of this many bytes that all participants get.
pub(super) fn broadcast(participants: u32, bytes: usize) -> u32 {
    (participants / COPIES_PER_TOKEN).saturating_mul(of_bytes(bytes).saturating_add(1))
}

/// Returns the tokens of a join. A place in the lobby costs as much, because the admission then
/// costs its participant nothing.
pub(super) const fn join(participants: u32) -> u32 {
    participants / JOIN_PARTICIPANTS_PER_TOKEN
}

/// Returns the tokens of a read of all seats of a room.
const fn read(participants: u32) -> u32 {
    participants / READ_PARTICIPANTS_PER_TOKEN
}

/// Returns the tokens of a page of the chat history.
pub(super) fn page(bytes: usize) -> u32 {
    of_bytes(bytes)
}

/// Returns the tokens of a resume: the replayed events, and the notices to all that the participant
/// was away and is back.
pub(super) fn resume(participants: u32, events: usize, bytes: usize) -> u32 {
    let events = u32::try_from(events / EVENTS_PER_TOKEN).unwrap_or(u32::MAX);
    (2 * broadcast(participants, 0)).saturating_add(events).saturating_add(of_bytes(bytes))
}

/// Returns the tokens of reading this many bytes of a room's log. A resume reads also what is not
/// for the client.
pub(super) fn log_read(bytes: usize) -> u32 {
    u32::try_from(bytes / LOG_BYTES_PER_TOKEN).unwrap_or(u32::MAX)
}

/// Returns the tokens that an effect of a session in a room costs besides its packet.
/// `participants` is asked only if the effect costs by them. A join and a page are charged where
/// they are done.
pub(super) fn of(effect: &Effect, participants: impl FnOnce() -> u32) -> u32 {
    match effect {
        Effect::Log(Logged { kind: LoggedKind::Direct(_) | LoggedKind::Chat { to: Some(_), .. }, .. }) => 0,
        Effect::Log(logged) => broadcast(participants(), logged.event.len()),
        Effect::Ephemeral { event, .. } => broadcast(participants(), event.len()),
        Effect::Command(..) | Effect::EndCall(_) => COMMAND + broadcast(participants(), BYTES_PER_TOKEN),
        Effect::Stats { .. } | Effect::JoinAgain => read(participants()),
        Effect::Create(_) | Effect::Join(_) | Effect::Leave | Effect::IceServers | Effect::History(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;
    use switchboard_core::domain::{Action, PeerId};
    use switchboard_core::wire::EventKind;
    use switchboard_core::wire::client_event::Command;

    fn logged(kind: LoggedKind, bytes: usize) -> Effect {
        Effect::Log(Logged::new(kind, EventKind::ChatMessage, "x".repeat(bytes), None))
    }

    fn chat(to: Option<PeerId>) -> LoggedKind {
        LoggedKind::Chat { to, id: "1".into(), timestamp: "now".into() }
    }

    #[test]
    fn an_event_to_one_participant_costs_its_packet_alone_however_large_the_room_is() {
        let peer = PeerId::parse("guest-0123456789abcdef").unwrap();
        for kind in [LoggedKind::Direct(peer.clone()), chat(Some(peer))] {
            assert_eq!(of(&logged(kind, 100_000), || panic!("not asked")), 0);
        }
    }

    #[test]
    fn an_event_to_all_costs_by_participants_and_bytes_and_in_a_small_room_nothing_more() {
        for kind in [LoggedKind::Broadcast, chat(None)] {
            for (participants, bytes, tokens) in
                [(7, 100_000, 0), (8, 100, 1), (100, 100, 12), (100, 4096, 60), (500, 65_536, 62 * 65)]
            {
                assert_eq!(of(&logged(kind.clone(), bytes), || participants), tokens, "{participants} {bytes}");
            }
        }
        assert_eq!(broadcast(u32::MAX, usize::MAX), u32::MAX);
    }

    #[test]
    fn joins_reads_and_commands_cost_by_participants() {
        assert_eq!((join(1), join(100), join(500)), (0, 50, 250));
        assert_eq!(of(&Effect::Stats { with_call: true }, || 500), 125);
        assert_eq!(of(&Effect::JoinAgain, || 100), 25);
        let lock = || Effect::Command(Action::Lock, Command::Lock { locked: true });
        assert_eq!((of(&lock(), || 2), of(&lock(), || 500)), (10, 10 + 62 * 2));
    }

    #[test]
    fn a_replay_costs_by_its_events_and_bytes() {
        assert_eq!((resume(2, 3, 900), resume(2, 1000, 1 << 20), resume(80, 0, 0)), (0, 125 + 1024, 20));
        assert_eq!(page(256 * 1024), 256);
        assert_eq!((log_read(16_000), log_read(16 << 20), log_read(usize::MAX)), (0, 1024, u32::MAX));
    }

    #[test]
    fn an_office_of_27_behind_one_address_joins_one_mesh_within_the_burst_of_the_address() {
        const PEOPLE: u32 = 27;
        let rate = switchboard_core::domain::Rate::parse(crate::config::EVENTS_PER_ADDRESS).unwrap().unwrap();
        // CONNECT, the join, and a change of the media state.
        let own: u32 = (1..=PEOPLE).map(|present| 1 + 1 + join(present) + 1 + broadcast(PEOPLE, 200)).sum();
        // To each other an offer or an answer, 20 candidates and their end.
        let relays = PEOPLE * (PEOPLE - 1) * 22;
        assert!(own + relays <= rate.requests, "{own} + {relays}");
        // A participant of a room of 100 joins with the tokens of its own socket.
        let own = 1 + 1 + join(100) + 99 * 22 + 1 + broadcast(100, 200);
        assert!(own <= 200 + 99 * super::super::PACKETS_PER_PEER, "{own}");
    }
}
