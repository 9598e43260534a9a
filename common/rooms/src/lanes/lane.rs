//! A lane: one connection to one server, with one pipeline in flight. The next pipeline consists of
//! the requests that arrive while that one is in flight.
//!
//! This keeps the order of requests, which a multiplexed connection loses when a script is missing
//! or the connection dies. After a flush of the scripts, a moved slot or a lost connection, the
//! unanswered requests are sent again in order. They are sent by this lane, or by the lane that has
//! the partition then. Operation numbers and generations prevent that a request takes effect twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::{Value, cmd};
use tokio::time::timeout;

use super::calls::{self, Call, Replies};
use super::request::Request;
use super::retry::{RetryReason, not_serving, refusal, retry_reason};
use super::topology::{Address, Topology};
use super::{BACKOFF_MAX, BACKOFF_MIN, SLOT_MOVE_INTERVAL};
use crate::conn::connection::{Connection, ConnectionError, denial};
use crate::conn::{OptionalCommand, Purpose};
use crate::scripts::Script;
use crate::values::{text, time_ms};
use crate::{Partition, Seat};

/// Maximum capacity that a lane keeps for the bytes of its next pipeline.
const PIPELINE_CAPACITY_MAX: usize = 256 * 1024;
/// Maximum time that a lane waits for the clock of a server that took over.
const CLOCK_WAIT_MAX: Duration = Duration::from_secs(2);
/// Number that no connection has.
const NO_CLIENT: i64 = i64::MAX;
/// How many times [`LaneOptions::queue_time`](super::LaneOptions::queue_time) a lane waits at most
/// for the next byte of a server that did not answer in time before.
const SILENCE_FACTOR_MAX: u32 = 8;

struct LaneConnection {
    redis: Connection,
    id: ConnectionId,
}

/// Name of a connection on its server. The numbers begin again with every run of the server.
struct ConnectionId {
    run: Option<String>,
    /// `None` if the user may not ask for it.
    number: Option<i64>,
}

/// Serves the queues of a lane until the task is aborted.
pub(super) async fn run(topology: Arc<Topology>, index: usize, address: Address) {
    let wake = topology.queues.wake(index);
    let mut lane = Lane {
        topology,
        address,
        connection: None,
        previous: None,
        backoff: BACKOFF_MIN,
        is_refused: false,
        silence_factor: 1,
    };
    // The bytes of each pipeline.
    let mut packed = Vec::new();
    loop {
        let mut batch = lane.topology.queues.next_batch(index);
        if batch.is_empty() {
            wake.notified().await;
            continue;
        }
        let mut partitions: Vec<Partition> = batch.iter().map(|request| request.partition).collect();
        partitions.dedup();
        let Some(connection) = &mut lane.connection else {
            // Not sent: back to the head of the queues, where the requests can be refused or go to
            // another lane.
            lane.topology.queues.requeue(&partitions, batch);
            lane.open().await;
            continue;
        };
        let topology = &lane.topology;
        packed.clear();
        packed.shrink_to(PIPELINE_CAPACITY_MAX);
        let calls = calls::write(&mut batch, topology, &mut packed);
        topology.queues.set_in_flight(index, batch);
        let silence = topology.context.options.lanes.queue_time * lane.silence_factor;
        let (answers, lost) =
            exchange(&mut connection.redis, &packed, calls.iter().map(Call::replies).sum(), silence).await;
        lane.silence_factor = match &lost {
            Some(lost) if answers.is_empty() && lost.is_silence() => (lane.silence_factor * 2).min(SILENCE_FACTOR_MAX),
            _ => 1,
        };
        let batch = topology.queues.take_in_flight(index);
        let (unanswered, mut reason, mut cause) = distribute(batch, calls::replies(&calls, answers));
        if let Some(lost) = lost {
            (reason, cause) = (Some(RetryReason::NotServing), Some(lost));
        }
        topology.queues.requeue(&partitions, unanswered);
        lane.record_outcome(reason);
        if let Some(reason) = reason {
            lane.recover(reason, cause).await;
        }
    }
}

/// State of a lane: its server, and the connection to it.
struct Lane {
    topology: Arc<Topology>,
    address: Address,
    connection: Option<LaneConnection>,
    previous: Option<ConnectionId>,
    backoff: Duration,
    /// The server refused requests of the last pipeline.
    is_refused: bool,
    /// How many times the usual time the lane waits for the next byte. It doubles with each
    /// pipeline that got no reply in time: a request that takes Redis longer than the usual time
    /// would be sent again for ever.
    silence_factor: u32,
}

impl Lane {
    /// Makes one attempt to connect. After a failure it waits.
    async fn open(&mut self) {
        match connect(&self.topology, &self.address, self.previous.as_ref()).await {
            Ok(opened) => {
                self.backoff = BACKOFF_MIN;
                if self.previous.as_ref().is_some_and(|previous| previous.run != opened.id.run) {
                    self.topology.count_takeover();
                }
                self.topology.url.recovered(Purpose::Requests, &self.address);
                self.connection = Some(opened);
            }
            Err(error) => {
                self.topology.url.failed(Purpose::Requests, &self.address, &error);
                self.topology.refresh(&self.address).await;
                self.pause().await;
            }
        }
    }

    /// Waits before the next attempt. The pause grows with each attempt that failed.
    async fn pause(&mut self) {
        tokio::time::sleep(self.backoff).await;
        self.backoff = (self.backoff * 2).min(BACKOFF_MAX);
    }

    /// Takes the outcome of a pipeline. One behind refused requests begins with them.
    fn record_outcome(&mut self, reason: Option<RetryReason>) {
        let was_refused = std::mem::replace(&mut self.is_refused, reason == Some(RetryReason::RefusedNow));
        if was_refused && reason.is_none() {
            self.backoff = BACKOFF_MIN;
            self.topology.url.recovered(Purpose::Requests, &self.address);
        }
    }

    /// Removes the reason for a retry as far as possible, and waits before the next attempt.
    async fn recover(&mut self, reason: RetryReason, cause: Option<ConnectionError>) {
        let limit = self.topology.context.options.lanes.queue_time;
        if let (RetryReason::NoScript, Some(connection)) = (reason, &mut self.connection)
            && matches!(timeout(limit, load_scripts(&mut connection.redis)).await, Ok(Ok(())))
        {
            return;
        }
        match reason {
            RetryReason::SlotMoving => tokio::time::sleep(SLOT_MOVE_INTERVAL).await,
            RetryReason::SlotMoved => {
                self.topology.refresh(&self.address).await;
                tokio::time::sleep(SLOT_MOVE_INTERVAL).await;
            }
            RetryReason::RefusedNow => {
                if let Some(cause) = cause {
                    self.topology.url.failed(Purpose::Requests, &self.address, &cause);
                }
                self.pause().await;
            }
            RetryReason::NoScript | RetryReason::NotServing => {
                metrics::counter!("switchboard_redis_lane_reconnects_total").increment(1);
                if let Some(cause) = cause {
                    self.topology.url.failed(Purpose::Requests, &self.address, &cause);
                }
                self.previous = self.connection.take().map(|lost| lost.id);
                self.topology.refresh(&self.address).await;
                tokio::time::sleep(BACKOFF_MIN).await;
            }
        }
    }
}

/// Sends a pipeline and reads its replies. Returns those that arrived, and why the others did not:
/// the connection is lost, or no byte was sent or received for the time `silence`. The size of the
/// pipeline and of its replies does not matter, because on a slow link every attempt would be given
/// up at the same place.
async fn exchange(
    redis: &mut Connection,
    packed: &[u8],
    count: usize,
    silence: Duration,
) -> (Vec<Value>, Option<ConnectionError>) {
    let started = Instant::now();
    let mut answers = Vec::with_capacity(count);
    let lost = receive(redis, packed, (&mut answers, count), silence).await.err();
    #[expect(clippy::cast_precision_loss, reason = "a histogram")]
    metrics::histogram!("switchboard_redis_lane_batch_size").record(count as f64);
    metrics::histogram!("switchboard_redis_pipeline_seconds").record(started.elapsed().as_secs_f64());
    (answers, lost)
}

/// Sends a pipeline and appends its `count` replies to `answers` as they come.
async fn receive(
    redis: &mut Connection,
    packed: &[u8],
    (answers, count): (&mut Vec<Value>, usize),
    silence: Duration,
) -> Result<(), ConnectionError> {
    redis.send_within(packed, silence).await?;
    while answers.len() < count {
        match redis.next_value()? {
            Some(value) => answers.push(value),
            None => timeout(silence, redis.fill()).await.map_err(std::io::Error::from)??,
        }
    }
    Ok(())
}

/// Gives each request its replies, which may be incomplete. Returns the requests that must
/// be sent again, in order, the worst reason, and the words of a server that does not serve at
/// present.
fn distribute(
    batch: Vec<Request>,
    replies: Vec<Replies>,
) -> (Vec<Request>, Option<RetryReason>, Option<ConnectionError>) {
    let mut unanswered: Vec<Request> = Vec::new();
    let (mut worst, mut cause) = (None, None);
    let mut outcomes = OutcomeCounts::default();
    for (request, Replies { values, is_complete }) in batch.into_iter().zip(replies) {
        // Rights can be wrong for a while. A seat that is given up must become free.
        let denied = if request.is_kept() { values.iter().find_map(denial) } else { None };
        let denied = denied.map(ConnectionError::Refused);
        let reason = values.iter().find_map(retry_reason).or(denied.as_ref().map(|_| RetryReason::RefusedNow));
        // An operation behind an unanswered one of the same seat answers GAP and waits with it.
        let must_wait =
            || is_gap(&values) && request.operation_seat().is_some_and(|seat| has_operation_of(&unanswered, seat));
        if reason.is_some() || !is_complete || must_wait() {
            worst = worst.max(reason);
            cause = cause.or_else(|| values.iter().find_map(not_serving)).or(denied);
            outcomes.add(request.name, "repeated");
            unanswered.push(request);
            continue;
        }
        let error = values.iter().find_map(refusal);
        outcomes.add(request.name, if error.is_some() { "error" } else { "answered" });
        request.finish(error.map_or(Ok(values), Err));
    }
    (unanswered, worst, cause)
}

/// Counts of one pipeline by script and outcome. They are added up first, because looking up a
/// metric costs more than a request's share of the pipeline.
#[derive(Default)]
struct OutcomeCounts(Vec<(&'static str, &'static str, u64)>);

impl OutcomeCounts {
    fn add(&mut self, script: &'static str, outcome: &'static str) {
        match self.0.iter_mut().find(|(name, end, _)| (*name, *end) == (script, outcome)) {
            Some((_, _, count)) => *count += 1,
            None => self.0.push((script, outcome, 1)),
        }
    }
}

impl Drop for OutcomeCounts {
    fn drop(&mut self) {
        for &(script, outcome, count) in &self.0 {
            metrics::counter!("switchboard_redis_calls_total", "script" => script, "outcome" => outcome)
                .increment(count);
        }
    }
}

fn has_operation_of(requests: &[Request], seat: &Arc<Seat>) -> bool {
    requests.iter().any(|request| request.operation_seat().is_some_and(|other| Arc::ptr_eq(other, seat)))
}

fn is_gap(values: &[Value]) -> bool {
    matches!(values, [Value::Array(reply)] if matches!(reply.first(), Some(Value::BulkString(status)) if status == b"GAP"))
}

/// Opens a connection that is ready for requests:
///
/// - The previous connection is killed, so that no request in its buffers takes effect after
///   requests of this one. Redis may forbid this user to kill it; then it can still be alive.
/// - The scripts are loaded.
/// - The Redis clock has passed the highest log id seen, or [`CLOCK_WAIT_MAX`] is over.
async fn connect(
    topology: &Topology,
    address: &Address,
    previous: Option<&ConnectionId>,
) -> Result<LaneConnection, ConnectionError> {
    let limit = topology.context.options.lanes.queue_time;
    let (connection, now_ms) =
        timeout(limit, prepare(topology, address, previous)).await.map_err(std::io::Error::from)??;
    let behind = topology.seen_ms.load(Ordering::Relaxed).saturating_sub(now_ms);
    tokio::time::sleep(Duration::from_millis(behind).min(CLOCK_WAIT_MAX)).await;
    Ok(connection)
}

/// Does everything of [`connect`] except the wait. Returns the server's clock in ms as well.
async fn prepare(
    topology: &Topology,
    address: &Address,
    previous: Option<&ConnectionId>,
) -> Result<(LaneConnection, u64), ConnectionError> {
    let mut redis = Connection::open(&topology.url, &address.0, address.1).await?;
    let info = redis.query(cmd("INFO").arg("server")).await?;
    // A server that refuses every command says why in its first reply, and may close the
    // connection. A user who may not read the run id is served all the same.
    if matches!(info, Value::ServerError(_)) && denial(&info).is_none() {
        return Err(ConnectionError::refused("INFO", &info));
    }
    let run =
        text(&info).and_then(|info| info.lines().find_map(|line| line.strip_prefix("run_id:"))).map(str::to_owned);
    // In another run, the number belongs to another client.
    let number = previous.filter(|previous| previous.run == run).and_then(|previous| previous.number);
    // The right to kill is tried also when there is nothing to kill, so that its lack is known from
    // the start. Without it, a request of the old connection can still take effect late.
    let killed = redis.query(cmd("CLIENT").arg("KILL").arg("ID").arg(number.unwrap_or(NO_CLIENT))).await?;
    if let Some(reason) = denial(&killed) {
        topology.url.denied(OptionalCommand::ClientKill, &reason);
    }
    let number = match redis.query(cmd("CLIENT").arg("ID")).await? {
        Value::Int(number) => Some(number),
        reply if denial(&reply).is_some() => None,
        reply => return Err(ConnectionError::refused("CLIENT ID", &reply)),
    };
    load_scripts(&mut redis).await?;
    let time = redis.query(&cmd("TIME")).await?;
    let now_ms = time_ms(Some(&time)).map_err(|_| ConnectionError::refused("TIME", &time))?;
    Ok((LaneConnection { redis, id: ConnectionId { run, number } }, now_ms))
}

async fn load_scripts(redis: &mut Connection) -> Result<(), ConnectionError> {
    let mut packed = Vec::new();
    for script in Script::ALL {
        cmd("SCRIPT").arg("LOAD").arg(script.source()).write_packed_command(&mut packed);
    }
    redis.send(&packed).await?;
    for _ in Script::ALL {
        let reply = redis.value().await?;
        if matches!(reply, Value::ServerError(_)) {
            return Err(ConnectionError::refused("SCRIPT LOAD", &reply));
        }
    }
    Ok(())
}
