//! Decides which node handles the deadlines of a partition: grace periods that end, lobby places to
//! fill, rooms to close.

use switchboard_rooms::{Beat, Partition, Rooms, StoreError};

/// Returns whether the node with this reply to its heartbeat handles the partition's deadlines. One
/// of the nodes on the ring does, by its rank, so that the work is spread without an agreement. Two
/// at the same time do no harm.
pub(super) fn is_maintainer(partition: Partition, beat: &Beat) -> bool {
    u64::from(partition.0) % beat.size.max(1) == beat.rank
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
        for size in [1, 3, 100] {
            let mut shares = vec![0; size];
            for partition in 0..64 {
                let beat = |rank| Beat { rank: rank as u64, size: size as u64, following: Vec::new() };
                let maintains: Vec<_> =
                    (0..size).filter(|rank| is_maintainer(Partition(partition), &beat(*rank))).collect();
                assert_eq!(maintains.len(), 1);
                shares[maintains[0]] += 1;
            }
            assert!(shares.iter().all(|share| *share <= 64_usize.div_ceil(size)), "{shares:?}");
        }
    }
}
