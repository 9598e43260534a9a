//! Queries on `users`.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;

use super::stored::{date_to_bson, id_forms};
use super::{Records, RecordsError, UserRecord};
use switchboard_core::domain::{Timestamp, UserId};

/// What to change of a profile; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// A new name.
    pub name: Option<String>,
    /// A new address, normalised.
    pub email: Option<String>,
    /// A new picture; `Some(None)` removes it.
    pub avatar: Option<Option<String>>,
}

impl Records {
    /// A fresh id for a user.
    #[must_use]
    pub fn new_user_id() -> UserId {
        UserId::parse(&ObjectId::new().to_hex()).expect("24 hexadecimal digits are a user id")
    }

    /// Stores a new user.
    ///
    /// # Errors
    /// `Duplicate` when the e-mail is taken: the unique index decides, however many ask at once.
    pub async fn insert_user(&self, user: &UserRecord) -> Result<(), RecordsError> {
        self.run("insert_user", self.users.insert_one(user)).await.map(drop)
    }

    /// The user with this normalised e-mail.
    ///
    /// # Errors
    /// When MongoDB is away or the document makes no sense.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<UserRecord>, RecordsError> {
        self.run("user_by_email", self.users.find_one(doc! { "email": email })).await
    }

    /// The user with this id: one round trip, unless its id is stored as the Node service may have done it.
    ///
    /// # Errors
    /// When MongoDB is away or the document makes no sense.
    pub async fn user(&self, id: &UserId) -> Result<Option<UserRecord>, RecordsError> {
        // By one `_id` MongoDB goes straight to the document; a choice of two is planned first, which costs more than the read.
        for form in id_forms(id.as_str()) {
            let found = self.run("user", self.users.find_one(doc! { "_id": form })).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Changes a profile and returns it as it is then; `None` when there is no such user.
    ///
    /// # Errors
    /// `Duplicate` when the new e-mail is another's.
    pub async fn change_profile(
        &self,
        id: &UserId,
        change: &ProfileChange,
        now: Timestamp,
    ) -> Result<Option<UserRecord>, RecordsError> {
        let mut set = doc! { "updatedAt": date_to_bson(now) };
        if let Some(name) = &change.name {
            set.insert("name", name);
        }
        if let Some(email) = &change.email {
            set.insert("email", email);
        }
        if let Some(avatar) = &change.avatar {
            set.insert("avatar", avatar.as_deref());
        }
        let update = self.users.find_one_and_update(of(id), doc! { "$set": set });
        self.run("change_profile", update.return_document(ReturnDocument::After)).await
    }

    /// Replaces the hash of a password, if it is still `old`: a password changed meanwhile is not undone.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn replace_hash(&self, id: &UserId, old: &str, new: &str) -> Result<bool, RecordsError> {
        let mut filter = of(id);
        filter.insert("password", old);
        let update = self.users.update_one(filter, doc! { "$set": { "password": new } });
        Ok(self.run("replace_hash", update).await?.matched_count == 1)
    }

    /// Changes the password from the one with the hash `old`; `false` when it is another by now.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn change_password(
        &self,
        id: &UserId,
        old: &str,
        new: &str,
        now: Timestamp,
    ) -> Result<bool, RecordsError> {
        let mut filter = of(id);
        filter.insert("password", old);
        let at = date_to_bson(now);
        let set = doc! { "$set": { "password": new, "passwordChangedAt": at.clone(), "updatedAt": at } };
        Ok(self.run("change_password", self.users.update_one(filter, set)).await?.matched_count == 1)
    }
}

/// The user with this id, which the Node service may have stored as text.
fn of(id: &UserId) -> Document {
    doc! { "_id": { "$in": id_forms(id.as_str()) } }
}
