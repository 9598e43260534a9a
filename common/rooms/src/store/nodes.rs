//! Nodes: heartbeats, registrations, sweeps, deadlines, loads, addresses.
//!
//! The file is longer than others, because all of it acts on the same few keys.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::cmd;
use switchboard_core::domain::{EndReason, LeaveReason};
use switchboard_core::wire::server_event::{self, reconnecting_template};

use super::{Rooms, random_hex, rfc3339_now};
use crate::context::millis;
use crate::scripts::{
    BeatScript, CheckNodeScript, DeadlineReply, DeathReply, DeclareDeadScript, DeregisterNodeScript, DeregisterReply,
    ExpireScript, LeaveRingScript, ScriptArguments, SweepOneScript, SweepStartScript,
};
use crate::seat::SeatMember;
use crate::values::{items, pairs, text, time_ms};
use crate::{BeatOutcome, CheckOutcome, Group, LastBeat, Loads, NodeLoad, Partition, StoreError, StrayNode, Sweep};

/// Maximum number of members whose scripts are in flight at the same time. It leaves room in a
/// pipeline for other requests.
const MEMBERS_IN_FLIGHT_MAX: usize = 128;

/// Field of the loads that is no node: the last request to even them out.
const REBALANCE_FIELD: &str = "!request";

impl Rooms {
    /// Returns the groups of partitions.
    pub fn groups(&self) -> impl Iterator<Item = Group> + use<> {
        (0..Group::count(self.partitions())).map(Group)
    }

    /// Counts a heartbeat of this node in a group. `registers` puts the node on the ring; `counter`
    /// grows with every heartbeat; the reply has the `watched` nodes that follow on the ring.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn beat(
        &self,
        group: Group,
        counter: u64,
        registers: bool,
        watched: usize,
    ) -> Result<BeatOutcome, StoreError> {
        let context = self.context();
        let (keys, node) = (&context.keys, context.node.as_str());
        self.run(group.lead(), &BeatScript { keys, group, node, counter, registers, watched }).await
    }

    /// Checks that this node is registered in a partition, and publishes a canary to it.
    /// `registers` registers it, under a name of the registration that was not used before; it must
    /// be on the ring of the partition's group before, because otherwise no node sweeps it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn check_node(
        &self,
        p: Partition,
        registration: &str,
        registers: bool,
    ) -> Result<CheckOutcome, StoreError> {
        let context = self.context();
        let (keys, node, new_epoch) = (&context.keys, context.node.as_str(), random_hex());
        self.run(p, &CheckNodeScript { keys, partition: p, node, registration, registers, new_epoch }).await
    }

    /// Returns a new name of a registration. No number, because nodes of earlier versions take a
    /// number for a counter of heartbeats.
    #[must_use]
    pub fn new_registration() -> String {
        format!("r{}", random_hex())
    }

    /// Registers this node in every partition, as it does at its start.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn register_node(&self) -> Result<(), StoreError> {
        let registration = Self::new_registration();
        try_join_all(self.groups().map(|group| self.beat(group, 1, true, 0))).await?;
        let all = (0..self.partitions()).map(|p| self.check_node(Partition(p), &registration, true));
        try_join_all(all).await.map(drop)
    }

    /// Declares a node dead whose last heartbeat in a group still is `observed`, and turns its
    /// seats to `reconnecting`. Also finishes the sweeps that an earlier sweeper left. May be
    /// repeated, and run by several nodes at the same time: one of them declares the node dead.
    ///
    /// # Errors
    /// See [`StoreError`]. A node that was declared dead stays on the ring until all its seats are
    /// swept, so that another node can finish.
    pub async fn sweep(&self, group: Group, node: &str, observed: LastBeat) -> Result<Sweep, StoreError> {
        let keys = &self.context().keys;
        let partitions: Vec<Partition> = group.partitions(self.partitions()).collect();
        // Read before the node is declared dead. It registers again only after that, under another
        // name, which is not swept.
        let registrations = partitions.iter().map(|&p| self.registration(p, node));
        let registrations = try_join_all(registrations).await?;
        let is_dead =
            self.run(group.lead(), &DeclareDeadScript { keys, group, node, observed }).await? == DeathReply::Done;
        if !is_dead {
            // The node that declared it dead sweeps it.
            return Ok(Sweep { declared: false, seats: 0 });
        }
        let registered = partitions.iter().zip(&registrations);
        let registered = registered.filter_map(|(&p, registration)| Some((p, registration.as_deref()?)));
        try_join_all(registered.map(|(p, registration)| self.start_sweep(p, node, registration))).await?;
        let seats = try_join_all(partitions.iter().map(|&p| self.finish_all_sweeps(p))).await?.into_iter().sum();
        self.run(group.lead(), &LeaveRingScript { keys, group, node, only_dead: true }).await?;
        Ok(Sweep { declared: observed != LastBeat::Dead, seats })
    }

    async fn registration(&self, p: Partition, node: &str) -> Result<Option<String>, StoreError> {
        let mut read = cmd("HGET");
        read.arg(self.context().keys.nodes(p)).arg(node);
        let answer = self.plain(p, "registration", &[read]).await?;
        Ok(answer.first().and_then(text).map(str::to_owned))
    }

    /// Removes a dead node from a partition, if it is registered under this name.
    async fn start_sweep(&self, p: Partition, node: &str, observed: &str) -> Result<DeathReply, StoreError> {
        let sweep = format!("{node}:{}", random_hex());
        let script = SweepStartScript { keys: &self.context().keys, partition: p, node, observed, sweep: &sweep };
        self.run(p, &script).await
    }

    /// Sweeps the seats that are left in every sweep of a partition. Returns the number of seats.
    async fn finish_all_sweeps(&self, p: Partition) -> Result<usize, StoreError> {
        let mut list = cmd("SMEMBERS");
        list.arg(self.context().keys.sweeps(p));
        let answer = self.plain(p, "sweeps", &[list]).await?;
        let sweeps: Vec<String> = items(answer.first())?.iter().filter_map(text).map(str::to_owned).collect();
        self.finish_sweeps(p, &sweeps).await
    }

    /// Returns the nodes that are registered in a partition and on no ring: nodes of an earlier
    /// version, and nodes whose ring was lost. Reads the whole list of nodes, so that only one node
    /// may do it, and rarely.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn stray_nodes(&self, p: Partition) -> Result<Vec<StrayNode>, StoreError> {
        let keys = &self.context().keys;
        let mut list = cmd("HGETALL");
        list.arg(keys.nodes(p));
        let answer = self.read_large(p, "nodes", &[list]).await?;
        let nodes: Vec<(&str, &str)> = answer.first().map(pairs).unwrap_or_default().into_iter().collect();
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let mut beats = cmd("HMGET");
        beats.arg(keys.heartbeats(Group::of(p))).arg(nodes.iter().map(|(node, _)| *node).collect::<Vec<_>>());
        let answer = self.read_large(Group::of(p).lead(), "nodes", &[beats]).await?;
        let strays = nodes.into_iter().zip(items(answer.first())?).filter(|(_, beat)| text(beat).is_none());
        let strays = strays.map(|((node, registration), _)| StrayNode {
            node: node.to_owned(),
            registration: registration.to_owned(),
        });
        Ok(strays.collect())
    }

    /// Sweeps a node that is on no ring, if its registration in this partition is still the
    /// observed one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sweep_stray(&self, p: Partition, stray: &StrayNode) -> Result<Sweep, StoreError> {
        let declared = self.start_sweep(p, &stray.node, &stray.registration).await? == DeathReply::Done;
        Ok(Sweep { declared, seats: self.finish_all_sweeps(p).await? })
    }

    /// Returns up to `count` nodes of the cluster, any of them, perhaps with this one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sample_nodes(&self, count: usize) -> Result<Vec<String>, StoreError> {
        let mut read = cmd("ZRANDMEMBER");
        read.arg(self.context().keys.ring(Group(0))).arg(count);
        let answer = self.plain(Partition(0), "sample_nodes", &[read]).await?;
        Ok(items(answer.first())?.iter().filter_map(text).map(str::to_owned).collect())
    }

    /// Sweeps the seats that are left in these sweeps. Returns the number of seats.
    async fn finish_sweeps(&self, p: Partition, sweeps: &[String]) -> Result<usize, StoreError> {
        let context = self.context();
        let reconnecting_event = reconnecting_template();
        let mut done = 0;
        for sweep in sweeps {
            let mut list = cmd("SMEMBERS");
            list.arg(context.keys.dead(p, sweep));
            let answer = self.plain(p, "sweep_members", &[list]).await?;
            let members: Vec<SeatMember> =
                items(answer.first())?.iter().filter_map(text).filter_map(SeatMember::parse).collect();
            let scripts = members.iter().map(|SeatMember { room, peer, generation }| SweepOneScript {
                scope: context.seat_scope(room, LeaveReason::Left),
                peer,
                generation,
                sweep,
                grace_ms: millis(context.options.grace),
                reconnecting_event: &reconnecting_event,
            });
            done += self.run_each(p, scripts).await?;
        }
        Ok(done)
    }

    /// Takes this node off the ring of a group. It must be registered in no partition of the group.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn leave_ring(&self, group: Group) -> Result<(), StoreError> {
        let context = self.context();
        let script = LeaveRingScript { keys: &context.keys, group, node: context.node.as_str(), only_dead: false };
        self.run(group.lead(), &script).await.map(drop)
    }

    /// Removes this node from a partition if it holds no seat there. Returns whether it is removed.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn deregister_node(&self, p: Partition) -> Result<bool, StoreError> {
        let context = self.context();
        let script = DeregisterNodeScript { keys: &context.keys, partition: p, node: context.node.as_str() };
        Ok(self.run(p, &script).await? == DeregisterReply::Done)
    }

    /// Tells the number of sessions of this node, with a count that is another one each time.
    /// Returns the loads of all nodes, this one included, and the last request to even them out.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn exchange_loads(&self, count: u64, sessions: usize) -> Result<Loads, StoreError> {
        let context = self.context();
        let key = context.keys.loads();
        let (mut tell, mut read) = (cmd("HSET"), cmd("HGETALL"));
        tell.arg(&key).arg(context.node.as_str()).arg(format!("{count} {sessions}"));
        read.arg(&key);
        let answer = self.plain(Partition(0), "loads", &[tell, read]).await?;
        let mut loads = answer.get(1).map(pairs).unwrap_or_default();
        let request = loads.remove(REBALANCE_FIELD).unwrap_or_default().to_owned();
        Ok(Loads { nodes: loads.into_iter().filter_map(|(name, load)| NodeLoad::parse(name, load)).collect(), request })
    }

    /// Asks all nodes to even out their loads.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn request_rebalance(&self) -> Result<(), StoreError> {
        let mut ask = cmd("HSET");
        ask.arg(self.context().keys.loads()).arg(REBALANCE_FIELD).arg(random_hex());
        self.plain(Partition(0), "loads", &[ask]).await.map(drop)
    }

    /// Removes the loads of nodes that have ended.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn forget_loads(&self, nodes: &[String]) -> Result<(), StoreError> {
        if nodes.is_empty() {
            return Ok(());
        }
        let mut remove = cmd("HDEL");
        remove.arg(self.context().keys.loads()).arg(nodes);
        self.plain(Partition(0), "loads", &[remove]).await.map(drop)
    }

    /// Publishes the address where this node accepts hand-overs, for as long as `ttl`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn publish_address(&self, address: &str, ttl: Duration) -> Result<(), StoreError> {
        let context = self.context();
        let node = context.node.as_str();
        let mut set = cmd("SET");
        set.arg(context.keys.address(node)).arg(address).arg("PX").arg(millis(ttl));
        self.plain(context.keys.partition_of_node(node), "announce", &[set]).await.map(drop)
    }

    /// Withdraws the address of this node.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn withdraw_address(&self) -> Result<(), StoreError> {
        let context = self.context();
        let node = context.node.as_str();
        let mut delete = cmd("DEL");
        delete.arg(context.keys.address(node));
        self.plain(context.keys.partition_of_node(node), "withdraw", &[delete]).await.map(drop)
    }

    /// Returns the address where a node accepts hand-overs; `None` if there is no such node.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn address_of(&self, node: &str) -> Result<Option<String>, StoreError> {
        let keys = &self.context().keys;
        let mut get = cmd("GET");
        get.arg(keys.address(node));
        let answer = self.plain(keys.partition_of_node(node), "address", &[get]).await?;
        Ok(answer.first().and_then(text).map(str::to_owned))
    }

    /// Handles the deadlines of a partition that are due: frees seats after their grace period,
    /// ends the calls of rooms that are empty for too long, and admits from the lobby where a place
    /// became free. Also finishes sweeps that a dead sweeper left. Returns the number of deadlines.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire_due(&self, p: Partition) -> Result<usize, StoreError> {
        let context = self.context();
        let keys = &context.keys;
        let (mut earliest, mut sweeps) = (cmd("ZRANGE"), cmd("SMEMBERS"));
        earliest.arg(keys.deadlines(p)).arg(0).arg(MEMBERS_IN_FLIGHT_MAX - 1).arg("WITHSCORES");
        sweeps.arg(keys.sweeps(p));
        let answer = self.plain(p, "deadlines", &[earliest, sweeps, cmd("TIME")]).await?;
        let sweeps: Vec<String> = items(answer.get(1))?.iter().filter_map(text).map(str::to_owned).collect();
        let redis_now = time_ms(answer.get(2))?;
        let due = items(answer.first())?.as_chunks::<2>().0.iter().filter_map(|[member, at]| {
            #[expect(clippy::cast_precision_loss, reason = "a score is a float; milliseconds fit")]
            let due = text(at)?.parse::<f64>().ok()? <= redis_now as f64;
            due.then(|| text(member).and_then(SeatMember::parse)).flatten()
        });
        let due: Vec<(SeatMember, String)> = due
            .map(|member| {
                let ended_event = server_event::call_ended(&member.room, EndReason::Empty.as_str());
                (member, ended_event)
            })
            .collect();
        let now = rfc3339_now()?;
        let reconnecting_event = reconnecting_template();
        let ended_details = serde_json::json!({ "reason": EndReason::Empty.as_str() }).to_string();
        let scripts = due.iter().map(|(SeatMember { room, peer, generation }, ended_event)| ExpireScript {
            scope: context.seat_scope(room, if peer == "*" { LeaveReason::Ended } else { LeaveReason::Timeout }),
            peer,
            generation,
            ended_event,
            ended_details: &ended_details,
            tombstone_ms: millis(context.options.tombstone),
            now: &now,
            reconnecting_event: &reconnecting_event,
        });
        let expired = self.run_each(p, scripts).await?;
        self.finish_sweeps(p, &sweeps).await?;
        Ok(expired)
    }

    /// Runs one script for each member. Returns the number of those that were handled.
    async fn run_each<S: ScriptArguments<Reply = DeadlineReply>>(
        &self,
        p: Partition,
        mut scripts: impl Iterator<Item = S>,
    ) -> Result<usize, StoreError> {
        let mut done = 0;
        loop {
            let chunk: Vec<S> = scripts.by_ref().take(MEMBERS_IN_FLIGHT_MAX).collect();
            if chunk.is_empty() {
                return Ok(done);
            }
            let replies = try_join_all(chunk.iter().map(|script| self.run(p, script))).await?;
            done += replies.iter().filter(|reply| **reply == DeadlineReply::Done).count();
        }
    }
}
