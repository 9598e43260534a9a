//! What there is, for operators: nodes, and rooms in pages. Plain reads; what is shown was true a moment ago.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use redis::{Value, cmd};

use super::Rooms;
use crate::reply::{items, pairs, text, unexpected};
use crate::*;
use switchboard_core::domain::RoomId;

impl Rooms {
    /// The registered nodes, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn nodes(&self) -> Result<Vec<NodeSurvey>, StoreError> {
        let all = (0..self.partitions()).map(|number| self.nodes_of(Partition(number)));
        let mut nodes: BTreeMap<String, NodeSurvey> = BTreeMap::new();
        for (name, seats) in try_join_all(all).await?.into_iter().flatten() {
            let node = nodes.entry(name.clone()).or_insert(NodeSurvey { name, partitions: 0, seats: 0 });
            node.partitions += 1;
            node.seats += seats;
        }
        Ok(nodes.into_values().collect())
    }

    /// The nodes of a partition, each with the seats that it serves there.
    async fn nodes_of(&self, p: Partition) -> Result<Vec<(String, u64)>, StoreError> {
        let names = self.names_of_nodes(p).await?;
        let count = |name: &String| {
            let mut count = cmd("SCARD");
            count.arg(self.context().keys.on(p, name));
            count
        };
        let counts = self.plain(p, "survey", names.iter().map(count).collect()).await?;
        let counted = names.into_iter().zip(counts).map(|(name, count)| match count {
            Value::Int(seats) => Ok((name, u64::try_from(seats).unwrap_or(0))),
            _ => Err(unexpected("a count")),
        });
        counted.collect()
    }

    async fn names_of_nodes(&self, p: Partition) -> Result<Vec<String>, StoreError> {
        let mut read = cmd("HGETALL");
        read.arg(self.context().keys.nodes(p));
        let answer = self.plain(p, "survey", vec![read]).await?;
        let nodes = answer.first().map(pairs).unwrap_or_default();
        Ok(nodes.into_keys().map(str::to_owned).collect())
    }

    /// Up to `most` open rooms after `after`, in an order of their own: those that somebody is in, comes back to, or has left a short while
    /// ago.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open_rooms(&self, after: Option<&RoomId>, most: usize) -> Result<Vec<RoomSurvey>, StoreError> {
        let mut found = Vec::new();
        let first = after.map_or(0, |room| self.partition_of(room).0);
        for number in first..self.partitions() {
            let names = self.rooms_of(Partition(number)).await?;
            let after = after.filter(|_| number == first);
            let names = names.into_iter().filter(|name| after.is_none_or(|after| name > after));
            let wanted: Vec<_> = names.take(most - found.len()).collect();
            let doors = try_join_all(wanted.iter().map(|name| self.door(name))).await?;
            found.extend(wanted.into_iter().zip(doors).map(|(room, door)| RoomSurvey { room, door }));
            if found.len() == most {
                break;
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
        for members in self.plain(p, "survey", reads).await? {
            let names = items(Some(&members))?.iter().filter_map(text).filter_map(|member| member.split(' ').next());
            rooms.extend(names.filter_map(|name| RoomId::parse(name).ok()));
        }
        Ok(rooms)
    }
}
