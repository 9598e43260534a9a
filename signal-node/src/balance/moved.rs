//! Clients that this node moved a moment ago, to see how many of them come back to it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use switchboard_core::domain::{PeerId, RoomId, SessionHandle};
use tokio::time::Instant;

use crate::delivery::SessionLink;

/// Time in which a moved client resumes somewhere. One that is here later came by itself.
const RETURN_TIMEOUT: Duration = Duration::from_secs(30);

/// Clients that this node moved within [`RETURN_TIMEOUT`], by room and peer, with the session that
/// was closed.
#[derive(Debug, Default)]
pub(super) struct MovedClients(HashMap<(RoomId, PeerId), (SessionHandle, Instant)>);

impl MovedClients {
    /// Notes that the client of this session is moved.
    pub(super) fn insert(&mut self, link: &SessionLink) {
        if let Some(seat) = link.seat() {
            self.0.insert((link.room.clone(), seat.peer.clone()), (link.handle, Instant::now()));
        }
    }

    /// Forgets the clients that have another session on this node, and those that were moved longer
    /// ago. Returns the number of the former.
    pub(super) fn take_returned(&mut self, sessions: impl FnOnce() -> Vec<Arc<SessionLink>>) -> usize {
        self.0.retain(|_, (_, at)| at.elapsed() < RETURN_TIMEOUT);
        if self.0.is_empty() {
            return 0;
        }
        let before = self.0.len();
        for link in sessions() {
            let Some(seat) = link.seat() else { continue };
            let client = (link.room.clone(), seat.peer.clone());
            if self.0.get(&client).is_some_and(|(handle, _)| *handle != link.handle) {
                self.0.remove(&client);
            }
        }
        before - self.0.len()
    }
}
