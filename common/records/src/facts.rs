//! What happened in calls, written once and in order: the log `callevents`, and its sums in the call's own document.
//!
//! A fact may be told any number of times, by two writers at once, and by one that lost its right to write a while ago. Its event has
//! the fact's id as `_id`, so there is one. The call's document keeps the place of the last fact that went into it (`lastFact`),
//! compared and raised in the same update: a fact that comes again, or late, changes nothing.

use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};

use super::stored::{date_to_bson, id_to_bson};
use super::{Records, RecordsError, fact_updates};
use switchboard_core::domain::{CallId, CallSettings, CallType, PeerId, Role, RoomId, RoomMeta, Timestamp, UserId};

/// One thing that happened in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFact {
    /// Unique for good.
    pub event_id: String,
    /// Its place among the facts of its call, as text that sorts.
    pub order: String,
    /// When.
    pub at: Timestamp,
    /// The call.
    pub call: CallId,
    /// Its room.
    pub room: RoomId,
    /// What.
    pub change: CallChange,
}

/// The kinds of fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallChange {
    /// The call was made on a socket.
    Created(Box<NewCall>),
    /// A presence began.
    Joined {
        /// Whose.
        who: Present,
        /// The name to show.
        name: String,
        /// The role at that time.
        role: Role,
        /// How many were in the room then.
        count: u32,
    },
    /// A presence ended.
    Left {
        /// Whose.
        who: Present,
        /// Why.
        reason: String,
    },
    /// Somebody said something, in a call whose chat is recorded. It is no line of the log, and changes nothing of the call's document.
    Said(Box<ChatMessage>),
    /// Somebody got another role.
    Role {
        /// Whose presence.
        who: Present,
        /// Which.
        role: Role,
    },
    /// The call was changed while its room was open.
    Updated(Box<CallUpdate>),
    /// The call ended.
    Ended {
        /// Why.
        reason: String,
    },
}

/// A message of a call's chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatMessage {
    /// Its id, as clients know it.
    pub id: String,
    /// Who said it.
    pub from: UserId,
    /// The name shown then.
    pub name: String,
    /// To whom; `None`: to all.
    pub to: Option<UserId>,
    /// The text.
    pub message: String,
}

/// One stay of one device in a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The user.
    pub user: UserId,
    /// The device's address in the room.
    pub peer: PeerId,
    /// The stay's own id.
    pub join: String,
}

/// The fields of a call that was made on a socket: the rest have their defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCall {
    /// The title.
    pub title: String,
    /// Who made it.
    pub host: UserId,
    /// Who may join.
    pub call_type: CallType,
    /// What is allowed.
    pub settings: CallSettings,
    /// Seats.
    pub max_participants: u32,
}

/// A call as its room has it after a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallUpdate {
    /// The title.
    pub title: String,
    /// Whose call it is; `None` when this change said nothing of it.
    pub host: Option<UserId>,
    /// What is allowed.
    pub settings: CallSettings,
    /// Seats.
    pub max_participants: u32,
    /// Nobody new may join.
    pub locked: bool,
    /// The room's version of the call: an older one than the record's is not taken.
    pub revision: u64,
    /// What only a host's request changes; `None` when this change said nothing of it.
    pub door: Option<CallDoor>,
}

impl From<&RoomMeta> for CallUpdate {
    fn from(room: &RoomMeta) -> Self {
        let door =
            CallDoor { call_type: room.call_type, passcode: room.passcode_hash.clone(), invited: room.invited.clone() };
        Self {
            title: room.name.clone(),
            host: Some(room.host.clone()),
            settings: room.settings.clone(),
            max_participants: room.max_participants,
            locked: room.locked,
            revision: room.version,
            door: Some(door),
        }
    }
}

/// Who may join a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallDoor {
    /// Anybody, users, or the invited.
    pub call_type: CallType,
    /// The passcode's hash.
    pub passcode: Option<String>,
    /// Users invited by name.
    pub invited: Vec<UserId>,
}

/// A fact that cannot be written, now or ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadFact {
    /// Unique for good.
    pub event_id: String,
    /// As it was found.
    pub content: String,
    /// Why it cannot be written.
    pub problem: String,
}

/// One line of the log of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallEvent {
    /// The fact's id.
    pub event_id: String,
    /// `created`, `joined`, `left` or `ended`.
    pub kind: String,
    /// When.
    pub at: Timestamp,
    /// Who, when it is about somebody.
    pub user: Option<String>,
    /// Why, when there is a reason.
    pub reason: Option<String>,
}

/// Lines of a log read in one go.
const EVENTS_MAX: i64 = 10_000;
/// Heartbeats older than this many times their time to live are deleted.
const FORGET_AFTER: i64 = 10;

impl CallChange {
    /// As in the log and in metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Said(_) => "chat",
            Self::Role { .. } => "role",
            Self::Updated(_) => "updated",
            Self::Ended { .. } => "ended",
        }
    }
}

impl Records {
    /// Writes facts, oldest first; those of one call are in their order. The answer names, by index, those that MongoDB will never
    /// take, and why: all others are written, to a majority.
    ///
    /// # Errors
    /// When MongoDB is away or refuses everything: some may be written by then. Say all of them again.
    pub async fn write_facts(&self, facts: &[CallFact]) -> Result<Vec<(usize, String)>, RecordsError> {
        if facts.is_empty() {
            return Ok(Vec::new());
        }
        let (said, told): (Vec<_>, Vec<_>) =
            (0..facts.len()).partition(|index| matches!(facts[*index].change, CallChange::Said(_)));
        let mut refused = self.insert_lines(EVENTS, facts, &told).await?;
        refused.extend(self.insert_lines(MESSAGES, facts, &said).await?);
        let mut rest: Vec<_> = told.into_iter().filter(|index| refused.iter().all(|(bad, _)| bad != index)).collect();
        while !rest.is_empty() {
            let updates: Vec<_> = rest.iter().map(|index| fact_updates::update(&facts[*index])).collect();
            let update = doc! {
                "update": self.calls.name(), "updates": updates, "ordered": true, "writeConcern": majority(),
            };
            let answer = self.run("apply_facts", self.database.run_command(update)).await?;
            // In order: the first error is the last thing that was tried.
            let Some((at, error)) = write_errors(&answer)?.into_iter().next() else { break };
            refused.push((rest[at], error.problem));
            rest.drain(..=at);
        }
        Ok(refused)
    }

    /// Inserts the lines of the facts at these indexes, those that are there already excepted; names the ones refused, and why.
    async fn insert_lines(
        &self,
        collection: &str,
        facts: &[CallFact],
        indexes: &[usize],
    ) -> Result<Vec<(usize, String)>, RecordsError> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let lines: Vec<_> = indexes.iter().map(|index| fact_updates::line(&facts[*index])).collect();
        let insert = doc! { "insert": collection, "documents": lines, "ordered": false, "writeConcern": majority() };
        let answer = self.run("insert_events", self.database.run_command(insert)).await?;
        let errors = write_errors(&answer)?.into_iter().filter(|(_, error)| error.code != DUPLICATE_KEY);
        Ok(errors.map(|(index, error)| (indexes[index], error.problem)).collect())
    }

    /// Keeps facts that cannot be written where a person can look at them: `deadfacts`.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn bury_facts(&self, dead: &[DeadFact], at: Timestamp) -> Result<(), RecordsError> {
        if dead.is_empty() {
            return Ok(());
        }
        let documents: Vec<_> = dead
            .iter()
            .map(|fact| {
                doc! { "_id": &fact.event_id, "content": &fact.content, "problem": &fact.problem, "at": date_to_bson(at) }
            })
            .collect();
        let insert = doc! { "insert": DEAD, "documents": documents, "ordered": false, "writeConcern": majority() };
        let answer = self.run("bury_facts", self.database.run_command(insert)).await?;
        match write_errors(&answer)?.into_iter().find(|(_, error)| error.code != DUPLICATE_KEY) {
            Some((_, error)) => Err(RecordsError::Failed(error.problem)),
            None => Ok(()),
        }
    }

    /// The facts that could not be written, in the order of their ids; at most 10,000.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn dead_facts(&self) -> Result<Vec<DeadFact>, RecordsError> {
        use futures_util::TryStreamExt as _;

        let dead = self.database.collection::<Document>(DEAD);
        let find = dead.find(doc! {}).sort(doc! { "_id": 1 }).limit(EVENTS_MAX);
        let documents: Vec<Document> = self.run("dead_facts", async { find.await?.try_collect().await }).await?;
        let text = |document: &Document, field: &str| document.get_str(field).unwrap_or_default().to_owned();
        let read = |document: &Document| DeadFact {
            event_id: text(document, "_id"),
            content: text(document, "content"),
            problem: text(document, "problem"),
        };
        Ok(documents.iter().map(read).collect())
    }

    /// The log of a call, oldest first; at most the first 10,000 lines.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn call_events(&self, call: &CallId) -> Result<Vec<CallEvent>, RecordsError> {
        use futures_util::TryStreamExt as _;

        let events = self.database.collection::<Document>(EVENTS);
        let find =
            events.find(doc! { "callId": id_to_bson(call.as_str()) }).sort(doc! { "order": 1 }).limit(EVENTS_MAX);
        let documents: Vec<Document> = self.run("call_events", async { find.await?.try_collect().await }).await?;
        Ok(documents.iter().filter_map(fact_updates::read_event).collect())
    }

    /// Says that a writer of facts is there, and asks how many are: those that said so within `alive`, by MongoDB's clock.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn announce_recorder(&self, token: &str, alive: Duration) -> Result<usize, RecordsError> {
        let recorders = self.database.collection::<Document>(RECORDERS);
        let seen = doc! { "$currentDate": { "seen": true } };
        self.run("recorders", recorders.update_one(doc! { "_id": token }, seen).upsert(true)).await?;
        let alive_ms = i64::try_from(alive.as_millis()).unwrap_or(i64::MAX / FORGET_AFTER);
        let since = |ms: i64| doc! { "$expr": { "$gt": ["$seen", { "$subtract": ["$$NOW", ms] }] } };
        let forgotten = doc! { "$nor": [since(alive_ms.saturating_mul(FORGET_AFTER))] };
        self.run("recorders", recorders.delete_many(forgotten)).await?;
        let count = self.run("recorders", recorders.count_documents(since(alive_ms))).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Takes the announcement back, so that the others take over at once.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn retire_recorder(&self, token: &str) -> Result<(), RecordsError> {
        let recorders = self.database.collection::<Document>(RECORDERS);
        self.run("recorders", recorders.delete_one(doc! { "_id": token })).await.map(drop)
    }

    /// The indexes by which a call's log and its chat are read.
    pub(super) async fn ensure_fact_indexes(&self) -> Result<(), RecordsError> {
        for name in [EVENTS, MESSAGES] {
            let index = mongodb::IndexModel::builder().keys(doc! { "callId": 1, "order": 1 }).build();
            self.run("indexes", self.database.collection::<Document>(name).create_index(index)).await?;
        }
        Ok(())
    }
}

pub(super) const EVENTS: &str = "callevents";
pub(super) const MESSAGES: &str = "chatmessages";
const DEAD: &str = "deadfacts";
const RECORDERS: &str = "recorders";
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// What is trimmed from the outbox must survive the loss of the primary.
pub(super) fn majority() -> Document {
    doc! { "w": "majority" }
}

pub(super) struct WriteError {
    pub(super) code: i32,
    pub(super) problem: String,
}

/// The statements of a write command that failed for good, by index.
///
/// A failure that passes (a step-down, a shutdown, a write that no majority has yet) makes the whole answer an error: say it again.
pub(super) fn write_errors(answer: &Document) -> Result<Vec<(usize, WriteError)>, RecordsError> {
    if let Ok(concern) = answer.get_document("writeConcernError") {
        return Err(RecordsError::Unavailable(format!(
            "write concern: {}",
            concern.get_str("errmsg").unwrap_or_default()
        )));
    }
    let mut errors = Vec::new();
    for error in answer.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
        let code = error.get_i32("code").unwrap_or_default();
        let problem = format!("{code}: {}", error.get_str("errmsg").unwrap_or_default());
        if RecordsError::passes(code) {
            return Err(RecordsError::Unavailable(problem));
        }
        let index = error.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
        let index = index.ok_or_else(|| RecordsError::Failed("a write error without an index".to_owned()))?;
        errors.push((index, WriteError { code, problem }));
    }
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_passes_is_told_apart_from_one_that_stays() {
        let answer = |code: i32| doc! { "ok": 1, "writeErrors": [{ "index": 2, "code": code, "errmsg": "x" }] };
        let lasting = write_errors(&answer(121)).unwrap();
        assert_eq!((lasting[0].0, lasting[0].1.code), (2, 121));
        assert!(matches!(write_errors(&answer(189)), Err(RecordsError::Unavailable(_))));
        let unsure = doc! { "ok": 1, "writeConcernError": { "code": 64, "errmsg": "waiting" } };
        assert!(matches!(write_errors(&unsure), Err(RecordsError::Unavailable(_))));
        assert!(write_errors(&doc! { "ok": 1, "n": 3 }).unwrap().is_empty());
    }
}
