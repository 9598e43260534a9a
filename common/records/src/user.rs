//! A user's record.

use serde::{Deserialize, Serialize};

use super::bson::{date, epoch, id, maybe_date, or_default};
use switchboard_core::domain::{PublicUser, Timestamp, UserId};

/// Document of `users`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRecord {
    /// `_id`.
    #[serde(rename = "_id", with = "id")]
    pub id: UserId,
    /// Display name.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Trimmed and lower-cased; unique.
    #[serde(default, deserialize_with = "or_default")]
    pub email: String,
    /// Hash of the password: a PHC string (argon2id), or a bcrypt hash of the old Node.js backend.
    /// Never sent to clients.
    #[serde(default, deserialize_with = "or_default")]
    pub password: String,
    /// Address of a picture.
    #[serde(default)]
    pub avatar: Option<String>,
    /// Time at which all sign-ins were ended: by a change of the password or of the e-mail address,
    /// or by the user. Sign-ins opened before it cannot be refreshed.
    #[serde(default, with = "maybe_date", skip_serializing_if = "Option::is_none", rename = "passwordChangedAt")]
    pub sign_ins_since: Option<Timestamp>,
    /// Time of registration.
    #[serde(with = "date", default = "epoch")]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[serde(with = "date", default = "epoch")]
    pub updated_at: Timestamp,
}

impl UserRecord {
    /// Returns the public part.
    #[must_use]
    pub fn public(&self) -> PublicUser {
        PublicUser::new(self.id.clone(), self.name.clone(), self.avatar.clone())
    }
}
