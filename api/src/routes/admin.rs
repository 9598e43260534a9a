//! Routes of operators. They read Redis only, so the responses are current and the routes work
//! while MongoDB is unavailable.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use switchboard_core::domain::ids::full_room;
use switchboard_core::domain::{CallId, Code, EndReason, Participant, RoomId, UserId};
use switchboard_rooms::{Ended, ModerationCommand, RoomPeek};

use crate::app::App;
use crate::http::envelope::success;
use crate::http::error::ApiResult;
use crate::http::extract::{PathParam, ROOM_ID_RULE, SeatPath, ValidQuery};
use crate::http::fields::{Fields, Input};
use crate::http::operators::{OperatorRead, OperatorWrite};
use crate::routes::moderation::moderate;

/// A live signal-node.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Node")]
pub(crate) struct NodeView {
    id: String,
    /// Number of partitions in which the node is registered: all, except while it starts or stops.
    partitions: u16,
    /// Number of participants whose sockets are on the node.
    participants: u64,
}

/// `GET admin/nodes`.
pub(crate) async fn nodes(State(app): State<App>, _: OperatorRead) -> ApiResult<impl IntoResponse> {
    let nodes = app.rooms.nodes().await?.into_iter();
    let views = nodes.map(|node| NodeView { id: node.name, partitions: node.partitions, participants: node.seats });
    Ok(success("Nodes", views.collect::<Vec<_>>()).into_response())
}

/// `POST admin/nodes/rebalance`: asks the nodes to even out their numbers of clients. They do so at
/// a small rate, also those that move no client unasked.
pub(crate) async fn rebalance(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
) -> ApiResult<impl IntoResponse> {
    app.rooms.request_rebalance().await?;
    tracing::info!(target: "audit", operator, "operator asked the nodes to even out their loads");
    Ok(success("The nodes even out their loads", Value::Null).into_response())
}

/// Query of `GET admin/rooms`.
pub(crate) struct RoomQuery {
    after: Option<RoomId>,
    limit: u32,
}

impl Input for RoomQuery {
    fn read(fields: &mut Fields) -> Self {
        let text = fields.optional_line("after", 1..=89);
        let after = text.as_deref().and_then(|text| RoomId::parse(text).ok());
        if text.is_some() && after.is_none() {
            fields.reject("after", ROOM_ID_RULE);
        }
        Self { after, limit: fields.integer("limit", 1..=100).unwrap_or(50) }
    }
}

/// An open room.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Room")]
pub(crate) struct RoomView {
    /// Full name of the room: with the app and a dot before it, but in the default app.
    #[serde(with = "full_room")]
    #[schemars(with = "String")]
    room_id: RoomId,
    call_id: CallId,
    title: String,
    host_id: UserId,
    participants: u32,
    max_participants: u32,
    locked: bool,
    created_at: String,
}

/// `GET admin/rooms`: lists open rooms in an arbitrary but fixed order. The last id of a page is
/// `after` of the next page. The page after the last one is empty.
pub(crate) async fn rooms(
    State(app): State<App>,
    _: OperatorRead,
    ValidQuery(query): ValidQuery<RoomQuery>,
) -> ApiResult<impl IntoResponse> {
    let found = app.rooms.open_rooms(query.after.as_ref(), usize::try_from(query.limit).unwrap_or(1)).await?;
    let views = found.into_iter().filter_map(|found| match found.peek {
        RoomPeek::Open { meta, locked, host, participants } => Some(RoomView {
            room_id: found.room,
            call_id: meta.call_id,
            title: meta.name,
            host_id: host,
            participants,
            max_participants: meta.max_participants,
            locked,
            created_at: meta.created_at,
        }),
        RoomPeek::Absent | RoomPeek::Ended => None,
    });
    Ok(success("Rooms", views.collect::<Vec<_>>()).into_response())
}

/// `GET admin/rooms/:roomId/participants`: lists the current participants, including the lobby.
pub(crate) async fn participants(
    State(app): State<App>,
    _: OperatorRead,
    PathParam(room): PathParam<RoomId>,
) -> ApiResult<impl IntoResponse> {
    let seats: Vec<Participant> = app.rooms.snapshot(&room).await?.ok_or(Code::RoomNotFound)?.seats;
    Ok(success("Participants", seats).into_response())
}

/// `POST admin/rooms/:roomId/end`: ends the room's call. The recorder updates the record.
pub(crate) async fn end(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    PathParam(room): PathParam<RoomId>,
) -> ApiResult<impl IntoResponse> {
    let RoomPeek::Open { meta, .. } = app.rooms.peek(&room).await? else { return Err(Code::RoomNotFound.into()) };
    match app.rooms.end(&room, &meta.call_id, EndReason::ByOperator.as_str()).await? {
        Ended::Done => tracing::info!(target: "audit", operator, room_id = %room, "operator ended a call"),
        Ended::Already | Ended::Denied | Ended::StandIn | Ended::Stale => {}
    }
    Ok(success("The call has ended", Value::Null).into_response())
}

/// `DELETE admin/rooms/:roomId/participants/:peerId`: removes a participant on all devices. The
/// participant can return only with a newer token.
pub(crate) async fn remove(
    State(app): State<App>,
    OperatorWrite(operator): OperatorWrite,
    SeatPath { room, peer }: SeatPath<RoomId>,
) -> ApiResult<impl IntoResponse> {
    let command = ModerationCommand::Kick { peer: peer.clone(), ban: false, reason: None };
    moderate(&app, &room, &command).await?;
    tracing::info!(target: "audit", operator, room_id = %room, peer_id = %peer, "operator removed a participant");
    Ok(success("The participant was removed", Value::Null).into_response())
}
