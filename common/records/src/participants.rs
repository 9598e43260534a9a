//! Participants of a call: documents of `participants`, and queries on them.
//!
//! Calls of the old Node.js backend and of earlier versions have a list of entries in their record
//! instead. Such a call is read from its list. The first fact that is written for it moves the list
//! to `participants`, so a call is in one of the two forms. Calls that are over keep their list,
//! because nothing changes them any more, and a migration of all calls would have no end in sight.

use std::collections::{BTreeSet, HashMap};

use futures_util::TryStreamExt as _;
use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, deserialize_from_document, doc};
use mongodb::options::IndexOptions;
use serde::{Deserialize, Serialize};

use super::bson::{full_name, id, id_forms, id_to_bson, maybe_date, number, or_default, user_forms};
use super::facts::{majority, write_errors};
use super::participant_updates::{Newcomer, document_id, moved};
use super::{CallChange, CallFact, CallRecord, RecordedLines, Records, RecordsError};
use switchboard_core::domain::{CallId, Role, Timestamp, UserId};

/// Name of the collection.
pub(super) const PARTICIPANTS: &str = "participants";
/// Field in which queries on `videocalls` add documents of participants.
pub(super) const SHOWN: &str = "shown";
/// Maximum number of participants that a record of one call shows. Pages show the others.
pub(super) const SHOWN_MAX: i64 = 100;
/// Maximum number of participants that a record in a list of calls shows.
pub(super) const SHOWN_IN_LIST_MAX: i64 = 10;
/// Number of guests with a document after which a call gets no more of them; a batch of facts that
/// is being written may exceed it. Users with an account have no such bound.
const GUESTS_MAX: i64 = 5_000;
/// Maximum number of calls that lists show to a participant: the latest ones.
const CALLS_MAX: i64 = 5_000;

/// One user of a call, over all stays.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantRecord {
    /// User id: an ObjectId, or the text of a guest's id.
    #[serde(rename = "userId", with = "id")]
    pub user: UserId,
    /// Name of a guest or of an app's user. Users with an account have their name in `users`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Last role.
    #[serde(default = "participant")]
    pub role: Role,
    /// Time of the first join; `None` before it.
    #[serde(with = "maybe_date", default)]
    pub joined_at: Option<Timestamp>,
    /// Time of the last leave; `None` while the user is in the call.
    #[serde(with = "maybe_date", default)]
    pub left_at: Option<Timestamp>,
    /// Whether the user is in the call.
    #[serde(default, deserialize_with = "or_default")]
    pub is_connected: bool,
    /// Join id of the latest stay.
    #[serde(default)]
    pub connection_id: Option<String>,
    /// Time in the call, kept by the recorder. Records of the old Node.js backend have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub presence: Option<PresenceRecord>,
}

/// Time of one user in a call, over all stays and devices. Time on two devices at the same time
/// counts once. A reconnect within the grace period does not end a stay.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceRecord {
    /// Join ids of the open stays.
    #[serde(default, deserialize_with = "or_default")]
    pub open: Vec<String>,
    /// Time since which at least one stay is open.
    #[serde(with = "maybe_date", default)]
    pub since: Option<Timestamp>,
    /// Time in the call before `since`, in milliseconds.
    #[serde(default, deserialize_with = "number")]
    pub connected_ms: i64,
}

impl ParticipantRecord {
    /// Creates the entry of a user who has not joined yet.
    #[must_use]
    pub const fn expected(user: UserId, role: Role) -> Self {
        Self {
            user,
            name: None,
            role,
            joined_at: None,
            left_at: None,
            is_connected: false,
            connection_id: None,
            presence: None,
        }
    }

    /// Returns the time in the call in milliseconds. For a user who is in the call, the time counts
    /// until `until`.
    #[must_use]
    pub fn connected_ms(&self, until: Timestamp) -> i64 {
        let span = |from: Timestamp, to: Timestamp| to.0.saturating_sub(from.0).max(0);
        match (&self.presence, self.joined_at) {
            (Some(presence), _) => presence.connected_ms + presence.since.map_or(0, |since| span(since, until)),
            (None, Some(joined)) => span(joined, self.left_at.unwrap_or(until)),
            (None, None) => 0,
        }
    }
}

/// Public part of a user's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProfileRecord {
    /// `_id`.
    #[serde(rename = "_id", with = "id")]
    pub id: UserId,
    /// Display name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Address of a picture.
    #[serde(default)]
    pub avatar: Option<String>,
}

const fn participant() -> Role {
    Role::Participant
}

/// Numbers of participants of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParticipantCounts {
    /// Users with an account who joined.
    #[serde(default, deserialize_with = "number")]
    pub users: u64,
    /// Guests who joined and have a document.
    #[serde(default, deserialize_with = "number")]
    pub guests: u64,
    /// Joins of guests after the call had its most guests. They have no document.
    #[serde(default, deserialize_with = "number")]
    pub unlisted: u64,
}

/// Part of a call's record that decides how facts change its participants.
pub(super) struct CallState {
    guests: i64,
    /// Lines that the call has.
    pub(super) recorded: RecordedLines,
}

impl CallState {
    /// Returns whether a new guest gets a document.
    pub(super) const fn takes_guests(&self) -> bool {
        self.guests < GUESTS_MAX
    }
}

impl Records {
    /// Returns whether `user` hosts the call or took part in it.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn involves(&self, call: &CallRecord, user: &UserId) -> Result<bool, RecordsError> {
        if call.host == *user || call.participants.iter().any(|entry| entry.user == *user) {
            return Ok(true);
        }
        if call.has_list() {
            return Ok(false);
        }
        let own = doc! { "_id": document_id(&call.id, &full_name(&call.room, user)) };
        let found = self
            .run("involves", |db| async move { db.participants().find_one(own).projection(doc! { "_id": 1 }).await });
        Ok(found.await?.is_some())
    }

    /// Replaces the participants of a record, and their profiles, by those of one page, in the
    /// order of their first joins.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn show_participants(&self, call: &mut CallRecord, skip: u64, limit: u32) -> Result<(), RecordsError> {
        if call.has_list() {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let list = std::mem::take(&mut call.participants).into_iter();
            call.participants = list.skip(skip).take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        } else {
            let of_call = doc! { "callId": id_to_bson(call.id.as_str()) };
            let lists = self.for_lists();
            let found = lists.run("participants", |db| async move {
                let participants = db.participants();
                let find = participants.find(of_call).sort(doc! { "joinedAt": 1, "_id": 1 });
                let find = find.skip(skip).limit(i64::from(limit)).max_time(db.timeouts.operation);
                find.await?.try_collect::<Vec<_>>().await
            });
            let found = found.await?;
            call.participants = found.into_iter().filter_map(read).collect();
            call.mark_ended();
        }
        let ids = call.participants.iter().map(|entry| &entry.user).chain([&call.host]);
        let ids = ids.collect::<BTreeSet<_>>().into_iter();
        let forms: Vec<_> = ids.flat_map(|user| user_forms(&call.room, user)).collect();
        let found = self.run("profiles", |db| async move {
            let users = db.users.clone_with_type::<Document>();
            let find = users.find(doc! { "_id": { "$in": forms } }).projection(doc! { "name": 1, "avatar": 1 });
            find.await?.try_collect::<Vec<_>>().await
        });
        let found = found.await?;
        call.profiles = found.into_iter().filter_map(|user| deserialize_from_document(user).ok()).collect();
        Ok(())
    }

    /// Returns the ids of the latest calls that `user` took part in, in every form that an id can
    /// be stored in: at most 5,000 calls.
    pub(super) async fn joined_calls(&self, user: &str) -> Result<Vec<Bson>, RecordsError> {
        let of_user = doc! { "userId": id_to_bson(user), "guest": false };
        let lists = self.for_lists();
        let found = lists.run("joined_calls", |db| async move {
            let participants = db.participants();
            let find = participants.find(of_user).sort(doc! { "joinedAt": -1 }).limit(CALLS_MAX);
            let find = find.projection(doc! { "_id": 0, "callId": 1 }).max_time(db.timeouts.operation);
            find.await?.try_collect::<Vec<_>>().await
        });
        let found = found.await?;
        let forms = |document: &Document| match document.get("callId") {
            Some(Bson::ObjectId(id)) => id_forms(&id.to_hex()),
            Some(id) => vec![id.clone()],
            None => Vec::new(),
        };
        Ok(found.iter().flat_map(forms).collect())
    }

    /// Reads the state of the calls that facts change. The list of a call that still has one is
    /// moved to `participants` first. A call without a record has no state.
    pub(super) async fn states_of(&self, facts: &[&CallFact]) -> Result<HashMap<String, CallState>, RecordsError> {
        let ids: BTreeSet<_> = facts.iter().map(|fact| fact.call.as_str()).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let forms: Vec<_> = ids.into_iter().flat_map(id_forms).collect();
        let found = self.run("call_states", |db| async move {
            let find = db.calls.find(doc! { "_id": { "$in": forms } });
            let find =
                find.projection(doc! { "counts": 1, "hostId": 1, "lastFact": 1, "participants": 1, "recorded": 1 });
            find.await?.try_collect::<Vec<_>>().await
        });
        let found = found.await?;
        let mut states = HashMap::new();
        for call in found {
            let id = match call.get("_id") {
                Some(Bson::ObjectId(id)) => id.to_hex(),
                Some(Bson::String(id)) => id.clone(),
                _ => continue,
            };
            if call.get_array("participants").is_ok_and(|list| !list.is_empty())
                && let Ok(id) = CallId::parse(&id)
            {
                self.move_list(&id, &call).await?;
            }
            let counts: ParticipantCounts = call
                .get_document("counts")
                .ok()
                .and_then(|counts| deserialize_from_document(counts.clone()).ok())
                .unwrap_or_default();
            let recorded = call.get_document("recorded").ok().cloned().unwrap_or_default();
            let recorded = deserialize_from_document(recorded).unwrap_or_default();
            states.insert(id, CallState { guests: i64::try_from(counts.guests).unwrap_or(i64::MAX), recorded });
        }
        Ok(states)
    }

    /// Moves the list in a call's record to `participants`. Repeating it changes nothing.
    async fn move_list(&self, id: &CallId, call: &Document) -> Result<(), RecordsError> {
        let order = call.get_str("lastFact").ok();
        let entries = call.get_array("participants").into_iter().flatten();
        let hosts = |user: &UserId| id_forms(user.as_str()).iter().any(|form| call.get("hostId") == Some(form));
        let entries: Vec<_> = entries
            .filter_map(Bson::as_document)
            .cloned()
            .filter_map(read)
            // A host who has not joined is no participant yet.
            .filter(|entry| entry.joined_at.is_some() || !hosts(&entry.user))
            .collect();
        let updates = entries.iter().map(|entry| moved(id, entry, order)).collect::<Result<Vec<_>, _>>()?;
        for updates in updates.chunks(500) {
            let update = doc! {
                "update": PARTICIPANTS, "updates": updates.to_vec(), "ordered": true, "writeConcern": majority(),
            };
            let answer =
                self.run("move_participants", |db| async move { db.database.run_command(update).await }).await?;
            if let Some((_, error)) = write_errors(&answer)?.into_iter().next() {
                return Err(RecordsError::Unavailable(error.problem));
            }
        }
        let guests = entries.iter().filter(|entry| entry.user.is_guest()).count();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let counts = doc! { "users": number(entries.len() - guests), "guests": number(guests), "unlisted": 0_i64 };
        let present = i64::try_from(entries.iter().filter(|entry| entry.is_connected).count()).unwrap_or(0);
        let change = vec![
            doc! { "$set": {
                "counts": { "$ifNull": ["$counts", counts] }, "present": { "$ifNull": ["$present", present] },
            } },
            doc! { "$unset": "participants" },
        ];
        // If another recorder has written a fact since, the next batch moves the rest.
        let same = doc! { "_id": { "$in": id_forms(id.as_str()) }, "lastFact": order };
        self.run("move_participants", |db| async move { db.calls.update_one(same, change).await }).await?;
        tracing::info!(call_id = %id, participants = entries.len(), "participants moved out of the call's record");
        Ok(())
    }

    /// Returns the counts that the joins among these facts raise, by the ids of the facts.
    pub(super) async fn newcomers(&self, facts: &[&CallFact]) -> Result<HashMap<String, Newcomer>, RecordsError> {
        let joins = || {
            facts.iter().filter_map(|fact| match &fact.change {
                CallChange::Joined { who, .. } => Some((*fact, &who.user)),
                _ => None,
            })
        };
        let ids: BTreeSet<_> =
            joins().map(|(fact, user)| document_id(&fact.call, &full_name(&fact.room, user))).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let these = doc! { "_id": { "$in": ids.into_iter().collect::<Vec<_>>() } };
        let found = self.run("newcomers", |db| async move {
            db.participants().find(these).projection(doc! { "firstFact": 1 }).await?.try_collect::<Vec<_>>().await
        });
        let found = found.await?;
        let first: HashMap<_, _> = found
            .iter()
            .filter_map(|document| Some((document.get_str("_id").ok()?, document.get_str("firstFact").unwrap_or(""))))
            .collect();
        let raises = |fact: &CallFact, user: &UserId| match first
            .get(document_id(&fact.call, &full_name(&fact.room, user)).as_str())
        {
            Some(order) if *order != fact.order => None,
            Some(_) if user.is_guest() => Some(Newcomer::Guest),
            Some(_) => Some(Newcomer::User),
            None if user.is_guest() => Some(Newcomer::Unlisted),
            // The call has no record.
            None => None,
        };
        let newcomers: HashMap<_, _> =
            joins().filter_map(|(fact, user)| Some((fact.event_id.clone(), raises(fact, user)?))).collect();
        let unlisted = newcomers.values().filter(|newcomer| **newcomer == Newcomer::Unlisted).count();
        metrics::counter!("switchboard_unlisted_guests_total").increment(u64::try_from(unlisted).unwrap_or(0));
        Ok(newcomers)
    }

    /// Creates the indexes for the pages of a call's participants and for the calls of a user.
    pub(super) async fn ensure_participant_indexes(&self) -> Result<(), RecordsError> {
        let users = IndexOptions::builder().partial_filter_expression(doc! { "guest": false }).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "callId": 1, "joinedAt": 1, "_id": 1 }).build(),
            IndexModel::builder().keys(doc! { "userId": 1, "joinedAt": -1, "callId": 1 }).options(users).build(),
        ];
        self.run("indexes", |db| async move { db.participants().create_indexes(indexes).await }).await.map(drop)
    }

    fn participants(&self) -> mongodb::Collection<Document> {
        self.database.collection(PARTICIPANTS)
    }
}

/// Returns the stages that add the first participants of each call, in the field [`SHOWN`].
pub(super) fn with_participants(max: i64) -> [Document; 2] {
    // The old Node.js backend may have stored the call's id as text; documents of participants have
    // ids in one form.
    let id = doc! { "$convert": { "input": "$_id", "to": "objectId", "onError": "$_id" } };
    let first = vec![Bson::from(doc! { "$sort": { "joinedAt": 1, "_id": 1 } }), Bson::from(doc! { "$limit": max })];
    [
        doc! { "$set": { SHOWN: id } },
        doc! { "$lookup": {
            "from": PARTICIPANTS, "localField": SHOWN, "foreignField": "callId", "pipeline": first, "as": SHOWN,
        } },
    ]
}

/// Reads a participant. An invalid entry is logged and skipped, so that the call stays readable.
fn read(document: Document) -> Option<ParticipantRecord> {
    deserialize_from_document(document).inspect_err(|error| tracing::error!(%error, "invalid participant skipped")).ok()
}
