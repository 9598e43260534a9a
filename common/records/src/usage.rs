//! Usage of apps by day (UTC), in the collection `appusage`: what an app is billed by. It has no
//! data of users, so the deletion of a call does not change it. The app `default` has none.
//!
//! | field | content |
//! |---|---|
//! | `_id` | `<app>/<day>/<partition>`, for example `k3v9x2m4p7q1/2026-01-31/17` |
//! | `day` | start of the day; documents are deleted 400 days later |
//! | `participantMs` | time of ended stays on that day, in milliseconds |
//! | `joins`, `calls`, `recordedMessages` | counts of that day |
//! | `last` | position of the last counted fact |
//!
//! Facts of a partition are delivered at least once and in order. Position and sums are compared
//! and written in one atomic update, so a fact that comes again changes nothing. A document for
//! each partition keeps that order without a lock, and a query reads one for each partition and
//! day, however many calls there were.

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use switchboard_core::domain::time::DAY_MS;
use switchboard_core::domain::{AppId, Timestamp};

use super::fact::{CallChange, CallFact};
use super::{Records, RecordsError};

/// Name of the collection.
pub(super) const USAGE: &str = "appusage";
/// Days for which usage is kept. A longer stay counts for its last days only.
const RETENTION_DAYS: i64 = 400;

/// Usage of an app on one day, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AppUsage {
    /// Time that participants spent in calls, in milliseconds. Each device counts. A stay counts
    /// when it has ended, on the days on which it took place.
    pub participant_ms: u64,
    /// Stays that began.
    pub joins: u64,
    /// Calls that began: a participant joined first since the room was opened.
    pub calls: u64,
    /// Chat messages in calls whose chat is recorded.
    pub recorded_messages: u64,
}

impl AppUsage {
    /// Adds another usage.
    pub const fn add(&mut self, other: &Self) {
        self.participant_ms += other.participant_ms;
        self.joins += other.joins;
        self.calls += other.calls;
        self.recorded_messages += other.recorded_messages;
    }

    fn fields(&self) -> [(&'static str, i64); 4] {
        let number = |count| i64::try_from(count).unwrap_or(i64::MAX);
        [
            ("participantMs", number(self.participant_ms)),
            ("joins", number(self.joins)),
            ("calls", number(self.calls)),
            ("recordedMessages", number(self.recorded_messages)),
        ]
    }

    fn read(document: &Document) -> Self {
        let count = |field| document.get_i64(field).ok().and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        Self {
            participant_ms: count("participantMs"),
            joins: count("joins"),
            calls: count("calls"),
            recorded_messages: count("recordedMessages"),
        }
    }
}

impl Records {
    /// Counts facts, in their order, for the apps that they are of.
    pub(super) async fn count_usage(&self, facts: &[CallFact]) -> Result<(), RecordsError> {
        let mut counted: BTreeMap<String, (Timestamp, Vec<Document>)> = BTreeMap::new();
        for fact in facts.iter().filter(|fact| !fact.room.is_of_default_app()) {
            let (app, partition) = (fact.room.app(), fact.event_id.split(':').next().unwrap_or_default());
            for (day, usage) in usage_of(fact) {
                let id = format!("{}/{partition}", document_prefix(&app, day));
                let mut sums = doc! { "order": &fact.order };
                sums.extend(usage.fields().map(|(name, count)| (name.to_owned(), Bson::from(count))));
                counted.entry(id).or_insert((day, Vec::new())).1.push(sums);
            }
        }
        let updates = counted.into_iter().map(|(id, (day, counted))| (0, statement(&id, day, counted)));
        let applied = self.apply(USAGE, updates.collect()).await?;
        match applied.refused.into_iter().next() {
            None => Ok(()),
            // A fact whose usage cannot be counted becomes a dead fact: it is not lost silently.
            Some((_, problem)) => Err(RecordsError::Failed(problem)),
        }
    }

    /// Returns the usage of an app on each day from `first` to `last`, in order. Days without usage
    /// are left out.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn app_usage(
        &self,
        app: &AppId,
        (first, last): (Timestamp, Timestamp),
    ) -> Result<Vec<(Timestamp, AppUsage)>, RecordsError> {
        // `0` follows `/`, so that the range ends behind the last partition of the last day.
        let (from, to) = (format!("{}/", document_prefix(app, first)), format!("{}0", document_prefix(app, last)));
        let mut sums = doc! { "_id": "$day" };
        for (name, _) in AppUsage::default().fields() {
            sums.insert(name, doc! { "$sum": format!("${name}") });
        }
        let stages = [
            doc! { "$match": { "_id": { "$gte": from, "$lt": to } } },
            doc! { "$group": sums },
            doc! { "$sort": { "_id": 1 } },
        ];
        let lists = self.for_lists();
        let found = lists.run("app_usage", |db| async move {
            db.usage().aggregate(stages).max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        let read = |document: Document| {
            let day = Timestamp(document.get_datetime("_id").ok()?.timestamp_millis());
            Some((day, AppUsage::read(&document)))
        };
        Ok(found.await?.into_iter().filter_map(read).collect())
    }

    pub(super) async fn ensure_usage_indexes(&self) -> Result<(), RecordsError> {
        let retention = std::time::Duration::from_millis((RETENTION_DAYS * DAY_MS).unsigned_abs());
        let options = IndexOptions::builder().expire_after(retention).build();
        let index = IndexModel::builder().keys(doc! { "day": 1 }).options(options).build();
        self.run("indexes", |db| async move { db.usage().create_index(index).await }).await.map(drop)
    }

    fn usage(&self) -> Collection<Document> {
        self.database.collection(USAGE)
    }
}

fn document_prefix(app: &AppId, day: Timestamp) -> String {
    format!("{app}/{}", day.day_text())
}

/// Returns the statement that adds counted facts to a document, unless it has counted them before.
fn statement(id: &str, day: Timestamp, counted: Vec<Document>) -> Document {
    let last = counted.last().and_then(|sums| sums.get_str("order").ok()).unwrap_or_default().to_owned();
    let fresh = doc! { "$filter": {
        "input": { "$literal": counted },
        "cond": { "$gt": ["$$this.order", { "$ifNull": ["$last", ""] }] },
    } };
    let mut fields = doc! { "day": DateTime::from_millis(day.0), "last": { "$max": ["$last", last] } };
    for (name, _) in AppUsage::default().fields() {
        let before = doc! { "$ifNull": [format!("${name}"), 0_i64] };
        fields.insert(name, doc! { "$add": [before, { "$sum": format!("$$fresh.{name}") }] });
    }
    let fields = doc! { "$let": { "vars": { "fresh": fresh }, "in": fields } };
    doc! { "q": { "_id": id }, "u": [{ "$replaceWith": { "$mergeObjects": ["$$ROOT", fields] } }], "upsert": true }
}

/// Returns the usage that a fact proves, by day. A stay is over with its `left` fact, which knows
/// by the join id when the stay began; so no state is kept between the two.
fn usage_of(fact: &CallFact) -> Vec<(Timestamp, AppUsage)> {
    let today = |usage| vec![(fact.at.day_start(), usage)];
    match &fact.change {
        CallChange::Joined { first, .. } => {
            today(AppUsage { joins: 1, calls: u64::from(*first), ..AppUsage::default() })
        }
        CallChange::Chat(_) => today(AppUsage { recorded_messages: 1, ..AppUsage::default() }),
        CallChange::Left { who, .. } => {
            let began = who.join.split('-').next().and_then(|ms| ms.parse().ok()).map_or(fact.at, Timestamp);
            by_day(began, fact.at)
        }
        CallChange::Created(_)
        | CallChange::Denied { .. }
        | CallChange::Role { .. }
        | CallChange::Updated(_)
        | CallChange::Emptied
        | CallChange::Ended { .. }
        | CallChange::Reopened => Vec::new(),
    }
}

/// Splits a stay by day.
fn by_day(began: Timestamp, ended: Timestamp) -> Vec<(Timestamp, AppUsage)> {
    let earliest = Timestamp(ended.day_start().0 - (RETENTION_DAYS - 1) * DAY_MS);
    let (mut from, mut days) = (began.max(earliest), Vec::new());
    while from < ended {
        let day = from.day_start();
        let until = ended.min(Timestamp(day.0 + DAY_MS));
        days.push((day, AppUsage { participant_ms: (until.0 - from.0).unsigned_abs(), ..AppUsage::default() }));
        from = until;
    }
    days
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_stay_over_midnight_is_split_to_the_millisecond() {
        let days = by_day(at("2026-01-31T23:59:58.500Z"), at("2026-02-02T00:00:00.250Z"));
        let days: Vec<_> = days.iter().map(|(day, usage)| (day.day_text(), usage.participant_ms)).collect();
        let expected = [("2026-01-31", 1_500), ("2026-02-01", 86_400_000), ("2026-02-02", 250)];
        assert_eq!(days, expected.map(|(day, ms)| (day.to_owned(), ms)));
        assert_eq!(by_day(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")), []);
        assert_eq!(by_day(at("2026-01-02T00:00:00Z"), at("2026-01-01T00:00:00Z")), [], "clocks of two servers differ");
    }

    #[test]
    fn a_stay_counts_for_the_days_that_are_kept() {
        let days = by_day(Timestamp(1), at("2026-02-02T00:00:00.250Z"));
        assert_eq!(days.len(), 400);
        assert_eq!(days.iter().map(|(_, usage)| usage.participant_ms).sum::<u64>(), 399 * 86_400_000 + 250);
    }
}
