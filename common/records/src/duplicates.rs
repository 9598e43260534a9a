//! Documents with one value where each needs its own. Only a database that was without its unique
//! indexes for a time has them, for example after a restore.

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, doc};

use super::{Records, RecordsError};

/// Most groups that are found at a time.
const GROUPS_MAX: i32 = 1_000;

/// Fields with a unique index: collection and field.
const UNIQUE: [(&str, &str); 2] = [("users", "email"), ("videocalls", "roomId")];

/// Documents with one value of a unique field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// Collection of the documents.
    pub collection: &'static str,
    /// Field that has the same value in all of them.
    pub field: &'static str,
    /// The value.
    pub value: String,
    /// Ids of the documents, the oldest first.
    pub ids: Vec<String>,
    stored_ids: Vec<Bson>,
}

impl Records {
    /// Finds documents with one value of a unique field: up to 1,000 values of each field. Reads
    /// whole collections, so it has no time limit, and is for commands of operators alone.
    ///
    /// # Errors
    /// MongoDB is unavailable, or refuses the operation.
    pub async fn duplicates(&self) -> Result<Vec<Duplicates>, RecordsError> {
        let mut found = Vec::new();
        for (collection, field) in UNIQUE {
            let documents = self.database.collection::<Document>(collection);
            // An id without a creation time is older than any other.
            let group = doc! {
                "_id": format!("${field}"), "documents": { "$push": { "id": "$_id", "at": "$createdAt" } },
                "count": { "$sum": 1 },
            };
            let steps = [
                doc! { "$match": { field: { "$type": "string" } } },
                doc! { "$group": group },
                doc! { "$match": { "count": { "$gt": 1 } } },
                doc! { "$sort": { "_id": 1 } },
                doc! { "$limit": GROUPS_MAX },
            ];
            let mut groups = documents.aggregate(steps).allow_disk_use(true).await?;
            while let Some(group) = groups.try_next().await? {
                found.extend(Duplicates::read(collection, field, &group));
            }
        }
        Ok(found)
    }

    /// Leaves the value to the oldest document, and gives each other one a value of its own:
    /// `duplicate-ID`, and for e-mail addresses `duplicate-ID@duplicate.invalid`. Nothing is
    /// removed. Returns the ids of the documents that it changed.
    ///
    /// # Errors
    /// MongoDB is unavailable, or refuses the operation.
    pub async fn settle(&self, duplicates: &Duplicates) -> Result<Vec<String>, RecordsError> {
        let Duplicates { collection, field, value, ids, stored_ids } = duplicates;
        let documents = self.database.collection::<Document>(collection);
        let mut changed = Vec::new();
        for (id, stored_id) in ids.iter().zip(stored_ids).skip(1) {
            let own = format!("duplicate-{id}");
            let own = if *field == "email" { format!("{own}@duplicate.invalid") } else { own };
            let this = doc! { "_id": stored_id, *field: value };
            if documents.update_one(this, doc! { "$set": { *field: own } }).await?.matched_count > 0 {
                changed.push(id.clone());
            }
        }
        Ok(changed)
    }
}

impl Duplicates {
    fn read(collection: &'static str, field: &'static str, group: &Document) -> Option<Self> {
        let value = group.get_str("_id").ok()?.to_owned();
        let documents = group.get_array("documents").ok()?.iter().filter_map(Bson::as_document);
        let mut ids: Vec<_> = documents
            .filter_map(|document| Some((document.get_datetime("at").ok().copied(), document.get("id")?.clone())))
            .collect();
        ids.sort_by_key(|(at, _)| *at);
        let stored_ids: Vec<_> = ids.into_iter().map(|(_, id)| id).collect();
        let text = |id: &Bson| id.as_object_id().map_or_else(|| id.to_string(), |id| id.to_hex());
        Some(Self { collection, field, value, ids: stored_ids.iter().map(text).collect(), stored_ids })
    }
}
