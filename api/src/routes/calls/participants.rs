//! Lists the participants of a call, page by page.

use axum::extract::State;
use axum::response::IntoResponse;
use switchboard_core::domain::{CallId, Code};

use super::find;
use super::read::{check_room, reveals};
use crate::app::App;
use crate::http::envelope::page;
use crate::http::error::ApiResult;
use crate::http::extract::{MaybeCaller, PathParam, ValidQuery};
use crate::http::fields::{Fields, Input};
use crate::http::paging::Paging;
use crate::routes::views::ParticipantView;

/// Query of `GET video-calls/:id/participants`.
pub(crate) struct ParticipantQuery(Paging);

impl Input for ParticipantQuery {
    fn read(fields: &mut Fields) -> Self {
        Self(Paging::read(fields, 50))
    }
}

/// `GET video-calls/:id/participants`, for callers who may read the call in full: lists the users
/// and guests who joined, in the order of their first joins.
pub(crate) async fn participants(
    State(app): State<App>,
    caller: MaybeCaller,
    PathParam(id): PathParam<CallId>,
    ValidQuery(ParticipantQuery(paging)): ValidQuery<ParticipantQuery>,
) -> ApiResult<impl IntoResponse> {
    let mut call = find::by_id(&app, &caller.app(), &id).await?;
    check_room(&call, caller.0.as_ref())?;
    if !reveals(&app, &call, caller.0.as_ref()).await? {
        return Err(Code::Forbidden.into());
    }
    let total = call.listed();
    app.records.show_participants(&mut call, paging.skip(), paging.limit).await?;
    Ok(page("Participants", ParticipantView::first(&call, usize::MAX), paging.of(total)).into_response())
}
