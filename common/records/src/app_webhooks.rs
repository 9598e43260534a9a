//! Webhooks of apps: a list in the document of the app, so that they are deleted with it, and one
//! read of the changed apps finds every change.
//!
//! | field | content |
//! |---|---|
//! | `id`, `url` | id; URL that receives events |
//! | `events` | types of the events that it receives |
//! | `sealed` | encrypted secret |
//! | `previous`, `previousUntil` | encrypted secret of before the last rotation, and the time until which it signs too |
//! | `createdAt` | time of creation |

use mongodb::bson::{Bson, Document, doc, serialize_to_bson};
use serde::{Deserialize, Deserializer, Serialize};

use super::apps::one;
use super::bson::{date, date_to_bson, epoch, maybe_date};
use super::{Records, RecordsError};
use switchboard_core::domain::{AppId, Timestamp, WebhookEvent, WebhookId};

/// Maximum number of webhooks of one app. Each event of the app is queued once for each of them.
pub const APP_WEBHOOKS_MAX: usize = 5;

/// Webhook of an app.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppWebhookRecord {
    /// Id.
    pub id: WebhookId,
    /// URL with scheme `http` or `https`.
    pub url: String,
    /// Types of the events that the webhook receives. Types that a later version wrote are skipped.
    #[serde(deserialize_with = "known_events")]
    pub events: Vec<WebhookEvent>,
    /// Encrypted secret.
    pub sealed: String,
    /// Encrypted secret of before the last rotation.
    #[serde(default)]
    pub previous: Option<String>,
    /// Time until which the previous secret signs too.
    #[serde(with = "maybe_date", default)]
    pub previous_until: Option<Timestamp>,
    /// Time of creation.
    #[serde(with = "date", default = "epoch")]
    pub created_at: Timestamp,
}

impl AppWebhookRecord {
    /// Returns the previous secret, encrypted, with its end, if it signs at `now`.
    #[must_use]
    pub fn previous_at(&self, now: Timestamp) -> Option<(&str, Timestamp)> {
        self.previous.as_deref().zip(self.previous_until).filter(|(_, until)| now < *until)
    }
}

fn known_events<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<WebhookEvent>, D::Error> {
    let texts = Vec::<String>::deserialize(d)?;
    Ok(texts.iter().filter_map(|text| WebhookEvent::parse(text)).collect())
}

/// Change of a webhook. `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct AppWebhookEdit {
    /// URL.
    pub url: Option<String>,
    /// Types of events.
    pub events: Option<Vec<WebhookEvent>>,
}

impl Records {
    /// Adds a webhook. Returns false if there is no such app, or the app has [`APP_WEBHOOKS_MAX`].
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn add_app_webhook(&self, app: &AppId, webhook: &AppWebhookRecord) -> Result<bool, RecordsError> {
        let mut this = one(app);
        this.insert(format!("webhooks.{}", APP_WEBHOOKS_MAX - 1), doc! { "$exists": false });
        let change = doc! { "$push": { "webhooks": serialize_to_bson(webhook)? } };
        Ok(self.change_app("add_app_webhook", this, change).await?.is_some())
    }

    /// Changes a webhook. Returns it as it is then; `None` if there is none.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn edit_app_webhook(
        &self,
        app: &AppId,
        id: &WebhookId,
        edit: &AppWebhookEdit,
    ) -> Result<Option<AppWebhookRecord>, RecordsError> {
        let mut set = Document::new();
        set.extend(edit.url.as_ref().map(|url| doc! { "webhooks.$.url": url }).unwrap_or_default());
        if let Some(events) = &edit.events {
            set.insert("webhooks.$.events", serialize_to_bson(events)?);
        }
        let change = if set.is_empty() {
            Document::new()
        } else {
            doc! { "$set": set }
        };
        let changed = self.change_app("edit_app_webhook", with(app, doc! { "id": id.as_str() }), change).await?;
        Ok(changed.and_then(|app| app.webhooks.into_iter().find(|webhook| webhook.id == *id)))
    }

    /// Gives a webhook the encrypted secret `sealed` in place of `old`, which signs too until
    /// `previous_until`. Returns the webhook; `None` if it has another secret by now, or there is
    /// none.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn rotate_app_webhook(
        &self,
        (app, id): (&AppId, &WebhookId),
        (old, sealed): (&str, &str),
        previous_until: Timestamp,
    ) -> Result<Option<AppWebhookRecord>, RecordsError> {
        let set = doc! {
            "webhooks.$.sealed": sealed,
            "webhooks.$.previous": old,
            "webhooks.$.previousUntil": date_to_bson(previous_until),
        };
        let this = with(app, doc! { "id": id.as_str(), "sealed": old });
        let changed = self.change_app("rotate_app_webhook", this, doc! { "$set": set }).await?;
        Ok(changed.and_then(|app| app.webhooks.into_iter().find(|webhook| webhook.id == *id)))
    }

    /// Removes a webhook, and the queue of its events. Returns false if there is none.
    ///
    /// # Errors
    /// MongoDB is unavailable. The webhook may be removed.
    pub async fn remove_app_webhook(&self, app: &AppId, id: &WebhookId) -> Result<bool, RecordsError> {
        let change = doc! { "$pull": { "webhooks": { "id": id.as_str() } } };
        let removed = self.change_app("remove_app_webhook", with(app, doc! { "id": id.as_str() }), change).await?;
        if removed.is_some() {
            self.drop_queues(id.as_str()).await;
        }
        Ok(removed.is_some())
    }

    /// Replaces an encrypted secret of a webhook by one with the same content. Returns false if the
    /// webhook has another one by now.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn reseal_app_webhook(
        &self,
        (app, id): (&AppId, &WebhookId),
        (old, new): (&str, &str),
    ) -> Result<bool, RecordsError> {
        let mut resealed = false;
        for field in ["sealed", "previous"] {
            let this = with(app, doc! { "id": id.as_str(), field: old });
            // Without a new `changedAt`: pods know the secret already.
            let change = doc! { "$set": { format!("webhooks.$.{field}"): new } };
            let changed = self.run("reseal_app_webhook", |db| async move { db.apps().update_one(this, change).await });
            resealed |= changed.await?.modified_count == 1;
        }
        Ok(resealed)
    }

    /// Returns a webhook of an app.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn app_webhook(&self, app: &AppId, id: &WebhookId) -> Result<Option<AppWebhookRecord>, RecordsError> {
        let found = self.app(app).await?;
        Ok(found.and_then(|app| app.webhooks.into_iter().find(|webhook| webhook.id == *id)))
    }
}

/// Selects an app that has such a webhook.
fn with(app: &AppId, webhook: Document) -> Document {
    let mut this = one(app);
    this.insert("webhooks", Bson::from(doc! { "$elemMatch": webhook }));
    this
}
