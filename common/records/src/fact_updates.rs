//! How each fact changes a call's document, as update pipelines: the guard and the change are one atomic step.
//!
//! A participant's entry keeps, next to what the Node service kept, `presence: {open, since, connectedMs}`: the join ids of
//! the stays that are open, since when at least one is, and the sum of the time before that. So the entry's time in the call is true
//! over reconnects and over several devices at once, without a list that grows.

use mongodb::bson::{Bson, Document, doc, serialize_to_bson};

use super::facts::{CallChange, CallEvent, CallFact, CallUpdate, ChatMessage, NewCall, Present};
use super::stored::{date_to_bson, id_forms, id_to_bson};
use switchboard_core::domain::call::NEVER_OPENED;
use switchboard_core::domain::{CallStatus, Role, Timestamp, UserId};

/// Entries of `participants`; who comes later is in the log only, and `participantsTruncated` says so. A document has 16 MiB at most,
/// and every change rewrites the list.
const PARTICIPANTS_MAX: i32 = 2_000;

/// The fact's line: in the log, or in the chat.
pub(super) fn line(fact: &CallFact) -> Document {
    let mut line = doc! {
        "_id": &fact.event_id,
        "callId": id_to_bson(fact.call.as_str()),
        "roomId": fact.room.as_str(),
        "kind": fact.change.kind(),
        "order": &fact.order,
        "at": date_to_bson(fact.at),
    };
    let mut about = |who: &Present| {
        line.insert("userId", id_to_bson(who.user.as_str()));
        line.insert("peerId", who.peer.as_str());
        line.insert("joinId", &who.join);
    };
    match &fact.change {
        CallChange::Created(_) => {}
        CallChange::Said(said) => {
            line.insert("messageId", &said.id);
            line.insert("userId", id_to_bson(said.from.as_str()));
            line.insert("name", &said.name);
            line.insert("to", said.to.as_ref().map_or(Bson::Null, |to| id_to_bson(to.as_str())));
            line.insert("message", &said.message);
        }
        CallChange::Joined { who, name, role, count } => {
            about(who);
            line.insert("name", name);
            line.insert("role", role.as_str());
            line.insert("count", i64::from(*count));
        }
        CallChange::Role { who, role } => {
            about(who);
            line.insert("role", role.as_str());
        }
        CallChange::Updated(update) => {
            line.insert("revision", i64::try_from(update.revision).unwrap_or(i64::MAX));
        }
        CallChange::Left { who, reason } => {
            about(who);
            line.insert("reason", reason);
        }
        CallChange::Ended { reason } => {
            line.insert("reason", reason);
        }
    }
    line
}

/// Reads a line of the log; `None` when something else wrote it.
pub(super) fn read_event(line: &Document) -> Option<CallEvent> {
    let user = match line.get("userId") {
        Some(Bson::ObjectId(id)) => Some(id.to_hex()),
        Some(Bson::String(id)) => Some(id.clone()),
        _ => None,
    };
    Some(CallEvent {
        event_id: line.get_str("_id").ok()?.to_owned(),
        kind: line.get_str("kind").ok()?.to_owned(),
        at: Timestamp(line.get_datetime("at").ok()?.timestamp_millis()),
        user,
        reason: line.get_str("reason").ok().map(str::to_owned),
    })
}

/// Reads a message of the chat; `None` when something else wrote it.
pub(super) fn read_message(line: &Document) -> Option<ChatMessage> {
    let user = |field: &str| match line.get(field)? {
        Bson::ObjectId(id) => UserId::parse(&id.to_hex()).ok(),
        Bson::String(id) => UserId::parse(id).ok(),
        _ => None,
    };
    Some(ChatMessage {
        id: line.get_str("messageId").ok()?.to_owned(),
        from: user("userId")?,
        name: line.get_str("name").ok()?.to_owned(),
        to: user("to"),
        message: line.get_str("message").ok()?.to_owned(),
    })
}

/// The statement of an `update` command that takes the fact into its call's document, unless that has it already.
pub(super) fn update(fact: &CallFact) -> Document {
    let id = id_to_bson(fact.call.as_str());
    let stages = match &fact.change {
        // Made once, by whichever comes first; later facts of the call must find it.
        CallChange::Created(call) => {
            return doc! { "q": { "_id": id }, "u": { "$setOnInsert": created(fact, call) }, "upsert": true };
        }
        CallChange::Joined { who, name, role, count } => joined(fact.at, who, name, *role, *count),
        CallChange::Left { who, .. } => left(fact.at, who),
        CallChange::Ended { reason } => ended(fact.at, reason),
        CallChange::Role { who, role } => {
            vec![doc! { "participants": each_entry_of(who, doc! { "role": literal(role.as_str()) }) }]
        }
        CallChange::Updated(update) => updated(update),
        // It has a line and nothing else.
        CallChange::Said(_) => Vec::new(),
    };
    let seen = doc! { "lastFact": &fact.order, "updatedAt": { "$max": ["$updatedAt", date_to_bson(fact.at)] } };
    let mut pipeline = vec![Bson::from(doc! { "$set": seen })];
    pipeline.extend(stages.into_iter().map(|stage| Bson::from(doc! { "$set": stage })));
    doc! { "q": { "_id": { "$in": id_forms(fact.call.as_str()) }, "lastFact": { "$not": { "$gte": &fact.order } } }, "u": pipeline }
}

fn created(fact: &CallFact, call: &NewCall) -> Document {
    let text = |value: Result<Bson, _>| value.unwrap_or(Bson::Null);
    let host = doc! { "userId": id_to_bson(call.host.as_str()), "role": Role::Host.as_str(), "isConnected": false };
    doc! {
        "title": &call.title,
        "description": "",
        "hostId": id_to_bson(call.host.as_str()),
        "participants": [host],
        "status": "waiting",
        "type": text(serialize_to_bson(&call.call_type)),
        "settings": text(serialize_to_bson(&call.settings)),
        "roomId": fact.room.as_str(),
        "maxParticipants": i64::from(call.max_participants),
        "createdAt": date_to_bson(fact.at),
        "updatedAt": date_to_bson(fact.at),
        "revision": 0_i64,
        "lastFact": &fact.order,
    }
}

fn joined(at: Timestamp, who: &Present, name: &str, role: Role, count: u32) -> Vec<Document> {
    let at = date_to_bson(at);
    let join = literal(&who.join);
    let mut came = doc! {
        "role": literal(role.as_str()),
        "leftAt": Bson::Null,
        "isConnected": true,
        "connectionId": join.clone(),
    };
    if who.user.is_guest() {
        came.insert("name", literal(name));
    }
    let mut again = came.clone();
    again.insert("joinedAt", doc! { "$ifNull": ["$$p.joinedAt", at.clone()] });
    again.insert(
        "presence",
        doc! {
            "open": { "$setUnion": [open(), [join.clone()]] },
            "since": { "$ifNull": ["$$p.presence.since", at.clone()] },
            "connectedMs": connected_ms(),
        },
    );
    let mut first = came;
    first.insert("userId", id_to_bson(who.user.as_str()));
    first.insert("joinedAt", at.clone());
    first.insert("presence", doc! { "open": [join], "since": at.clone(), "connectedMs": 0_i64 });

    let known = doc! { "$gt": [{ "$size": { "$setIntersection": ["$participants.userId", ids(who)] } }, 0] };
    let full = doc! { "$gte": [{ "$size": "$participants" }, PARTICIPANTS_MAX] };
    vec![
        doc! { "participants": { "$ifNull": ["$participants", []] } },
        doc! {
            "peak": { "$max": ["$peak", i64::from(count)] },
            "startedAt": { "$ifNull": ["$startedAt", at] },
            "status": becomes(CallStatus::Live),
            "participants": { "$switch": {
                "branches": [
                    { "case": known.clone(), "then": each_entry_of(who, again) },
                    { "case": full.clone(), "then": "$participants" },
                ],
                "default": { "$concatArrays": ["$participants", [first]] },
            } },
            "participantsTruncated": { "$cond": [
                { "$and": [{ "$not": [known] }, full] }, true, { "$ifNull": ["$participantsTruncated", "$$REMOVE"] },
            ] },
        },
    ]
}

fn left(at: Timestamp, who: &Present) -> Vec<Document> {
    let remaining = doc! { "$setDifference": [open(), [literal(&who.join)]] };
    let stays = doc! { "presence": { "$mergeObjects": ["$$p.presence", { "open": "$$open" }] } };
    let change = doc! { "$let": { "vars": { "open": remaining }, "in": {
        "$cond": [{ "$eq": ["$$open", []] }, gone(at), stays],
    } } };
    vec![doc! { "participants": each_entry_of(who, change) }]
}

fn ended(at: Timestamp, reason: &str) -> Vec<Document> {
    let over = if reason == NEVER_OPENED {
        // Somebody came after all, at the last moment: then it took place.
        let came = doc! { "$ne": [{ "$ifNull": ["$startedAt", Bson::Null] }, Bson::Null] };
        doc! { "$cond": [came, becomes(CallStatus::Ended), becomes(CallStatus::Cancelled)] }
    } else {
        becomes(CallStatus::Ended)
    };
    let present = doc! { "$or": [{ "$eq": ["$$p.isConnected", true] }, { "$ne": [open(), []] }] };
    let everybody = doc! { "$map": { "input": { "$ifNull": ["$participants", []] }, "as": "p", "in": {
        "$cond": [present, { "$mergeObjects": ["$$p", gone(at)] }, "$$p"],
    } } };
    let minutes = doc! { "$round": [{ "$divide": [{ "$subtract": ["$endedAt", "$startedAt"] }, 60_000] }] };
    vec![
        doc! {
            // A request that ended the call may have written both already.
            "status": over,
            "endedAt": { "$ifNull": ["$endedAt", date_to_bson(at)] },
            "participants": everybody,
            "revision": { "$add": [{ "$ifNull": ["$revision", 0] }, 1] },
        },
        // Again even then: the start may have become known only since.
        doc! { "duration": { "$max": [0, { "$ifNull": [minutes, 0] }] } },
    ]
}

/// The call as its room has it, unless the record has a later version.
pub(super) fn updated(update: &CallUpdate) -> Vec<Document> {
    let stored = |value: Result<Bson, _>| value.unwrap_or(Bson::Null);
    let revision = i64::try_from(update.revision).unwrap_or(i64::MAX);
    let newer = doc! { "$lte": [{ "$ifNull": ["$revision", 0_i64] }, revision] };
    let mut fields = doc! {
        "title": &update.title,
        "settings": stored(serialize_to_bson(&update.settings)),
        "maxParticipants": i64::from(update.max_participants),
        "locked": update.locked,
    };
    // A guest has no account to hold a call by.
    if let Some(host) = update.host.as_ref().filter(|host| !host.is_guest()) {
        fields.insert("hostId", id_to_bson(host.as_str()));
    }
    if let Some(door) = &update.door {
        fields.insert("type", stored(serialize_to_bson(&door.call_type)));
        fields.insert("passcode", door.passcode.as_deref());
        fields.insert("invitedUserIds", door.invited.iter().map(|id| id_to_bson(id.as_str())).collect::<Vec<_>>());
    }
    let mut set = Document::new();
    for (name, value) in fields {
        set.insert(&name, doc! { "$cond": [newer.clone(), { "$literal": value }, format!("${name}")] });
    }
    vec![set, doc! { "revision": { "$max": [{ "$ifNull": ["$revision", 0_i64] }, revision] } }]
}

/// The call's status after it becomes `next`, if it may.
fn becomes(next: CallStatus) -> Document {
    let status = doc! { "$ifNull": ["$status", CallStatus::Waiting.as_str()] };
    let from: Vec<_> = next.predecessors().map(CallStatus::as_str).collect();
    doc! { "$cond": [{ "$in": [status.clone(), from] }, next.as_str(), status] }
}

/// The fields of the entry `p` of somebody whose last stay ends at `at`.
fn gone(at: Timestamp) -> Document {
    let at = date_to_bson(at);
    let stayed = doc! { "$subtract": [at.clone(), { "$ifNull": ["$$p.presence.since", at.clone()] }] };
    doc! {
        "leftAt": at,
        "isConnected": false,
        "presence": {
            "open": [],
            "since": Bson::Null,
            "connectedMs": { "$add": [connected_ms(), { "$max": [0_i64, stayed] }] },
        },
    }
}

/// The list of participants with `change` merged into the entries of this user.
fn each_entry_of(who: &Present, change: Document) -> Document {
    doc! { "$map": { "input": { "$ifNull": ["$participants", []] }, "as": "p", "in": {
        "$cond": [{ "$in": ["$$p.userId", ids(who)] }, { "$mergeObjects": ["$$p", change] }, "$$p"],
    } } }
}

fn ids(who: &Present) -> Vec<Bson> {
    id_forms(who.user.as_str())
}

/// The open stays of the entry `p`.
fn open() -> Document {
    doc! { "$ifNull": ["$$p.presence.open", []] }
}

/// The time of the closed stays of the entry `p`.
fn connected_ms() -> Document {
    doc! { "$ifNull": ["$$p.presence.connectedMs", 0_i64] }
}

/// A text that is no expression even when it begins with `$`.
fn literal(text: &str) -> Document {
    doc! { "$literal": text }
}
