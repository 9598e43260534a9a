//! beat, check_node, declare_dead, leave_ring, sweep_start, sweep_one and deregister_node: nodes,
//! alive and dead.

use switchboard_core::wire::EventKind;

use super::{DeadlineReply, Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::keys::Keys;
use crate::{Beat, BeatOutcome, CheckOutcome, Group, LastBeat, NodeCheck, Partition, StoreError};

/// Arguments of `beat.lua`.
#[derive(Debug)]
pub struct BeatScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Group of partitions.
    pub group: Group,
    /// Node.
    pub node: &'a str,
    /// Counter, which grows with each heartbeat.
    pub counter: u64,
    /// Whether this heartbeat registers the node.
    pub registers: bool,
    /// Number of nodes that follow on the ring and whose counters are read.
    pub watched: usize,
}

impl ScriptArguments for BeatScript<'_> {
    const SCRIPT: Script = Script::Beat;
    type Reply = BeatOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.heartbeats(self.group)]);
        to.key(&[&self.keys.ring(self.group)]);
        to.text(self.node);
        to.number(Keys::ring_place(self.node).into());
        to.number(self.counter);
        to.flag(self.registers);
        to.number(self.watched as u64);
    }

    fn parse(reply: &Reply) -> Result<BeatOutcome, StoreError> {
        match reply.status() {
            "OK" => {
                let following = reply.pairs_from(3)?.into_iter();
                // A later version may write other texts.
                let following = following.filter_map(|(node, beat)| Some((node.to_owned(), LastBeat::parse(beat)?)));
                Ok(BeatOutcome::Beat(Beat {
                    rank: reply.number(1)?,
                    size: reply.number(2)?,
                    following: following.collect(),
                }))
            }
            "SWEPT" => Ok(BeatOutcome::Swept),
            _ => Err(reply.unknown()),
        }
    }
}

/// Arguments of `check_node.lua`.
#[derive(Debug)]
pub struct CheckNodeScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition.
    pub partition: Partition,
    /// Node.
    pub node: &'a str,
    /// Name of the registration: another one each time that the node registers.
    pub registration: &'a str,
    /// Whether the node registers.
    pub registers: bool,
    /// Random value for an epoch that is missing.
    pub new_epoch: String,
}

impl ScriptArguments for CheckNodeScript<'_> {
    const SCRIPT: Script = Script::CheckNode;
    type Reply = CheckOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.nodes(self.partition)]);
        to.key(&[&self.keys.epoch(self.partition)]);
        to.text(&self.keys.channel(self.partition, self.node));
        to.text(self.node);
        to.text(self.registration);
        to.flag(self.registers);
        to.text(&self.new_epoch);
    }

    fn parse(reply: &Reply) -> Result<CheckOutcome, StoreError> {
        match reply.status() {
            "OK" => Ok(CheckOutcome::Registered(NodeCheck {
                receivers: reply.number(1)?,
                time_ms: reply.number(2)?,
                epoch: reply.text(3)?.to_owned(),
            })),
            "SWEPT" => Ok(CheckOutcome::Swept),
            _ => Err(reply.unknown()),
        }
    }
}

/// Arguments of `declare_dead.lua`.
#[derive(Debug)]
pub struct DeclareDeadScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Group of partitions.
    pub group: Group,
    /// Node to declare dead.
    pub node: &'a str,
    /// Last heartbeat of the node that was observed.
    pub observed: LastBeat,
}

impl ScriptArguments for DeclareDeadScript<'_> {
    const SCRIPT: Script = Script::DeclareDead;
    type Reply = DeathReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.heartbeats(self.group)]);
        to.text(self.node);
        to.text(&self.observed.to_string());
    }

    fn parse(reply: &Reply) -> Result<DeathReply, StoreError> {
        DeathReply::parse(reply)
    }
}

/// Arguments of `leave_ring.lua`.
#[derive(Debug)]
pub struct LeaveRingScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Group of partitions.
    pub group: Group,
    /// Node to remove.
    pub node: &'a str,
    /// Whether to remove it only if it was declared dead.
    pub only_dead: bool,
}

impl ScriptArguments for LeaveRingScript<'_> {
    const SCRIPT: Script = Script::LeaveRing;
    type Reply = DeathReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.heartbeats(self.group)]);
        to.key(&[&self.keys.ring(self.group)]);
        to.text(self.node);
        to.flag(self.only_dead);
    }

    fn parse(reply: &Reply) -> Result<DeathReply, StoreError> {
        DeathReply::parse(reply)
    }
}

/// Arguments of `sweep_start.lua`.
#[derive(Debug)]
pub struct SweepStartScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition.
    pub partition: Partition,
    /// Dead node.
    pub node: &'a str,
    /// Registration of the node that was observed.
    pub observed: &'a str,
    /// Name of the sweep: `<node>:<token>`.
    pub sweep: &'a str,
}

/// Reply of `declare_dead.lua`, `leave_ring.lua` and `sweep_start.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeathReply {
    /// The script had its effect.
    Done,
    /// The node came back, or another node was first.
    Alive,
}

impl DeathReply {
    fn parse(reply: &Reply) -> Result<Self, StoreError> {
        match reply.status() {
            "OK" => Ok(Self::Done),
            "ALIVE" => Ok(Self::Alive),
            _ => Err(reply.unknown()),
        }
    }
}

impl ScriptArguments for SweepStartScript<'_> {
    const SCRIPT: Script = Script::SweepStart;
    type Reply = DeathReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.nodes(self.partition)]);
        to.key(&[&self.keys.on(self.partition, self.node)]);
        to.key(&[&self.keys.dead(self.partition, self.sweep)]);
        to.key(&[&self.keys.sweeps(self.partition)]);
        to.text(self.node);
        to.text(self.observed);
        to.text(self.sweep);
    }

    fn parse(reply: &Reply) -> Result<DeathReply, StoreError> {
        DeathReply::parse(reply)
    }
}

/// Arguments of `sweep_one.lua`.
#[derive(Debug)]
pub struct SweepOneScript<'a> {
    /// The room.
    pub scope: SeatScope<'a>,
    /// Peer id of the seat.
    pub peer: &'a str,
    /// Generation of the seat.
    pub generation: &'a str,
    /// Name of the sweep: `<node>:<token>`.
    pub sweep: &'a str,
    /// Grace period in ms.
    pub grace_ms: u64,
    /// `participant:connection-changed` to reconnecting, a template.
    pub reconnecting_event: &'a str,
}

impl ScriptArguments for SweepOneScript<'_> {
    const SCRIPT: Script = Script::SweepOne;
    type Reply = DeadlineReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        let (keys, partition) = (self.scope.room.keys, self.scope.room.partition);
        self.scope.write_keys(to);
        to.key(&[&keys.dead(partition, self.sweep)]);
        to.key(&[&keys.sweeps(partition)]);
        self.scope.write_arguments(to);
        to.text(self.peer);
        to.text(self.generation);
        // No node's name has a colon.
        to.text(self.sweep.split(':').next().unwrap_or_default());
        to.number(self.grace_ms);
        to.event(EventKind::ConnectionChanged, self.reconnecting_event.as_bytes());
        to.text(self.sweep);
    }

    fn parse(reply: &Reply) -> Result<DeadlineReply, StoreError> {
        DeadlineReply::parse(reply)
    }
}

/// Arguments of `deregister_node.lua`.
#[derive(Debug)]
pub struct DeregisterNodeScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition.
    pub partition: Partition,
    /// Node.
    pub node: &'a str,
}

/// Reply of `deregister_node.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeregisterReply {
    /// The node is not registered any more.
    Done,
    /// The node still holds seats and stays registered.
    HoldsSeats,
}

impl ScriptArguments for DeregisterNodeScript<'_> {
    const SCRIPT: Script = Script::DeregisterNode;
    type Reply = DeregisterReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.nodes(self.partition)]);
        to.key(&[&self.keys.on(self.partition, self.node)]);
        to.text(self.node);
    }

    fn parse(reply: &Reply) -> Result<DeregisterReply, StoreError> {
        match reply.status() {
            "OK" => Ok(DeregisterReply::Done),
            "HELD" => Ok(DeregisterReply::HoldsSeats),
            _ => Err(reply.unknown()),
        }
    }
}
