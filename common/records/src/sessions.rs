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
/// Time in milliseconds after a refresh during which its token may be used once more, if the token
/// that replaced it was never used: the response was lost, perhaps because a laptop went to sleep.
/// Another token then takes the place of the unused one. If a thief has the unused one, its use is
/// a replay.
const REPEAT_WINDOW_MS: i64 = 24 * 3600 * 1000;
/// Reads of a token family for one rotation at most, if another request changes it each time.
const ROTATION_ATTEMPTS_MAX: u32 = 3;

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
    /// The token was used before, and so was the one that replaced it. It may be stolen, so the
    /// sign-in's tokens are ended. The sign-in is listed until its last access token expires.
    Replayed,
    /// The password was changed since the sign-in, which is removed.
    Outdated,
    /// There is no such sign-in any more.
    Unknown,
}

/// Times of a token rotation.
#[derive(Clone, Copy, Debug)]
pub struct RotationTimes {
    /// The present time.
    pub now: Timestamp,
    /// Expiry of a refresh token that is issued now.
    pub refresh_end: Timestamp,
    /// Expiry of an access token that is issued now.
    pub access_end: Timestamp,
}

/// Token family of a sign-in, as far as rotation needs it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    /// Id of the latest refresh token. `None` after a replay.
    #[serde(default)]
    refresh: Option<String>,
    #[serde(default)]
    previous: Option<String>,
    #[serde(with = "date", default = "epoch")]
    used_at: Timestamp,
    /// Time of the first use of `previous`. `None`: the same as `used_at`.
    #[serde(default, with = "maybe_date")]
    rotated_at: Option<Timestamp>,
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
        self.run("open_session", |db| async move { db.sessions().insert_one(session).await }).await.map(drop)
    }

    /// Replaces the refresh token `tokens.0` with `tokens.1`, if `tokens.0` is the latest one and
    /// the password has not changed since the sign-in; or if it is the one before, and the latest
    /// one was never used.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn rotate_session(
        &self,
        id: &str,
        tokens: (&str, &str),
        password_at: Option<Timestamp>,
        times: RotationTimes,
    ) -> Result<Rotation, RecordsError> {
        let (used, next) = tokens;
        let RotationTimes { now, refresh_end, access_end } = times;
        let issued = doc! { "refresh": next, "usedAt": date_to_bson(now), "expiresAt": date_to_bson(refresh_end) };
        let mut first_use = issued.clone();
        first_use.extend(doc! { "previous": used, "rotatedAt": date_to_bson(now) });
        let latest = doc! { "_id": id, "refresh": used, "passwordAt": maybe(password_at) };
        if self.change_session(latest, doc! { "$set": first_use }).await? {
            return Ok(Rotation::Done);
        }
        for _ in 0..ROTATION_ATTEMPTS_MAX {
            let this = doc! { "_id": id };
            let family = self.run("rotate_session", |db| async move {
                db.database.collection::<Family>("sessions").find_one(this).await
            });
            let family = family.await?;
            let Some(family) = family else { return Ok(Rotation::Unknown) };
            if family.password_at != password_at {
                self.end_session(id).await?;
                return Ok(Rotation::Outdated);
            }
            let unused = family.refresh.filter(|_| family.previous.as_deref() == Some(used));
            let is_within = |from: Timestamp, window_ms: i64| now.0.abs_diff(from.0) <= window_ms.unsigned_abs();
            match unused {
                Some(unused) if is_within(family.used_at, REUSE_WINDOW_MS) => return Ok(Rotation::Repeated(unused)),
                Some(unused) if is_within(family.rotated_at.unwrap_or(family.used_at), REPEAT_WINDOW_MS) => {
                    let same =
                        doc! { "_id": id, "refresh": unused, "previous": used, "passwordAt": maybe(password_at) };
                    if self.change_session(same, doc! { "$set": issued.clone() }).await? {
                        return Ok(Rotation::Done);
                    }
                }
                _ => break,
            }
        }
        let over = doc! {
            "$unset": { "refresh": "", "previous": "" }, "$min": { "expiresAt": date_to_bson(access_end) },
        };
        self.change_session(doc! { "_id": id }, over).await?;
        Ok(Rotation::Replayed)
    }

    /// Returns whether a sign-in matched the filter and was changed.
    async fn change_session(&self, filter: Document, change: Document) -> Result<bool, RecordsError> {
        let updated = self.run("rotate_session", |db| async move { db.sessions().update_one(filter, change).await });
        let updated = updated.await?;
        Ok(updated.matched_count == 1)
    }

    /// Ends the sign-ins of a user beyond [`SESSIONS_MAX`], those that were not used for the
    /// longest time. Returns their ids.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn end_excess_sessions(&self, user: &UserId) -> Result<Vec<String>, RecordsError> {
        let own = doc! { "userId": { "$in": id_forms(user.as_str()) } };
        let found = self.run("end_excess_sessions", |db| async move {
            let sessions = db.sessions();
            let newest_first = sessions.find(own).sort(doc! { "usedAt": -1 }).projection(doc! { "_id": 1 });
            newest_first.skip(SESSIONS_MAX as u64).limit(EXCESS_MAX).await?.try_collect::<Vec<_>>().await
        });
        let found = found.await?;
        let ids: Vec<String> = found.iter().filter_map(|one| one.get_str("_id").ok()).map(str::to_owned).collect();
        if !ids.is_empty() {
            let these = doc! { "_id": { "$in": &ids } };
            self.run("end_excess_sessions", |db| async move { db.sessions().delete_many(these).await }).await?;
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
        self.run("sessions_of", |db| async move {
            let sessions: Collection<SessionRecord> = db.database.collection("sessions");
            let newest_first = sessions.find(own).sort(doc! { "usedAt": -1, "_id": 1 });
            newest_first.limit(SESSIONS_MAX as i64).await?.try_collect().await
        })
        .await
    }

    /// Keeps a sign-in valid after all sign-ins of its user were ended, because the request came
    /// from this sign-in.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn keep_session(&self, id: &str, password_at: Timestamp) -> Result<(), RecordsError> {
        let set = doc! { "$set": { "passwordAt": date_to_bson(password_at) } };
        let this = doc! { "_id": id };
        self.run("keep_session", |db| async move { db.sessions().update_one(this, set).await }).await.map(drop)
    }

    /// Ends a sign-in, so that its refresh token is invalid. An unknown id is not an error.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn end_session(&self, id: &str) -> Result<(), RecordsError> {
        let this = doc! { "_id": id };
        self.run("end_session", |db| async move { db.sessions().delete_one(this).await }).await.map(drop)
    }

    /// Ends all sign-ins of a user except one, in one request.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn end_other_sessions(&self, user: &UserId, except: Option<&str>) -> Result<(), RecordsError> {
        let others = doc! { "userId": { "$in": id_forms(user.as_str()) }, "_id": { "$ne": except } };
        self.run("end_other_sessions", |db| async move { db.sessions().delete_many(others).await }).await.map(drop)
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
        self.run("indexes", |db| async move { db.sessions().create_indexes(indexes).await }).await.map(drop)
    }
}

fn maybe(date: Option<Timestamp>) -> Bson {
    date.map_or(Bson::Null, date_to_bson)
}
