//! A heartbeat in one group of partitions, and the checks of its partitions.
//!
//! A node counts as alive in a group while its counter grows in the group's first partition. The
//! group may be spread over several servers. So a node that does not reach one of them sends no
//! heartbeat for the group, and judges no other node there.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use switchboard_core::domain::DisconnectReason;
use switchboard_rooms::check_turns::checked_in;
use switchboard_rooms::failure_detector::{FailureDetector, PROMPT_REPLY_MAX};
use switchboard_rooms::{
    Beat, BeatOutcome, CheckOutcome, Group, LastBeat, NodeCheck, Partition, Rooms, StoreError, Sweep,
};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::strays::Strays;
use super::subscription_watch::{Observed, SubscriptionWatch};
use super::{Membership, deadlines};

/// State of one group, from round to round.
#[derive(Debug)]
pub(super) struct GroupState {
    pub(super) group: Group,
    /// The node is on the ring and registered in every partition, as far as it knows.
    registered: bool,
    registration: String,
    /// Every other server of the group answered the last round.
    reached: bool,
    /// All partitions are checked in the next round, because one of them has lost something.
    checks_all: bool,
    pub(super) detector: FailureDetector,
    /// Task that sweeps dead nodes.
    pub(super) sweep: Option<JoinHandle<()>>,
    pub(super) partitions: Vec<PartitionState>,
}

/// State of one partition, from round to round.
#[derive(Debug)]
pub(super) struct PartitionState {
    pub(super) partition: Partition,
    /// Epoch of the partition's data. It changes when Redis loses its data.
    epoch: Option<String>,
    /// The node was swept, and does not know yet whether Redis lost its data.
    swept: bool,
    pub(super) subscription: SubscriptionWatch,
    pub(super) strays: Arc<Mutex<Strays>>,
    /// Task that does the work that earlier rounds found.
    pub(super) maintenance: Option<JoinHandle<()>>,
}

/// A round of heartbeats.
#[derive(Debug)]
pub(super) struct Round {
    /// Grows with each round.
    pub(super) counter: u64,
    /// Lane of each partition.
    pub(super) lanes: Vec<usize>,
}

/// Work that a round found in a group.
#[derive(Debug)]
pub(super) struct Findings {
    /// The node is registered in every partition of the group, and its subscriptions work.
    pub(super) healthy: bool,
    /// Dead nodes, with the heartbeats that prove it.
    pub(super) dead: Vec<(String, LastBeat)>,
    /// In the order of the partitions.
    pub(super) partitions: Vec<PartitionFindings>,
}

/// Work that a round found in a partition.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PartitionFindings {
    /// The subscription is lost.
    pub(super) subscription_lost: bool,
    /// Redis may have lost seats of this node.
    pub(super) restore_seats: bool,
    /// This node handles the partition's deadlines.
    pub(super) maintainer: bool,
}

impl GroupState {
    pub(super) fn new(group: Group, partitions: impl Iterator<Item = Partition>) -> Self {
        let partitions = partitions.map(|partition| PartitionState {
            partition,
            epoch: None,
            swept: false,
            subscription: SubscriptionWatch::default(),
            strays: Arc::default(),
            maintenance: None,
        });
        Self {
            group,
            registered: false,
            registration: String::new(),
            reached: true,
            checks_all: false,
            detector: FailureDetector::default(),
            sweep: None,
            partitions: partitions.collect(),
        }
    }

    /// Returns the lane of each partition of the group.
    fn lanes<'r>(&self, round: &'r Round) -> &'r [usize] {
        let first = usize::from(self.group.lead().0);
        &round.lanes[first..first + self.partitions.len()]
    }

    /// Returns which partitions are checked in this round.
    fn due(&self, membership: &Membership, round: &Round) -> Vec<bool> {
        let turns = checked_in(round.counter, self.lanes(round)).into_iter().zip(&self.partitions);
        let is_due = |(turn, state): (bool, &PartitionState)| {
            turn || self.checks_all || state.subscription.silent || membership.hub.has_suspects(state.partition)
        };
        turns.map(is_due).collect()
    }
}

/// Results of the checks of a group, in the order of its partitions; `None` for those not checked.
type Checks = Vec<Option<Result<CheckOutcome, StoreError>>>;

impl Membership {
    /// Sends one heartbeat in one group with the checks that are due, and evaluates the replies.
    pub(super) async fn beat(&self, state: &mut GroupState, round: &Round) -> Findings {
        let mut found = vec![PartitionFindings::default(); state.partitions.len()];
        for (state, found) in state.partitions.iter_mut().zip(&mut found) {
            match state.subscription.observe(self.canary_ms(state.partition)) {
                Observed::Nothing => {}
                Observed::Came(published) => self.measure_canary(state.partition, published),
                Observed::Lost => found.subscription_lost = true,
            }
        }
        let sent = Instant::now();
        let (mut beat, mut checks) = (None, Vec::new());
        // While another server of the group does not answer, the node must not return to the ring.
        // Its checks find out when that server answers again.
        if state.registered || !state.reached {
            let due = state.due(self, round);
            let heartbeat = async {
                // A node that says that it is alive must reach the whole group.
                if !state.reached {
                    return None;
                }
                Some(self.rooms.beat(state.group, round.counter, false, state.detector.watched()).await)
            };
            let (reply, checked) = join(heartbeat, self.check(state, &due, false)).await;
            checks = checked;
            match reply {
                Some(Ok(BeatOutcome::Swept)) => {
                    state.registered = false;
                    state.partitions.iter_mut().for_each(|state| state.swept = true);
                }
                reply => beat = accepted(state.group, reply),
            }
        }
        if !state.registered && state.reached {
            (beat, checks) = self.register(state, round.counter).await;
        }
        let is_prompt = sent.elapsed() <= PROMPT_REPLY_MAX;
        let all_checked = checks.iter().flatten().all(Result::is_ok);
        let lanes = state.lanes(round);
        let mut others = checks.iter().zip(lanes).filter(|(_, lane)| **lane != lanes[0]);
        state.reached = others.all(|(check, _)| check.as_ref().is_none_or(Result::is_ok));
        state.checks_all = false;
        for (index, check) in checks.into_iter().enumerate() {
            match check {
                Some(Ok(CheckOutcome::Registered(check))) => {
                    let partition = &mut state.partitions[index];
                    let lost_data = self.checked(partition, &check);
                    found[index].restore_seats = lost_data;
                    found[index].subscription_lost |= partition.subscription.published(&check, sent);
                    // The others on its server have probably lost the same.
                    state.checks_all |= lost_data;
                }
                Some(Ok(CheckOutcome::Swept)) => {
                    let partition = &mut state.partitions[index];
                    // A partition that was never registered had nothing to sweep.
                    partition.swept |= partition.epoch.is_some();
                    state.registered = false;
                }
                Some(Err(error)) => log_unexpected(state.group, &error, "unexpected reply to a check"),
                None => {}
            }
        }
        state.checks_all |= found.iter().any(|found| found.subscription_lost);
        let mut dead = Vec::new();
        let is_silent = |state: &PartitionState| state.subscription.silent;
        let healthy = beat.is_some() && state.registered && all_checked && !state.partitions.iter().any(is_silent);
        match beat {
            Some(beat) if is_prompt && state.reached => {
                for (state, found) in state.partitions.iter().zip(&mut found) {
                    found.maintainer = deadlines::is_maintainer(state.partition, &beat);
                }
                dead = state.detector.observe(Instant::now(), beat.following);
            }
            _ => state.detector.reset(),
        }
        Findings { healthy, dead, partitions: found }
    }

    /// Puts the node on the ring of a group, then registers it in each partition: a node that is
    /// registered and not on the ring would not be swept.
    async fn register(&self, state: &mut GroupState, counter: u64) -> (Option<Beat>, Checks) {
        state.registration = Rooms::new_registration();
        let reply = self.rooms.beat(state.group, counter, true, state.detector.watched()).await;
        let Some(beat) = accepted(state.group, Some(reply)) else { return (None, Vec::new()) };
        let all = vec![true; state.partitions.len()];
        let checks = self.check(state, &all, true).await;
        state.registered = checks.iter().flatten().all(Result::is_ok);
        (Some(beat), checks)
    }

    async fn check(&self, state: &GroupState, due: &[bool], registers: bool) -> Checks {
        let checks = state.partitions.iter().zip(due).map(async |(partition, due)| {
            if !due {
                return None;
            }
            Some(self.rooms.check_node(partition.partition, &state.registration, registers).await)
        });
        join_all(checks).await
    }

    /// Evaluates a check of a partition. Returns whether Redis lost its data.
    fn checked(&self, state: &mut PartitionState, check: &NodeCheck) -> bool {
        let known = state.epoch.replace(check.epoch.clone());
        let lost_data = known.is_some_and(|epoch| epoch != check.epoch);
        let swept = std::mem::take(&mut state.swept);
        self.resolve_suspects(state.partition, swept && !lost_data, lost_data);
        lost_data
    }

    /// Measures the time of a canary that was published by a check sent at this time.
    fn measure_canary(&self, partition: Partition, published: Instant) {
        if let Some(arrived) = self.hub.canary(partition).arrived {
            let seconds = arrived.saturating_duration_since(published.into_std()).as_secs_f64();
            metrics::histogram!("switchboard_canary_seconds").record(seconds);
        }
    }

    /// Decides about sessions whose seats are in question.
    ///
    /// - After a sweep, which another node makes when it declares this node dead, the clients of
    ///   this node reconnect and resume.
    /// - After a loss of data, which a new epoch shows, all seats are restored.
    /// - A single session may have been marked before such a restore. Redis is asked once more
    ///   before its client is disconnected.
    fn resolve_suspects(&self, partition: Partition, swept: bool, lost_data: bool) {
        let suspects = self.hub.take_suspects(partition);
        if lost_data {
            tracing::warn!(partition = partition.0, "redis lost its data, seats are restored");
        } else if swept {
            metrics::counter!("switchboard_swept_total").increment(1);
            tracing::warn!(partition = partition.0, "this node was swept, sessions resume");
            self.hub.links(partition).iter().for_each(|link| link.close(DisconnectReason::Fenced));
        } else if !suspects.is_empty() {
            self.recovery.start_sessions(suspects);
        }
    }

    /// Sweeps a dead node. The script lets exactly one node declare it dead.
    pub(super) async fn declare_dead(&self, group: Group, node: &str, beat: LastBeat) {
        match self.rooms.sweep(group, node, beat).await {
            Ok(Sweep { declared: false, .. }) | Err(StoreError::Unavailable) => {}
            Ok(Sweep { seats, .. }) => {
                metrics::counter!("switchboard_nodes_declared_dead_total").increment(1);
                tracing::warn!(group = group.0, node_id = node, seats, "dead node swept");
            }
            Err(error) => log_unexpected(group, &error, "unexpected reply to a sweep"),
        }
    }
}

/// Returns the data of an accepted heartbeat.
fn accepted(group: Group, reply: Option<Result<BeatOutcome, StoreError>>) -> Option<Beat> {
    match reply? {
        Ok(BeatOutcome::Beat(beat)) => Some(beat),
        Ok(BeatOutcome::Swept) => None,
        Err(error) => {
            log_unexpected(group, &error, "unexpected reply to a heartbeat");
            None
        }
    }
}

fn log_unexpected(group: Group, error: &StoreError, what: &'static str) {
    if let StoreError::Unexpected(detail) = error {
        tracing::error!(group = group.0, detail, what, "unexpected reply");
    }
}
