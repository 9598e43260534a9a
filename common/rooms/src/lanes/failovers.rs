//! Follows the failovers that Sentinels announce. A crashed master is noticed without them, but a
//! master that is replaced while it runs serves for seconds more, and what it accepts in that time
//! is lost.

use std::sync::Arc;
use std::time::Duration;

use redis::cmd;
use tokio::time::sleep;

use super::locate::{ANSWER_TIMEOUT, within};
use super::topology::{Address, REFRESH_INTERVAL, Topology};
use crate::conn::connection::{Connection, ConnectionError};
use crate::conn::{Purpose, Sentinels};

/// Time between two attempts to listen to a Sentinel.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Listens to one Sentinel until the task is aborted. Each Sentinel is listened to, because they do
/// not learn of a failover at the same moment.
pub(super) async fn follow(topology: Arc<Topology>, sentinels: Sentinels, address: Address) {
    loop {
        if let Err(error) = listen(&topology, &sentinels, &address).await {
            topology.url.failed(Purpose::Sentinel, &address, &error);
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// Finds the master again after each announcement, until the connection is lost.
async fn listen(topology: &Arc<Topology>, sentinels: &Sentinels, address: &Address) -> Result<(), ConnectionError> {
    let mut connection = within(ANSWER_TIMEOUT, Connection::open_sentinel(&topology.url, sentinels, address)).await?;
    let reply = within(ANSWER_TIMEOUT, connection.query(cmd("SUBSCRIBE").arg("+switch-master"))).await?;
    if matches!(reply, redis::Value::ServerError(_)) {
        return Err(ConnectionError::refused("SUBSCRIBE", &reply));
    }
    topology.url.recovered(Purpose::Sentinel, address);
    loop {
        // The first time for the announcements that were missed. A search that has just ended may
        // have asked a Sentinel that did not know yet.
        sleep(REFRESH_INTERVAL).await;
        topology.refresh(address).await;
        connection.value().await?;
    }
}
