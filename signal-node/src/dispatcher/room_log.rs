//! Events through a room's log. They are pipelined: a session's next event does not wait for Redis.

use std::sync::Arc;

use switchboard_core::domain::Code;
use switchboard_rooms::{Chat, Op, OpKind, OpReply, StoreError};
use switchboard_rules::effect::{Logged, LoggedKind};
use switchboard_rules::media;
use switchboard_runtime::telemetry::traces::{TARGET, follow};
use tokio::time::Instant;
use tracing::{field, info_span};

use super::Dispatcher;
use super::responder::Responder;
use super::session::ClientSession;

impl Dispatcher {
    /// Submits an event to the room's lane, and replies when the script has replied. Acknowledged
    /// means logged.
    pub(super) fn log(&self, session: &mut ClientSession, logged: Logged, responder: Responder, read: Instant) {
        let Some(room) = &session.room else { return responder.refuse(&Code::NotInRoom.into()) };
        let Logged { kind, event_kind, event, client_event_id, report_refusal } = logged;
        let op = Op { kind: op_kind(&kind), event_kind, event: event.into(), dedupe: client_event_id };
        let (hub, partition, link) = (Arc::clone(&self.hub), room.partition, Arc::clone(&room.link));
        self.meters.received(event_kind, read);
        let (answered, failed) = (self.meters.logged(), self.meters.failed());
        let span = info_span!(target: TARGET, "relay", event = responder.event(), outcome = field::Empty);
        let span = follow(span, &room.view.room);
        let done = move |reply: Result<OpReply, StoreError>| {
            match &reply {
                Ok(OpReply::Logged { .. } | OpReply::Known { .. }) => answered.record(read.elapsed().as_secs_f64()),
                Ok(OpReply::NoPeer | OpReply::Denied | OpReply::Off(_)) => {}
                Ok(OpReply::Stale | OpReply::Full) | Err(_) => failed.increment(1),
            }
            span.record("outcome", outcome(&reply));
            match reply {
                Ok(OpReply::Logged { .. }) => {
                    // Only now, because a refused change must leave the replica as it was.
                    if let LoggedKind::Media(switch) = &kind {
                        link.apply_media_change(switch.change);
                    }
                    responder.accept_delayed(&reply_fields(&kind));
                }
                Ok(OpReply::Known { note, .. }) => responder.accept_delayed(&stamp_fields(&note)),
                Ok(OpReply::NoPeer) if report_refusal => responder.refuse(&Code::PeerNotFound.into()),
                Ok(OpReply::NoPeer) => responder.refuse_in_ack(&Code::PeerNotFound.into()),
                Ok(OpReply::Denied) => responder.refuse(&Code::Forbidden.into()),
                Ok(OpReply::Off(setting)) => responder.refuse(&media::setting_off(&setting)),
                Ok(OpReply::Full) => responder.refuse(&Code::ServiceUnavailable.into()),
                Ok(OpReply::Stale) => {
                    // The event is not logged. The next check shows whether another socket took
                    // the seat or Redis lost it. Then the client is disconnected, or the seat is
                    // restored and the client's next attempt succeeds.
                    hub.mark_suspect(partition, &link);
                    responder.refuse_in_ack(&Code::ServiceUnavailable.into());
                }
                Err(error) => {
                    if let StoreError::Unexpected(detail) = &error {
                        tracing::error!(detail, "unexpected reply to an event");
                    }
                    responder.refuse(&Code::ServiceUnavailable.into());
                }
            }
        };
        self.rooms.submit(&room.seat, op, Box::new(done));
    }
}

fn op_kind(kind: &LoggedKind) -> OpKind {
    match kind {
        LoggedKind::Direct(to) => OpKind::Relay { to: to.clone() },
        LoggedKind::Broadcast => OpKind::Broadcast,
        LoggedKind::Media(switch) => OpKind::Media(*switch),
        LoggedKind::Hand { raised_at } => OpKind::Hand { raised_at: raised_at.clone() },
        LoggedKind::Chat { to, id, timestamp } => {
            OpKind::Chat(Chat { to: to.clone(), stamp: format!("{id} {timestamp}").into() })
        }
    }
}

/// Returns further fields of the acknowledgement: a chat message's id and time.
fn reply_fields(kind: &LoggedKind) -> String {
    match kind {
        LoggedKind::Chat { id, timestamp, .. } => stamp_fields(&format!("{id} {timestamp}")),
        _ => String::new(),
    }
}

/// Returns the fields of a chat message's stamp, which [`op_kind`] wrote. For a message that was
/// sent again, the stamp is that of the first.
fn stamp_fields(note: &str) -> String {
    let (id, timestamp) = note.split_once(' ').unwrap_or((note, ""));
    format!(r#","id":"{id}","timestamp":"{timestamp}""#)
}

/// Returns the name of a reply, for traces.
const fn outcome(reply: &Result<OpReply, StoreError>) -> &'static str {
    match reply {
        Ok(OpReply::Logged { .. }) => "logged",
        Ok(OpReply::Known { .. }) => "known",
        Ok(OpReply::NoPeer) => "no_peer",
        Ok(OpReply::Denied) => "denied",
        Ok(OpReply::Stale) => "stale",
        Ok(OpReply::Off(_)) => "off",
        Ok(OpReply::Full) => "full",
        Err(_) => "unavailable",
    }
}
