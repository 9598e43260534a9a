//! Commands of host and moderators: to participants, to the lobby and to the call.

use serde_json::json;
use switchboard_core::domain::{Action, CallEdit, Code, PeerId, Refusal, RoomMeta, UserId};
use switchboard_core::wire::client_event::Command;
use switchboard_rooms::{Caller, ModerationCommand, ModerationOutcome, UpdateOutcome};

use super::Dispatcher;
use super::refusals::{stands_in, store_refusal};
use super::session::{ClientSession, CurrentRoom};

impl Dispatcher {
    /// Runs a command in the room's script, which checks the caller's role again.
    pub(super) async fn command(
        &self,
        session: &ClientSession,
        action: Action,
        command: Command,
    ) -> Result<String, Refusal> {
        let Some(current) = &session.room else { return Err(Code::NotInRoom.into()) };
        let caller = Caller::Seat { seat: &current.seat, action };
        let room = &current.view.room;
        let command = match command {
            Command::Admit { peer } => ModerationCommand::Admit(peer),
            Command::Deny { peer, reason } => ModerationCommand::Deny { peer, reason },
            Command::Mute { peer, kind } => ModerationCommand::Mute { peer, kind },
            Command::LowerHand { peer } => ModerationCommand::LowerHand { peer },
            Command::Kick { peer, ban, reason } => ModerationCommand::Kick { peer, ban, reason },
            Command::SetRole { peer, role } => ModerationCommand::Role { peer, role },
            Command::TransferHost { peer } => {
                let (user, heir) = (&session.user.id, UserId::parse(peer.user())?);
                // The owner changes only if the caller is the owner. Another host transfers only
                // the role.
                let hand_over = |meta: &mut RoomMeta| {
                    if meta.host == *user {
                        meta.host = heir.clone();
                    }
                };
                return self.update_fields(
                    current,
                    action,
                    self.rooms.update(room, caller, Some(&peer), hand_over).await,
                );
            }
            Command::Lock { locked } => {
                let edit = CallEdit { locked: Some(locked), ..CallEdit::default() };
                return self.apply_edit(current, caller, action, &edit).await;
            }
            Command::Update(change) => {
                self.credentials.apps.check_seats(&session.app, change.max_participants)?;
                let edit = CallEdit {
                    title: change.name.as_deref().map(|name| name.trim().to_owned()),
                    settings: change.settings,
                    max_participants: change.max_participants,
                    ..CallEdit::default()
                };
                return self.apply_edit(current, caller, action, &edit).await;
            }
        };
        let admits = matches!(command, ModerationCommand::Admit(_));
        match self.rooms.moderate(room, caller, &command).await.map_err(store_refusal)? {
            ModerationOutcome::Done(admitted) if admits => Ok(admitted_fields(&admitted)),
            ModerationOutcome::Done(_) => Ok(String::new()),
            refused => Err(self.refusal(current, action, &refused)),
        }
    }

    /// Applies an edit to the call of the room, as the REST API does.
    async fn apply_edit(
        &self,
        current: &CurrentRoom,
        caller: Caller<'_>,
        action: Action,
        edit: &CallEdit,
    ) -> Result<String, Refusal> {
        let updated = self.rooms.update(&current.view.room, caller, None, |meta| edit.apply_to(meta)).await;
        self.update_fields(current, action, updated)
    }

    fn update_fields(
        &self,
        current: &CurrentRoom,
        action: Action,
        updated: Result<UpdateOutcome, switchboard_rooms::StoreError>,
    ) -> Result<String, Refusal> {
        match updated.map_err(store_refusal)? {
            UpdateOutcome::Done(_) => Ok(String::new()),
            UpdateOutcome::Refused(refused) => Err(self.refusal(current, action, &refused)),
        }
    }

    fn refusal(&self, current: &CurrentRoom, action: Action, refused: &ModerationOutcome) -> Refusal {
        match refused {
            ModerationOutcome::NoPeer => Code::PeerNotFound.into(),
            ModerationOutcome::Above => {
                Refusal::new(Code::Forbidden, "You may not do this to a participant of this role")
            }
            ModerationOutcome::StandIn => stands_in(),
            ModerationOutcome::Full => Code::CallFull.into(),
            ModerationOutcome::Denied => action.refusal(),
            ModerationOutcome::Absent => Code::NotInRoom.into(),
            ModerationOutcome::Stale => {
                // Another socket took the seat, or Redis lost it. The next check shows which.
                self.hub.mark_suspect(current.partition, &current.link);
                Code::ServiceUnavailable.into()
            }
            ModerationOutcome::Changed | ModerationOutcome::Done(_) => Code::ServiceUnavailable.into(),
        }
    }
}

fn admitted_fields(admitted: &[PeerId]) -> String {
    format!(r#","admitted":{}"#, json!(admitted))
}
