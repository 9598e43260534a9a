//! A user's record.

use serde::{Deserialize, Serialize};

use super::stored::{date, epoch, id, maybe_date, or_default};
use switchboard_core::domain::{PublicUser, Timestamp, UserId};

/// A document of `users`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UserRecord {
    /// `_id`.
    #[serde(rename = "_id", with = "id")]
    pub id: UserId,
    /// The name to show.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Trimmed and lower-cased; unique.
    #[serde(default, deserialize_with = "or_default")]
    pub email: String,
    /// A PHC string (argon2id) or the Node service's bcrypt hash. Never leaves the backend.
    #[serde(default, deserialize_with = "or_default")]
    pub password: String,
    /// A picture's address.
    #[serde(default)]
    pub avatar: Option<String>,
    /// When the password was last changed by its owner; sign-ins opened before are over.
    #[serde(default, with = "maybe_date", skip_serializing_if = "Option::is_none")]
    pub password_changed_at: Option<Timestamp>,
    /// When the account was made.
    #[serde(with = "date", default = "epoch")]
    pub created_at: Timestamp,
    /// When it was last changed.
    #[serde(with = "date", default = "epoch")]
    pub updated_at: Timestamp,
}

impl UserRecord {
    /// What others may know.
    #[must_use]
    pub fn public(&self) -> PublicUser {
        PublicUser::new(self.id.clone(), self.name.clone(), self.avatar.clone())
    }
}
