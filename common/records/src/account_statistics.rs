//! Statistics of a user's calls.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, doc};
use serde::Deserialize;

use super::bson::{date_to_bson, id_forms};
use super::{Records, RecordsError};
use switchboard_core::domain::{Timestamp, UserId};

/// Numbers of a user's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct AccountStatistics {
    /// Calls that the user hosts or takes part in.
    pub calls: u64,
    /// Calls that the user hosts.
    pub hosted: u64,
    /// Calls that are live now.
    pub live: u64,
    /// Calls created since the given time.
    pub since: u64,
}

impl Records {
    /// Counts a user's calls: those that the user hosts, and the latest 5,000 in which the user
    /// took part. `since` is the time for [`AccountStatistics::since`].
    ///
    /// # Errors
    /// MongoDB is unavailable.
    pub async fn account_statistics(&self, user: &UserId, since: Timestamp) -> Result<AccountStatistics, RecordsError> {
        let ids = Bson::from(id_forms(user.as_str()));
        let joined = self.joined_calls(user).await?;
        let own = doc! {
            "$or": [
                { "hostId": { "$in": ids.clone() } },
                { "participants.userId": { "$in": ids.clone() } },
                { "_id": { "$in": joined } },
            ],
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
        let statistics = self.calls.aggregate(stages).max_time(self.deadline).with_type::<AccountStatistics>();
        let found: Vec<_> = self.run("account_statistics", async { statistics.await?.try_collect().await }).await?;
        Ok(found.first().copied().unwrap_or_default())
    }
}
