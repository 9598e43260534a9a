//! Nodes and rooms for operators. Plain reads, so the result was true a moment ago.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use redis::{Value, cmd};
use switchboard_core::domain::RoomId;

use super::Rooms;
use crate::seat::SeatMember;
use crate::values::{items, pairs, stats, text, time_ms};
use crate::{NodeSummary, Partition, RoomPeek, RoomStats, RoomSummary, StoreError};

/// Number of nodes that one request reads, about.
const NODES_PAGE: usize = 1000;

impl Rooms {
    /// Returns the registered nodes, sorted by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn nodes(&self) -> Result<Vec<NodeSummary>, StoreError> {
        let all = (0..self.partitions()).map(|number| self.nodes_of(Partition(number)));
        let mut nodes: BTreeMap<String, NodeSummary> = BTreeMap::new();
        for (name, seats) in try_join_all(all).await?.into_iter().flatten() {
            let node = nodes.entry(name.clone()).or_insert(NodeSummary { name, partitions: 0, seats: 0 });
            node.partitions += 1;
            node.seats += seats;
        }
        Ok(nodes.into_values().collect())
    }

    /// Returns the nodes of a partition, each with the number of seats that it serves there.
    async fn nodes_of(&self, p: Partition) -> Result<Vec<(String, u64)>, StoreError> {
        let names = self.names_of_nodes(p).await?;
        let count = |name: &String| {
            let mut count = cmd("SCARD");
            count.arg(self.context().keys.on(p, name));
            count
        };
        let commands: Vec<_> = names.iter().map(count).collect();
        let counts = self.plain(p, "inspection", &commands).await?;
        let counted = names.into_iter().zip(counts).map(|(name, count)| match count {
            Value::Int(seats) => Ok((name, u64::try_from(seats).unwrap_or(0))),
            _ => Err(StoreError::expected("a count")),
        });
        counted.collect()
    }

    /// Reads the names in pages. A name may be in two of them.
    async fn names_of_nodes(&self, p: Partition) -> Result<BTreeSet<String>, StoreError> {
        let (mut names, mut cursor) = (BTreeSet::new(), "0".to_owned());
        loop {
            let mut read = cmd("HSCAN");
            read.arg(self.context().keys.nodes(p)).arg(&cursor).arg("COUNT").arg(NODES_PAGE);
            let answer = self.plain(p, "inspection", &[read]).await?;
            let [next, page] = items(answer.first())? else { return Err(StoreError::expected("a page")) };
            names.extend(pairs(page).into_keys().map(str::to_owned));
            text(next).ok_or_else(|| StoreError::expected("a cursor"))?.clone_into(&mut cursor);
            if cursor == "0" {
                return Ok(names);
            }
        }
    }

    /// Returns `limit` open rooms after `after`, or fewer if there are no more, ordered by
    /// partition and name. A room is found while it has a connected seat, a seat in its grace
    /// period, or a deadline.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open_rooms(&self, after: Option<&RoomId>, limit: usize) -> Result<Vec<RoomSummary>, StoreError> {
        let mut found = Vec::new();
        let first = after.map_or(0, |room| self.partition_of(room).0);
        for number in first..self.partitions() {
            let names = self.rooms_of(Partition(number)).await?;
            let after = after.filter(|_| number == first);
            let names = names.into_iter().filter(|name| after.is_none_or(|after| name > after));
            let mut names = names.peekable();
            // A room that has closed is no entry, so a page with fewer entries is the last one.
            while names.peek().is_some() {
                let wanted: Vec<_> = names.by_ref().take(limit - found.len()).collect();
                let peeks = try_join_all(wanted.iter().map(|name| self.peek(name))).await?;
                let open = wanted.into_iter().zip(peeks).filter(|(_, peek)| matches!(peek, RoomPeek::Open { .. }));
                found.extend(open.map(|(room, peek)| RoomSummary { room, peek }));
                if found.len() == limit {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    async fn rooms_of(&self, p: Partition) -> Result<BTreeSet<RoomId>, StoreError> {
        let keys = &self.context().keys;
        let mut reads: Vec<_> = Vec::new();
        for node in self.names_of_nodes(p).await? {
            let mut members = cmd("SMEMBERS");
            members.arg(keys.on(p, &node));
            reads.push(members);
        }
        let mut deadlines = cmd("ZRANGE");
        deadlines.arg(keys.deadlines(p)).arg(0).arg(-1);
        reads.push(deadlines);
        let mut rooms = BTreeSet::new();
        for members in self.plain(p, "inspection", &reads).await? {
            let members = items(Some(&members))?.iter().filter_map(text).filter_map(SeatMember::parse);
            rooms.extend(members.map(|member| member.room));
        }
        Ok(rooms)
    }

    /// Returns the figures of a room; `None` if the room is not open.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stats(&self, room: &RoomId) -> Result<Option<RoomStats>, StoreError> {
        let p = self.partition_of(room);
        let mut read = cmd("HGETALL");
        read.arg(self.context().keys.room(p, room));
        let answer = self.read_large(p, "stats", &[read, cmd("TIME")]).await?;
        let taken_ms = time_ms(answer.get(1))?;
        answer.first().map_or(Ok(None), |hash| stats(hash, taken_ms))
    }
}
