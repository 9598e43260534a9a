//! Idempotency keys of requests that create calls, in the collection `requests`: one document for
//! each key, for a day.
//!
//! | field | content |
//! |---|---|
//! | `_id` | app and key |
//! | `fingerprint` | keyed hash of the request's body |
//! | `callId` | id of the call that the request creates |
//! | `createdAt` | time of the first request with the key |

use std::time::Duration;

use mongodb::bson::{Document, doc};
use mongodb::options::{IndexOptions, ReturnDocument};
use mongodb::{Collection, IndexModel};

use super::bson::date_to_bson;
use super::{Records, RecordsError};
use switchboard_core::domain::{AppId, CallId, Timestamp};

/// Time for which a key is kept.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

/// What a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestClaim {
    /// Keyed hash of the request's body.
    pub fingerprint: String,
    /// Call that the request creates.
    pub call: CallId,
}

impl Records {
    /// Stores what an idempotency key of an app stands for, unless it is stored already. Returns
    /// what is stored.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the stored document is invalid.
    pub async fn claim_request(
        &self,
        app: &AppId,
        key: &str,
        claim: &RequestClaim,
        now: Timestamp,
    ) -> Result<RequestClaim, RecordsError> {
        let this = doc! { "_id": format!("{app} {key}") };
        let first = doc! {
            "fingerprint": &claim.fingerprint, "callId": claim.call.as_str(), "createdAt": date_to_bson(now),
        };
        let (upserted, change) = (this.clone(), doc! { "$setOnInsert": first });
        let stored = self.run("claim_request", |db| async move {
            let requests = db.requests();
            let upsert = requests.find_one_and_update(upserted, change).upsert(true);
            upsert.return_document(ReturnDocument::After).await
        });
        let stored = match stored.await {
            // Another request with the key inserted it at the same moment.
            Err(RecordsError::Duplicate) => {
                self.run("claim_request", |db| async move { db.requests().find_one(this).await }).await?
            }
            stored => stored?,
        };
        let corrupt = || RecordsError::Corrupt("an idempotency key without its call".to_owned());
        let stored = stored.ok_or_else(corrupt)?;
        let call = stored.get_str("callId").ok().and_then(|id| CallId::parse(id).ok()).ok_or_else(corrupt)?;
        Ok(RequestClaim { fingerprint: stored.get_str("fingerprint").unwrap_or_default().to_owned(), call })
    }

    /// Forgets an idempotency key that stands for this call, because the request was refused and
    /// created nothing.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn release_request(&self, app: &AppId, key: &str, call: &CallId) -> Result<(), RecordsError> {
        let this = doc! { "_id": format!("{app} {key}"), "callId": call.as_str() };
        self.run("release_request", |db| async move { db.requests().delete_one(this).await }).await.map(drop)
    }

    pub(super) async fn ensure_request_indexes(&self) -> Result<(), RecordsError> {
        let expiry = IndexOptions::builder().expire_after(RETENTION).build();
        let index = IndexModel::builder().keys(doc! { "createdAt": 1 }).options(expiry).build();
        self.run("indexes", |db| async move { db.requests().create_index(index).await }).await.map(drop)
    }

    fn requests(&self) -> Collection<Document> {
        self.database.collection("requests")
    }
}
