//! Participants of an open room, for the backend of its app. The room decides, as for the commands
//! of hosts and moderators; a backend is above every role.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_auth::token::{METADATA_MAX, USER_AVATAR_MAX, USER_NAME, app_user};
use switchboard_core::domain::call_fields::REASON;
use switchboard_core::domain::{
    Code, ConnectionState, MediaKind, Participant, PeerId, PermissionsChange, PublicUser, Refusal, Role, RoomId,
    RoomName,
};
use switchboard_rooms::{ModerationCommand, ProfileUpdate};

use crate::app::App;
use crate::http::app_key::{Backend, CallsRead, ParticipantsWrite};
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{JsonChange, PathParam, SeatPath, ValidJson, ValidQuery};
use crate::http::fields::{Fields, Input};
use crate::routes::moderation::moderate;

/// Roles that a backend can give.
const ROLES: [(&str, Role); 3] =
    [("host", Role::Host), ("moderator", Role::Moderator), ("participant", Role::Participant)];

/// `GET server/rooms/:roomId/participants`: lists the current participants, including the lobby.
pub(crate) async fn list(
    State(app): State<App>,
    backend: Backend<CallsRead>,
    PathParam(name): PathParam<RoomName>,
) -> ApiResult<Response> {
    let room = backend.app().room(&name);
    let seats: Vec<Participant> = app.rooms.snapshot(&room).await?.ok_or(Code::RoomNotFound)?.seats;
    Ok(success("Participants", seats).into_response())
}

/// Body of `PATCH server/rooms/:roomId/participants/:peerId`. A field that is missing or null stays
/// as it is, unless null removes it.
pub(crate) struct ParticipantChange {
    role: Option<Role>,
    permissions: Option<PermissionsChange>,
    name: Option<String>,
    /// Null removes the picture.
    avatar: Option<Option<String>>,
    /// Null removes the data.
    metadata: Option<Option<Value>>,
}

impl Input for ParticipantChange {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self {
            role: fields.choice("role", &ROLES),
            permissions: fields.permissions_change("permissions"),
            name: fields.optional_name("name", USER_NAME),
            avatar: fields.change("avatar", |fields| fields.web_url("avatar", USER_AVATAR_MAX)),
            metadata: fields.change("metadata", |fields| fields.json("metadata", METADATA_MAX)),
        }
    }

    fn example() -> Value {
        json!({ "role": "moderator", "permissions": { "canChat": false }, "metadata": { "team": 7 } })
    }
}

impl ParticipantChange {
    /// Returns the change of the user's profile; `None` if it stays as it is. `user` is the user as
    /// it was a moment ago.
    fn profile(&self, user: &PublicUser) -> Result<Option<ProfileUpdate>, Refusal> {
        if self.name.is_none() && self.avatar.is_none() && self.metadata.is_none() {
            return Ok(None);
        }
        let name = self.name.as_ref().unwrap_or(&user.name);
        // What stays is not checked again: an earlier version may have accepted it.
        let (avatar, metadata) = (self.avatar.clone().flatten(), self.metadata.clone().flatten());
        let changed = app_user(user.id.clone(), name, avatar, metadata);
        let changed = changed.map_err(|refusal| Refusal { code: Code::ValidationError, ..refusal })?;
        // The named fields alone, so that another change at this moment is not undone.
        Ok(Some(ProfileUpdate {
            name: self.name.as_ref().map(|_| changed.name),
            avatar: self.avatar.as_ref().map(|_| changed.avatar),
            metadata: self.metadata.as_ref().map(|_| changed.metadata),
            stored_at: None,
        }))
    }
}

/// `PATCH server/rooms/:roomId/participants/:peerId`: changes the role, the permissions, and what
/// the others see of the user, on all devices.
pub(crate) async fn edit(
    State(app): State<App>,
    backend: Backend<ParticipantsWrite>,
    SeatPath { room: name, peer }: SeatPath<RoomName>,
    change: JsonChange<ParticipantChange>,
) -> ApiResult<Response> {
    let room = backend.app().room(&name);
    let current = participant(&app, &room, &peer).await?;
    // A role or permission that the user has already is given all the same: from then on it comes
    // before that of a token. A value that cannot be given may be sent back without an effect.
    let mut sent_back = json!({});
    if current.role == Role::Guest || current.connection_state == ConnectionState::Waiting {
        sent_back["role"] = json!(current.role);
    }
    let change = change.read(&sent_back)?;
    let profile = change.profile(&current.user)?;
    if let Some(role) = change.role {
        moderate(&app, &room, &ModerationCommand::Role { peer: peer.clone(), role }).await?;
    }
    if let Some(change) = change.permissions {
        moderate(&app, &room, &ModerationCommand::Permissions { peer: peer.clone(), change }).await?;
    }
    if let Some(update) = profile {
        app.rooms.change_profile(&room, &current.user.id, &update).await?;
    }
    audit(&backend, "change", &room, Some(&peer));
    Ok(success("The participant was changed", participant(&app, &room, &peer).await?).into_response())
}

async fn participant(app: &App, room: &RoomId, peer: &PeerId) -> ApiResult<Participant> {
    let snapshot = app.rooms.snapshot(room).await?.ok_or(Code::RoomNotFound)?;
    Ok(snapshot.seats.into_iter().find(|seat| seat.peer_id == *peer).ok_or(Code::PeerNotFound)?)
}

/// Body of `POST server/rooms/:roomId/participants/:peerId/mute`.
pub(crate) struct Muting {
    kind: Option<MediaKind>,
}

impl Input for Muting {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        let kinds = [("audio", MediaKind::Audio), ("video", MediaKind::Video), ("screenShare", MediaKind::ScreenShare)];
        Self { kind: fields.required_choice("kind", &kinds) }
    }

    fn example() -> Value {
        json!({ "kind": "audio" })
    }
}

/// `POST server/rooms/:roomId/participants/:peerId/mute`: switches off one medium.
pub(crate) async fn mute(
    State(app): State<App>,
    backend: Backend<ParticipantsWrite>,
    SeatPath { room: name, peer }: SeatPath<RoomName>,
    ValidJson(Muting { kind }): ValidJson<Muting>,
) -> ApiResult<Response> {
    let command = ModerationCommand::Mute { peer: peer.clone(), kind: kind.ok_or(Code::ValidationError)? };
    run(&app, &backend, &name, command, "mute", &peer).await?;
    Ok(success("The participant was muted", Value::Null).into_response())
}

/// Query of `DELETE server/rooms/:roomId/participants/:peerId`.
pub(crate) struct Removal {
    ban: bool,
    reason: Option<String>,
}

impl Input for Removal {
    fn read(fields: &mut Fields) -> Self {
        Self { ban: fields.switch("ban"), reason: fields.optional_name("reason", REASON) }
    }
}

/// `DELETE server/rooms/:roomId/participants/:peerId`: removes a user on all devices, from the call
/// or the lobby. The user can return only with a newer token, and with `ban` not at all.
pub(crate) async fn remove(
    State(app): State<App>,
    backend: Backend<ParticipantsWrite>,
    SeatPath { room: name, peer }: SeatPath<RoomName>,
    ValidQuery(Removal { ban, reason }): ValidQuery<Removal>,
) -> ApiResult<Response> {
    let command = ModerationCommand::Kick { peer: peer.clone(), ban, reason };
    run(&app, &backend, &name, command, if ban { "ban" } else { "remove" }, &peer).await?;
    Ok(success("The participant was removed", Value::Null).into_response())
}

/// Participants that were admitted.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Admitted {
    /// Peer ids of the participants.
    admitted: Vec<PeerId>,
}

/// `POST server/rooms/:roomId/participants/:peerId/admit`: admits a participant from the lobby.
pub(crate) async fn admit(
    State(app): State<App>,
    backend: Backend<ParticipantsWrite>,
    SeatPath { room: name, peer }: SeatPath<RoomName>,
) -> ApiResult<Response> {
    let command = ModerationCommand::Admit(Some(peer.clone()));
    let admitted = run(&app, &backend, &name, command, "admit", &peer).await?;
    Ok(success("The participant was admitted", Admitted { admitted }).into_response())
}

/// `POST server/rooms/:roomId/admit`: admits all participants from the lobby while there are seats.
pub(crate) async fn admit_all(
    State(app): State<App>,
    backend: Backend<ParticipantsWrite>,
    PathParam(name): PathParam<RoomName>,
) -> ApiResult<Response> {
    let room = backend.app().room(&name);
    let admitted = moderate(&app, &room, &ModerationCommand::Admit(None)).await?;
    audit(&backend, "admit_all", &room, None);
    Ok(success("The participants were admitted", Admitted { admitted }).into_response())
}

/// Body of `POST server/rooms/:roomId/participants/:peerId/deny`.
pub(crate) struct Denial {
    reason: Option<String>,
}

impl Input for Denial {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        Self { reason: fields.optional_name("reason", REASON) }
    }

    fn example() -> Value {
        json!({ "reason": "The meeting is full" })
    }
}

/// `POST server/rooms/:roomId/participants/:peerId/deny`: refuses a participant in the lobby.
pub(crate) async fn deny(
    State(app): State<App>,
    backend: Backend<ParticipantsWrite>,
    SeatPath { room: name, peer }: SeatPath<RoomName>,
    ValidJson(Denial { reason }): ValidJson<Denial>,
) -> ApiResult<Response> {
    let command = ModerationCommand::Deny { peer: peer.clone(), reason };
    run(&app, &backend, &name, command, "deny", &peer).await?;
    Ok(success("The participant was denied", Value::Null).into_response())
}

/// Runs a command to one participant, and records who sent it.
async fn run(
    app: &App,
    backend: &Backend<ParticipantsWrite>,
    name: &RoomName,
    command: ModerationCommand,
    action: &'static str,
    peer: &PeerId,
) -> ApiResult<Vec<PeerId>> {
    let room = backend.app().room(name);
    let admitted = moderate(app, &room, &command).await?;
    audit(backend, action, &room, Some(peer));
    Ok(admitted)
}

/// Records who acted on a participant, or on all in the lobby if `peer` is `None`.
fn audit(backend: &Backend<ParticipantsWrite>, action: &'static str, room: &RoomId, peer: Option<&PeerId>) {
    let (key_id, peer_id) = (&backend.0.id, peer.map(tracing::field::display));
    tracing::info!(target: "audit", %key_id, action, room_id = %room, peer_id, "backend acted on a participant");
}
