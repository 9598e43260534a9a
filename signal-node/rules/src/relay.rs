//! Signaling between participants. `from` is the session's own identity, never the payload's.

use switchboard_core::domain::Refusal;
use switchboard_core::wire::client_event::{Signal, SignalKind};

use super::effect::{Effect, Logged, LoggedKind};
use super::session::{SeatView, SessionView};

/// Relays an offer, an answer, a candidate or another signaling event.
pub(super) fn signal(signal: Signal<'_>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let seat = session.seated()?;
    let event = compose(&signal, seat, session.user_json);
    let event_kind = signal.kind.event_kind();
    let kind = signal.to.map_or(LoggedKind::Broadcast, LoggedKind::Direct);
    let report_refusal = signal.kind != SignalKind::Candidate;
    Ok(Effect::Log(Logged { report_refusal, ..Logged::new(kind, event_kind, event, signal.id) }))
}

/// Returns `"webrtc:offer",{"from":..,"to":..,"offer":..,"user":..,"roomId":..}`. Written by hand,
/// because all parts are JSON text already, or ids, whose characters need no escape.
fn compose(signal: &Signal<'_>, seat: &SeatView, user_json: &str) -> String {
    let body: usize = signal.body.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum();
    let mut event = String::with_capacity(body + user_json.len() + 256);
    let mut push = |parts: &[&str]| parts.iter().for_each(|part| event.push_str(part));
    push(&["\"", signal.kind.event_kind().name(), "\",{\"from\":\"", seat.peer.as_str(), "\""]);
    if let Some(to) = &signal.to {
        push(&[",\"to\":\"", to.as_str(), "\""]);
    }
    for (name, value) in &signal.body {
        push(&[",\"", name, "\":", value.get()]);
    }
    push(&[",\"user\":", user_json, ",\"roomId\":\"", seat.room.name(), "\"}"]);
    event
}
