//! Events that the backend of an app sends to participants.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use switchboard_core::ClusterKey;
use switchboard_core::domain::{Code, PeerId, Refusal, RoomName, Timestamp};
use switchboard_core::wire::server_event;
use switchboard_rooms::{ServerEvent, ServerEventOutcome};

use crate::app::App;
use crate::http::app_key::{Backend, ParticipantsWrite};
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{PathParam, ValidJson};
use crate::http::fields::{Fields, Input};

/// Longest name of an event, in characters.
const NAME_MAX: usize = 64;
/// Longest `data` of an event, in bytes of JSON.
const DATA_MAX: usize = 8 * 1024;

/// Body of `POST server/rooms/:roomId/events`.
pub(crate) struct NewEvent {
    id: Option<RoomName>,
    name: String,
    data: Option<Value>,
    to: Option<PeerId>,
}

impl Input for NewEvent {
    const STRICT: bool = true;

    fn read(fields: &mut Fields) -> Self {
        let to = fields.optional_line("to", 1..=48);
        let peer = to.as_deref().and_then(|to| PeerId::parse(to).ok());
        if to.is_some() && peer.is_none() {
            fields.reject("to", "must be the peer id of a participant");
        }
        let event = Self {
            // The same letters as those of a room id.
            id: fields.room("id"),
            name: fields.line("name", 1..=NAME_MAX),
            data: fields.json("data", DATA_MAX),
            to: peer,
        };
        fields.explain("id", "Id of your own: within the recovery window it is sent once");
        fields.explain("name", "Name of the event");
        event
    }

    fn example() -> Value {
        json!({ "name": "quiz", "data": { "question": 3 } })
    }
}

/// An event that was sent.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SentEvent")]
pub(crate) struct SentEventView {
    /// Id of the event, as participants get it.
    id: String,
    /// Time of the event.
    timestamp: Timestamp,
}

/// `POST server/rooms/:roomId/events`: sends an event to everyone in the call, or to one
/// participant. It is in the room's log, so that a client that resumes gets it. Within the recovery
/// window the same id is sent once: repeated, the answer is the first one.
pub(crate) async fn send(
    State(app): State<App>,
    backend: Backend<ParticipantsWrite>,
    PathParam(name): PathParam<RoomName>,
    ValidJson(new): ValidJson<NewEvent>,
) -> ApiResult<Response> {
    let room = backend.app().room(&name);
    let at = app.now();
    let id = new.id.map_or_else(|| format!("{:032x}", rand::random::<u128>()), String::from);
    let event = server_event::of_server(&id, &new.name, new.data.as_ref(), &at.to_string());
    let digest = ClusterKey::digest(json!([new.to, new.name, new.data]).to_string().as_bytes());
    let event = ServerEvent { id: &id, to: new.to.as_ref(), event: &event, digest: &digest, at };
    let (message, timestamp) = match app.rooms.send_server_event(&room, event).await? {
        ServerEventOutcome::Sent => ("The event was sent", at),
        ServerEventOutcome::Known(sent_at) => ("The event was sent by an earlier request", sent_at),
        ServerEventOutcome::Reused => {
            let message = "This id belongs to another event, which was sent before";
            return Err(Refusal::new(Code::IdempotencyKeyReused, message).into());
        }
        ServerEventOutcome::NoPeer => return Err(Code::PeerNotFound.into()),
        ServerEventOutcome::Absent => return Err(Code::RoomNotFound.into()),
    };
    Ok((StatusCode::CREATED, success(message, SentEventView { id, timestamp })).into_response())
}
