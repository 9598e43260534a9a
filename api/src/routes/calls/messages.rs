//! Reads the recorded chat of a call.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use switchboard_core::domain::{CallId, Code, PublicUser, Timestamp, UserId};
use switchboard_records::RecordedMessage;

use crate::app::App;
use crate::http::envelope::page;
use crate::http::error::ApiResult;
use crate::http::extract::{CallOwner, PathParam, ValidQuery};
use crate::http::fields::{Fields, Input};
use crate::http::paging::Paging;

/// Query of `GET video-calls/:id/messages`.
pub(crate) struct MessageQuery(Paging);

impl Input for MessageQuery {
    fn read(fields: &mut Fields) -> Self {
        Self(Paging::read(fields, 50))
    }
}

/// Chat message, as on the socket. Here `from` is a user id, because participant ids exist only in
/// an open room.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Message")]
pub(crate) struct MessageView {
    id: String,
    from: UserId,
    from_user: PublicUser,
    /// Recipient; null means all participants.
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
    fn from(RecordedMessage { at, message }: RecordedMessage) -> Self {
        Self {
            id: message.id,
            from_user: PublicUser::new(message.from.clone(), message.name, None),
            from: message.from,
            to: message.to,
            message: message.message,
            timestamp: at,
            kind: Kind::Text,
        }
    }
}

/// `GET video-calls/:id/messages`, for the host and participants: lists recorded messages, oldest
/// first. Private messages are listed only for their sender and their recipient.
pub(crate) async fn messages(
    State(app): State<App>,
    CallOwner(caller): CallOwner,
    PathParam(id): PathParam<CallId>,
    ValidQuery(MessageQuery(paging)): ValidQuery<MessageQuery>,
) -> ApiResult<impl IntoResponse> {
    let found = app.records.chat_page((&caller.app, &id), &caller.user.id, paging.skip(), paging.limit).await?;
    let found = found.ok_or(Code::CallNotFound)?;
    if !found.involved {
        return Err(Code::Forbidden.into());
    }
    let views: Vec<MessageView> = found.messages.into_iter().map(MessageView::from).collect();
    Ok(page("Messages", views, paging.of(found.total)).into_response())
}
