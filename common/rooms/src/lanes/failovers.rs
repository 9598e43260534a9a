//! Follows the failovers that Sentinels announce. A crashed master is noticed without them, but a
//! master that is replaced while it runs serves for seconds more, and what it accepts in that time
//! is lost.

use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::cmd;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::locate::{ANSWER_TIMEOUT, within};
use super::topology::{Address, REFRESH_INTERVAL};
use crate::conn::connection::{Connection, ConnectionError};
use crate::conn::{Deployment, Purpose, RedisUrl, Sentinels};

/// Time between two attempts to listen to a Sentinel.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Listens to every Sentinel of a URL until the tasks are aborted, and awaits `announced` with the
/// Sentinel's address after each announcement. Does nothing for a URL without Sentinels.
///
/// Each Sentinel is listened to, because they do not learn of a failover at the same moment.
pub(crate) fn follow_all<F>(url: &RedisUrl, announced: F) -> Vec<AbortHandle>
where
    F: Fn(Address) -> BoxFuture<'static, ()> + Clone + Send + Sync + 'static,
{
    let Deployment::Sentinel(sentinels) = url.deployment() else { return Vec::new() };
    let follow = |address: &Address| follow(url.clone(), sentinels.clone(), address.clone(), announced.clone());
    url.hosts().iter().map(|address| tokio::spawn(follow(address)).abort_handle()).collect()
}

async fn follow(
    url: RedisUrl,
    sentinels: Sentinels,
    address: Address,
    announced: impl Fn(Address) -> BoxFuture<'static, ()>,
) {
    loop {
        if let Err(error) = listen(&url, &sentinels, &address, &announced).await {
            url.failed(Purpose::Sentinel, &address, &error);
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// Awaits `announced` after each announcement, until the connection is lost.
async fn listen(
    url: &RedisUrl,
    sentinels: &Sentinels,
    address: &Address,
    announced: &impl Fn(Address) -> BoxFuture<'static, ()>,
) -> Result<(), ConnectionError> {
    let mut connection = within(ANSWER_TIMEOUT, Connection::open_sentinel(url, sentinels, address)).await?;
    let reply = within(ANSWER_TIMEOUT, connection.query(cmd("SUBSCRIBE").arg("+switch-master"))).await?;
    if matches!(reply, redis::Value::ServerError(_)) {
        return Err(ConnectionError::refused("SUBSCRIBE", &reply));
    }
    url.recovered(Purpose::Sentinel, address);
    loop {
        // The first time for the announcements that were missed. A search that has just ended may
        // have asked a Sentinel that did not know yet.
        sleep(REFRESH_INTERVAL).await;
        announced(address.clone()).await;
        connection.value().await?;
    }
}
