//! The recorded chat of a call.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_core::domain::{CallId, Code, PublicUser, Timestamp, UserId};
use switchboard_records::RecordedMessage;

use crate::app::App;
use crate::envelope::{Pagination, page};
use crate::error::Answer;
use crate::extract::{Caller, Named, ValidQuery};
use crate::fields::{Fields, Input};

/// The query of `GET video-calls/:id/messages`.
pub(crate) struct Reading {
    page: u32,
    limit: u32,
}

impl Input for Reading {
    fn read(fields: &mut Fields) -> Self {
        Self {
            page: fields.integer("page", 1..=1_000_000).unwrap_or(1),
            limit: fields.integer("limit", 1..=100).unwrap_or(50),
        }
    }
}

/// A message of a call's chat, as on the socket. `from` is a user's id here: peers are of a room, and that is over.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Message")]
pub(crate) struct MessageView {
    id: String,
    from: UserId,
    from_user: PublicUser,
    /// The one it was for; null: everybody.
    to: Option<UserId>,
    message: String,
    timestamp: Timestamp,
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "MessageType")]
enum Kind {
    Text,
}

impl From<RecordedMessage> for MessageView {
    fn from(RecordedMessage { at, said }: RecordedMessage) -> Self {
        Self {
            id: said.id,
            from_user: PublicUser::new(said.from.clone(), said.name, None),
            from: said.from,
            to: said.to,
            message: said.message,
            timestamp: at,
            kind: Kind::Text,
        }
    }
}

/// `GET video-calls/:id/messages`, for host and participants: what was recorded, oldest first; what was said in private for its two users
/// alone.
pub(crate) async fn messages(
    State(app): State<App>,
    Caller(caller): Caller,
    Named(id): Named<CallId>,
    ValidQuery(reading): ValidQuery<Reading>,
) -> Answer<impl IntoResponse> {
    let skip = u64::from(reading.page - 1) * u64::from(reading.limit);
    let found = app.records.chat_page(&id, &caller.user.id, skip, reading.limit).await?.ok_or(Code::CallNotFound)?;
    if !found.involved {
        return Err(Code::Forbidden.into());
    }
    let views: Vec<MessageView> = found.messages.into_iter().map(MessageView::from).collect();
    Ok(page("Messages", views, Pagination::new(reading.page, reading.limit, found.total)).into_response())
}
