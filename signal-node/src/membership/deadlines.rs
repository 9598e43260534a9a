//! Decides which node handles the deadlines of a partition: grace periods that end, lobby places to
//! fill, rooms to close.

use std::hash::{DefaultHasher, Hash, Hasher};

use switchboard_core::domain::NodeId;
use switchboard_rooms::{Beat, Partition, Rooms, StoreError};

/// Returns whether this node handles the partition's deadlines. One of the registered nodes does,
/// chosen by a hash, so that the work is spread without an agreement. Two at the same time do no
/// harm.
pub(super) fn is_maintainer(own: &NodeId, partition: Partition, beat: &Beat) -> bool {
    let weight = |node: &str| {
        let mut hasher = DefaultHasher::new();
        (node, partition.0).hash(&mut hasher);
        hasher.finish()
    };
    beat.nodes.iter().all(|(node, _)| weight(node) <= weight(own.as_str()))
}

/// Handles the deadlines of a partition that have passed.
pub(super) async fn expire(rooms: &Rooms, partition: Partition) {
    // While Redis is unavailable the deadlines stay; the next heartbeat handles them.
    if let Err(StoreError::Unexpected(detail)) = rooms.expire_due(partition).await {
        tracing::error!(partition = partition.0, detail, "unexpected reply to expiry");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step fails the test")]
    use super::*;

    #[test]
    fn exactly_one_registered_node_maintains_a_partition_and_all_share_the_work() {
        let nodes = ["a", "b", "c"];
        let registered = nodes.map(|node| (node.to_owned(), 1)).to_vec();
        let beat = Beat { receivers: 1, time_ms: 0, epoch: "e".to_owned(), nodes: registered };
        let mut shares = [0; 3];
        for partition in 0..64 {
            let maintains = nodes.map(|node| is_maintainer(&NodeId::parse(node).unwrap(), Partition(partition), &beat));
            assert_eq!(maintains.iter().filter(|maintains| **maintains).count(), 1);
            shares[maintains.iter().position(|maintains| *maintains).unwrap()] += 1;
        }
        assert!(shares.iter().all(|share| *share > 5), "{shares:?}");
    }
}
