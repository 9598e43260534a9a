//! A lane: one connection to one server, one pipeline in flight; what queues meanwhile is the next one.
//!
//! That keeps the order that a multiplexed connection loses when a script is missing or a connection dies. Whatever comes between (a
//! script flushed, a slot on the move, a connection lost with answers unknown), the calls without an answer are sent again in
//! order, by this lane or the one that serves them by then; numbers and generations make sure that nothing takes effect twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{ServerErrorKind, Value, cmd};
use tokio::time::timeout;

use super::call::Call;
use super::reply::{text, time_ms};
use super::scripts::Script;
use super::topology::{Address, Topology};
use super::{Partition, Seat, StoreError};
use crate::conn::connection::{Connection, ConnectionError};

/// Between two tries to connect.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// Between two tries while a slot is on the move.
const MOVING: Duration = Duration::from_millis(5);
/// What a lane keeps of the space that a pipeline took.
const PACKED: usize = 256 * 1024;
/// How long a lane waits for the clock of a server that took over.
const CLOCK_BEHIND: Duration = Duration::from_secs(2);

/// What keeps a call from being answered, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    /// The scripts were flushed.
    NoScript,
    /// The keys are on the move between two servers.
    Moving,
    /// Another server has the slot.
    Moved,
    /// The server cannot serve for now: loading, demoted, cut off.
    NotServing,
}

struct Link {
    redis: Connection,
    name: ConnectionName,
}

/// How a server knows a connection: its own number for it, which begins anew with every run of the server.
struct ConnectionName {
    run: Option<String>,
    id: i64,
}

/// Serves a lane's lines until it is aborted.
pub(super) async fn run(topology: Arc<Topology>, lane: usize, address: Address) {
    let wake = topology.queues.wake(lane);
    let mut server = Server { topology, address, connection: None, previous: None, backoff: BACKOFF.0 };
    // Each pipeline as it goes over the wire.
    let mut packed = Vec::new();
    loop {
        let mut batch = server.topology.queues.take(lane);
        if batch.is_empty() {
            wake.notified().await;
            continue;
        }
        let mut partitions: Vec<Partition> = batch.iter().map(|call| call.partition).collect();
        partitions.dedup();
        let Some(connection) = &mut server.connection else {
            // Unsent: back to the head of the lines, where they can be refused or given to another lane.
            server.topology.queues.release(&partitions, batch);
            server.open().await;
            continue;
        };
        let topology = &server.topology;
        packed.clear();
        packed.shrink_to(PACKED);
        let counts: Vec<usize> = batch.iter_mut().map(|call| call.write(&topology.context, &mut packed)).collect();
        topology.queues.fly(lane, batch);
        let answers = exchange(topology, &mut connection.redis, &packed, counts.iter().sum()).await;
        let batch = topology.queues.land(lane);
        let (unanswered, trouble) = match answers {
            Some(answers) => settle(batch, &counts, answers),
            None => (batch, Some(Trouble::NotServing)),
        };
        topology.queues.release(&partitions, unanswered);
        if let Some(trouble) = trouble {
            server.recover(trouble).await;
        }
    }
}

/// A lane's server, and the connection to it.
struct Server {
    topology: Arc<Topology>,
    address: Address,
    connection: Option<Link>,
    previous: Option<ConnectionName>,
    backoff: Duration,
}

impl Server {
    /// Tries once to connect.
    async fn open(&mut self) {
        match connect(&self.topology, &self.address, self.previous.as_ref()).await {
            Ok(opened) => {
                self.backoff = BACKOFF.0;
                if self.previous.as_ref().is_some_and(|previous| previous.run != opened.name.run) {
                    self.topology.taken_over();
                }
                self.connection = Some(opened);
            }
            Err(error) => {
                tracing::debug!(%error, "cannot connect to redis");
                self.topology.refresh(&self.address).await;
                tokio::time::sleep(self.backoff).await;
                self.backoff = (self.backoff * 2).min(BACKOFF.1);
            }
        }
    }

    /// Does what it takes for the unanswered calls to be answered next time.
    async fn recover(&mut self, trouble: Trouble) {
        let limit = self.topology.context.options.lanes.queue_time;
        if let (Trouble::NoScript, Some(connection)) = (trouble, &mut self.connection)
            && matches!(timeout(limit, load(&mut connection.redis)).await, Ok(Ok(())))
        {
            return;
        }
        match trouble {
            Trouble::Moving => tokio::time::sleep(MOVING).await,
            Trouble::Moved => {
                self.topology.refresh(&self.address).await;
                tokio::time::sleep(MOVING).await;
            }
            Trouble::NoScript | Trouble::NotServing => {
                metrics::counter!("switchboard_redis_lane_reconnects_total").increment(1);
                tracing::warn!("the connection to redis was lost, or its server does not serve");
                self.previous = self.connection.take().map(|lost| lost.name);
                self.topology.refresh(&self.address).await;
                tokio::time::sleep(BACKOFF.0).await;
            }
        }
    }
}

/// Sends a pipeline and reads its answers; `None` when the connection is lost, or silent for too long to be waited for.
async fn exchange(topology: &Topology, redis: &mut Connection, packed: &[u8], count: usize) -> Option<Vec<Value>> {
    let started = Instant::now();
    let late = topology.context.options.lanes.queue_time;
    let answers = timeout(late, async {
        redis.send(packed).await?;
        let mut answers = Vec::with_capacity(count);
        for _ in 0..count {
            answers.push(redis.value().await?);
        }
        Ok::<_, ConnectionError>(answers)
    })
    .await;
    #[expect(clippy::cast_precision_loss, reason = "a histogram")]
    metrics::histogram!("switchboard_redis_lane_batch_size").record(count as f64);
    metrics::histogram!("switchboard_redis_pipeline_seconds").record(started.elapsed().as_secs_f64());
    answers.ok()?.ok()
}

/// Gives each call its answers. Returns those that have none, in order, and the worst reason.
fn settle(batch: Vec<Call>, counts: &[usize], answers: Vec<Value>) -> (Vec<Call>, Option<Trouble>) {
    let mut answers = answers.into_iter();
    let mut unanswered: Vec<Call> = Vec::new();
    let mut worst = None;
    let mut counts_by_outcome = Counts::default();
    for (call, &count) in batch.into_iter().zip(counts) {
        let values: Vec<Value> = answers.by_ref().take(count).collect();
        let trouble = values.iter().find_map(trouble);
        // An operation behind one that was not done is not done either, and says so: it waits for its turn with it.
        let overtook = || is_gap(&values) && call.op_seat().is_some_and(|seat| has_op_of(&unanswered, seat));
        if trouble.is_some() || values.len() < count || overtook() {
            worst = worst.max(trouble);
            counts_by_outcome.add(call.name, "repeated");
            unanswered.push(call);
            continue;
        }
        let error = values.iter().find_map(|value| match value {
            Value::ServerError(error) => {
                Some(StoreError::Unexpected(format!("{} {}", error.code(), error.details().unwrap_or(""))))
            }
            _ => None,
        });
        counts_by_outcome.add(call.name, if error.is_some() { "error" } else { "answered" });
        call.finish(error.map_or(Ok(values), Err));
    }
    (unanswered, worst)
}

/// Counts of one pipeline: looking up a metric costs more than a call's share of the pipeline.
#[derive(Default)]
struct Counts(Vec<(&'static str, &'static str, u64)>);

impl Counts {
    fn add(&mut self, script: &'static str, outcome: &'static str) {
        match self.0.iter_mut().find(|(name, end, _)| (*name, *end) == (script, outcome)) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((script, outcome, 1)),
        }
    }
}

impl Drop for Counts {
    fn drop(&mut self) {
        for &(script, outcome, count) in &self.0 {
            metrics::counter!("switchboard_redis_calls_total", "script" => script, "outcome" => outcome)
                .increment(count);
        }
    }
}

fn has_op_of(calls: &[Call], seat: &Arc<Seat>) -> bool {
    calls.iter().any(|call| call.op_seat().is_some_and(|other| Arc::ptr_eq(other, seat)))
}

fn is_gap(values: &[Value]) -> bool {
    matches!(values, [Value::Array(words)] if matches!(words.first(), Some(Value::BulkString(word)) if word == b"GAP"))
}

/// Whether an answer says that the call was not done and is to be sent again. Looks into the answer of EXEC.
fn trouble(value: &Value) -> Option<Trouble> {
    match value {
        Value::ServerError(error) => match error.kind() {
            Some(ServerErrorKind::NoScript) => Some(Trouble::NoScript),
            Some(ServerErrorKind::TryAgain | ServerErrorKind::Ask) => Some(Trouble::Moving),
            Some(ServerErrorKind::Moved) => Some(Trouble::Moved),
            Some(
                ServerErrorKind::BusyLoading
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::MasterDown
                | ServerErrorKind::ReadOnly,
            ) => Some(Trouble::NotServing),
            _ => None,
        },
        Value::Array(values) => values.iter().filter(|value| matches!(value, Value::ServerError(_))).find_map(trouble),
        _ => None,
    }
}

/// Opens a connection that is ready for calls: the one before it is dead for certain, so that nothing that still stands in its buffers
/// takes effect after calls of this one; the scripts are loaded; the clock is past every id seen.
async fn connect(
    topology: &Topology,
    address: &Address,
    previous: Option<&ConnectionName>,
) -> Result<Link, ConnectionError> {
    let limit = topology.context.options.lanes.queue_time;
    let (link, now_ms) = timeout(limit, greet(topology, address, previous)).await.map_err(std::io::Error::from)??;
    let behind = topology.seen_ms.load(Ordering::Relaxed).saturating_sub(now_ms);
    tokio::time::sleep(Duration::from_millis(behind).min(CLOCK_BEHIND)).await;
    Ok(link)
}

/// Everything of it but the wait; with the server's clock, in ms.
async fn greet(
    topology: &Topology,
    address: &Address,
    previous: Option<&ConnectionName>,
) -> Result<(Link, u64), ConnectionError> {
    let mut redis = Connection::open(&topology.url, &address.0, address.1).await?;
    let info = redis.query(cmd("INFO").arg("server")).await?;
    let run =
        text(&info).and_then(|info| info.lines().find_map(|line| line.strip_prefix("run_id:"))).map(str::to_owned);
    // In another run the number is somebody else's.
    if let Some(previous) = previous.filter(|previous| previous.run == run) {
        // It may be gone already, or not ours to end: then there is nothing to fear from it, or nothing to be done.
        let _killed_or_gone = redis.query(cmd("CLIENT").arg("KILL").arg("ID").arg(previous.id)).await?;
    }
    let Value::Int(id) = redis.query(cmd("CLIENT").arg("ID")).await? else { return Err(unready("CLIENT ID")) };
    load(&mut redis).await?;
    let time = redis.query(&cmd("TIME")).await?;
    let now_ms = time_ms(Some(&time)).map_err(|_| unready("TIME"))?;
    Ok((Link { redis, name: ConnectionName { run, id } }, now_ms))
}

/// A server that is loading, or on its way out, answers with errors.
fn unready(command: &str) -> ConnectionError {
    ConnectionError::Refused(command.to_owned())
}

async fn load(redis: &mut Connection) -> Result<(), ConnectionError> {
    let mut packed = Vec::new();
    for script in Script::ALL {
        cmd("SCRIPT").arg("LOAD").arg(script.source()).write_packed_command(&mut packed);
    }
    redis.send(&packed).await?;
    for _ in Script::ALL {
        if matches!(redis.value().await?, Value::ServerError(_)) {
            return Err(unready("SCRIPT LOAD"));
        }
    }
    Ok(())
}
