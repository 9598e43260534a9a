//! Statistics of a user's calls.

use futures_util::TryStreamExt;
use mongodb::bson::{Bson, doc};
use serde::Deserialize;

use super::bson::{date_to_bson, id_forms};
use super::calls::Selection;
use super::{Records, RecordsError};
use switchboard_core::domain::{AppId, Timestamp, UserId};

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
        let fields = doc! { "hostId": 1, "status": 1, "createdAt": 1 };
        let mut stages = self.own_calls((&AppId::default(), user), None, &Selection::of_fields(fields)).await?;
        let first = |field: &str| doc! { "$first": format!("${field}") };
        let count = |condition: Bson| doc! { "$sum": { "$cond": [condition, 1, 0] } };
        stages.extend([
            // Two calls with one id are one call that was found in two ways.
            doc! { "$group": {
                "_id": "$_id",
                "hostId": first("hostId"), "status": first("status"), "createdAt": first("createdAt"),
            } },
            doc! { "$group": {
                "_id": Bson::Null,
                "calls": { "$sum": 1 },
                "hosted": count(doc! { "$in": ["$hostId", ids] }.into()),
                "live": count(doc! { "$eq": ["$status", "live"] }.into()),
                "since": count(doc! { "$gte": ["$createdAt", date_to_bson(since)] }.into()),
            } },
        ]);
        let lists = self.for_lists();
        let found = lists.run("account_statistics", |db| async move {
            let statistics = db.calls.aggregate(stages).max_time(db.timeouts.operation);
            statistics.with_type::<AccountStatistics>().await?.try_collect::<Vec<_>>().await
        });
        let found = found.await?;
        Ok(found.first().copied().unwrap_or_default())
    }
}
