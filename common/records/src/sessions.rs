//! Sign-ins, in `sessions`: which refresh token of each is the latest. All refresh tokens of one are a family.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Collection, IndexModel};
use serde::Deserialize;

use super::stored::{date, date_to_bson, epoch, id_forms, id_to_bson, maybe_date};
use super::{Records, RecordsError};
use switchboard_core::domain::{Timestamp, UserId};

/// How long the token before the latest still gets what the latest's holder got, in milliseconds: two tabs that refresh at once, or a client
/// whose answer was lost, are no thieves.
const REPEATABLE_MS: i64 = 10_000;

/// A sign-in to be opened.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id; its tokens carry it.
    pub id: String,
    /// Whose.
    pub user: UserId,
    /// The id of its first refresh token.
    pub token: String,
    /// What the client called itself.
    pub user_agent: Option<String>,
    /// Now.
    pub opened: Timestamp,
    /// When its refresh token ends.
    pub expires: Timestamp,
    /// When the password that opened it was last changed.
    pub password_at: Option<Timestamp>,
}

/// A sign-in, without what its tokens could be made from.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// What the client called itself.
    #[serde(default)]
    pub user_agent: Option<String>,
    /// When it was opened.
    #[serde(with = "date", default = "epoch", rename = "createdAt")]
    pub opened: Timestamp,
    /// When it was last refreshed, or opened.
    #[serde(with = "date", default = "epoch", rename = "usedAt")]
    pub used: Timestamp,
    /// When its latest refresh token ends.
    #[serde(with = "date", default = "epoch", rename = "expiresAt")]
    pub expires: Timestamp,
}

/// What became of a request for a new refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The token was the latest; the new one is now.
    Done,
    /// The token was the latest a moment ago: this one took its place.
    Repeated(String),
    /// The token was used before, or the sign-in is over: somebody may have stolen it, so the sign-in is ended.
    Refused,
}

/// The tokens of a sign-in, as far as rotating needs them.
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
    /// Opens a sign-in. It is forgotten when its refresh token ends.
    ///
    /// # Errors
    /// When MongoDB is away.
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

    /// Replaces the latest refresh token by the second of `tokens`, if it is the first and the password is the one that opened the sign-in.
    /// `times`: now, and when the new token ends.
    ///
    /// # Errors
    /// When MongoDB is away.
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
            && now.0.abs_diff(family.used_at.0) <= REPEATABLE_MS.unsigned_abs()
        {
            return Ok(Rotation::Repeated(family.refresh));
        }
        self.end_session(id).await?;
        Ok(Rotation::Refused)
    }

    /// A user's sign-ins that are not over, the latest used first.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn sessions_of(&self, user: &UserId, now: Timestamp) -> Result<Vec<SessionRecord>, RecordsError> {
        let own = doc! {
            "userId": { "$in": id_forms(user.as_str()) },
            // MongoDB removes what has ended once a minute.
            "expiresAt": { "$gt": date_to_bson(now) },
        };
        let sessions: Collection<SessionRecord> = self.database.collection("sessions");
        let found = async { sessions.find(own).sort(doc! { "usedAt": -1, "_id": 1 }).await?.try_collect().await };
        self.run("sessions_of", found).await
    }

    /// Lets a sign-in go on although its user's password was changed: it is the one that changed it.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn keep_session(&self, id: &str, password_at: Timestamp) -> Result<(), RecordsError> {
        let set = doc! { "$set": { "passwordAt": date_to_bson(password_at) } };
        self.run("keep_session", self.sessions().update_one(doc! { "_id": id }, set)).await.map(drop)
    }

    /// Ends a sign-in, if there is such: its refresh token is good for nothing any more.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn end_session(&self, id: &str) -> Result<(), RecordsError> {
        self.run("end_session", self.sessions().delete_one(doc! { "_id": id })).await.map(drop)
    }

    /// Ends sign-ins.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn end_sessions(&self, ids: &[String]) -> Result<(), RecordsError> {
        self.run("end_sessions", self.sessions().delete_many(doc! { "_id": { "$in": ids } })).await.map(drop)
    }

    fn sessions(&self) -> Collection<Document> {
        self.database.collection("sessions")
    }

    pub(super) async fn ensure_session_indexes(&self) -> Result<(), RecordsError> {
        let ending = IndexOptions::builder().expire_after(std::time::Duration::ZERO).build();
        let indexes = [
            IndexModel::builder().keys(doc! { "expiresAt": 1 }).options(ending).build(),
            IndexModel::builder().keys(doc! { "userId": 1, "usedAt": -1 }).build(),
        ];
        self.run("indexes", self.sessions().create_indexes(indexes)).await.map(drop)
    }
}

fn maybe(date: Option<Timestamp>) -> Bson {
    date.map_or(Bson::Null, date_to_bson)
}
