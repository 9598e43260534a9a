//! Sign-in sessions, in `sessions`: which refresh token of each is the latest.

use mongodb::bson::{Document, doc};

use super::stored::{date_to_bson, id_to_bson};
use super::{Records, RecordsError};
use crate::domain::{Timestamp, UserId};

/// What became of a request for a new refresh token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// The token was the latest; the new one is now.
    Done,
    /// The token was used before, or the session is over: somebody may have stolen it, so the session is ended.
    Refused,
}

impl Records {
    /// Opens a session whose latest refresh token is `token`. It is forgotten after `expires`.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn open_session(
        &self,
        id: &str,
        user: &UserId,
        token: &str,
        expires: Timestamp,
    ) -> Result<(), RecordsError> {
        let session = doc! {
            "_id": id,
            "userId": id_to_bson(user.as_str()),
            "refresh": token,
            "expiresAt": date_to_bson(expires),
        };
        self.run("open_session", self.sessions().insert_one(session)).await.map(drop)
    }

    /// Replaces the session's latest refresh token, if it is `used`. A token that was replaced before ends the session:
    /// one of the two who hold its family is a thief.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn rotate_session(
        &self,
        id: &str,
        used: &str,
        next: &str,
        expires: Timestamp,
    ) -> Result<Rotation, RecordsError> {
        let latest = doc! { "_id": id, "refresh": used };
        let set = doc! { "$set": { "refresh": next, "expiresAt": date_to_bson(expires) } };
        if self.run("rotate_session", self.sessions().update_one(latest, set)).await?.matched_count == 1 {
            return Ok(Rotation::Done);
        }
        self.end_session(id).await?;
        Ok(Rotation::Refused)
    }

    /// Ends a session, if there is such: its refresh token is good for nothing any more.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn end_session(&self, id: &str) -> Result<(), RecordsError> {
        self.run("end_session", self.sessions().delete_one(doc! { "_id": id })).await.map(drop)
    }

    fn sessions(&self) -> mongodb::Collection<Document> {
        self.database.collection("sessions")
    }

    pub(super) async fn ensure_session_indexes(&self) -> Result<(), RecordsError> {
        let options = mongodb::options::IndexOptions::builder().expire_after(std::time::Duration::ZERO).build();
        let index = mongodb::IndexModel::builder().keys(doc! { "expiresAt": 1 }).options(options).build();
        self.run("indexes", self.sessions().create_index(index)).await.map(drop)
    }
}
