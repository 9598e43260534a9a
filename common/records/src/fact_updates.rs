//! How each fact changes a call's record, as update pipelines. The check of `lastFact` and the
//! change are one atomic update.
//!
//! `participant_updates` has the changes of the participants' documents.

use mongodb::bson::{Bson, Document, doc, serialize_to_bson};

use super::bson::{date_to_bson, id_forms, id_to_bson, local_id, user_to_bson};
use super::call::PERIODS_MAX;
use super::calls::{RELEASED, app_of};
use super::fact::{CallChange, CallEvent, CallFact, CallUpdate, ChatMessage, NewCall, Stay};
use super::participant_updates::Newcomer;
use switchboard_core::domain::{CallStatus, EndReason, RoomId, Timestamp, UserId};

/// Returns the line of a fact, for the log or for the chat.
pub(super) fn line(fact: &CallFact) -> Document {
    let mut line = doc! {
        "_id": &fact.event_id,
        "callId": id_to_bson(fact.call.as_str()),
        "roomId": fact.room.as_str(),
        "kind": fact.change.kind(),
        "order": &fact.order,
        "at": date_to_bson(fact.at),
    };
    let mut about = |who: &Stay| {
        line.insert("userId", user_to_bson(&fact.room, &who.user));
        line.insert("peerId", who.peer.as_str());
        line.insert("joinId", &who.join);
    };
    match &fact.change {
        CallChange::Created(_) | CallChange::Emptied | CallChange::Reopened => {}
        CallChange::Chat(chat) => {
            line.insert("messageId", &chat.id);
            line.insert("userId", user_to_bson(&fact.room, &chat.from));
            line.insert("name", &chat.name);
            line.insert("to", chat.to.as_ref().map_or(Bson::Null, |to| user_to_bson(&fact.room, to)));
            line.insert("message", &chat.message);
        }
        CallChange::Joined { who, name, role, count, .. } => {
            about(who);
            line.insert("name", name);
            line.insert("role", role.as_str());
            line.insert("count", i64::from(*count));
        }
        CallChange::Denied { who } => about(who),
        CallChange::Role { who, role } => {
            about(who);
            line.insert("role", role.as_str());
        }
        CallChange::Updated(update) => {
            line.insert("revision", i64::try_from(update.revision).unwrap_or(i64::MAX));
        }
        CallChange::Left { who, reason, .. } => {
            about(who);
            line.insert("reason", reason);
        }
        CallChange::Ended { reason } => {
            line.insert("reason", reason);
        }
    }
    line
}

/// Reads a line of the log. `None`: the line has another form.
pub(super) fn read_event(line: &Document) -> Option<CallEvent> {
    let user = match line.get("userId") {
        Some(Bson::ObjectId(id)) => Some(id.to_hex()),
        Some(Bson::String(id)) => Some(local_id(id).to_owned()),
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

/// Reads a message of the chat. `None`: the document has another form.
pub(super) fn read_message(line: &Document) -> Option<ChatMessage> {
    let user = |field: &str| match line.get(field)? {
        Bson::ObjectId(id) => UserId::parse(&id.to_hex()).ok(),
        Bson::String(id) => UserId::parse(local_id(id)).ok(),
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

/// Returns the statement of an `update` command that inserts the record of a created call if it
/// does not exist, because later facts of the call need it. `None`: the fact creates no call.
pub(super) fn creation(fact: &CallFact) -> Option<Document> {
    let CallChange::Created(call) = &fact.change else { return None };
    let set = doc! { "$setOnInsert": created(fact, call) };
    Some(doc! { "q": { "_id": id_to_bson(fact.call.as_str()) }, "u": set, "upsert": true })
}

/// Returns the statement of an `update` command that applies consecutive facts of one call to its
/// record, unless the record contains the first of them or a later fact. Each fact comes with the
/// count that a join raises. The stages `more` follow in the same update.
pub(super) fn update(facts: &[(&CallFact, Option<Newcomer>)], more: Option<Document>) -> Option<Document> {
    let ((first, _), (last, _)) = (facts.first()?, facts.last()?);
    let seen = doc! { "lastFact": &last.order, "updatedAt": { "$max": ["$updatedAt", date_to_bson(last.at)] } };
    let changes = facts.iter().flat_map(|(fact, newcomer)| changes(fact, *newcomer));
    let stages = std::iter::once(seen).chain(changes).map(|set| doc! { "$set": set }).chain(more);
    let stages: Vec<_> = stages.map(Bson::from).collect();
    let filter =
        doc! { "_id": { "$in": id_forms(first.call.as_str()) }, "lastFact": { "$not": { "$gte": &first.order } } };
    Some(doc! { "q": filter, "u": stages })
}

/// Returns the fields that a fact sets in the call's record, stage by stage.
fn changes(fact: &CallFact, newcomer: Option<Newcomer>) -> Vec<Document> {
    match &fact.change {
        CallChange::Joined { count, .. } => joined(fact.at, *count, newcomer),
        CallChange::Left { count, .. } => vec![doc! { "present": i64::from(*count) }],
        CallChange::Emptied => emptied(),
        CallChange::Ended { reason } => ended(fact.at, reason),
        CallChange::Reopened => reopened(fact.at),
        CallChange::Updated(update) => updated(&fact.room, update),
        // Creating inserts the record, a role is in the participant's document only, a chat message
        // and a refusal have a line only.
        CallChange::Created(_) | CallChange::Role { .. } | CallChange::Chat(_) | CallChange::Denied { .. } => {
            Vec::new()
        }
    }
}

fn created(fact: &CallFact, call: &NewCall) -> Document {
    let text = |value: Result<Bson, _>| value.unwrap_or(Bson::Null);
    let mut record = doc! {
        "title": &call.title,
        "description": "",
        "hostId": user_to_bson(&fact.room, &call.host),
        "counts": { "users": 0_i64, "guests": 0_i64, "unlisted": 0_i64 },
        "status": "waiting",
        "type": text(serialize_to_bson(&call.call_type)),
        "settings": text(serialize_to_bson(&call.settings)),
        "roomId": fact.room.as_str(),
        "maxParticipants": i64::from(call.max_participants),
        "createdAt": date_to_bson(fact.at),
        "updatedAt": date_to_bson(fact.at),
        "revision": 0_i64,
        "lastFact": &fact.order,
    };
    record.extend(app_of(&fact.room));
    record
}

fn joined(at: Timestamp, count: u32, newcomer: Option<Newcomer>) -> Vec<Document> {
    let mut set = doc! {
        "peak": { "$max": ["$peak", i64::from(count)] },
        "present": i64::from(count),
        "startedAt": { "$ifNull": ["$startedAt", date_to_bson(at)] },
        "status": becomes(CallStatus::Live),
    };
    if let Some(newcomer) = newcomer {
        let field = newcomer.field();
        set.insert(field, doc! { "$add": [{ "$ifNull": [format!("${field}"), 0_i64] }, 1_i64] });
    }
    vec![set]
}

fn ended(at: Timestamp, reason: &str) -> Vec<Document> {
    let over = if reason == EndReason::NeverOpened.as_str() {
        // If a participant joined at the last moment, the call took place and has ended.
        let opened = doc! { "$ne": [{ "$ifNull": ["$startedAt", Bson::Null] }, Bson::Null] };
        doc! { "$cond": [opened, becomes(CallStatus::Ended), becomes(CallStatus::Cancelled)] }
    } else {
        becomes(CallStatus::Ended)
    };
    vec![
        doc! {
            // The request that ended the call may have written status and end already.
            "status": over,
            "endedAt": { "$ifNull": ["$endedAt", date_to_bson(at)] },
            "present": 0_i64,
            "revision": { "$add": [{ "$ifNull": ["$revision", 0] }, 1] },
        },
        // Always compute the duration again, because the start may have been written in between.
        with_last_period(),
        doc! { "duration": minutes_of(doc! { "$sum": periods_ms() }) },
    ]
}

/// Returns the stages for a room that closed empty before its call had taken place.
pub(super) fn emptied() -> Vec<Document> {
    // A call that has taken place before was reopened after its date.
    let has_date = doc! { "$ne": [{ "$ifNull": ["$scheduledAt", Bson::Null] }, Bson::Null] };
    let is_new = doc! { "$eq": [{ "$size": { "$ifNull": ["$periods", []] } }, 0] };
    let status = doc! { "$cond": [
        { "$and": [has_date, is_new] }, CallStatus::Scheduled.as_str(), CallStatus::Waiting.as_str(),
    ] };
    let mut set = waiting_again(&[CallStatus::Live], &status, &["startedAt"]);
    set.insert("present", 0_i64);
    vec![set]
}

/// Statuses of a call that its host can reopen.
const OVER: [CallStatus; 2] = [CallStatus::Ended, CallStatus::Cancelled];

/// Returns the stages for a call that its host reopens at `at`.
pub(super) fn reopened(at: Timestamp) -> Vec<Document> {
    // A date that is over would make the call a missed one, which is cancelled.
    let in_future = doc! { "$gt": ["$scheduledAt", date_to_bson(at)] };
    let status = doc! { "$cond": [in_future, CallStatus::Scheduled.as_str(), CallStatus::Waiting.as_str()] };
    vec![with_last_period(), waiting_again(&OVER, &status, &["startedAt", "endedAt", "duration"])]
}

/// Returns the fields of a call that has a status of `from`: the status `next`, and `cleared`
/// fields. A call with another status stays as it is.
fn waiting_again(from: &[CallStatus], next: &Document, cleared: &[&str]) -> Document {
    let from: Vec<_> = from.iter().map(|status| status.as_str()).collect();
    // A call that gave its room id to another one stays ended.
    let has_room = doc! { "$eq": [{ "$indexOfBytes": [{ "$ifNull": ["$roomId", ""] }, RELEASED] }, -1] };
    let is_from = doc! { "$and": [{ "$in": ["$status", from] }, has_room] };
    let mut set = doc! { "status": { "$cond": [is_from.clone(), next.clone(), "$status"] } };
    for field in cleared {
        set.insert(*field, doc! { "$cond": [is_from.clone(), Bson::Null, format!("${field}")] });
    }
    set
}

/// Returns the stage that adds the period from `startedAt` to `endedAt`, unless it is there.
fn with_last_period() -> Document {
    let periods = doc! { "$ifNull": ["$periods", []] };
    let missing = |field: &str| doc! { "$eq": [{ "$ifNull": [field, Bson::Null] }, Bson::Null] };
    let is_there = doc! { "$eq": [{ "$last": "$periods.startedAt" }, "$startedAt"] };
    let period = doc! { "startedAt": "$startedAt", "endedAt": "$endedAt" };
    let longer = doc! { "$slice": [{ "$concatArrays": [periods.clone(), [period]] }, -PERIODS_MAX] };
    let keep = doc! { "$or": [missing("$startedAt"), missing("$endedAt"), is_there] };
    doc! { "periods": { "$cond": [keep, periods, longer] } }
}

/// Returns the list of the durations of all periods of a record, in milliseconds.
pub(super) fn periods_ms() -> Document {
    let length = doc! { "$max": [0, { "$subtract": ["$$period.endedAt", "$$period.startedAt"] }] };
    doc! { "$map": { "input": { "$ifNull": ["$periods", []] }, "as": "period", "in": length } }
}

/// Returns whole minutes of a duration in milliseconds.
pub(super) fn minutes_of(ms: Document) -> Document {
    doc! { "$max": [0, { "$round": [{ "$divide": [{ "$ifNull": [ms, 0] }, 60_000] }] }] }
}

/// Returns the stages that copy the room's fields, unless the record has a later version.
pub(super) fn updated(room: &RoomId, update: &CallUpdate) -> Vec<Document> {
    let stored = |value: Result<Bson, _>| value.unwrap_or(Bson::Null);
    let revision = i64::try_from(update.revision).unwrap_or(i64::MAX);
    let newer = doc! { "$lte": [{ "$ifNull": ["$revision", 0_i64] }, revision] };
    let mut fields = doc! {
        "title": &update.title,
        "settings": stored(serialize_to_bson(&update.settings)),
        "maxParticipants": i64::from(update.max_participants),
        "locked": update.locked,
    };
    // A guest cannot host a record, because a guest has no account.
    if let Some(host) = update.host.as_ref().filter(|host| !host.is_guest()) {
        fields.insert("hostId", user_to_bson(room, host));
    }
    if let Some(access) = &update.access {
        fields.insert("type", stored(serialize_to_bson(&access.call_type)));
        fields.insert("passcode", access.passcode.as_deref());
        fields.insert("invitedUserIds", access.invited.iter().map(|user| user_to_bson(room, user)).collect::<Vec<_>>());
    }
    let mut set = Document::new();
    for (name, value) in fields {
        set.insert(&name, doc! { "$cond": [newer.clone(), { "$literal": value }, format!("${name}")] });
    }
    vec![set, doc! { "revision": { "$max": [{ "$ifNull": ["$revision", 0_i64] }, revision] } }]
}

/// Returns the status `next` if the transition is allowed, otherwise the current status.
fn becomes(next: CallStatus) -> Document {
    let status = doc! { "$ifNull": ["$status", CallStatus::Waiting.as_str()] };
    let from: Vec<_> = next.predecessors().map(CallStatus::as_str).collect();
    doc! { "$cond": [{ "$in": [status.clone(), from] }, next.as_str(), status] }
}
