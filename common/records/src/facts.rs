//! Writes durable facts: into the log `callevents` or the chat `chatmessages`, into `participants`,
//! into the record of the call, and into the usage of its app.
//!
//! A fact can be written several times: by two recorders at the same time, or by a recorder that
//! has lost its lease. Its log line has the fact's id as `_id`, so the line exists once. The call's
//! record keeps the position of the last applied fact (`lastFact`), compared and raised in the same
//! update, so a fact that comes again or late changes nothing. The documents of the call's
//! participants have a position of their own, and so have the counts of lines (`line_budgets`) and
//! usage (`usage`).

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};

use super::bson::{date_to_bson, id_forms, id_to_bson};
use super::fact::{CallChange, CallEvent, CallFact, DeadFact};
use super::line_budgets::LineMeter;
use super::participant_updates::Newcomer;
use super::participants::PARTICIPANTS;
use super::usage::USAGE;
use super::{Records, RecordsError, fact_updates, participant_updates};
use switchboard_core::domain::{CallId, Timestamp};

/// Maximum number of log lines that one query returns.
const EVENTS_MAX: i64 = 10_000;
/// Announcements of recorders are deleted after this many times their lifetime.
const ANNOUNCEMENT_RETENTION: i64 = 10;

impl Records {
    /// Writes facts with majority write concern: one command for each collection, however many
    /// calls they are of. Facts of one partition must be in their order. Returns the index and the
    /// reason of each fact that MongoDB will never accept; all others are written.
    ///
    /// # Errors
    /// MongoDB is unavailable or refuses the whole batch. Some facts may be written; repeat the
    /// call with all of them.
    pub async fn write_facts(&self, facts: &[CallFact]) -> Result<Vec<(usize, String)>, RecordsError> {
        if facts.is_empty() {
            return Ok(Vec::new());
        }
        self.count_usage(facts).await?;
        // A record exists before the documents of its participants, so that none of them is without
        // a call that erases it.
        let created = facts.iter().enumerate().filter_map(|(index, fact)| Some((index, fact_updates::creation(fact)?)));
        let created: Vec<_> = created.collect();
        if !created.is_empty() {
            // No fact is at fault when the indexes cannot be created.
            let ready = self.ensure_unique().await;
            ready.map_err(|error| RecordsError::Unavailable(error.to_string()))?;
        }
        let mut refused = self.apply(self.calls.name(), created).await?.refused;

        let all: Vec<_> = facts.iter().collect();
        let calls = self.states_of(&all).await?;
        let recorded = calls.iter().map(|(call, state)| (call.clone(), state.recorded.clone()));
        let mut meter = LineMeter::new(self.budgets, recorded);
        let lines: Vec<_> = (0..facts.len()).filter(|index| meter.count(&facts[*index])).collect();
        let is_chat = |index: &usize| matches!(facts[*index].change, CallChange::Chat(_));
        let (messages, events): (Vec<_>, Vec<_>) = lines.into_iter().partition(is_chat);
        let inserted = tokio::try_join!(
            self.insert_lines(EVENTS, facts, &events),
            self.insert_lines(MESSAGES, facts, &messages),
        )?;
        refused.extend([inserted.0, inserted.1].concat());

        let is_change = |fact: &CallFact| !matches!(fact.change, CallChange::Created(_) | CallChange::Chat(_));
        let accepted = |refused: &[(usize, String)], index: &usize| refused.iter().all(|(bad, _)| bad != index);
        let rest = || (0..facts.len()).filter(|index| is_change(&facts[*index]));
        let participants = rest().filter(|index| accepted(&refused, index)).filter_map(|index| {
            let state = calls.get(facts[index].call.as_str())?;
            Some((index, participant_updates::update(&facts[index], state.takes_guests())?))
        });
        let participants: Vec<_> = participants.collect();
        let statements = participants.len();
        let applied = self.apply(PARTICIPANTS, participants).await?;
        // The participants' documents are written first, so a repetition counts as the first time.
        let newcomers = if applied.refused.is_empty() && applied.changed == statements {
            newcomers_of(facts, &applied.inserted)
        } else {
            let changes: Vec<_> = rest().map(|index| &facts[index]).collect();
            self.newcomers(&changes).await?
        };
        refused.extend(applied.refused);

        let changes = rest().filter(|index| accepted(&refused, index));
        let changes = changes.map(|index| (index, newcomers.get(&facts[index].event_id).copied())).collect();
        // The lines are written first, so a repetition that counts them finds them.
        refused.extend(self.update_calls(facts, changes, meter.stages().collect()).await?);
        Ok(refused)
    }

    /// Applies facts to the records of their calls. `changes` are indexes of facts, each with the
    /// count that its join raises; `counts` has a stage for each call whose lines were counted.
    /// Returns the index and the reason of each refused fact.
    ///
    /// Each call gets one statement for all of its facts. If a record contains some of them
    /// already, or refuses one, the facts of all these calls are applied one by one.
    async fn update_calls(
        &self,
        facts: &[CallFact],
        changes: Vec<(usize, Option<Newcomer>)>,
        mut counts: HashMap<String, Document>,
    ) -> Result<Vec<(usize, String)>, RecordsError> {
        let mut of_calls: BTreeMap<&str, Vec<(usize, Option<Newcomer>)>> = BTreeMap::new();
        for &(index, newcomer) in &changes {
            of_calls.entry(facts[index].call.as_str()).or_default().push((index, newcomer));
        }
        let with_facts = |changes: &[(usize, Option<Newcomer>)]| {
            changes.iter().map(|&(index, newcomer)| (&facts[index], newcomer)).collect::<Vec<_>>()
        };
        let merged = of_calls.iter().filter_map(|(call, changes)| {
            Some((changes[0].0, fact_updates::update(&with_facts(changes), counts.get(*call).cloned())?))
        });
        let merged: Vec<_> = merged.collect();
        let expected = merged.len();
        let applied = self.apply(self.calls.name(), merged).await?;
        let is_applied = applied.refused.is_empty() && applied.changed == expected;
        if is_applied {
            counts.retain(|call, _| !of_calls.contains_key(call.as_str()));
        }
        let last_of = |call: &str| facts.iter().rposition(|fact| fact.call.as_str() == call);
        let counts = counts.into_iter().filter_map(|(call, stage)| {
            Some((last_of(&call)?, doc! { "q": { "_id": { "$in": id_forms(&call) } }, "u": [stage] }))
        });
        let singly = changes
            .iter()
            .filter(|_| !is_applied)
            .filter_map(|&(index, newcomer)| Some((index, fact_updates::update(&[(&facts[index], newcomer)], None)?)));
        Ok(self.apply(self.calls.name(), singly.chain(counts).collect()).await?.refused)
    }

    /// Runs the update statements of facts, each with the index of its fact, in order.
    pub(super) async fn apply(
        &self,
        collection: &str,
        mut rest: Vec<(usize, Document)>,
    ) -> Result<Applied, RecordsError> {
        let mut applied = Applied::default();
        while !rest.is_empty() {
            let updates: Vec<_> = rest.iter().map(|(_, update)| update.clone()).collect();
            let update = doc! {
                "update": collection, "updates": updates, "ordered": true, "writeConcern": majority(),
            };
            let answer = self.run("apply_facts", |db| async move { db.database.run_command(update).await }).await?;
            applied.add(&answer, &rest);
            // The updates are ordered, so MongoDB stops at the first error.
            let Some((at, error)) = write_errors(&answer)?.into_iter().next() else { break };
            if [PARTICIPANTS, USAGE].contains(&collection) && error.code == DUPLICATE_KEY {
                // Another recorder created the same document at this moment.
                return Err(RecordsError::Unavailable(error.problem));
            }
            applied.refused.push((rest[at].0, error.problem));
            rest.drain(..=at);
        }
        Ok(applied)
    }

    /// Inserts the lines of the facts at these indexes; a line that exists already is skipped.
    /// Returns the index and the reason of each refused fact.
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
        let answer = self.run("insert_events", |db| async move { db.database.run_command(insert).await }).await?;
        let errors = write_errors(&answer)?.into_iter().filter(|(_, error)| error.code != DUPLICATE_KEY);
        Ok(errors.map(|(index, error)| (indexes[index], error.problem)).collect())
    }

    /// Stores facts that cannot be written in `deadfacts`, where operators can inspect them.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn store_dead_facts(&self, dead: &[DeadFact], at: Timestamp) -> Result<(), RecordsError> {
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
        let answer = self.run("store_dead_facts", |db| async move { db.database.run_command(insert).await }).await?;
        match write_errors(&answer)?.into_iter().find(|(_, error)| error.code != DUPLICATE_KEY) {
            Some((_, error)) => Err(RecordsError::Failed(error.problem)),
            None => Ok(()),
        }
    }

    /// Returns at most 10,000 dead facts, in the order of their ids.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn dead_facts(&self) -> Result<Vec<DeadFact>, RecordsError> {
        use futures_util::TryStreamExt as _;

        let documents = self.run("dead_facts", |db| async move {
            let dead = db.database.collection::<Document>(DEAD);
            dead.find(doc! {}).sort(doc! { "_id": 1 }).limit(EVENTS_MAX).await?.try_collect::<Vec<_>>().await
        });
        let documents = documents.await?;
        let text = |document: &Document, field: &str| document.get_str(field).unwrap_or_default().to_owned();
        let read = |document: &Document| DeadFact {
            event_id: text(document, "_id"),
            content: text(document, "content"),
            problem: text(document, "problem"),
        };
        Ok(documents.iter().map(read).collect())
    }

    /// Returns the log of a call, oldest first; at most the first 10,000 lines.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn call_events(&self, call: &CallId) -> Result<Vec<CallEvent>, RecordsError> {
        use futures_util::TryStreamExt as _;

        let of_call = doc! { "callId": id_to_bson(call.as_str()) };
        let documents = self.run("call_events", |db| async move {
            let events = db.database.collection::<Document>(EVENTS);
            events.find(of_call).sort(doc! { "order": 1 }).limit(EVENTS_MAX).await?.try_collect::<Vec<_>>().await
        });
        let documents = documents.await?;
        Ok(documents.iter().filter_map(fact_updates::read_event).collect())
    }

    /// Announces a recorder and returns the number of live recorders: those that announced
    /// themselves within `alive`, by MongoDB's clock.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn announce_recorder(&self, token: &str, alive: Duration) -> Result<usize, RecordsError> {
        let (own, seen) = (doc! { "_id": token }, doc! { "$currentDate": { "seen": true } });
        self.run("recorders", |db| async move { db.recorders().update_one(own, seen).upsert(true).await }).await?;
        let alive_ms = i64::try_from(alive.as_millis()).unwrap_or(i64::MAX / ANNOUNCEMENT_RETENTION);
        let since = |ms: i64| doc! { "$expr": { "$gt": ["$seen", { "$subtract": ["$$NOW", ms] }] } };
        let outdated = doc! { "$nor": [since(alive_ms.saturating_mul(ANNOUNCEMENT_RETENTION))] };
        self.run("recorders", |db| async move { db.recorders().delete_many(outdated).await }).await?;
        let alive = since(alive_ms);
        let count = self.run("recorders", |db| async move { db.recorders().count_documents(alive).await }).await?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Removes the announcement, so that other recorders take over immediately.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn retire_recorder(&self, token: &str) -> Result<(), RecordsError> {
        let own = doc! { "_id": token };
        self.run("recorders", |db| async move { db.recorders().delete_one(own).await }).await.map(drop)
    }

    fn recorders(&self) -> mongodb::Collection<Document> {
        self.database.collection(RECORDERS)
    }

    /// Creates the indexes for reading a call's log and its chat.
    pub(super) async fn ensure_fact_indexes(&self) -> Result<(), RecordsError> {
        for name in [EVENTS, MESSAGES] {
            let index = mongodb::IndexModel::builder().keys(doc! { "callId": 1, "order": 1 }).build();
            self.run("indexes", |db| async move { db.database.collection::<Document>(name).create_index(index).await })
                .await?;
        }
        Ok(())
    }
}

pub(super) const EVENTS: &str = "callevents";
pub(super) const MESSAGES: &str = "chatmessages";
const DEAD: &str = "deadfacts";
const RECORDERS: &str = "recorders";
pub(super) const DUPLICATE_KEY: i32 = 11_000;

/// Returns majority write concern, because facts that leave the outbox must survive the loss of the
/// primary.
pub(super) fn majority() -> Document {
    doc! { "w": "majority" }
}

/// Effects of the update statements of facts.
#[derive(Default)]
pub(super) struct Applied {
    /// Index and reason of each refused fact.
    pub(super) refused: Vec<(usize, String)>,
    /// Number of statements that changed or inserted a document.
    changed: usize,
    /// Indexes of the facts whose statements inserted a document.
    inserted: Vec<usize>,
}

impl Applied {
    /// Adds the answer to a command with `statements`.
    fn add(&mut self, answer: &Document, statements: &[(usize, Document)]) {
        let index = |upserted: &Document| usize::try_from(upserted.get_i32("index").ok()?).ok();
        let upserted = answer.get_array("upserted").into_iter().flatten().filter_map(Bson::as_document);
        let inserted: Vec<_> = upserted.filter_map(|one| Some(statements.get(index(one)?)?.0)).collect();
        let modified = answer.get_i32("nModified").ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        self.changed += modified + inserted.len();
        self.inserted.extend(inserted);
    }
}

/// Returns the counts that joins raise, by the ids of the facts, if every statement of a
/// participant took effect just now: then the joins that inserted a document are first joins.
fn newcomers_of(facts: &[CallFact], inserted: &[usize]) -> HashMap<String, Newcomer> {
    let joined = inserted.iter().filter_map(|index| match &facts[*index].change {
        CallChange::Joined { who, .. } => Some((&facts[*index].event_id, who.user.is_guest())),
        _ => None,
    });
    joined.map(|(id, guest)| (id.clone(), if guest { Newcomer::Guest } else { Newcomer::User })).collect()
}

pub(super) struct WriteError {
    pub(super) code: i32,
    pub(super) problem: String,
}

/// Returns the permanent errors of a write command, by index of the statement.
///
/// # Errors
/// The command failed transiently: a step-down, a shutdown, or no majority yet. Repeat the command.
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
        if RecordsError::is_transient(code) {
            return Err(RecordsError::Unavailable(problem));
        }
        let index = error.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
        let index = index.ok_or_else(|| RecordsError::Failed("write error without an index".to_owned()))?;
        errors.push((index, WriteError { code, problem }));
    }
    Ok(errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_and_permanent_write_errors_are_distinguished() {
        let answer = |code: i32| doc! { "ok": 1, "writeErrors": [{ "index": 2, "code": code, "errmsg": "x" }] };
        let lasting = write_errors(&answer(121)).unwrap();
        assert_eq!((lasting[0].0, lasting[0].1.code), (2, 121));
        assert!(matches!(write_errors(&answer(189)), Err(RecordsError::Unavailable(_))));
        let unsure = doc! { "ok": 1, "writeConcernError": { "code": 64, "errmsg": "waiting" } };
        assert!(matches!(write_errors(&unsure), Err(RecordsError::Unavailable(_))));
        assert!(write_errors(&doc! { "ok": 1, "n": 3 }).unwrap().is_empty());
    }
}
