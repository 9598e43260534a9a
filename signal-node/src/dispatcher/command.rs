//! What host and moderators do to others, to the lobby and to the call.

use serde_json::json;
use switchboard_core::domain::{Action, CallEdit, Code, PeerId, Refusal, RoomMeta, UserId};
use switchboard_core::wire::client_event::Command;
use switchboard_rooms::{Caller, ModerationCommand, ModerationOutcome, UpdateOutcome};

use super::Dispatcher;
use super::enter::unavailable;
use super::session::{Entered, Session};

impl Dispatcher {
    /// Has the room's script do it, if the caller's role still allows it.
    pub(super) async fn command(&self, session: &Session, action: Action, command: Command) -> Result<String, Refusal> {
        let Some(entered) = &session.entered else { return Err(Code::NotInRoom.into()) };
        let by = Caller::Seat { seat: &entered.seat, action };
        let room = &entered.place.room;
        let order = match command {
            Command::Admit { peer } => ModerationCommand::Admit(peer),
            Command::Deny { peer, reason } => ModerationCommand::Deny { peer, reason },
            Command::Mute { peer, kind } => ModerationCommand::Mute { peer, kind },
            Command::Kick { peer, ban, reason } => ModerationCommand::Kick { peer, ban, reason },
            Command::SetRole { peer, role } => ModerationCommand::Role { peer, role },
            Command::TransferHost { peer } => {
                let (user, heir) = (&session.user.id, UserId::parse(peer.user())?);
                // Who only stands in for the host hands that on; whose call it is does not change.
                let hand_over = |meta: &mut RoomMeta| {
                    if meta.host == *user {
                        meta.host = heir.clone();
                    }
                };
                return self.amended(entered, action, self.rooms.update(room, by, Some(&peer), hand_over).await);
            }
            Command::Lock { locked } => {
                let edit = CallEdit { locked: Some(locked), ..CallEdit::default() };
                return self.edited(entered, by, action, &edit).await;
            }
            Command::Update(change) => {
                let edit = CallEdit {
                    title: change.name.as_deref().map(|name| name.trim().to_owned()),
                    settings: change.settings,
                    max_participants: change.max_participants,
                    ..CallEdit::default()
                };
                return self.edited(entered, by, action, &edit).await;
            }
        };
        let admits = matches!(order, ModerationCommand::Admit(_));
        match self.rooms.moderate(room, by, &order).await.map_err(unavailable)? {
            ModerationOutcome::Done(admitted) if admits => Ok(admitted_fields(&admitted)),
            ModerationOutcome::Done(_) => Ok(String::new()),
            refused => Err(self.refusal(entered, action, &refused)),
        }
    }

    /// Applies the edit to the room, as the REST API does.
    async fn edited(
        &self,
        entered: &Entered,
        by: Caller<'_>,
        action: Action,
        edit: &CallEdit,
    ) -> Result<String, Refusal> {
        let amended = self.rooms.update(&entered.place.room, by, None, |meta| edit.apply_to(meta)).await;
        self.amended(entered, action, amended)
    }

    fn amended(
        &self,
        entered: &Entered,
        action: Action,
        amended: Result<UpdateOutcome, switchboard_rooms::StoreError>,
    ) -> Result<String, Refusal> {
        match amended.map_err(unavailable)? {
            UpdateOutcome::Done(_) => Ok(String::new()),
            UpdateOutcome::Refused(refused) => Err(self.refusal(entered, action, &refused)),
        }
    }

    fn refusal(&self, entered: &Entered, action: Action, refused: &ModerationOutcome) -> Refusal {
        match refused {
            ModerationOutcome::NoPeer => Code::PeerNotFound.into(),
            ModerationOutcome::Above => Refusal::new(Code::Forbidden, "You may not do this to them"),
            ModerationOutcome::Full => Code::CallFull.into(),
            ModerationOutcome::Denied => action.refusal(),
            ModerationOutcome::Absent => Code::NotInRoom.into(),
            ModerationOutcome::Stale => {
                // As for any event of a seat that is not there: the next beat tells why.
                self.hub.doubt(entered.partition, &entered.link);
                Code::ServiceUnavailable.into()
            }
            ModerationOutcome::Changed | ModerationOutcome::Done(_) => Code::ServiceUnavailable.into(),
        }
    }
}

fn admitted_fields(admitted: &[PeerId]) -> String {
    format!(r#","admitted":{}"#, json!(admitted))
}
