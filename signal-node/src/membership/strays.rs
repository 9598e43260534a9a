//! Nodes that are registered in a partition and on no ring, so that no node watches them: nodes of
//! an earlier version, and nodes whose ring was lost.
//!
//! Reading all nodes is the work of one node for each partition, and rare.

use std::collections::HashSet;
use std::time::Duration;

use switchboard_rooms::{Partition, Rooms, StoreError, StrayNode};
use tokio::time::Instant;

/// Time between two reads of all nodes of a partition. A node of an earlier version changes its
/// registration each second, and a node that registers is on its ring within one.
const READ_INTERVAL: Duration = Duration::from_secs(15);

/// Strays of one partition, from read to read.
#[derive(Debug, Default)]
pub(super) struct Strays {
    seen: HashSet<StrayNode>,
    read_at: Option<Instant>,
}

impl Strays {
    /// Returns whether the next read is due.
    pub(super) fn is_due(&self) -> bool {
        self.read_at.is_none_or(|at| at.elapsed() >= READ_INTERVAL)
    }

    /// Reads the nodes of the partition, and sweeps those that were strays with the same
    /// registration at the last read.
    pub(super) async fn sweep(&mut self, rooms: &Rooms, partition: Partition) {
        self.read_at = Some(Instant::now());
        let Ok(found) = rooms.stray_nodes(partition).await else {
            self.seen.clear();
            return;
        };
        for stray in self.observe(found) {
            match rooms.sweep_stray(partition, &stray).await {
                Ok(sweep) if sweep.declared => {
                    metrics::counter!("switchboard_stray_nodes_swept_total").increment(1);
                    tracing::warn!(
                        partition = partition.0,
                        node_id = stray.node,
                        seats = sweep.seats,
                        "stray node swept"
                    );
                }
                Ok(_) | Err(StoreError::Unavailable) => {}
                Err(StoreError::Unexpected(detail)) => {
                    tracing::error!(partition = partition.0, detail, "unexpected reply to a sweep");
                }
            }
        }
    }

    /// Takes the strays of a read. Returns those that have not changed since the last one.
    fn observe(&mut self, found: Vec<StrayNode>) -> Vec<StrayNode> {
        let before = std::mem::replace(&mut self.seen, found.iter().cloned().collect());
        found.into_iter().filter(|stray| before.contains(stray)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_is_swept_when_its_registration_is_the_same_in_two_reads() {
        let stray = |registration: &str| StrayNode { node: "n1".to_owned(), registration: registration.to_owned() };
        let mut strays = Strays::default();
        assert!(strays.observe(vec![stray("1")]).is_empty());
        assert!(strays.observe(vec![stray("2")]).is_empty(), "a node of an earlier version lives");
        assert_eq!(strays.observe(vec![stray("2")]), [stray("2")]);
        assert!(strays.observe(Vec::new()).is_empty());
        assert!(strays.observe(vec![stray("2")]).is_empty());
    }
}
