//! Names of all keys and channels, and the partition of each room.

use std::fmt::Display;

use switchboard_core::domain::{AppId, PeerId, RoomId};

use crate::{Group, Partition};

/// Number of slots of a Redis Cluster.
const SLOTS: u16 = 16_384;

/// Names of one deployment: a prefix, and a hash tag for each partition.
#[derive(Clone, Debug)]
pub struct Keys {
    /// `<prefix>:{<tag>}:` for each partition.
    starts: Vec<String>,
    slots: Vec<u16>,
}

impl Keys {
    /// Creates the names with this prefix for a number of partitions, at least one.
    #[must_use]
    pub fn new(prefix: &str, partitions: u16) -> Self {
        let (tags, slots): (Vec<String>, Vec<u16>) = tags(partitions.max(1)).into_iter().unzip();
        Self { starts: tags.into_iter().map(|tag| format!("{prefix}:{{{tag}}}:")).collect(), slots }
    }

    /// Returns the number of partitions.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "made from a u16")]
    pub fn partitions(&self) -> u16 {
        self.starts.len() as u16
    }

    /// Returns the partition of a room.
    #[must_use]
    pub fn partition_of(&self, room: &RoomId) -> Partition {
        Partition(crc16(room.as_str().as_bytes()) % self.partitions())
    }

    /// Returns the partition that holds a node's address.
    #[must_use]
    pub fn partition_of_node(&self, node: &str) -> Partition {
        Partition(crc16(node.as_bytes()) % self.partitions())
    }

    /// Returns the partition that counts a subject's requests.
    #[must_use]
    pub fn partition_of_subject(&self, subject: &str) -> Partition {
        Partition(crc16(subject.as_bytes()) % self.partitions())
    }

    /// Returns the slot of all keys of a partition.
    #[must_use]
    pub fn slot(&self, p: Partition) -> u16 {
        self.slots[usize::from(p.0)]
    }

    /// Returns the first part of every name of a partition.
    fn start(&self, p: Partition) -> &str {
        &self.starts[usize::from(p.0)]
    }

    fn key(&self, p: Partition, rest: impl Display) -> String {
        format!("{}{rest}", self.start(p))
    }

    /// Returns the parts of [`Keys::room`], so that an operation's command can be written without
    /// an allocation.
    pub(crate) fn room_parts<'a>(&'a self, p: Partition, room: &'a RoomId) -> [&'a str; 3] {
        [self.start(p), "r:", room.as_str()]
    }

    /// Returns the parts of [`Keys::log`].
    pub(crate) fn log_parts<'a>(&'a self, p: Partition, room: &'a RoomId) -> [&'a str; 3] {
        [self.start(p), "l:", room.as_str()]
    }

    /// Returns the parts of [`Keys::channels`].
    pub(crate) fn channels_parts(&self, p: Partition) -> [&str; 2] {
        [self.start(p), "node:"]
    }

    /// Hash: the room and its seats.
    #[must_use]
    pub fn room(&self, p: Partition, room: &RoomId) -> String {
        self.room_parts(p, room).concat()
    }

    /// Stream: the room's log.
    #[must_use]
    pub fn log(&self, p: Partition, room: &RoomId) -> String {
        self.log_parts(p, room).concat()
    }

    /// Returns the parts of [`Keys::order`].
    pub(crate) fn order_parts<'a>(&'a self, p: Partition, room: &'a RoomId) -> [&'a str; 3] {
        [self.start(p), "q:", room.as_str()]
    }

    /// Sorted set: the room's seats in the order of succession, then the lobby.
    #[must_use]
    pub fn order(&self, p: Partition, room: &RoomId) -> String {
        self.order_parts(p, room).concat()
    }

    /// Stream: chat history of the room, for participants who join later.
    #[must_use]
    pub fn chat(&self, p: Partition, room: &RoomId) -> String {
        self.key(p, format_args!("c:{room}"))
    }

    /// Sorted set: position of each message of the chat history.
    #[must_use]
    pub fn chat_index(&self, p: Partition, room: &RoomId) -> String {
        self.key(p, format_args!("h:{room}"))
    }

    /// String, expires: outcome of an event to which the client gave its own id.
    #[must_use]
    pub fn dedupe(&self, p: Partition, room: &RoomId, peer: &PeerId, id: &str) -> String {
        self.key(p, format_args!("d:{room}:{peer}:{id}"))
    }

    /// String, expires: log id, digest and time of an event of an app's backend. No `id` has a
    /// colon, so no event of a client has such a key.
    #[must_use]
    pub fn server_dedupe(&self, p: Partition, room: &RoomId, id: &str) -> String {
        self.key(p, format_args!("d:{room}:-{id}"))
    }

    /// String, expires: call for which the room id is kept until its record is written.
    #[must_use]
    pub fn reservation(&self, p: Partition, room: &RoomId) -> String {
        self.key(p, format_args!("n:{room}"))
    }

    /// Hash, expires: newest grant of each user of an app who came to the room.
    #[must_use]
    pub fn grants(&self, p: Partition, room: &RoomId) -> String {
        self.key(p, format_args!("g:{room}"))
    }

    /// Hash: last heartbeat of each node on the ring of a group.
    #[must_use]
    pub fn heartbeats(&self, group: Group) -> String {
        self.key(group.lead(), "beats")
    }

    /// Sorted set: the ring of a group, which is its nodes by their places.
    #[must_use]
    pub fn ring(&self, group: Group) -> String {
        self.key(group.lead(), "ring")
    }

    /// Returns the place of a node on every ring. It is a hash, so that nodes that die together,
    /// because their names or their machines are neighbours, are not neighbours on the ring.
    #[must_use]
    pub fn ring_place(node: &str) -> u16 {
        crc16(node.as_bytes())
    }

    /// Hash: registration of each node of a partition.
    #[must_use]
    pub fn nodes(&self, p: Partition) -> String {
        self.key(p, "nodes")
    }

    /// String, expires: address where a node accepts hand-overs. It is in the partition that
    /// [`Keys::partition_of_node`] returns.
    #[must_use]
    pub fn address(&self, node: &str) -> String {
        self.key(self.partition_of_node(node), format_args!("at:{node}"))
    }

    /// Hash: count and number of sessions of each node. It is in partition 0.
    #[must_use]
    pub fn loads(&self) -> String {
        self.key(Partition(0), "loads")
    }

    /// String: random value; a new value means that Redis lost its data.
    #[must_use]
    pub fn epoch(&self, p: Partition) -> String {
        self.key(p, "epoch")
    }

    /// Set: seats that a node serves.
    #[must_use]
    pub fn on(&self, p: Partition, node: &str) -> String {
        self.key(p, format_args!("on:{node}"))
    }

    /// Set: seats of a dead node that are still to be swept. `sweep` is `<node>:<token>`.
    #[must_use]
    pub fn dead(&self, p: Partition, sweep: &str) -> String {
        self.key(p, format_args!("dead:{sweep}"))
    }

    /// Set: names of the sweeps in progress.
    #[must_use]
    pub fn sweeps(&self, p: Partition) -> String {
        self.key(p, "sweeps")
    }

    /// Sorted set: deadlines by Redis time.
    #[must_use]
    pub fn deadlines(&self, p: Partition) -> String {
        self.key(p, "z")
    }

    /// Stream: the outbox, durable facts for MongoDB.
    #[must_use]
    pub fn outbox(&self, p: Partition) -> String {
        self.key(p, "out")
    }

    /// String, expires: lease of the pod that owns the outbox.
    #[must_use]
    pub fn lease(&self, p: Partition) -> String {
        self.key(p, "out:own")
    }

    /// Stream: sign-ins that were revoked before their tokens expire.
    #[must_use]
    pub fn revoked(&self, p: Partition) -> String {
        self.key(p, "revoked")
    }

    /// String, expires: state of one rate limit; with `:<address>`, a hash of an address' guesses.
    /// It is in the partition that
    /// [`Keys::partition_of_subject`] returns.
    #[must_use]
    pub fn rate(&self, p: Partition, class: &str, subject: &str) -> String {
        self.key(p, format_args!("rate:{class}:{subject}"))
    }

    /// Counts of an app, which expire: hash of the participants on each node, sorted sets of the
    /// nodes and of the rooms by the time of their reports. They are in the partition that
    /// [`Keys::partition_of_subject`] returns.
    #[must_use]
    pub fn app(&self, app: &AppId) -> [String; 3] {
        let p = self.partition_of_subject(app.as_str());
        ["", ":nodes", ":rooms"].map(|part| self.key(p, format_args!("app:{app}{part}")))
    }

    /// Prefix of the nodes' channels, which scripts complete with the node.
    #[must_use]
    pub fn channels(&self, p: Partition) -> String {
        self.channels_parts(p).concat()
    }

    /// Channel of a node.
    #[must_use]
    pub fn channel(&self, p: Partition, node: &str) -> String {
        self.key(p, format_args!("node:{node}"))
    }
}

/// Finds hash tags whose slots lie in the middle of equal slices of the slot range. So any number
/// of shards that split the range evenly gets an even share of the partitions. The tags are small
/// numbers, the same in every process. Plain 0, 1, 2, ... leave one shard of 24 without a
/// partition.
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
        // In the middle twenty-fifth of the slice, because a tenth leaves one shard of 62 without a
        // partition; but two slots at least, so that a tag is found. In a slice of less than 20
        // slots, anywhere.
        let middle = (place.fract() - 0.5).abs() * width < (0.02 * width).max(1.0) || width < 20.0;
        if middle && found[index].is_none() {
            found[index] = Some((tag, slot));
            missing -= 1;
        }
        number += 1;
    }
    found.into_iter().flatten().collect()
}

/// Computes CRC-16/XMODEM, with which Redis Cluster hashes keys.
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
    fn keys_are_hashed_as_redis_cluster_hashes_them() {
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
    fn each_partition_gets_a_tag_with_its_own_slot_for_any_number_of_partitions() {
        for partitions in [1, 2, 3, 50, 300, 799, 819, 820, 4096] {
            let slots: std::collections::HashSet<u16> = tags(partitions).into_iter().map(|(_, slot)| slot).collect();
            assert_eq!(slots.len(), usize::from(partitions));
        }
    }

    #[test]
    fn every_key_of_a_partition_has_the_partitions_slot() {
        let keys = Keys::new("sb", 64);
        let room = RoomId::parse("R").unwrap();
        let p = keys.partition_of(&room);
        for key in [
            keys.room(p, &room),
            keys.log(p, &room),
            keys.order(p, &room),
            keys.chat(p, &room),
            keys.chat_index(p, &room),
            keys.on(p, "n1"),
            keys.outbox(p),
            keys.channel(p, "n1"),
        ] {
            let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).unwrap().0;
            assert_eq!(crc16(tag.as_bytes()) % SLOTS, keys.slot(p), "{key}");
        }
    }
}
