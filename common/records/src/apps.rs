//! Apps and their API keys, in the collection `apps`: one document for each app, with its keys. So
//! one read finds every change of apps and keys.
//!
//! | field | content |
//! |---|---|
//! | `_id`, `name` | id; name for operators |
//! | `disabled` | no key of the app is accepted |
//! | `limits` | limits, by their names; those that are missing are none |
//! | `origins` | web origins of the app's pages, as operators write them; none: any |
//! | `keys` | API keys, with encrypted secrets |
//! | `identitySources` | other sign-ins of its users; issuer and audience are unique over all apps |
//! | `webhooks` | webhooks (`app_webhooks`) |
//! | `createdAt` | time of creation |
//! | `changedAt` | time of the last change, by MongoDB's clock |
//! | `deletedAt` | time of deletion; the document is kept for a week, so that every pod reads it |

use futures_util::TryStreamExt as _;
use mongodb::bson::{Bson, Document, deserialize_from_document, doc, serialize_to_bson, serialize_to_document};
use mongodb::options::{IndexOptions, ReturnDocument};
use mongodb::{Collection, IndexModel};
use serde::{Deserialize, Serialize};

use super::app_webhooks::AppWebhookRecord;
use super::bson::{date, date_to_bson, epoch, maybe_date, or_default};
use super::facts::write_errors;
use super::{DELETED_CALL_RETENTION, Records, RecordsError};
use switchboard_core::domain::{AppId, AppKeyId, AppLimit, AppLimits, AppScope, IdentitySource, Timestamp};

/// Name of the collection.
const APPS: &str = "apps";
/// Maximum number of apps. Pods keep all keys of all apps in memory.
pub const APPS_MAX: u64 = 1_000;
/// Maximum number of keys of one app, revoked ones included.
pub const APP_KEYS_MAX: usize = 20;
/// Field of the identity sources.
const SOURCES: &str = "identitySources";
/// Time in milliseconds for which a revoked key is kept, so that its use has a code of its own.
const REVOKED_RETENTION_MS: i64 = 30 * 24 * 3600 * 1000;
/// Time in milliseconds by which a read of changes goes back before the last change that was read:
/// longer than the clocks of two primaries differ, and than a write takes to be seen.
const OVERLAP_MS: i64 = 60_000;

/// App: a customer of the deployment, with users and calls of its own. The struct has more than
/// eight fields: those of the document.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppRecord {
    /// `_id`.
    #[serde(rename = "_id")]
    pub id: AppId,
    /// Name, for operators.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Whether no key of the app is accepted.
    #[serde(default, deserialize_with = "or_default")]
    pub disabled: bool,
    /// Limits.
    #[serde(default, deserialize_with = "or_default")]
    pub limits: AppLimits,
    /// Web origins on whose pages user tokens are accepted: entries as of `ALLOWED_ORIGINS`. Empty:
    /// on all pages.
    #[serde(default, deserialize_with = "or_default")]
    pub origins: Vec<String>,
    /// API keys, the oldest first.
    #[serde(default, deserialize_with = "or_default")]
    pub keys: Vec<AppKeyRecord>,
    /// Other sign-ins whose tokens identify users of the app.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub identity_sources: Vec<IdentitySource>,
    /// Webhooks, the oldest first.
    #[serde(default, deserialize_with = "or_default")]
    pub webhooks: Vec<AppWebhookRecord>,
    /// Time of creation.
    #[serde(with = "date", default = "epoch")]
    pub created_at: Timestamp,
    /// Time of the last change, by MongoDB's clock.
    #[serde(with = "date", default = "epoch")]
    pub changed_at: Timestamp,
    /// Time of deletion.
    #[serde(with = "maybe_date", default)]
    pub deleted_at: Option<Timestamp>,
}

/// API key of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppKeyRecord {
    /// Public id.
    pub id: AppKeyId,
    /// Encrypted secret.
    pub sealed: String,
    /// What the key may do.
    pub scopes: Vec<AppScope>,
    /// Time of creation.
    #[serde(with = "date", default = "epoch")]
    pub created_at: Timestamp,
    /// Time of the last use. See [`Records::note_key_uses`].
    #[serde(with = "maybe_date", default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Timestamp>,
    /// Time of revocation.
    #[serde(with = "maybe_date", default)]
    pub revoked_at: Option<Timestamp>,
}

/// Change of an app. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct AppEdit {
    /// Name.
    pub name: Option<String>,
    /// Whether no key of the app is accepted.
    pub disabled: Option<bool>,
    /// Limits to set, or to remove (`None`). The others stay.
    pub limits: Vec<(AppLimit, Option<u32>)>,
    /// Identity sources, all of them.
    pub identity_sources: Option<Vec<IdentitySource>>,
    /// Web origins, in place of those of before.
    pub origins: Option<Vec<String>>,
}

impl Records {
    /// Stores a new app. Returns false if there are [`APPS_MAX`] apps; requests at the same moment
    /// may exceed it by their number.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn create_app(&self, app: &AppRecord) -> Result<bool, RecordsError> {
        let count = self.run("count_apps", |db| async move { db.apps().count_documents(present()).await }).await?;
        if count >= APPS_MAX {
            return Ok(false);
        }
        let fields = serialize_to_document(app)?;
        // An update, because only an update has the time of MongoDB's clock.
        let change = doc! { "$setOnInsert": without(fields, "changedAt"), "$currentDate": { "changedAt": true } };
        let this = doc! { "_id": app.id.as_str() };
        self.run("create_app", |db| async move { db.apps().update_one(this, change).upsert(true).await }).await?;
        Ok(true)
    }

    /// Returns an app that is not deleted.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn app(&self, id: &AppId) -> Result<Option<AppRecord>, RecordsError> {
        let this = one(id);
        let found = self.run("app", |db| async move { db.apps().find_one(this).await }).await?;
        Ok(found.map(deserialize_from_document).transpose()?)
    }

    /// Returns at most `limit` apps in the order of their ids, from the one after `after`.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn apps_after(&self, after: Option<&AppId>, limit: u32) -> Result<Vec<AppRecord>, RecordsError> {
        let mut these = present();
        these.extend(after.map(|after| doc! { "_id": { "$gt": after.as_str() } }).unwrap_or_default());
        let found = self.run("apps", |db| async move {
            db.apps().find(these).sort(doc! { "_id": 1 }).limit(i64::from(limit)).await?.try_collect::<Vec<_>>().await
        });
        Ok(found.await?.into_iter().map(deserialize_from_document).collect::<Result<_, _>>()?)
    }

    /// Returns every app that changed since `since`, deleted ones included, in any order; some that
    /// changed shortly before too. `None` returns all.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn changed_apps(&self, since: Option<Timestamp>) -> Result<Vec<AppRecord>, RecordsError> {
        let these = since.map_or_else(Document::new, |since| {
            doc! { "changedAt": { "$gte": date_to_bson(Timestamp(since.0 - OVERLAP_MS)) } }
        });
        let found = self.run("changed_apps", |db| async move {
            db.apps().find(these).max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        let read = |app: Document| match deserialize_from_document(app) {
            Ok(app) => Some(app),
            Err(error) => {
                tracing::error!(%error, "invalid app skipped");
                None
            }
        };
        Ok(found.await?.into_iter().filter_map(read).collect())
    }

    /// Returns the apps, without `except`, that have an identity source with one of these issuers.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn apps_with_issuers(&self, issuers: &[&str], except: &AppId) -> Result<Vec<AppRecord>, RecordsError> {
        let mut these = present();
        these.insert("identitySources.issuer", doc! { "$in": issuers });
        these.insert("_id", doc! { "$ne": except.as_str() });
        let found = self.run("apps_with_issuers", |db| async move {
            db.apps().find(these).max_time(db.timeouts.operation).await?.try_collect::<Vec<_>>().await
        });
        Ok(found.await?.into_iter().map(deserialize_from_document).collect::<Result<_, _>>()?)
    }

    /// Changes an app. Returns the app as it is then; `None` if there is none.
    ///
    /// # Errors
    /// `Duplicate`: another app has an identity source with the same issuer and audience. Or
    /// MongoDB is unavailable.
    pub async fn edit_app(&self, id: &AppId, edit: &AppEdit) -> Result<Option<AppRecord>, RecordsError> {
        let (mut set, mut unset) = (Document::new(), Document::new());
        set.extend(edit.name.as_ref().map(|name| doc! { "name": name }).unwrap_or_default());
        set.extend(edit.disabled.map(|disabled| doc! { "disabled": disabled }).unwrap_or_default());
        set.extend(edit.origins.as_ref().map(|origins| doc! { "origins": origins }).unwrap_or_default());
        for (limit, most) in &edit.limits {
            let field = format!("limits.{}", limit.as_str());
            match most {
                Some(most) => set.insert(field, i64::from(*most)),
                None => unset.insert(field, ""),
            };
        }
        match edit.identity_sources.as_deref() {
            None => {}
            // An empty list would have an entry of its own in the unique index.
            Some([]) => drop(unset.insert(SOURCES, "")),
            Some(sources) => {
                set.insert(SOURCES, serialize_to_bson(sources)?);
                self.ensure_unique().await?;
            }
        }
        let has_sources = set.contains_key(SOURCES);
        let changes = [("$set", set), ("$unset", unset)].into_iter().filter(|(_, fields)| !fields.is_empty());
        let change = changes.map(|(operator, fields)| (operator.to_owned(), Bson::from(fields))).collect();
        let changed = self.change_app("edit_app", one(id), change).await?;
        if has_sources {
            let remove = doc! { "$unset": { SOURCES: "" } };
            self.confirm_unique(async || self.change_app("edit_app", one(id), remove.clone()).await.map(drop)).await?;
        }
        Ok(changed)
    }

    /// Deletes an app with its keys and webhooks. Events that wait for them are not sent. Returns
    /// whether there was one. Its calls stay.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn delete_app(&self, id: &AppId, now: Timestamp) -> Result<bool, RecordsError> {
        // Another app may have the issuers from now on.
        let change = doc! {
            "$set": { "deletedAt": date_to_bson(now), "keys.$[].sealed": "", "webhooks": [] },
            "$unset": { SOURCES: "" },
        };
        let webhooks = self.app(id).await?.map(|app| app.webhooks).unwrap_or_default();
        let deleted = self.change_app("delete_app", one(id), change).await?.is_some();
        for webhook in webhooks.iter().filter(|_| deleted) {
            self.drop_queues(webhook.id.as_str()).await;
        }
        Ok(deleted)
    }

    /// Adds a key. Removes keys that were revoked a month ago. Returns false if there is no such
    /// app, or the app has [`APP_KEYS_MAX`] keys.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn add_app_key(&self, id: &AppId, key: &AppKeyRecord) -> Result<bool, RecordsError> {
        let old = date_to_bson(Timestamp(key.created_at.0 - REVOKED_RETENTION_MS));
        let this = one(id);
        let purge = doc! { "$pull": { "keys": { "revokedAt": { "$lt": old } } } };
        self.run("add_app_key", |db| async move { db.apps().update_one(this, purge).await }).await?;
        let mut this = one(id);
        this.insert(format!("keys.{}", APP_KEYS_MAX - 1), doc! { "$exists": false });
        let change = doc! { "$push": { "keys": serialize_to_bson(key)? } };
        Ok(self.change_app("add_app_key", this, change).await?.is_some())
    }

    /// Revokes a key. A key that is revoked already stays as it is. Returns false if there is none.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn revoke_app_key(&self, id: &AppId, key: &AppKeyId, now: Timestamp) -> Result<bool, RecordsError> {
        let live = doc! { "id": key.as_str(), "revokedAt": Bson::Null };
        let mut this = one(id);
        this.insert("keys", doc! { "$elemMatch": live });
        // The secret is of no use any more.
        let change = doc! { "$set": { "keys.$.revokedAt": date_to_bson(now), "keys.$.sealed": "" } };
        if self.change_app("revoke_app_key", this, change).await?.is_some() {
            return Ok(true);
        }
        Ok(self.app(id).await?.is_some_and(|app| app.keys.iter().any(|known| known.id == *key)))
    }

    /// Replaces the encrypted secret `old` of a key by `new`, which has the same content. Returns
    /// false if the key has another one by now.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn reseal_app_key(&self, id: &AppId, key: &AppKeyId, seals: (&str, &str)) -> Result<bool, RecordsError> {
        let mut this = one(id);
        this.insert("keys", doc! { "$elemMatch": { "id": key.as_str(), "sealed": seals.0 } });
        // Without a new `changedAt`: pods know the secret already.
        let change = doc! { "$set": { "keys.$.sealed": seals.1 } };
        let changed = self.run("reseal_app_key", |db| async move { db.apps().update_one(this, change).await });
        Ok(changed.await?.modified_count == 1)
    }

    /// Stores the last uses of keys, unless a use less than `margin_ms` before is stored. So all
    /// pods together write once for each key and margin. One request, however many keys.
    ///
    /// # Errors
    /// MongoDB is unavailable. Some uses may have been stored.
    pub async fn note_key_uses(
        &self,
        uses: &[(AppId, AppKeyId, Timestamp)],
        margin_ms: i64,
    ) -> Result<(), RecordsError> {
        let statement = |(app, key, at): &(AppId, AppKeyId, Timestamp)| {
            let known = doc! { "$not": { "$gt": date_to_bson(Timestamp(at.0 - margin_ms)) } };
            let mut this = one(app);
            this.insert("keys", doc! { "$elemMatch": { "id": key.as_str(), "lastUsedAt": known } });
            // Without a new `changedAt`: no pod needs to read it.
            doc! { "q": this, "u": { "$set": { "keys.$.lastUsedAt": date_to_bson(*at) } } }
        };
        let updates: Vec<_> = uses.iter().map(statement).collect();
        let update = doc! { "update": APPS, "updates": updates, "ordered": false };
        let answer = self.run("note_key_uses", |db| async move { db.database.run_command(update).await }).await?;
        match write_errors(&answer)?.into_iter().next() {
            None => Ok(()),
            Some((_, error)) => Err(RecordsError::Failed(error.problem)),
        }
    }

    /// Applies a change and its time. Returns the app as it is then.
    pub(super) async fn change_app(
        &self,
        operation: &'static str,
        these: Document,
        mut change: Document,
    ) -> Result<Option<AppRecord>, RecordsError> {
        change.insert("$currentDate", doc! { "changedAt": true });
        let changed = self.run(operation, |db| async move {
            db.apps().find_one_and_update(these, change).return_document(ReturnDocument::After).await
        });
        Ok(changed.await?.map(deserialize_from_document).transpose()?)
    }

    pub(super) async fn ensure_app_indexes(&self) -> Result<(), RecordsError> {
        let deleted = IndexOptions::builder().expire_after(DELETED_CALL_RETENTION).build();
        let has_sources = doc! { "identitySources.issuer": { "$exists": true } };
        let unique = IndexOptions::builder().unique(true).partial_filter_expression(has_sources).build();
        let sources = doc! { "identitySources.issuer": 1, "identitySources.audience": 1 };
        let indexes = [
            IndexModel::builder().keys(sources).options(unique).build(),
            IndexModel::builder().keys(doc! { "changedAt": 1 }).build(),
            IndexModel::builder().keys(doc! { "deletedAt": 1 }).options(deleted).build(),
        ];
        self.run("indexes", |db| async move { db.apps().create_indexes(indexes).await }).await.map(drop)
    }

    pub(super) fn apps(&self) -> Collection<Document> {
        self.database.collection(APPS)
    }
}

fn present() -> Document {
    doc! { "deletedAt": Bson::Null }
}

pub(super) fn one(id: &AppId) -> Document {
    doc! { "_id": id.as_str(), "deletedAt": Bson::Null }
}

fn without(mut fields: Document, field: &str) -> Document {
    fields.remove(field);
    fields
}
