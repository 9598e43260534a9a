//! How facts change the participants of a call: documents of `participants`, one for each user and
//! call.
//!
//! | field | content |
//! |---|---|
//! | `_id` | `<call>/<full name of the user>`, so that a user has one document in a call |
//! | `callId`, `userId`, `guest` | call; user; whether the user is a guest |
//! | `name` | as in the records of the old Node.js backend; that of an app's user, too |
//! | `role` | as in the records of the old Node.js backend |
//! | `joinedAt`, `leftAt`, `isConnected`, `connectionId` | the same |
//! | `presence.open` | join ids of the open stays |
//! | `presence.since` | time since which at least one stay is open |
//! | `presence.connectedMs` | time in the call before `since` |
//! | `firstFact` | position of the first join; the call's counts depend on it |
//! | `lastFact` | position of the last applied fact |
//!
//! Position and change are compared and written in one atomic update, so a fact that comes again or
//! late changes nothing. With `presence`, the total time is right over reconnects and several
//! devices, without a list that grows.

use mongodb::bson::{Bson, Document, doc};

use super::bson::{date_to_bson, full_name, id_to_bson, user_to_bson};
use super::fact::{CallChange, CallFact, Stay};
use super::{ParticipantRecord, RecordsError};
use switchboard_core::domain::{CallId, Role, Timestamp, UserId};

/// Position before every fact: that of the entries of a call that no recorder has written.
const BEFORE_FACTS: &str = "0";

/// Count of a call that a user's first join raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newcomer {
    /// User with an account.
    User,
    /// Guest with a document.
    Guest,
    /// Guest without a document, because the call has its most guests. Counts again at every join.
    Unlisted,
}

impl Newcomer {
    /// Returns the path of the count in the call's record.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::User => "counts.users",
            Self::Guest => "counts.guests",
            Self::Unlisted => "counts.unlisted",
        }
    }
}

/// Returns the `_id` of the document of a user, by the full name.
pub(super) fn document_id(call: &CallId, user: &str) -> String {
    format!("{call}/{user}")
}

/// Returns the statement of an `update` command that applies a fact to the participant's document.
/// `takes_guests`: the call has fewer than its most guests. `None`: the fact is not about a
/// participant.
pub(super) fn update(fact: &CallFact, takes_guests: bool) -> Option<Document> {
    let (who, change, creates) = match &fact.change {
        CallChange::Joined { who, name, role, .. } => {
            (who, joined(fact, who, name, *role), takes_guests || !who.user.is_guest())
        }
        CallChange::Left { who, .. } => (who, left(fact.at, who), false),
        CallChange::Role { who, role } => (who, doc! { "role": role.as_str() }, false),
        CallChange::Created(_)
        | CallChange::Chat(_)
        | CallChange::Denied { .. }
        | CallChange::Updated(_)
        | CallChange::Emptied
        | CallChange::Ended { .. }
        | CallChange::Reopened => return None,
    };
    Some(statement(&fact.call, &full_name(&fact.room, &who.user), &fact.order, change, creates))
}

/// Returns the statement that merges `change` into the document of a user, unless the document has
/// a fact of this or a later position.
fn statement(call: &CallId, user: &str, order: &str, change: Document, creates: bool) -> Document {
    let applied = doc! { "$gte": [{ "$ifNull": ["$lastFact", ""] }, order] };
    let changed = doc! { "$mergeObjects": ["$$ROOT", change, { "lastFact": order }] };
    let replace = doc! { "$replaceWith": { "$cond": [applied, "$$ROOT", changed] } };
    doc! { "q": { "_id": document_id(call, user) }, "u": [replace], "upsert": creates }
}

fn joined(fact: &CallFact, who: &Stay, name: &str, role: Role) -> Document {
    let at = date_to_bson(fact.at);
    let join = literal(&who.join);
    let mut change = identity(&fact.call, user_to_bson(&fact.room, &who.user), &who.user);
    if who.user.is_guest() || !fact.room.is_of_default_app() {
        change.insert("name", literal(name));
    }
    change.extend(doc! {
        "role": role.as_str(),
        "joinedAt": { "$ifNull": ["$joinedAt", at.clone()] },
        "leftAt": Bson::Null,
        "isConnected": true,
        "connectionId": join.clone(),
        "presence": {
            "open": { "$setUnion": [open(), [join]] },
            "since": { "$ifNull": ["$presence.since", at] },
            "connectedMs": connected_ms(),
        },
        "firstFact": { "$ifNull": ["$firstFact", &fact.order] },
    });
    change
}

fn left(at: Timestamp, who: &Stay) -> Document {
    let remaining = doc! { "$setDifference": [open(), [literal(&who.join)]] };
    let stays = doc! { "presence": { "$mergeObjects": ["$presence", { "open": "$$open" }] } };
    doc! { "$let": { "vars": { "open": remaining }, "in": {
        "$cond": [{ "$eq": ["$$open", []] }, gone(at), stays],
    } } }
}

/// Returns the fields of a document after the user's last stay has ended at `at`.
fn gone(at: Timestamp) -> Document {
    let at = date_to_bson(at);
    let stayed = doc! { "$subtract": [at.clone(), { "$ifNull": ["$presence.since", at.clone()] }] };
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

/// Returns the statement that moves an entry of the list in a call's record to the participant's
/// document. `order` is the position of the last fact in the record.
///
/// # Errors
/// The entry has no BSON form.
pub(super) fn moved(call: &CallId, entry: &ParticipantRecord, order: Option<&str>) -> Result<Document, RecordsError> {
    // Only calls of the default app have a list.
    let mut change = identity(call, id_to_bson(entry.user.as_str()), &entry.user);
    change.extend(mongodb::bson::serialize_to_document(entry)?);
    // The entry is in the call's counts already.
    change.insert("firstFact", "");
    let change = doc! { "$literal": change };
    Ok(statement(call, entry.user.as_str(), order.unwrap_or(BEFORE_FACTS), change, true))
}

fn identity(call: &CallId, stored: Bson, user: &UserId) -> Document {
    doc! { "callId": id_to_bson(call.as_str()), "userId": stored, "guest": user.is_guest() }
}

/// Returns the join ids of the open stays.
fn open() -> Document {
    doc! { "$ifNull": ["$presence.open", []] }
}

/// Returns the time of the closed stays, in milliseconds.
fn connected_ms() -> Document {
    doc! { "$ifNull": ["$presence.connectedMs", 0_i64] }
}

/// Wraps a text so that MongoDB does not read a text that begins with `$` as an expression.
fn literal(text: &str) -> Document {
    doc! { "$literal": text }
}
