//! What operators see, and how they intervene. Everything is read from Redis, so it is what is so now, and works while MongoDB is away.

use axum::extract::State;
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use switchboard_core::domain::{CallId, Code, Participant, RoomId, UserId};
use switchboard_rooms::{By, Door, Ended, Order, Ordered};

use crate::app::App;
use crate::envelope::success;
use crate::error::Answer;
use crate::extract::{Named, Seated, ValidQuery};
use crate::fields::{Fields, Input};
use crate::operators::{Observer, Operator};

/// A signal-node.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Node")]
pub(crate) struct NodeView {
    id: String,
    /// Of the cluster's partitions, those that it is registered in: all of them, unless it is coming or going.
    partitions: u16,
    /// Participants whose sockets it has.
    participants: u64,
}

/// `GET admin/nodes`.
pub(crate) async fn nodes(State(app): State<App>, _: Observer) -> Answer<impl IntoResponse> {
    let nodes = app.rooms.nodes().await?.into_iter();
    let views = nodes.map(|node| NodeView { id: node.name, partitions: node.partitions, participants: node.seats });
    Ok(success("Nodes", views.collect::<Vec<_>>()).into_response())
}

/// The query of `GET admin/rooms`.
pub(crate) struct RoomQuery {
    after: Option<RoomId>,
    limit: u32,
}

impl Input for RoomQuery {
    fn read(fields: &mut Fields) -> Self {
        let text = fields.optional_line("after", 1..=64);
        let after = text.as_deref().and_then(|text| RoomId::parse(text).ok());
        if text.is_some() && after.is_none() {
            fields.reject("after", "must be a room's id");
        }
        Self { after, limit: fields.integer("limit", 1..=100).unwrap_or(50) }
    }
}

/// An open room.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Room")]
pub(crate) struct RoomView {
    room_id: RoomId,
    call_id: CallId,
    title: String,
    host_id: UserId,
    participants: u32,
    max_participants: u32,
    locked: bool,
    created_at: String,
}

/// `GET admin/rooms`: in an order of their own; the last one's id is the `after` of the next page. The page after the last is empty.
pub(crate) async fn rooms(
    State(app): State<App>,
    _: Observer,
    ValidQuery(query): ValidQuery<RoomQuery>,
) -> Answer<impl IntoResponse> {
    let found = app.rooms.open_rooms(query.after.as_ref(), usize::try_from(query.limit).unwrap_or(1)).await?;
    let views = found.into_iter().filter_map(|found| match found.door {
        Door::Open { meta, locked, host, participants } => Some(RoomView {
            room_id: found.room,
            call_id: meta.call_id,
            title: meta.name,
            host_id: host,
            participants,
            max_participants: meta.max_participants,
            locked,
            created_at: meta.created_at,
        }),
        Door::Absent | Door::Ended => None,
    });
    Ok(success("Rooms", views.collect::<Vec<_>>()).into_response())
}

/// `GET admin/rooms/:roomId/participants`: who is there at this moment, the lobby's too.
pub(crate) async fn participants(
    State(app): State<App>,
    _: Observer,
    Named(room): Named<RoomId>,
) -> Answer<impl IntoResponse> {
    let seats: Vec<Participant> = app.rooms.snapshot(&room).await?.ok_or(Code::RoomNotFound)?.seats;
    Ok(success("Participants", seats).into_response())
}

/// `POST admin/rooms/:roomId/end`: ends the room's call. The record follows through the recorder.
pub(crate) async fn end(
    State(app): State<App>,
    Operator(operator): Operator,
    Named(room): Named<RoomId>,
) -> Answer<impl IntoResponse> {
    let Door::Open { meta, .. } = app.rooms.door(&room).await? else { return Err(Code::RoomNotFound.into()) };
    match app.rooms.end(&room, &meta.call_id, "ended_by_operator").await? {
        Ended::Done => tracing::info!(target: "audit", operator, room_id = %room, "an operator ended a call"),
        Ended::Already | Ended::Denied | Ended::Stale => {}
    }
    Ok(success("The call has ended", Value::Null).into_response())
}

/// `DELETE admin/rooms/:roomId/participants/:userId`: removes somebody on all of its devices; it comes back with a newer token only.
pub(crate) async fn remove(
    State(app): State<App>,
    Operator(operator): Operator,
    Seated { room, peer }: Seated,
) -> Answer<impl IntoResponse> {
    let order = Order::Kick { peer: peer.clone(), ban: false, reason: None };
    match app.rooms.order(&room, By::Operator, &order).await? {
        Ordered::Done(_) => {
            tracing::info!(target: "audit", operator, room_id = %room, peer_id = %peer, "an operator removed somebody")
        }
        Ordered::NoPeer => return Err(Code::PeerNotFound.into()),
        Ordered::Absent => return Err(Code::RoomNotFound.into()),
        _ => return Err(Code::ServiceUnavailable.into()),
    }
    Ok(success("The participant was removed", Value::Null).into_response())
}
