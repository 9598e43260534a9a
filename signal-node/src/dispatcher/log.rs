//! Events through a room's log: pipelined, so that a session's next event does not wait for Redis.

use std::sync::Arc;

use switchboard_common::domain::Code;
use switchboard_common::room::{Op, OpKind, OpReply, StoreError};

use super::Dispatcher;
use super::answer::Asked;
use super::session::Session;
use crate::rules::effect::{Logged, LoggedKind};
use tokio::time::Instant;

impl Dispatcher {
    /// Hands an event to the room's lane; the answer goes out when the script has answered. Acknowledged means logged.
    pub(super) fn log(&self, session: &mut Session, logged: Logged, asked: Asked, read: Instant) {
        let Some(entered) = &mut session.entered else { return asked.refuse(&Code::NotInRoom.into()) };
        let kind = match logged.kind {
            LoggedKind::One(to) => OpKind::Relay { to },
            LoggedKind::Others => OpKind::Broadcast,
            LoggedKind::Media(media) => {
                entered.place.media = media;
                entered.link.set_media(media);
                OpKind::SetMedia(media)
            }
        };
        let op = Op { kind, event: logged.event.into(), dedupe: logged.dedupe };
        let (ack, loud) = (logged.ack, logged.loud);
        let (hub, partition, link) = (Arc::clone(&self.hub), entered.partition, Arc::clone(&entered.link));
        self.meters.received(asked.event(), read);
        let answered = self.meters.logged();
        let done = move |reply: Result<OpReply, StoreError>| {
            answered.record(read.elapsed().as_secs_f64());
            match reply {
                Ok(OpReply::Logged { .. }) => asked.accept(&ack),
                Ok(OpReply::NoPeer) if loud => asked.refuse(&Code::PeerNotFound.into()),
                Ok(OpReply::NoPeer) => asked.refuse_quietly(&Code::PeerNotFound.into()),
                Ok(OpReply::Denied) => asked.refuse(&Code::Forbidden.into()),
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
