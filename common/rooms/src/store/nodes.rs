//! Nodes: their beats, their deaths, and what falls due.

use std::time::Duration;

use futures_util::future::try_join_all;
use redis::{Cmd, cmd};
use time::OffsetDateTime;
use time::macros::format_description;

use super::Rooms;
use crate::context::millis;
use crate::reply::{Words, items, text, time_ms, unexpected};
use crate::scripts::Script;
use crate::*;
use switchboard_core::domain::{ConnectionState, RoomId};
use switchboard_core::wire::server_event::{self, connection_changed_template};

/// Members handled at once: a pipeline's worth that leaves room for others' calls.
const CHUNK: usize = 128;

/// A seat, an empty room (peer `*`) or its lobby (`+`), as sets and deadlines name it: `room peer gen`.
struct Member {
    room: RoomId,
    peer: String,
    generation: String,
}

impl Member {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let room = RoomId::parse(words.next()?).ok()?;
        Some(Self { room, peer: words.next()?.to_owned(), generation: words.next()?.to_owned() })
    }
}

impl Rooms {
    /// This node lives. `first` registers it; `counter` grows with every beat.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn beat(&self, partition: Partition, counter: u64, first: bool) -> Result<Beaten, StoreError> {
        let context = self.context();
        let node = context.node.as_str();
        let mut command =
            context.script(Script::Beat, &[&context.keys.nodes(partition), &context.keys.epoch(partition)]);
        command
            .arg(context.keys.channel(partition, node))
            .arg(node)
            .arg(counter)
            .arg(u8::from(first))
            .arg(random_hex());
        let words = self.run(partition, Script::Beat.name(), command).await?;
        match words.word() {
            "OK" => {
                let nodes = words.pairs(4)?;
                Ok(Beaten::Beat(Beat {
                    receivers: words.number(1)?,
                    time_ms: words.number(2)?,
                    epoch: words.text(3)?.to_owned(),
                    nodes: nodes.into_iter().filter_map(|(node, n)| Some((node.to_owned(), n.parse().ok()?))).collect(),
                }))
            }
            "SWEPT" => Ok(Beaten::Swept),
            _ => Err(words.unknown()),
        }
    }

    /// Declares a node dead whose counter still is `observed`, and turns its seats to `reconnecting`; finishes what an earlier sweeper
    /// left, too. May be repeated, and run by several at once.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn sweep(&self, partition: Partition, node: &str, observed: u64) -> Result<Sweep, StoreError> {
        let context = self.context();
        let keys = &context.keys;
        let name = format!("{node}:{}", random_hex());
        let names =
            [keys.nodes(partition), keys.on(partition, node), keys.dead(partition, &name), keys.sweeps(partition)];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut command = context.script(Script::SweepStart, &names);
        command.arg(node).arg(observed).arg(&name);
        let words = self.run(partition, Script::SweepStart.name(), command).await?;
        let declared = match words.word() {
            "OK" => true,
            "ALIVE" => false,
            _ => return Err(words.unknown()),
        };
        let mut list = cmd("SMEMBERS");
        list.arg(keys.sweeps(partition));
        let answer = self.plain(partition, "sweeps", vec![list]).await?;
        let sweeps: Vec<String> = items(answer.first())?.iter().filter_map(text).map(str::to_owned).collect();
        Ok(Sweep { declared, seats: self.finish_sweeps(partition, &sweeps).await? })
    }

    async fn finish_sweeps(&self, partition: Partition, sweeps: &[String]) -> Result<usize, StoreError> {
        let mut done = 0;
        for sweep in sweeps {
            let dead = self.context().keys.dead(partition, sweep);
            let mut list = cmd("SMEMBERS");
            list.arg(&dead);
            let answer = self.plain(partition, "sweep_members", vec![list]).await?;
            let members: Vec<Member> =
                items(answer.first())?.iter().filter_map(text).filter_map(Member::parse).collect();
            let commands = members.iter().map(|member| self.sweep_one(partition, member, sweep, &dead));
            done += self.run_all(partition, Script::SweepOne, commands.collect()).await?;
        }
        Ok(done)
    }

    fn sweep_one(&self, partition: Partition, member: &Member, sweep: &str, dead: &str) -> Cmd {
        let context = self.context();
        let more = [dead, &context.keys.sweeps(partition)];
        let mut command = context.seat_script(Script::SweepOne, &member.room, &more, "left");
        // A sweep is named `<node>:<token>`, and no node's name has a colon.
        let node = sweep.split(':').next().unwrap_or_default();
        command.arg(&member.peer).arg(&member.generation).arg(node).arg(millis(context.options.grace));
        command.arg(connection_changed_template(ConnectionState::Reconnecting, None)).arg(sweep);
        command
    }

    /// Deregisters this node in a partition if it holds no seat there; says whether.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn retire(&self, partition: Partition) -> Result<bool, StoreError> {
        let context = self.context();
        let node = context.node.as_str();
        let keys = &context.keys;
        let mut command = context.script(Script::Retire, &[&keys.nodes(partition), &keys.on(partition, node)]);
        command.arg(node);
        let words = self.run(partition, Script::Retire.name(), command).await?;
        match words.word() {
            "OK" => Ok(true),
            "HELD" => Ok(false),
            _ => Err(words.unknown()),
        }
    }

    /// Says where this node takes hand-overs, for as long as `ttl`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn announce(&self, address: &str, ttl: Duration) -> Result<(), StoreError> {
        let context = self.context();
        let node = context.node.as_str();
        let mut set = cmd("SET");
        set.arg(context.keys.address(node)).arg(address).arg("PX").arg(millis(ttl));
        self.plain(context.keys.partition_of_node(node), "announce", vec![set]).await.map(drop)
    }

    /// Takes back what [`announce`](Rooms::announce) said.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn withdraw(&self) -> Result<(), StoreError> {
        let context = self.context();
        let node = context.node.as_str();
        let mut delete = cmd("DEL");
        delete.arg(context.keys.address(node));
        self.plain(context.keys.partition_of_node(node), "withdraw", vec![delete]).await.map(drop)
    }

    /// Where a node takes hand-overs; none if no such node lives.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn address_of(&self, node: &str) -> Result<Option<String>, StoreError> {
        let keys = &self.context().keys;
        let mut get = cmd("GET");
        get.arg(keys.address(node));
        let answer = self.plain(keys.partition_of_node(node), "address", vec![get]).await?;
        Ok(answer.first().and_then(text).map(str::to_owned))
    }

    /// Does what is due: ends seats past their grace and rooms empty for too long, gives free places to those in the lobby who wait for
    /// nothing else; and finishes sweeps that a sweeper left. How many seats and rooms.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn expire_due(&self, partition: Partition) -> Result<usize, StoreError> {
        let keys = &self.context().keys;
        let (mut earliest, mut sweeps) = (cmd("ZRANGE"), cmd("SMEMBERS"));
        earliest.arg(keys.deadlines(partition)).arg(0).arg(CHUNK - 1).arg("WITHSCORES");
        sweeps.arg(keys.sweeps(partition));
        let answer = self.plain(partition, "deadlines", vec![earliest, sweeps, cmd("TIME")]).await?;
        let sweeps: Vec<String> = items(answer.get(1))?.iter().filter_map(text).map(str::to_owned).collect();
        let now = time_ms(answer.get(2))?;
        let due = items(answer.first())?.as_chunks::<2>().0.iter().filter_map(|[member, at]| {
            #[expect(clippy::cast_precision_loss, reason = "a score is a float; milliseconds fit")]
            let due = text(at)?.parse::<f64>().ok()? <= now as f64;
            due.then(|| text(member).and_then(Member::parse)).flatten()
        });
        let commands = due.map(|member| self.expire_command(&member)).collect::<Result<_, _>>()?;
        let expired = self.run_all(partition, Script::Expire, commands).await?;
        self.finish_sweeps(partition, &sweeps).await?;
        Ok(expired)
    }

    fn expire_command(&self, member: &Member) -> Result<Cmd, StoreError> {
        let empty = member.peer == "*";
        let left = if empty { "empty" } else { "timeout" };
        let context = self.context();
        let chat = context.keys.chat(context.keys.partition_of(&member.room), &member.room);
        let mut command = context.seat_script(Script::Expire, &member.room, &[&chat], left);
        command.arg(&member.peer).arg(&member.generation).arg(server_event::call_ended(&member.room, "empty"));
        command.arg(r#"{"reason":"empty"}"#).arg(millis(self.options().tombstone));
        command.arg(rfc3339_now()?).arg(connection_changed_template(ConnectionState::Reconnecting, None));
        Ok(command)
    }

    /// Runs one script a member; how many said OK.
    async fn run_all(&self, p: Partition, script: Script, commands: Vec<Cmd>) -> Result<usize, StoreError> {
        let mut done = 0;
        let mut commands = commands.into_iter();
        loop {
            let chunk: Vec<_> =
                commands.by_ref().take(CHUNK).map(|command| self.run(p, script.name(), command)).collect();
            if chunk.is_empty() {
                return Ok(done);
            }
            let replies: Vec<Words> = try_join_all(chunk).await?;
            done += replies.iter().filter(|words| words.word() == "OK").count();
        }
    }
}

pub(super) fn random_hex() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The moment of a join, for display only: what counts is Redis' clock.
pub(super) fn rfc3339_now() -> Result<String, StoreError> {
    OffsetDateTime::now_utc()
        .format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"))
        .map_err(|_| unexpected("a time that can be written"))
}
