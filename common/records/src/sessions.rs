//! Sign-ins, in the collection `sessions`, and the rotation of their refresh tokens. The refresh
//! tokens of one sign-in form a token family; only the latest is valid.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use serde::Deserialize;

use super::bson::{date, date_to_bson, epoch, id_forms, id_to_bson, maybe_date};
use super::{Records, RecordsError};
use switchboard_core::domain::{Timestamp, UserId};

/// Time in milliseconds during which the previous refresh token still returns the latest one.
/// Without it, two tabs that refresh at the same time, or a client whose response was lost, would
/// look like token theft.
const REUSE_WINDOW_MS: i64 = 10_000;

/// Sign-ins of one user. A further one ends the one that was not used for the longest time.
pub const SESSIONS_MAX: usize = 100;
/// Sign-ins beyond the bound that one sign-in ends. More exist only from before there was a bound.
const EXCESS_MAX: i64 = 100;

/// New sign-in.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Id of the sign-in; its tokens contain it.
    pub id: String,
    /// User who signed in.
    pub user: UserId,
    /// Id of the first refresh token.
    pub token: String,
    /// `User-Agent` of the client.
    pub user_agent: Option<String>,
    /// Time of the sign-in.
    pub opened: Timestamp,
    /// Expiry of the refresh token.
    pub expires: Timestamp,
    /// [`UserRecord::sign_ins_since`](super::UserRecord::sign_ins_since) at the sign-in.
    pub password_at: Option<Timestamp>,
}

/// Sign-in, without the secrets of its tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// Id of the sign-in.
    #[serde(rename = "_id")]
    pub id: String,
    /// `User-Agent` of the client.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// Time of the sign-in.
    #[serde(with = "date", default = "epoch", rename = "createdAt")]
    pub opened: Timestamp,
    /// Time of the last refresh, or of the sign-in.
    #[serde(with = "date", default = "epoch", rename = "usedAt")]
    pub used: Timestamp,
    /// Expiry of the latest refresh token.
    #[serde(with = "date", default = "epoch", rename = "expiresAt")]
    pub expires: Timestamp,
}

/// Outcome of a token rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The token was the latest one; the new token has replaced it.
    Done,
    /// The token was replaced moments ago, by this one.
    Repeated(String),
    /// The token was used before, or the sign-in is over. The token may be stolen, so the sign-in
    /// is ended.
    Refused,
}

/// Token family of a sign-in, as far as rotation needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    refresh: String,
    #[serde(default)]
    previous: Option<String>,
    #[serde(with = "date", default = "epoch")]
    used_at: Timestamp,
    #[serde(default, with = "maybe_date")]
    password_at: Option<Timestamp>,
}

impl Records {
    /// Stores a sign-in. MongoDB deletes it after its refresh token has expired.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn open_session(&self, new: &NewSession) -> Result<(), RecordsError> {
        let session = doc! {
            "_id": &new.id,
            "userId": id_to_bson(new.user.as_str()),
            "refresh": &new.token,
            "userAgent": new.user_agent.as_deref(),
            "createdAt": date_to_bson(new.opened),
            "usedAt": date_to_bson(new.opened),
            "expiresAt": date_to_bson(new.expires),
            "passwordAt": maybe(new.password_at),
        };
        self.run("open_session", self.sessions().insert_one(session)).await.map(drop)
    }

    /// Replaces the refresh token `tokens.0` with `tokens.1`, if `tokens.0` is the latest one and
    /// the password has not changed since the sign-in. `times` are the current time and the expiry
    /// of the new token.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn rotate_session(
        &self,
        id: &str,
        tokens: (&str, &str),
        password_at: Option<Timestamp>,
        times: (Timestamp, Timestamp),
    ) -> Result<Rotation, RecordsError> {
        let ((used, next), (now, expires)) = (tokens, times);
        let latest = doc! { "_id": id, "refresh": used, "passwordAt": maybe(password_at) };
        let set = doc! {
            "refresh": next, "previous": used, "usedAt": date_to_bson(now), "expiresAt": date_to_bson(expires),
        };
        let sessions = self.sessions();
        let update = sessions.update_one(latest, doc! { "$set": set });
        if self.run("rotate_session", update).await?.matched_count == 1 {
            return Ok(Rotation::Done);
        }
        let families: Collection<Family> = self.database.collection("sessions");
        let family = self.run("rotate_session", families.find_one(doc! { "_id": id })).await?;
        if let Some(family) = family
            && family.previous.as_deref() == Some(used)
            && family.password_at == password_at
            && now.0.abs_diff(family.used_at.0) <= REUSE_WINDOW_MS.unsigned_abs()
        {
            return Ok(Rotation::Repeated(family.refresh));
        }
        self.end_session(id).await?;
        Ok(Rotation::Refused)
    }

    /// Ends the sign-ins of a user beyond [`SESSIONS_MAX`], those that were not used for the
    /// longest time. Returns their ids.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn end_excess_sessions(&self, user: &UserId) -> Result<Vec<String>, RecordsError> {
        let own = doc! { "userId": { "$in": id_forms(user.as_str()) } };
        let sessions: Collection<Document> = self.sessions();
        let newest_first = sessions.find(own).sort(doc! { "usedAt": -1 }).projection(doc! { "_id": 1 });
        let excess = newest_first.skip(SESSIONS_MAX as u64).limit(EXCESS_MAX);
        let found = async { excess.await?.try_collect::<Vec<_>>().await };
        let found = self.run("end_excess_sessions", found).await?;
        let ids: Vec<String> = found.iter().filter_map(|one| one.get_str("_id").ok()).map(str::to_owned).collect();
        if !ids.is_empty() {
            self.run("end_excess_sessions", sessions.delete_many(doc! { "_id": { "$in": &ids } })).await?;
        }
        Ok(ids)
    }

    /// Returns a user's open sign-ins, the most recently used first, at most [`SESSIONS_MAX`].
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn sessions_of(&self, user: &UserId, now: Timestamp) -> Result<Vec<SessionRecord>, RecordsError> {
        let own = doc! {
            "userId": { "$in": id_forms(user.as_str()) },
            // MongoDB deletes expired documents only once a minute.
            "expiresAt": { "$gt": date_to_bson(now) },
        };
        let sessions: Collection<SessionRecord> = self.database.collection("sessions");
        let found = async {
            sessions
                .find(own)
                .sort(doc! { "usedAt": -1, "_id": 1 })
                .limit(SESSIONS_MAX as i64)
                .await?
                .try_collect()
                .await
        };
        self.run("sessions_of", found).await
    }

    /// Keeps a sign-in valid after all sign-ins of its user were ended, because the request came
    /// from this sign-in.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn keep_session(&self, id: &str, password_at: Timestamp) -> Result<(), RecordsError> {
        let set = doc! { "$set": { "passwordAt": date_to_bson(password_at) } };
        self.run("keep_session", self.sessions().update_one(doc! { "_id": id }, set)).await.map(drop)
    }

    /// Ends a sign-in, so that its refresh token is invalid. An unknown id is not an error.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn end_session(&self, id: &str) -> Result<(), RecordsError> {
        self.run("end_session", self.sessions().delete_one(doc! { "_id": id })).await.map(drop)
    }

    /// Ends all sign-ins of a user except one, in one request.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn end_other_sessions(&self, user: &UserId, except: Option<&str>) -> Result<(), RecordsError> {
        let others = doc! { "userId": { "$in": id_forms(user.as_str()) }, "_id": { "$ne": except } };
        self.run("end_other_sessions", self.sessions().delete_many(others)).await.map(drop)
    }

    fn sessions(&self) -> Collection<Document> {
        self.database.collection("sessions")
    }

    pub(super) async fn ensure_session_indexes(&self) -> Result<(), RecordsError> {
        let expiring = IndexOptions::builder().expire_after(std::time::Duration::ZERO).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "expiresAt": 1 }).options(expiring).build(),
            IndexModel::builder().keys(doc! { "userId": 1, "usedAt": -1 }).build(),
        ];
        self.run("indexes", self.sessions().create_indexes(indexes)).await.map(drop)
    }
}

fn maybe(date: Option<Timestamp>) -> Bson {
    date.map_or(Bson::Null, date_to_bson)
}
