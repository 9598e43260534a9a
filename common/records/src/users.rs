//! Queries on `users`.

use futures_util::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::options::ReturnDocument;

use super::bson::{date_to_bson, id_forms, id_to_bson};
use super::{Records, RecordsError, UserRecord};
use switchboard_core::domain::{EmailAddress, Timestamp, UserId};

/// Change of a profile; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// New name.
    pub name: Option<String>,
    /// New e-mail address, in its normal form.
    pub email: Option<String>,
    /// New picture; `Some(None)` removes it.
    pub avatar: Option<Option<String>>,
}

impl Records {
    /// Returns a new id for a user.
    #[must_use]
    pub fn new_user_id() -> UserId {
        UserId::parse(&ObjectId::new().to_hex()).expect("24 hexadecimal digits are a valid user id")
    }

    /// Stores a new user, whose e-mail address must be in its normal form.
    ///
    /// # Errors
    /// `Duplicate` if the e-mail address is taken. The unique index decides between concurrent
    /// calls.
    pub async fn insert_user(&self, user: &UserRecord) -> Result<(), RecordsError> {
        self.ensure_unique().await?;
        self.check_older_forms(&user.email, &user.id).await?;
        let (id, user) = (id_to_bson(user.id.as_str()), user.clone());
        self.run("insert_user", |db| async move { db.users.insert_one(user).await }).await?;
        let undo = async || {
            self.run("insert_user", |db| async move { db.users.delete_one(doc! { "_id": id }).await }).await.map(drop)
        };
        self.confirm_unique(undo).await
    }

    /// Reads the user with this e-mail address. If earlier versions stored accounts in several
    /// forms of one address, the form that was typed comes first.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn user_by_email(&self, email: &EmailAddress) -> Result<Option<UserRecord>, RecordsError> {
        Ok(self.users_by_email(email).await?.into_iter().next())
    }

    /// Reads the users with any form of this address, in the order of the forms.
    async fn users_by_email(&self, email: &EmailAddress) -> Result<Vec<UserRecord>, RecordsError> {
        let forms = email.stored_forms();
        if let [only] = forms.as_slice() {
            let filter = doc! { "email": only };
            let found = self.run("user_by_email", |db| async move { db.users.find_one(filter).await }).await?;
            return Ok(found.into_iter().collect());
        }
        // One document for each form at most, because the index is unique.
        let any = doc! { "email": { "$in": &forms } };
        let found = self.run("user_by_email", |db| async move { db.users.find(any).await?.try_collect().await });
        let mut found: Vec<UserRecord> = found.await?;
        found.sort_by_key(|user| forms.iter().position(|form| *form == user.email));
        Ok(found)
    }

    /// Checks that no other user has another form of this address. New accounts have the normal
    /// form, which the unique index guards; only earlier versions stored others.
    async fn check_older_forms(&self, email: &str, own: &UserId) -> Result<(), RecordsError> {
        let email = EmailAddress::of_account(email);
        if email.stored_forms().len() == 1 {
            return Ok(());
        }
        let taken = self.users_by_email(&email).await?.iter().any(|user| user.id != *own);
        if taken { Err(RecordsError::Duplicate) } else { Ok(()) }
    }

    /// Reads the user with this id. One round trip, or two if the old Node.js backend stored the id
    /// as text.
    ///
    /// # Errors
    /// MongoDB is unavailable, or the document is invalid.
    pub async fn user(&self, id: &UserId) -> Result<Option<UserRecord>, RecordsError> {
        // One query for each form, because MongoDB reads a single `_id` without query planning, and
        // planning `$in` costs more than the read.
        for form in id_forms(id.as_str()) {
            let found = self.run("user", |db| async move { db.users.find_one(doc! { "_id": form }).await }).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Makes all sign-ins that were opened before `now` invalid. Returns whether the user exists.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn end_sign_ins(&self, id: &UserId, now: Timestamp) -> Result<bool, RecordsError> {
        let (user, set) = (by_id(id), doc! { "$set": { "passwordChangedAt": date_to_bson(now) } });
        Ok(self.run("end_sign_ins", |db| async move { db.users.update_one(user, set).await }).await?.matched_count == 1)
    }

    /// Changes a profile and returns the changed record; `None` if the user does not exist. A
    /// changed e-mail address makes all sign-ins invalid that were opened before `now`.
    ///
    /// # Errors
    /// `Duplicate` if the new e-mail address is taken.
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
            self.ensure_unique().await?;
            self.check_older_forms(email, id).await?;
            set.insert("email", email);
            set.insert("passwordChangedAt", date_to_bson(now));
        }
        if let Some(avatar) = &change.avatar {
            set.insert("avatar", avatar.as_deref());
        }
        let user = by_id(id);
        self.run("change_profile", |db| async move {
            let update = db.users.find_one_and_update(user, doc! { "$set": set });
            update.return_document(ReturnDocument::After).await
        })
        .await
    }

    /// Replaces the hash of a password if it is still `old`, so that a concurrent change of the
    /// password is not undone. Returns whether it was replaced.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn replace_hash(&self, id: &UserId, old: &str, new: &str) -> Result<bool, RecordsError> {
        let mut filter = by_id(id);
        filter.insert("password", old);
        let set = doc! { "$set": { "password": new } };
        let replaced = self.run("replace_hash", |db| async move { db.users.update_one(filter, set).await });
        Ok(replaced.await?.matched_count == 1)
    }

    /// Changes the password if its hash is still `old`. Returns whether it was changed.
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn change_password(
        &self,
        id: &UserId,
        old: &str,
        new: &str,
        now: Timestamp,
    ) -> Result<bool, RecordsError> {
        let mut filter = by_id(id);
        filter.insert("password", old);
        let at = date_to_bson(now);
        let set = doc! { "$set": { "password": new, "passwordChangedAt": at.clone(), "updatedAt": at } };
        Ok(self.run("change_password", |db| async move { db.users.update_one(filter, set).await }).await?.matched_count
            == 1)
    }
}

/// Returns the filter for a user's id, which the old Node.js backend may have stored as text.
fn by_id(id: &UserId) -> Document {
    doc! { "_id": { "$in": id_forms(id.as_str()) } }
}
