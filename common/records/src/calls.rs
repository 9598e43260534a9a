//! Queries on `videocalls`. The file has more than 400 lines, so that all queries on the collection
//! can be held against its indexes.

use futures_util::TryStreamExt;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc, serialize_to_document};
use mongodb::options::{Collation, ReturnDocument};

use super::bson::{date_to_bson, id_forms, user_to_bson};
use super::fact_updates::{emptied, minutes_of, periods_ms};
use super::participants::{SHOWN, SHOWN_IN_LIST_MAX, SHOWN_MAX, with_participants};
use super::{CallOrder, CallPosition, CallRecord, Records, RecordsError};
use switchboard_core::domain::{AppId, CallId, CallStatus, CallType, RoomId, Timestamp, UserId};

/// Text behind the room id of a call that gave it up. The call's id follows.
pub(super) const RELEASED: &str = ":";
/// Maximum number of calls of a host that lists show: the latest.
const OWN_MAX: i64 = 5_000;

/// First call of a page.
#[derive(Clone, Debug)]
pub enum PageStart {
    /// The call with this number of calls before it.
    Skip(u64),
    /// The call behind this position.
    After(CallPosition),
}

/// Calls that a list is about.
#[derive(Clone, Debug)]
pub enum CallsOf {
    /// Calls of an app, or of accounts, that a user hosts, takes part in or is invited to.
    User(AppId, UserId),
    /// All calls of an app.
    App(AppId),
}

/// Filter of a list of calls: calls that match every field that is set.
#[derive(Clone, Debug)]
pub struct CallFilter {
    /// Calls that are listed.
    pub of: CallsOf,
    /// Status of the calls.
    pub status: Option<CallStatus>,
    /// Type of the calls.
    pub call_type: Option<CallType>,
    /// Text in the title or the description, case-insensitive.
    pub search: Option<String>,
    /// Earliest and latest time of creation, inclusive.
    pub created: (Option<Timestamp>, Option<Timestamp>),
    /// Sort field, and whether the order is descending.
    pub order: (CallOrder, bool),
    /// First call of the page.
    pub start: PageStart,
    /// Maximum number of calls to return.
    pub limit: u32,
}

/// Page of a list of calls.
#[derive(Clone, Debug)]
pub struct CallPage {
    /// Calls of the page.
    pub calls: Vec<CallRecord>,
    /// Number of calls in the whole list.
    pub total: u64,
    /// Position of the last call of a full page.
    pub next: Option<CallPosition>,
}

/// Position of a sweep in calls that are sorted by a date.
///
/// The ids are part of it, because calls can have the same date. The sort cannot contain the id,
/// because the index has the date alone, and MongoDB would sort all calls for each page.
#[derive(Clone, Debug)]
pub struct SweepPosition {
    /// Date of the last call.
    date: DateTime,
    /// Ids of the calls of this date that were read.
    ids: Vec<Bson>,
}

impl SweepPosition {
    /// Returns the position behind a page of documents, which begins behind another position.
    fn of(page: &[Document], field: &str, before: Option<&Self>) -> Option<Self> {
        let date = *page.last()?.get_datetime(field).ok()?;
        let last = page.iter().filter(|document| document.get_datetime(field).is_ok_and(|at| *at == date));
        let earlier = before.filter(|before| before.date == date).map(|before| before.ids.clone());
        let ids = last.filter_map(|document| document.get("_id").cloned());
        Some(Self { date, ids: earlier.into_iter().flatten().chain(ids).collect() })
    }
}

impl Records {
    /// Returns a new id for a call.
    #[must_use]
    pub fn new_call_id() -> CallId {
        CallId::parse(&ObjectId::new().to_hex()).expect("24 hexadecimal digits are a valid call id")
    }

    /// Stores a new call.
    ///
    /// # Errors
    /// `Duplicate` if the room id is taken.
    pub async fn insert_call(&self, call: &CallRecord) -> Result<(), RecordsError> {
        self.ensure_unique().await?;
        let mut stored = serialize_to_document(call)?;
        stored.insert("hostId", user_to_bson(&call.room, &call.host));
        let invited: Vec<_> = call.invited.iter().map(|user| user_to_bson(&call.room, user)).collect();
        stored.insert("invitedUserIds", invited);
        stored.extend(app_of(&call.room));
        let id = stored.get("_id").cloned();
        self.run("insert_call", |db| async move { db.calls.insert_one(stored).await }).await?;
        let undo = async || {
            self.run("insert_call", |db| async move { db.calls.delete_one(doc! { "_id": id }).await }).await.map(drop)
        };
        self.confirm_unique(undo).await
    }

    /// Returns whether there is a call with this id, or was one that is deleted since.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn has_call(&self, id: &CallId) -> Result<bool, RecordsError> {
        let this = doc! { "_id": { "$in": id_forms(id.as_str()) } };
        let found =
            self.run("has_call", |db| async move { db.calls.find_one(this).projection(doc! { "_id": 1 }).await });
        Ok(found.await?.is_some())
    }

    /// Takes a room id from the call that has it, if that call is over, so that another call can
    /// have it. Returns whether a call gave it up. That call still shows it, and stays ended.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn release_room(&self, room: &RoomId) -> Result<bool, RecordsError> {
        let over: Vec<_> = CallStatus::ALL.into_iter().filter(|s| s.is_over()).map(CallStatus::as_str).collect();
        let held = doc! { "roomId": room.as_str(), "status": { "$in": over }, "deletedAt": Bson::Null };
        // No room id has a colon. The app comes first, because queries select by it.
        let given_up = doc! { "$concat": ["$roomId", RELEASED, { "$toString": "$_id" }] };
        let stages = vec![doc! { "$set": { "roomId": given_up } }];
        let released = self.run("release_room", |db| async move { db.calls.update_one(held, stages).await });
        Ok(released.await?.matched_count == 1)
    }

    /// Reads the call of a room, without its participants and profiles.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn call_by_room(&self, room: &RoomId) -> Result<Option<CallRecord>, RecordsError> {
        let of_room = doc! { "roomId": room.as_str(), "deletedAt": Bson::Null };
        let found = self.run("call_by_room", |db| async move {
            db.calls.find_one(of_room).projection(doc! { "participants": 0 }).await
        });
        let found = found.await?;
        found.map(CallRecord::read).transpose()
    }

    /// Reads the call of a room, with its first participants and their profiles, in one round trip.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn call_by_room_with_profiles(&self, room: &RoomId) -> Result<Option<CallRecord>, RecordsError> {
        self.call_with_profiles(doc! { "roomId": room.as_str() }).await
    }

    /// Reads a call of `app` by its id, with its first participants and their profiles, in one
    /// round trip. A call of another app does not exist for the caller.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn call(&self, app: &AppId, id: &CallId) -> Result<Option<CallRecord>, RecordsError> {
        let found = self.call_with_profiles(doc! { "_id": { "$in": id_forms(id.as_str()) } }).await?;
        Ok(found.filter(|call| call.room.app() == *app))
    }

    async fn call_with_profiles(&self, mut filter: Document) -> Result<Option<CallRecord>, RecordsError> {
        filter.insert("deletedAt", Bson::Null);
        let mut stages = vec![doc! { "$match": filter }, doc! { "$limit": 1 }];
        stages.extend(with_participants(SHOWN_MAX));
        stages.extend(with_profiles(SHOWN_MAX));
        self.documents("call", stages).await?.pop().map(CallRecord::read).transpose()
    }

    /// Reads a page of calls, with the first participants of each and their profiles, and the
    /// number of all calls. An invalid document is logged and skipped.
    ///
    /// The list has at most the 5,000 latest calls that the user hosts, the 5,000 latest that the
    /// user took part in and the 5,000 latest with an invitation; or the 5,000 latest of the app.
    /// So sorting and searching have a bound. The time of creation selects earlier calls of the
    /// host or of the app. MongoDB reads each of these calls once, or only its entry in the index,
    /// and the whole records of the page alone.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn list_calls(&self, filter: &CallFilter) -> Result<CallPage, RecordsError> {
        let by_title = filter.order.0 == CallOrder::Title;
        let (field, direction) = (filter.order.0.field(), if filter.order.1 { -1 } else { 1 });
        let (behind, skip) = match &filter.start {
            PageStart::Skip(skip) => (None, i64::try_from(*skip).unwrap_or(i64::MAX)),
            PageStart::After(position) => (Some(doc! { "$match": position.behind() }), 0),
        };
        let sort = doc! { "$sort": { field: direction, "_id": direction } };
        let page: Vec<_> = behind
            .into_iter()
            .chain([sort, doc! { "$skip": skip }, doc! { "$limit": i64::from(filter.limit) }])
            .chain([doc! { "$project": { "_id": 1 } }])
            .collect();

        let selection = selection(filter);
        let mut stages = match &filter.of {
            CallsOf::User(app, user) => self.own_calls((app, user), Some(OWN_MAX), &selection).await?,
            CallsOf::App(app) => selection.latest(doc! { "app": app.as_str() }, Some(OWN_MAX)),
        };
        // Two calls with one id are one call that was found in two ways.
        stages.push(doc! { "$group": { "_id": "$_id", field: { "$first": format!("${field}") } } });
        let count = vec![doc! { "$count": "total" }];
        let all = vec![doc! { "$group": { "_id": Bson::Null, "ids": { "$push": "$_id" }, "total": { "$sum": 1 } } }];
        stages.push(if by_title {
            doc! { "$facet": { "page": all } }
        } else {
            doc! { "$facet": { "page": page.clone(), "count": count } }
        });
        let found = self.for_lists().documents("own_calls", stages).await?.pop().unwrap_or_default();
        let rows = |name: &str| found.get_array(name).into_iter().flatten().filter_map(Bson::as_document);
        let total = rows("count").chain(rows("page")).find_map(|row| row.get_i32("total").ok()).unwrap_or(0);
        let ids: Vec<Bson> = if by_title {
            let own = rows("page").find_map(|row| row.get_array("ids").ok()).cloned().unwrap_or_default();
            self.sorted_by_title(own, page).await?
        } else {
            rows("page").filter_map(|row| row.get("_id").cloned()).collect()
        };
        self.page_of(ids, u64::from(total.unsigned_abs()), filter).await
    }

    /// Reads the calls of a page, in the order of their ids.
    async fn page_of(&self, ids: Vec<Bson>, total: u64, filter: &CallFilter) -> Result<CallPage, RecordsError> {
        let mut page = CallPage { calls: Vec::new(), total, next: None };
        if ids.is_empty() {
            return Ok(page);
        }
        let mut stages = vec![doc! { "$match": { "_id": { "$in": ids.clone() }, "deletedAt": Bson::Null } }];
        stages.extend(with_participants(SHOWN_IN_LIST_MAX));
        stages.extend(with_profiles(SHOWN_IN_LIST_MAX));
        let mut calls = self.for_lists().documents("list_calls", stages).await?;
        calls.sort_by_key(|call| ids.iter().position(|id| call.get("_id") == Some(id)));
        let is_full = usize::try_from(filter.limit).is_ok_and(|limit| ids.len() == limit);
        page.next = calls.last().and_then(|last| CallPosition::of(last, filter.order)).filter(|_| is_full);
        for document in calls {
            match CallRecord::read(document) {
                Ok(call) => page.calls.push(call),
                Err(error) => tracing::error!(%error, "invalid call record skipped in a list"),
            }
        }
        Ok(page)
    }

    /// Sorts calls by title with a collation, and returns the ids of one page. Only this query has
    /// the collation: with it, MongoDB would find no id that is text by another index.
    async fn sorted_by_title(&self, own: Vec<Bson>, page: Vec<Document>) -> Result<Vec<Bson>, RecordsError> {
        let stages: Vec<_> = [doc! { "$match": { "_id": { "$in": own } } }]
            .into_iter()
            .chain([doc! { "$project": { "title": 1 } }])
            .chain(page)
            .collect();
        let lists = self.for_lists();
        let sorted = lists.run("list_calls", |db| async move {
            let sort = db.calls.aggregate(stages).max_time(db.timeouts.operation).collation(title_collation());
            sort.await?.try_collect::<Vec<_>>().await
        });
        Ok(sorted.await?.into_iter().filter_map(|mut call| call.remove("_id")).collect())
    }

    /// Returns at most `max` scheduled calls with a date before `before`, the earliest first.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn unopened_calls(&self, before: Timestamp, max: u32) -> Result<Vec<(CallId, RoomId)>, RecordsError> {
        let of = (CallStatus::Scheduled, "scheduledAt");
        Ok(self.oldest_calls("unopened_calls", of, before, None, max).await?.0)
    }

    /// Returns at most `max` live calls whose record did not change since `before`, the longest
    /// unchanged first, from those behind a position. Invalid documents are skipped. Also returns
    /// the position of the last call; `None` if no further call may be behind it.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn unchanged_live_calls(
        &self,
        before: Timestamp,
        behind: Option<&SweepPosition>,
        max: u32,
    ) -> Result<(Vec<(CallId, RoomId)>, Option<SweepPosition>), RecordsError> {
        self.oldest_calls("unchanged_live_calls", (CallStatus::Live, "updatedAt"), before, behind, max).await
    }

    async fn oldest_calls(
        &self,
        operation: &'static str,
        (status, field): (CallStatus, &str),
        before: Timestamp,
        behind: Option<&SweepPosition>,
        max: u32,
    ) -> Result<(Vec<(CallId, RoomId)>, Option<SweepPosition>), RecordsError> {
        let mut dates = doc! { "$lt": date_to_bson(before) };
        let mut filter = doc! { "status": status.as_str(), "deletedAt": Bson::Null };
        if let Some(SweepPosition { date, ids }) = behind {
            dates.insert("$gte", *date);
            filter.insert("_id", doc! { "$nin": ids.clone() });
        }
        filter.insert(field, dates);
        let stages = vec![
            doc! { "$match": filter },
            doc! { "$sort": { field: 1 } },
            doc! { "$limit": i64::from(max) },
            doc! { "$project": { "participants": 0 } },
        ];
        let found = self.documents(operation, stages).await?;
        let is_full = usize::try_from(max).is_ok_and(|max| found.len() >= max);
        let position = SweepPosition::of(&found, field, behind).filter(|_| is_full);
        let read = found.into_iter().filter_map(|document| CallRecord::read(document).ok());
        Ok((read.map(|call| (call.id, call.room)).collect(), position))
    }

    /// Writes that a call ended at `at`: status, end and duration. A call that is over stays
    /// unchanged, because both the request that ends a call and the recorder write the end, in any
    /// order. Participants of a call that is over read as gone. Returns the call as it is then,
    /// without participants and profiles; `None` if there is none.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn end_call(&self, id: &CallId, at: Timestamp) -> Result<Option<CallRecord>, RecordsError> {
        let over = CallStatus::ALL.into_iter().filter(|status| !status.may_become(CallStatus::Ended));
        let is_over = doc! { "$in": ["$status", over.map(CallStatus::as_str).collect::<Vec<_>>()] };
        let last_ms = doc! { "$max": [0, { "$ifNull": [{ "$subtract": [date_to_bson(at), "$startedAt"] }, 0] }] };
        let all_ms = doc! { "$add": [{ "$sum": periods_ms() }, last_ms] };
        let end = doc! {
            "status": "ended",
            "endedAt": date_to_bson(at),
            "updatedAt": date_to_bson(at),
            "duration": minutes_of(all_ms),
            "present": 0_i64,
            "revision": { "$add": [{ "$ifNull": ["$revision", 0] }, 1] },
        };
        // One command also where another one was first, so that no read can miss its end.
        let mut set = Document::new();
        for (field, value) in end {
            let kept = format!("${field}");
            set.insert(field, doc! { "$cond": [is_over.clone(), kept, value] });
        }
        let (this, stages) = (doc! { "_id": { "$in": id_forms(id.as_str()) } }, vec![doc! { "$set": set }]);
        let stored = self.run("end_call", |db| async move {
            let update = db.calls.find_one_and_update(this, stages).projection(doc! { "participants": 0 });
            update.return_document(ReturnDocument::After).await
        });
        stored.await?.map(CallRecord::read).transpose()
    }

    /// Writes that the room of a live call closed empty before the call had taken place.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn empty_call(&self, id: &CallId, at: Timestamp) -> Result<(), RecordsError> {
        let mut stages = emptied();
        stages.push(doc! { "updatedAt": date_to_bson(at) });
        let stages: Vec<_> = stages.into_iter().map(|stage| doc! { "$set": stage }).collect();
        let filter = doc! { "_id": { "$in": id_forms(id.as_str()) } };
        self.run("empty_call", |db| async move { db.calls.update_one(filter, stages).await }).await.map(drop)
    }

    pub(super) async fn documents(
        &self,
        operation: &'static str,
        stages: Vec<Document>,
    ) -> Result<Vec<Document>, RecordsError> {
        // The time limit holds on the server too: it would go on after this process gave up.
        let all = self.run(operation, |db| async move {
            db.calls.aggregate(stages).max_time(db.timeouts.operation).await?.try_collect().await
        });
        all.await
    }

    /// Returns the stages that read the calls that a user hosts, at most `max`, took part in or is
    /// invited to, each at most 5,000. A call can be found several times.
    pub(super) async fn own_calls(
        &self,
        (app, user): (&AppId, &UserId),
        max: Option<i64>,
        selection: &Selection,
    ) -> Result<Vec<Document>, RecordsError> {
        let name = app.user(user);
        let ids = doc! { "$in": id_forms(&name) };
        let latest = |field: &str, max: Option<i64>| selection.latest(doc! { field: ids.clone() }, max);
        let union = |stages: Vec<Document>| {
            let stages: Vec<_> = stages.into_iter().map(Bson::from).collect();
            doc! { "$unionWith": { "coll": self.calls.name(), "pipeline": stages } }
        };
        let joined = self.joined_calls(&name).await?;
        let mut stages = latest("hostId", max);
        // Calls of the old Node.js backend and of earlier versions have their participants in the
        // record.
        stages.push(union(latest("participants.userId", Some(OWN_MAX))));
        if selection.invited {
            stages.push(union(latest("invitedUserIds", Some(OWN_MAX))));
        }
        if !joined.is_empty() {
            let mut taken_part =
                vec![doc! { "$match": { "$and": selection.created(doc! { "_id": { "$in": joined } }) } }];
            taken_part.extend(selection.stages());
            stages.push(union(taken_part));
        }
        Ok(stages)
    }
}

/// Conditions on a user's calls, and the fields that are read of each.
pub(super) struct Selection {
    created: Vec<Document>,
    conditions: Vec<Document>,
    fields: Document,
    invited: bool,
}

impl Selection {
    /// Selects all calls except those that the user is only invited to, with these fields.
    pub(super) fn of_fields(fields: Document) -> Self {
        let conditions = vec![doc! { "deletedAt": Bson::Null }];
        Self { created: Vec::new(), conditions, fields, invited: false }
    }

    fn created(&self, first: Document) -> Vec<Document> {
        std::iter::once(first).chain(self.created.clone()).collect()
    }

    /// Returns the stages that read the latest of `these` calls, at most `max`.
    fn latest(&self, these: Document, max: Option<i64>) -> Vec<Document> {
        let mut stages = vec![doc! { "$match": { "$and": self.created(these) } }];
        if let Some(max) = max {
            stages.extend([doc! { "$sort": { "createdAt": -1 } }, doc! { "$limit": max }]);
        }
        stages.extend(self.stages());
        stages
    }

    fn stages(&self) -> [Document; 2] {
        [doc! { "$match": { "$and": self.conditions.clone() } }, doc! { "$project": self.fields.clone() }]
    }
}

/// Returns the field of a record by which the calls of an app are found. Calls of accounts have
/// none.
pub(super) fn app_of(room: &RoomId) -> Option<(String, Bson)> {
    (!room.is_of_default_app()).then(|| ("app".to_owned(), room.app().as_str().into()))
}

/// Returns the conditions on the time of creation.
fn created(filter: &CallFilter) -> Vec<Document> {
    let (from, to) = filter.created;
    let from = from.map(|from| doc! { "createdAt": { "$gte": date_to_bson(from) } });
    from.into_iter().chain(to.map(|to| doc! { "createdAt": { "$lte": date_to_bson(to) } })).collect()
}

/// Returns the conditions of a list. Its pages need the sort field of each call.
fn selection(filter: &CallFilter) -> Selection {
    let mut conditions = vec![doc! { "deletedAt": Bson::Null }];
    if let Some(status) = filter.status {
        conditions.push(doc! { "status": status.as_str() });
    }
    if let Some(call_type) = filter.call_type {
        conditions.push(doc! { "type": text_of(call_type) });
    }
    if let Some(search) = &filter.search {
        let pattern = doc! { "$regex": escaped(search), "$options": "i" };
        conditions.push(doc! { "$or": [{ "title": pattern.clone() }, { "description": pattern }] });
    }
    // Only the second query sorts by title.
    let fields = if filter.order.0 == CallOrder::Title {
        doc! { "_id": 1 }
    } else {
        doc! { filter.order.0.field(): 1 }
    };
    Selection { created: created(filter), conditions, fields, invited: true }
}

/// Returns the order in which people sort titles: letters of all scripts, capital letters beside
/// small ones, numbers by their value.
pub(super) fn title_collation() -> Collation {
    Collation::builder().locale("en").numeric_ordering(true).build()
}

fn text_of(value: impl serde::Serialize) -> Bson {
    mongodb::bson::serialize_to_bson(&value).unwrap_or(Bson::Null)
}

/// Escapes a text for a regular expression. ASCII letters, ASCII digits, spaces and all other
/// characters outside ASCII stay as they are.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && c != ' ' {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// Returns the stages that add the public profiles of the host and of the first participants, in
/// the field `people`.
fn with_profiles(max: i64) -> [Document; 2] {
    let listed = doc! { "$slice": [{ "$ifNull": ["$participants.userId", []] }, max] };
    let ids = doc! { "$setUnion": [["$hostId"], listed, { "$ifNull": [format!("${SHOWN}.userId"), []] }] };
    // The old Node.js backend stored ids as text or as ObjectId, here and in `users`: look up both
    // forms.
    let as_object = doc! { "$map": { "input": ids.clone(), "as": "id", "in": { "$convert": {
        "input": "$$id", "to": "objectId", "onError": "$$id", "onNull": Bson::Null,
    } } } };
    let as_text = doc! { "$map": { "input": ids.clone(), "as": "id", "in": { "$toString": "$$id" } } };
    let ids = doc! { "$setUnion": [ids, as_object, as_text] };
    let public = vec![Bson::from(doc! { "$project": { "name": 1, "avatar": 1 } })];
    [
        doc! { "$set": { "people": ids } },
        doc! { "$lookup": {
            "from": "users", "localField": "people", "foreignField": "_id", "pipeline": public, "as": "people",
        } },
    ]
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_search_text_is_never_a_pattern() {
        assert_eq!(escaped("a.*(b"), "a\\.\\*\\(b");
        assert_eq!(escaped("größe 1"), "größe 1");
    }
}
