//! A user's calls in figures.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, doc};
use serde::Deserialize;

use super::stored::{date_to_bson, id_forms};
use super::{Records, RecordsError};
use switchboard_core::domain::{Timestamp, UserId};

/// How many calls a user has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AccountFigures {
    /// All that the user hosts or is in.
    pub calls: u64,
    /// Those that it hosts.
    pub hosted: u64,
    /// Those of all that are live now.
    pub live: u64,
    /// Those of all that were made since some moment.
    pub since: u64,
}

impl Records {
    /// Counts a user's calls, in one round trip; `since`: the moment of the last figure.
    ///
    /// # Errors
    /// When MongoDB is away.
    pub async fn account_figures(&self, user: &UserId, since: Timestamp) -> Result<AccountFigures, RecordsError> {
        let ids = Bson::from(id_forms(user.as_str()));
        let own = doc! {
            "$or": [{ "hostId": { "$in": ids.clone() } }, { "participants.userId": { "$in": ids.clone() } }],
            "deletedAt": Bson::Null,
        };
        let count = |condition: Bson| doc! { "$sum": { "$cond": [condition, 1, 0] } };
        let group = doc! {
            "_id": Bson::Null,
            "calls": { "$sum": 1 },
            "hosted": count(doc! { "$in": ["$hostId", ids] }.into()),
            "live": count(doc! { "$eq": ["$status", "live"] }.into()),
            "since": count(doc! { "$gte": ["$createdAt", date_to_bson(since)] }.into()),
        };
        let stages = [doc! { "$match": own }, doc! { "$group": group }];
        let figures = self.calls.aggregate(stages).with_type::<AccountFigures>();
        let found: Vec<_> = self.run("account_figures", async { figures.await?.try_collect().await }).await?;
        Ok(found.first().copied().unwrap_or_default())
    }
}
