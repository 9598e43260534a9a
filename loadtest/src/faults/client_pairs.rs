//! Pairs of clients on different nodes, each pair in its own room.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::audit::{Audit, p99};
use super::reconnecting_client::{ClientCommand, ClientConfig, ReconnectingClient};
use super::record::Record;
use super::report::seconds;
use crate::client::api::Account;

/// Interval between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Time in which all clients must join and send.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Seats of a room beyond those of its pairs: for clients that vanish, and for observers.
const SEATS_MORE: usize = 10;
/// What makes a name one of the longest: 100 characters, with its number.
const LONG_NAME: &str = "\u{6f22}";
const LONG_NAME_TIMES: usize = 97;

/// Number of pairs, and the event rate of each client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TrafficProfile {
    pub(crate) pairs: usize,
    /// Time between two events of a client.
    pub(crate) send_interval: Duration,
    pub(crate) pairs_per_room: usize,
    /// Whether clients have the longest names that there are.
    pub(crate) long_names: bool,
}

/// A room with its pair and, optionally, a third client that vanishes with its node.
#[derive(Debug)]
pub(crate) struct PairRoom {
    pub(crate) room: String,
    pub(crate) pair: [ReconnectingClient; 2],
    pub(crate) vanishing: Option<ReconnectingClient>,
}

/// All clients of a round.
#[derive(Debug)]
pub(crate) struct ClientPairs {
    pub(crate) rooms: Vec<PairRoom>,
    nodes: Arc<[String]>,
}

impl ClientPairs {
    /// Starts all clients; the two clients of a pair use different nodes. Every fifth room has a
    /// third client on node `vanishing`, if given.
    ///
    /// # Errors
    /// When a client cannot join and send within [`START_TIMEOUT`].
    pub(crate) async fn start(
        account: &Account,
        nodes: &[String],
        profile: TrafficProfile,
        vanishing: Option<usize>,
    ) -> anyhow::Result<Self> {
        let nodes: Arc<[String]> = nodes.into();
        let mut rooms = Vec::new();
        let mut room = String::new();
        for index in 0..profile.pairs {
            if index % profile.pairs_per_room == 0 {
                room = account.create_call(2 * profile.pairs_per_room + SEATS_MORE).await?;
            }
            let start = |name: &str, partner: Option<&str>, first_node: usize| {
                ReconnectingClient::start(ClientConfig {
                    name: name.to_owned(),
                    partner: partner.map(str::to_owned),
                    room: room.clone(),
                    nodes: Arc::clone(&nodes),
                    first_node,
                    send_interval: profile.send_interval,
                })
            };
            let prefix = if profile.long_names { LONG_NAME.repeat(LONG_NAME_TIMES) } else { "Client ".into() };
            let [left, right] = [2 * index, 2 * index + 1].map(|number| format!("{prefix}{number:03}"));
            let pair = [start(&left, Some(&right), index), start(&right, Some(&left), index + 1)];
            let vanishing = vanishing.filter(|_| index % 5 == 0).map(|node| start("Vanishing", None, node));
            rooms.push(PairRoom { room: room.clone(), pair, vanishing });
        }
        let pairs = Self { rooms, nodes };
        let started = Instant::now();
        if pairs.wait_acknowledged_since(started, START_TIMEOUT).await.is_none() {
            bail!(
                "not all clients could join and send within {START_TIMEOUT:?}: {:?}",
                pairs.clients().find(|c| c.record().peer_id.is_none())
            );
        }
        Ok(pairs)
    }

    /// Clients that must survive the fault.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &ReconnectingClient> {
        self.rooms.iter().flat_map(|pair_room| &pair_room.pair)
    }

    /// Clients that vanish with their node, each with its room.
    pub(crate) fn vanishing(&self) -> impl Iterator<Item = (&PairRoom, &ReconnectingClient)> {
        self.rooms.iter().filter_map(|pair_room| Some((pair_room, pair_room.vanishing.as_ref()?)))
    }

    /// Waits until every client is connected and has an acknowledgement of an event first sent
    /// after `moment`. Returns the time of the last of these acknowledgements; `None` after
    /// `bound`.
    pub(crate) async fn wait_acknowledged_since(&self, moment: Instant, bound: Duration) -> Option<Instant> {
        let acknowledged = || {
            let firsts = self.clients().map(|client| {
                let record = client.record();
                record.first_ack_after(moment).filter(|_| record.connected)
            });
            firsts.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
        };
        wait_for(bound, acknowledged).await
    }

    /// Stops new events and waits until all sent events are acknowledged and received. Returns
    /// `false` when this takes longer than `bound`.
    pub(crate) async fn settle(&self, bound: Duration) -> bool {
        self.clients().for_each(|client| client.command(ClientCommand::Pause));
        wait_for(bound, || {
            let settled = self.clients().all(|client| client.record().is_settled());
            (settled && self.audit().lost == 0).then_some(())
        })
        .await
        .is_some()
    }

    /// Sums the audits of both directions of every pair.
    pub(crate) fn audit(&self) -> Audit {
        let mut sum = Audit::default();
        for PairRoom { pair: [left, right], .. } in &self.rooms {
            sum += Audit::of(&left.record().sent, &right.record().received);
            sum += Audit::of(&right.record().sent, &left.record().received);
        }
        sum
    }

    /// Returns the 99th percentile, in milliseconds, of the acknowledgement time of events first
    /// sent in this time span.
    pub(crate) fn p99_ms(&self, span: &Range<Instant>) -> f64 {
        let within = |client: &ReconnectingClient| {
            let sent = &client.record().sent;
            sent.iter().filter(|event| span.contains(&event.first_sent_at)).copied().collect::<Vec<_>>()
        };
        let events: Vec<_> = self.clients().flat_map(within).collect();
        p99(events.iter()).map_or(0.0, |waited| seconds(waited * 1000))
    }

    /// Counts ghosts (participants without a client) and missing participants, as a new participant
    /// sees them in every room. Returns when there are none or after `bound`.
    pub(crate) async fn ghosts(&self, bound: Duration) -> anyhow::Result<usize> {
        let deadline = Instant::now() + bound;
        loop {
            let mut ghosts = 0;
            for (room, known) in self.peers() {
                let seen = super::observer::participants(&self.nodes, room).await?;
                ghosts += seen.iter().filter(|peer| !known.contains(*peer)).count();
                ghosts += known.iter().filter(|peer| !seen.contains(peer)).count();
            }
            if ghosts == 0 || Instant::now() >= deadline {
                return Ok(ghosts);
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// Returns the peer ids of the clients of each room.
    fn peers(&self) -> BTreeMap<&str, BTreeSet<String>> {
        let mut peers: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for PairRoom { room, pair, .. } in &self.rooms {
            let own = pair.iter().filter_map(|client| client.record().peer_id.clone());
            peers.entry(room).or_default().extend(own);
        }
        peers
    }

    /// Waits until each client knows exactly the participants of its room. Returns `false` when
    /// this takes longer than `bound`.
    pub(crate) async fn see_each_other(&self, bound: Duration) -> bool {
        let complete = || {
            let peers = self.peers();
            let sees = |pair: &PairRoom| {
                let wanted = &peers[&*pair.room];
                wanted.len() >= 2 && pair.pair.iter().all(|client| client.record().participants == *wanted)
            };
            self.rooms.iter().all(sees).then_some(())
        };
        wait_for(bound, complete).await.is_some()
    }

    /// Sums the violations of all clients: each text with its number of occurrences.
    pub(crate) fn violations(&self) -> BTreeMap<String, usize> {
        let mut sum = BTreeMap::new();
        for client in self.clients() {
            for violation in &client.record().violations {
                *sum.entry(violation.clone()).or_default() += 1;
            }
        }
        sum
    }

    /// Sums a figure over the records of all clients.
    pub(crate) fn sum(&self, figure: impl Fn(&Record) -> usize) -> usize {
        self.clients().map(|client| figure(&client.record())).sum()
    }

    /// Makes every client leave.
    pub(crate) fn leave(&self) {
        self.clients().for_each(|client| client.command(ClientCommand::Leave));
    }
}

/// Waits until `condition` returns a value; `None` after `bound`.
pub(crate) async fn wait_for<T>(bound: Duration, condition: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(POLL_INTERVAL).await;
    }
}
