//! Every key and channel name, and which partition a room belongs to.

use std::fmt::Display;

use super::Partition;
use switchboard_core::domain::{PeerId, RoomId};

/// Slots of a Redis Cluster.
pub(crate) const SLOTS: u16 = 16_384;

/// The names of one deployment: prefix, and a hash tag for each partition.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `<prefix>:{<tag>}:` for each partition.
    starts: Vec<String>,
    slots: Vec<u16>,
}

impl Keys {
    /// The names under `prefix` for `partitions` partitions (at least one).
    #[must_use]
    pub fn new(prefix: &str, partitions: u16) -> Self {
        let (tags, slots): (Vec<String>, Vec<u16>) = tags(partitions.max(1)).into_iter().unzip();
        Self { starts: tags.into_iter().map(|tag| format!("{prefix}:{{{tag}}}:")).collect(), slots }
    }

    /// How many partitions there are.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "made from a u16")]
    pub fn partitions(&self) -> u16 {
        self.starts.len() as u16
    }

    /// The partition of a room.
    #[must_use]
    pub fn partition_of(&self, room: &RoomId) -> Partition {
        Partition(crc16(room.as_str().as_bytes()) % self.partitions())
    }

    /// The partition that keeps a node's address.
    #[must_use]
    pub fn partition_of_node(&self, node: &str) -> Partition {
        Partition(crc16(node.as_bytes()) % self.partitions())
    }

    /// The partition that counts a subject's requests.
    #[must_use]
    pub fn partition_of_subject(&self, subject: &str) -> Partition {
        Partition(crc16(subject.as_bytes()) % self.partitions())
    }

    /// The slot of all keys of a partition.
    #[must_use]
    pub fn slot(&self, p: Partition) -> u16 {
        self.slots[usize::from(p.0)]
    }

    /// What every name of a partition begins with.
    pub(super) fn start(&self, p: Partition) -> &str {
        &self.starts[usize::from(p.0)]
    }

    fn key(&self, p: Partition, rest: impl Display) -> String {
        format!("{}{rest}", self.start(p))
    }

    /// Hash: the room.
    #[must_use]
    pub fn room(&self, p: Partition, room: &RoomId) -> String {
        self.key(p, format_args!("r:{room}"))
    }

    /// Stream: the room's log.
    #[must_use]
    pub fn log(&self, p: Partition, room: &RoomId) -> String {
        self.key(p, format_args!("l:{room}"))
    }

    /// Stream: what was said in the room, for who comes later.
    #[must_use]
    pub fn chat(&self, p: Partition, room: &RoomId) -> String {
        self.key(p, format_args!("c:{room}"))
    }

    /// String: an event that a client gave its own id.
    #[must_use]
    pub fn dedupe(&self, p: Partition, room: &RoomId, peer: &PeerId, id: &str) -> String {
        self.key(p, format_args!("d:{room}:{peer}:{id}"))
    }

    /// Hash: registered nodes and their beats.
    #[must_use]
    pub fn nodes(&self, p: Partition) -> String {
        self.key(p, "nodes")
    }

    /// String, expiring: where a node takes hand-overs. It lies in the partition that [`Keys::partition_of_node`] says.
    #[must_use]
    pub fn address(&self, node: &str) -> String {
        self.key(self.partition_of_node(node), format_args!("at:{node}"))
    }

    /// String: changes when the data was lost.
    #[must_use]
    pub fn epoch(&self, p: Partition) -> String {
        self.key(p, "epoch")
    }

    /// Set: the seats that a node serves.
    #[must_use]
    pub fn on(&self, p: Partition, node: &str) -> String {
        self.key(p, format_args!("on:{node}"))
    }

    /// Set: the seats of a dead node that are still to be swept. `sweep`: `<node>:<token>`.
    #[must_use]
    pub fn dead(&self, p: Partition, sweep: &str) -> String {
        self.key(p, format_args!("dead:{sweep}"))
    }

    /// Set: the sweeps under way.
    #[must_use]
    pub fn sweeps(&self, p: Partition) -> String {
        self.key(p, "sweeps")
    }

    /// Sorted set: deadlines.
    #[must_use]
    pub fn deadlines(&self, p: Partition) -> String {
        self.key(p, "z")
    }

    /// Stream: durable facts.
    #[must_use]
    pub fn outbox(&self, p: Partition) -> String {
        self.key(p, "out")
    }

    /// String: who consumes the outbox.
    #[must_use]
    pub fn owner(&self, p: Partition) -> String {
        self.key(p, "out:own")
    }

    /// Stream: sign-ins that are over before their tokens are.
    #[must_use]
    pub fn revoked(&self, p: Partition) -> String {
        self.key(p, "revoked")
    }

    /// String, expiring: the requests of a subject against a rate. It lies in the partition that [`Keys::partition_of_subject`] says.
    #[must_use]
    pub fn rate(&self, p: Partition, class: &str, subject: &str) -> String {
        self.key(p, format_args!("rate:{class}:{subject}"))
    }

    /// A channel of a node, without the node: what scripts are given.
    #[must_use]
    pub fn channels(&self, p: Partition) -> String {
        self.key(p, "node:")
    }

    /// The channel of a node.
    #[must_use]
    pub fn channel(&self, p: Partition, node: &str) -> String {
        self.key(p, format_args!("node:{node}"))
    }
}

/// Tags whose slots lie in the middle of equal slices of the slot range, so that any number of shards that split the range evenly
/// gets as even a share of the partitions as there is. Small numbers, the same on every process. (Plain 0, 1, 2, ... leave one shard
/// of 24 without any.)
fn tags(partitions: u16) -> Vec<(String, u16)> {
    let width = f64::from(SLOTS) / f64::from(partitions);
    let mut found: Vec<Option<(String, u16)>> = vec![None; usize::from(partitions)];
    let mut missing = partitions;
    let mut number = 0_u32;
    while missing > 0 {
        let tag = number.to_string();
        let slot = crc16(tag.as_bytes()) % SLOTS;
        let place = f64::from(slot) / width;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 <= place < partitions")]
        let index = place as usize;
        // Within the middle twenty-fifth of the slice (a tenth leaves one shard of 62 without any), but two slots at least, so that one
        // is found; with slices of a few slots, anywhere in it.
        let middle = (place.fract() - 0.5).abs() * width < (0.02 * width).max(1.0) || width < 20.0;
        if middle && found[index].is_none() {
            found[index] = Some((tag, slot));
            missing -= 1;
        }
        number += 1;
    }
    found.into_iter().flatten().collect()
}

/// CRC-16/XMODEM, as Redis Cluster hashes keys.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8)
            .fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn partitions_spread_evenly_over_3_to_64_shards() {
        let keys = Keys::new("sb", 64);
        for shards in 3..=64_u32 {
            let mut share = vec![0_u32; shards as usize];
            for p in 0..64 {
                let slot = u32::from(keys.slot(Partition(p)));
                let shard = (0..shards).rfind(|shard| slot >= shard * u32::from(SLOTS) / shards).unwrap();
                share[shard as usize] += 1;
            }
            let (least, most) = (share.iter().min().unwrap(), share.iter().max().unwrap());
            assert!(most - least <= 1, "{shards} shards: {share:?}");
        }
    }

    #[test]
    fn any_number_of_partitions_gets_tags_with_slots_of_their_own() {
        for partitions in [1, 2, 3, 50, 300, 799, 819, 820, 4096] {
            let slots: std::collections::HashSet<u16> = tags(partitions).into_iter().map(|(_, slot)| slot).collect();
            assert_eq!(slots.len(), usize::from(partitions));
        }
    }

    #[test]
    fn every_key_of_a_partition_has_its_slot() {
        let keys = Keys::new("sb", 64);
        let room = RoomId::parse("R").unwrap();
        let p = keys.partition_of(&room);
        for key in [
            keys.room(p, &room),
            keys.log(p, &room),
            keys.chat(p, &room),
            keys.on(p, "n1"),
            keys.outbox(p),
            keys.channel(p, "n1"),
        ] {
            let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).unwrap().0;
            assert_eq!(crc16(tag.as_bytes()) % SLOTS, keys.slot(p), "{key}");
        }
    }
}
