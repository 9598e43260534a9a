//! beat, sweep_start, sweep_one and deregister_node: the nodes of a partition.

use switchboard_core::wire::EventKind;

use super::{DeadlineReply, Reply, Script, ScriptArguments, ScriptWriter, SeatScope};
use crate::keys::Keys;
use crate::{Beat, BeatOutcome, Partition, StoreError};

/// Arguments of `beat.lua`.
#[derive(Debug)]
pub struct BeatScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition.
    pub partition: Partition,
    /// Node.
    pub node: &'a str,
    /// Counter, which grows with each heartbeat.
    pub counter: u64,
    /// Whether this heartbeat registers the node.
    pub registers: bool,
    /// Random value for an epoch that is missing.
    pub new_epoch: String,
}

impl ScriptArguments for BeatScript<'_> {
    const SCRIPT: Script = Script::Beat;
    type Reply = BeatOutcome;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.nodes(self.partition)]);
        to.key(&[&self.keys.epoch(self.partition)]);
        to.text(&self.keys.channel(self.partition, self.node));
        to.text(self.node);
        to.number(self.counter);
        to.flag(self.registers);
        to.text(&self.new_epoch);
    }

    fn parse(reply: &Reply) -> Result<BeatOutcome, StoreError> {
        match reply.status() {
            "OK" => {
                let nodes = reply.pairs(4)?.into_iter();
                Ok(BeatOutcome::Beat(Beat {
                    receivers: reply.number(1)?,
                    time_ms: reply.number(2)?,
                    epoch: reply.text(3)?.to_owned(),
                    nodes: nodes.filter_map(|(node, n)| Some((node.to_owned(), n.parse().ok()?))).collect(),
                }))
            }
            "SWEPT" => Ok(BeatOutcome::Swept),
            _ => Err(reply.unknown()),
        }
    }
}

/// Arguments of `sweep_start.lua`.
#[derive(Debug)]
pub struct SweepStartScript<'a> {
    /// Names of the deployment.
    pub keys: &'a Keys,
    /// Partition.
    pub partition: Partition,
    /// Node to declare dead.
    pub node: &'a str,
    /// Counter of the node that was observed.
    pub observed: u64,
    /// Name of the sweep: `<node>:<token>`.
    pub sweep: &'a str,
}

/// Reply of `sweep_start.lua`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepStartReply {
    /// This request declared the node dead.
    Declared,
    /// The counter changed, or the node is not registered.
    Alive,
}

impl ScriptArguments for SweepStartScript<'_> {
    const SCRIPT: Script = Script::SweepStart;
    type Reply = SweepStartReply;

    fn write(&self, to: &mut ScriptWriter<'_>) {
        to.key(&[&self.keys.nodes(self.partition)]);
        to.key(&[&self.keys.on(self.partition, self.node)]);
        to.key(&[&self.keys.dead(self.partition, self.sweep)]);
        to.key(&[&self.keys.sweeps(self.partition)]);
        to.text(self.node);
        to.number(self.observed);
        to.text(self.sweep);
    }

    fn parse(reply: &Reply) -> Result<SweepStartReply, StoreError> {
        match reply.status() {
            "OK" => Ok(SweepStartReply::Declared),
            "ALIVE" => Ok(SweepStartReply::Alive),
            _ => Err(reply.unknown()),
        }
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
