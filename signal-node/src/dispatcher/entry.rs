//! A decided admission: what the session gets with its seat.

use switchboard_core::domain::{CallPermissions, ConnectionState, MediaState, Role, RoomId};
use switchboard_rooms::{LogId, Proof, RoomMeta, SeatCopy, TokenGrant};

use super::session::{ClientSession, now};
use crate::app_limiters::AppPlace;

/// A decided admission.
pub(super) struct Entry {
    pub(super) room: RoomId,
    pub(super) role: Role,
    pub(super) waits: bool,
    /// Role assigned to the user in this room, as it was when admission was decided.
    pub(super) given: Option<Role>,
    /// Permissions given to the user in this room, as they were when admission was decided.
    pub(super) given_permissions: Option<CallPermissions>,
    /// Grant of the user's newest token, for users of an app whose backend grants.
    pub(super) grant: Option<TokenGrant>,
    pub(super) proof: Proof,
    /// Event for the client that has a seat.
    pub(super) event: &'static str,
    /// Place among the participants of the app.
    pub(super) place: Option<AppPlace>,
}

impl Entry {
    /// Returns the permissions of the user of an app: those given in the room come before those of
    /// the newest token. `None` for accounts and guests.
    pub(super) fn permissions(&self) -> Option<CallPermissions> {
        self.given_permissions.or_else(|| self.grant.map(|grant| grant.permissions))
    }

    /// Returns the media of a participant who has not reported any, within the settings of the call
    /// and the permissions.
    pub(super) fn media(&self, meta: &RoomMeta) -> MediaState {
        let media = meta.settings.media_at_entry(self.role);
        let can_publish = self.permissions().unwrap_or_default().can_publish;
        MediaState {
            video_enabled: media.video_enabled && can_publish,
            audio_enabled: media.audio_enabled && can_publish,
            ..media
        }
    }

    /// Returns the copy of a seat that is about to be taken. Position and state come with the
    /// reply.
    pub(super) fn seat_copy(&self, session: &ClientSession, meta: &RoomMeta) -> SeatCopy {
        SeatCopy {
            pid: session.pid.clone(),
            state: ConnectionState::Connected,
            away: false,
            role: self.role,
            public: session.user.clone(),
            permissions: self.permissions(),
            permissions_given: self.given_permissions.is_some(),
            media: self.media(meta),
            hand_raised_at: None,
            join_id: LogId::default(),
            from: LogId::default(),
            joined_at: now().to_string(),
            address: self.proof.address.clone(),
        }
    }
}
