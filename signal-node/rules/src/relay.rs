//! Signaling from peer to peer. `from` is the session's own identity, never the payload's.

use switchboard_core::domain::Refusal;
use switchboard_core::wire::client_event::{Signal, SignalKind};

use super::effect::{Effect, Logged, LoggedKind};
use super::session::{Place, SessionView};

/// Passes an offer, answer, candidate or the like on.
pub(super) fn signal(signal: Signal<'_>, session: &SessionView<'_>) -> Result<Effect, Refusal> {
    let place = session.seated()?;
    let event = compose(&signal, place, session.user_json);
    let kind = signal.to.map_or(LoggedKind::Others, LoggedKind::One);
    let loud = signal.kind != SignalKind::Candidate;
    Ok(Effect::Log(Logged { loud, ..Logged::new(kind, event, signal.id) }))
}

/// `"webrtc:offer",{"from":..,"to":..,"offer":..,"user":..,"roomId":..}`: written by hand since all its parts are JSON text
/// or ids, whose alphabet needs no escape.
fn compose(signal: &Signal<'_>, place: &Place, user_json: &str) -> String {
    let body: usize = signal.body.iter().map(|(name, value)| name.len() + value.get().len() + 4).sum();
    let mut event = String::with_capacity(body + user_json.len() + 256);
    let mut push = |parts: &[&str]| parts.iter().for_each(|part| event.push_str(part));
    push(&["\"", signal.kind.name(), "\",{\"from\":\"", place.peer.as_str(), "\""]);
    if let Some(to) = &signal.to {
        push(&[",\"to\":\"", to.as_str(), "\""]);
    }
    for (name, value) in &signal.body {
        push(&[",\"", name, "\":", value.get()]);
    }
    push(&[",\"user\":", user_json, ",\"roomId\":\"", place.room.as_str(), "\"}"]);
    event
}
