//! Schema version of the documents, and the way from one version to the next.
//!
//! The collection `meta` has one document about it:
//!
//! | field | content |
//! |---|---|
//! | `_id` | `schema` |
//! | `version` | version of the documents; a database without this document has version 1 |
//! | `position` | last document that the next migration has read; absent before its first batch |
//! | `owner`, `leaseUntil` | pod that migrates, by MongoDB's clock |
//!
//! A program of version N reads documents of the versions N - 1 to N + 1, so that the versions
//! before and after a rollout can run at the same time. It refuses any later version. A migration
//! from N to N + 1 therefore leaves nothing that a program of version N cannot read.
//!
//! One pod migrates at a time. A batch is written before its position, both with majority write
//! concern. So after the death of a pod, or of the primary, the next pod continues at the position
//! and repeats one batch at most. A repetition changes nothing, because a migrated document is not
//! selected again.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::Collection;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, Document, deserialize_from_document, doc};
use mongodb::options::{CollectionOptions, Hint, ReturnDocument, WriteConcern};
use serde::Deserialize;

use super::bson::number;
use super::migrations::{Change, MIGRATIONS, Migration};
use super::{Records, RecordsError};

const META: &str = "meta";
const SCHEMA: &str = "schema";
/// Documents that a migration reads by one command. Their ids come from the index.
const BATCH: i64 = 500;
/// How long a pod that migrates may be silent. Longer than an operation can take.
const LEASE: Duration = Duration::from_secs(30);

/// The schema version that this program writes, and its migrations. Clone it for tasks of one
/// process: all have the same lease.
#[derive(Clone)]
pub struct Schema {
    records: Records,
    migrations: &'static [Migration],
    lease: Duration,
    owner: String,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(deserialize_with = "number")]
    version: u32,
}

impl Schema {
    /// Prepares the check. It uses the connections of the recorder.
    #[must_use]
    pub fn new(records: &Records) -> Self {
        let owner = ObjectId::new().to_hex();
        Self { records: records.for_recording(), migrations: MIGRATIONS, lease: LEASE, owner }
    }

    /// Returns the version of the documents.
    ///
    /// # Errors
    /// `SchemaTooNew`: this program does not read them. MongoDB is unavailable, or the document of
    /// the version is invalid.
    pub async fn check(&self) -> Result<u32, RecordsError> {
        let found = self.records.run("schema", |db| async move { db.meta().find_one(doc! { "_id": SCHEMA }).await });
        let version = match found.await? {
            Some(stored) => deserialize_from_document::<Stored>(stored)?.version,
            None => 1,
        };
        metrics::gauge!("switchboard_schema_version").set(version);
        let newest_readable = self.own_version() + 1;
        if version > newest_readable {
            return Err(RecordsError::SchemaTooNew { found: version, newest_readable });
        }
        Ok(version)
    }

    /// Migrates the documents to the version of this program, if they have an earlier one. `report`
    /// gets a sentence about the progress after each batch.
    ///
    /// # Errors
    /// `Migrating`: another pod migrates them. Or as [`Schema::check`]. Repeat the call.
    pub async fn ensure(&self, report: impl Fn(String)) -> Result<(), RecordsError> {
        self.mark().await?;
        loop {
            let version = self.check().await?;
            if version >= self.own_version() {
                return Ok(());
            }
            self.migrate(version, &report).await?;
        }
    }

    fn own_version(&self) -> u32 {
        u32::try_from(self.migrations.len()).map_or(1, |count| count + 1)
    }

    /// Stores version 1 in a database without a version.
    async fn mark(&self) -> Result<(), RecordsError> {
        let (this, first) = (doc! { "_id": SCHEMA }, doc! { "$setOnInsert": { "version": 1_i64 } });
        let marked =
            self.records.run("schema", |db| async move { db.meta().update_one(this, first).upsert(true).await });
        match marked.await {
            // Another pod inserted it at the same moment.
            Ok(_) | Err(RecordsError::Duplicate) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Migrates the documents from one version to the next.
    async fn migrate(&self, from: u32, report: &impl Fn(String)) -> Result<(), RecordsError> {
        let index = usize::try_from(from).ok().and_then(|from| from.checked_sub(1));
        let migration = index.and_then(|index| self.migrations.get(index));
        let migration = migration.ok_or_else(|| RecordsError::Corrupt(format!("schema version {from}")))?;
        let mut position = self.hold(from, None).await?;
        tracing::info!(
            version = from + 1,
            migration = migration.name,
            resumed = position.is_some(),
            "migrating documents"
        );
        if let Some(change) = &migration.change {
            let mut read = 0;
            while let Some((last, count)) = self.change_batch(change, position.as_ref()).await? {
                read += count;
                position = self.hold(from, Some(last)).await?;
                report(format!("migrating the documents to schema version {}: {read} read so far", from + 1));
            }
        }
        self.finish(from).await?;
        tracing::info!(version = from + 1, migration = migration.name, "documents migrated");
        Ok(())
    }

    /// Takes or renews the lease, and stores the position if there is one. Returns the stored
    /// position.
    async fn hold(&self, from: u32, position: Option<Bson>) -> Result<Option<Bson>, RecordsError> {
        let free = doc! { "$or": [
            { "$eq": ["$owner", &self.owner] },
            { "$lte": [{ "$ifNull": ["$leaseUntil", "$$NOW"] }, "$$NOW"] },
        ] };
        let this = doc! { "_id": SCHEMA, "version": i64::from(from), "$expr": free };
        let lease_ms = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        let mut set = doc! { "owner": &self.owner, "leaseUntil": { "$add": ["$$NOW", lease_ms] } };
        set.extend(position.map(|id| doc! { "position": { "$literal": id } }).unwrap_or_default());
        let held = self.records.run("schema", |db| async move {
            let meta = db.meta();
            meta.find_one_and_update(this, vec![doc! { "$set": set }]).return_document(ReturnDocument::After).await
        });
        let held = held.await?.ok_or(RecordsError::Migrating(from + 1))?;
        Ok(held.get("position").cloned())
    }

    /// Changes the next documents in the order of their ids. Returns the id of the last one and
    /// their number; `None` at the end.
    async fn change_batch(
        &self,
        change: &Change,
        position: Option<&Bson>,
    ) -> Result<Option<(Bson, usize)>, RecordsError> {
        let (collection, min) = (change.collection, position.map(|id| doc! { "_id": id }));
        let found = self.records.run("migrate", |db| async move {
            let documents = db.durable(collection);
            let by_id = doc! { "_id": 1 };
            let mut find = documents.find(doc! {}).projection(by_id.clone()).sort(by_id.clone()).limit(BATCH);
            // `$gt` would find ids of the position's own type alone. The bound of the index finds
            // all, the position included.
            if let Some(min) = min {
                find = find.hint(Hint::Keys(by_id)).min(min).limit(BATCH + 1);
            }
            find.await?.try_collect::<Vec<_>>().await
        });
        let ids = found.await?.into_iter().filter_map(|mut found| found.remove("_id"));
        let ids: Vec<_> = ids.filter(|id| Some(id) != position).collect();
        let Some(last) = ids.last().cloned() else { return Ok(None) };
        let (count, update) = (ids.len(), (change.update)());
        let mut these = (change.pending)();
        these.insert("_id", doc! { "$in": ids });
        let changed =
            self.records.run("migrate", |db| async move { db.durable(collection).update_many(these, update).await });
        metrics::counter!("switchboard_migrated_documents_total").increment(changed.await?.modified_count);
        Ok(Some((last, count)))
    }

    /// Stores the next version, and gives the lease back.
    async fn finish(&self, from: u32) -> Result<(), RecordsError> {
        let this = doc! { "_id": SCHEMA, "version": i64::from(from), "owner": &self.owner };
        let done = doc! {
            "$set": { "version": i64::from(from) + 1 }, "$unset": { "position": "", "owner": "", "leaseUntil": "" },
        };
        let stored = self.records.run("schema", |db| async move { db.meta().update_one(this, done).await });
        if stored.await?.matched_count == 0 {
            // The lease had expired, and another pod has it.
            return Err(RecordsError::Migrating(from + 1));
        }
        Ok(())
    }
}

impl Records {
    fn meta(&self) -> Collection<Document> {
        self.durable(META)
    }

    /// Returns a collection whose writes survive the loss of the primary.
    fn durable(&self, name: &str) -> Collection<Document> {
        let options = CollectionOptions::builder().write_concern(WriteConcern::majority()).build();
        self.database.collection_with_options(name, options)
    }
}

#[cfg(test)]
mod tests;
