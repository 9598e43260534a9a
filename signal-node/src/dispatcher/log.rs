//! Events through a room's log: pipelined, so that a session's next event does not wait for Redis.

use std::sync::Arc;

use switchboard_core::domain::Code;
use switchboard_rooms::{Chat, Op, OpKind, OpReply, StoreError};
use switchboard_runtime::telemetry::traces::{TARGET, follow};

use super::Dispatcher;
use super::answer::Asked;
use super::session::Session;
use switchboard_rules::effect::{Logged, LoggedKind};
use switchboard_rules::media;
use tokio::time::Instant;
use tracing::{field, info_span};

impl Dispatcher {
    /// Hands an event to the room's lane; the answer goes out when the script has answered. Acknowledged means logged.
    pub(super) fn log(&self, session: &mut Session, logged: Logged, asked: Asked, read: Instant) {
        let Some(entered) = &session.entered else { return asked.refuse(&Code::NotInRoom.into()) };
        let Logged { kind, event, dedupe, loud } = logged;
        let op = Op { kind: op_kind(&kind), event: event.into(), dedupe };
        let (hub, partition, link) = (Arc::clone(&self.hub), entered.partition, Arc::clone(&entered.link));
        self.meters.received(asked.event(), read);
        let answered = self.meters.logged();
        let span = info_span!(target: TARGET, "relay", event = asked.event(), outcome = field::Empty);
        let span = follow(span, &entered.place.room);
        let done = move |reply: Result<OpReply, StoreError>| {
            answered.record(read.elapsed().as_secs_f64());
            span.record("outcome", outcome(&reply));
            match reply {
                Ok(OpReply::Logged { .. }) => {
                    // Not before: a change that is refused leaves the copy as it was.
                    if let LoggedKind::Media(switch) = &kind {
                        link.media_changed(switch.change);
                    }
                    asked.accept_delayed(&more(&kind));
                }
                Ok(OpReply::Known { note, .. }) => asked.accept_delayed(&stamp(&note)),
                Ok(OpReply::NoPeer) if loud => asked.refuse(&Code::PeerNotFound.into()),
                Ok(OpReply::NoPeer) => asked.refuse_quietly(&Code::PeerNotFound.into()),
                Ok(OpReply::Denied) => asked.refuse(&Code::Forbidden.into()),
                Ok(OpReply::Off(setting)) => asked.refuse(&media::off(&setting)),
                Ok(OpReply::Full) => asked.refuse(&Code::ServiceUnavailable.into()),
                Ok(OpReply::Stale) => {
                    // Not kept. Whether the seat went elsewhere or Redis lost it shows at the next beat: then the socket is closed,
                    // or the seat is taken again and the client's next try succeeds.
                    hub.doubt(partition, &link);
                    asked.refuse_quietly(&Code::ServiceUnavailable.into());
                }
                Err(error) => {
                    if let StoreError::Unexpected(detail) = &error {
                        tracing::error!(detail, "the store answered something unexpected");
                    }
                    asked.refuse(&Code::ServiceUnavailable.into());
                }
            }
        };
        self.rooms.submit(&entered.seat, op, Box::new(done));
    }
}

fn op_kind(kind: &LoggedKind) -> OpKind {
    match kind {
        LoggedKind::One(to) => OpKind::Relay { to: to.clone() },
        LoggedKind::Others => OpKind::Broadcast,
        LoggedKind::Media(switch) => OpKind::Media(*switch),
        LoggedKind::Chat { to, id, timestamp } => {
            OpKind::Chat(Chat { to: to.clone(), stamp: format!("{id} {timestamp}").into() })
        }
    }
}

/// What the acknowledgement says besides yes: a message's id and time.
fn more(kind: &LoggedKind) -> String {
    match kind {
        LoggedKind::Chat { id, timestamp, .. } => stamp(&format!("{id} {timestamp}")),
        _ => String::new(),
    }
}

/// The fields of a message's stamp, as [`op_kind`] wrote it: the first one's, when the message came again.
fn stamp(note: &str) -> String {
    let (id, timestamp) = note.split_once(' ').unwrap_or((note, ""));
    format!(r#","id":"{id}","timestamp":"{timestamp}""#)
}

/// An answer, in a word.
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
