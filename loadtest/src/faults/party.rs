//! Many clients in pairs across nodes, each pair in a room of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use tokio::time::{Instant, sleep};

use super::audit::{Audit, p99};
use super::record::Record;
use super::report::seconds;
use super::stock::{Client, Order, Profile};
use crate::client::api::Host;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How many, and how busy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) pairs: usize,
    /// Between two events of a client.
    pub(crate) pace: Duration,
}

/// A room with its pair, and perhaps somebody who is going to vanish.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) room: String,
    pub(crate) pair: [Client; 2],
    pub(crate) doomed: Option<Client>,
}

/// Everybody.
#[derive(Debug)]
pub(crate) struct Party {
    pub(crate) tables: Vec<Table>,
    nodes: Arc<[String]>,
}

impl Party {
    /// Seats everybody, each half of a pair on another node. Every fifth room has a third person on node `doomed`, if given.
    pub(crate) async fn gather(
        host: &Host,
        nodes: &[String],
        size: Size,
        doomed: Option<usize>,
    ) -> anyhow::Result<Self> {
        let nodes: Arc<[String]> = nodes.into();
        let mut tables = Vec::new();
        for index in 0..size.pairs {
            let room = host.call(100).await?;
            let start = |name: &str, partner: Option<&str>, home: usize| {
                Client::start(Profile {
                    name: name.to_owned(),
                    partner: partner.map(str::to_owned),
                    room: room.clone(),
                    nodes: Arc::clone(&nodes),
                    home,
                    pace: size.pace,
                })
            };
            let pair = [start("Left", Some("Right"), index), start("Right", Some("Left"), index + 1)];
            let doomed = doomed.filter(|_| index % 5 == 0).map(|node| start("Doomed", None, node));
            tables.push(Table { room, pair, doomed });
        }
        let party = Self { tables, nodes };
        let begun = Instant::now();
        if party.answered_since(begun, Duration::from_secs(30)).await.is_none() {
            bail!(
                "not everybody could join and talk within 30 s: {:?}",
                party.clients().find(|c| c.record().peer.is_none())
            );
        }
        Ok(party)
    }

    /// The clients that are to survive.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.tables.iter().flat_map(|table| &table.pair)
    }

    /// Those who are not.
    pub(crate) fn doomed(&self) -> impl Iterator<Item = (&Table, &Client)> {
        self.tables.iter().filter_map(|table| Some((table, table.doomed.as_ref()?)))
    }

    /// Waits until everybody has a socket and an acknowledgement of an event that was first sent after `moment`: when the last of
    /// these came. `None` when it takes longer than `bound`.
    pub(crate) async fn answered_since(&self, moment: Instant, bound: Duration) -> Option<Instant> {
        let answered = || {
            let firsts = self.clients().map(|client| {
                let record = client.record();
                record.first_answer_after(moment).filter(|_| record.connected)
            });
            firsts.collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max())
        };
        until(bound, answered).await
    }

    /// Sends nothing new, and waits until all that was sent is acknowledged and received. Whether it was within `bound`.
    pub(crate) async fn settle(&self, bound: Duration) -> bool {
        self.clients().for_each(|client| client.order(Order::Hush));
        until(bound, || {
            let settled = self.clients().all(|client| client.record().is_settled());
            (settled && self.audit().lost == 0).then_some(())
        })
        .await
        .is_some()
    }

    /// The audit of both directions of every pair.
    pub(crate) fn audit(&self) -> Audit {
        let mut sum = Audit::default();
        for Table { pair: [left, right], .. } in &self.tables {
            sum += Audit::of(&left.record().sent, &right.record().received);
            sum += Audit::of(&right.record().sent, &left.record().received);
        }
        sum
    }

    /// The 99th percentile, in milliseconds, of how long the events first sent in this span waited for their acknowledgement.
    pub(crate) fn p99_ms(&self, span: &Range<Instant>) -> f64 {
        let within = |client: &Client| {
            let sent = &client.record().sent;
            sent.iter().filter(|event| span.contains(&event.born)).copied().collect::<Vec<_>>()
        };
        let events: Vec<_> = self.clients().flat_map(within).collect();
        p99(events.iter()).map_or(0.0, |waited| seconds(waited * 1000))
    }

    /// Participants without a client, once `bound` has passed or there are none: somebody new looks into every room.
    pub(crate) async fn ghosts(&self, bound: Duration) -> anyhow::Result<usize> {
        let deadline = Instant::now() + bound;
        loop {
            let mut ghosts = 0;
            for table in &self.tables {
                let known: Vec<_> = table.pair.iter().filter_map(|client| client.record().peer.clone()).collect();
                let seen = super::look::participants(&self.nodes, &table.room).await?;
                ghosts += seen.iter().filter(|peer| !known.contains(peer)).count();
                ghosts += known.iter().filter(|peer| !seen.contains(peer)).count();
            }
            if ghosts == 0 || Instant::now() >= deadline {
                return Ok(ghosts);
            }
            sleep(Duration::from_millis(250)).await;
        }
    }

    /// Everything that must never happen, with how often it did.
    pub(crate) fn complaints(&self) -> BTreeMap<String, usize> {
        let mut sum = BTreeMap::new();
        for client in self.clients() {
            for complaint in &client.record().complaints {
                *sum.entry(complaint.clone()).or_default() += 1;
            }
        }
        sum
    }

    /// A figure of every client's record, all together.
    pub(crate) fn sum(&self, figure: impl Fn(&Record) -> usize) -> usize {
        self.clients().map(|client| figure(&client.record())).sum()
    }

    /// Says goodbye.
    pub(crate) fn leave(&self) {
        self.clients().for_each(|client| client.order(Order::Leave));
    }
}

/// Waits until `condition` gives something; `None` after `bound`.
pub(crate) async fn until<T>(bound: Duration, condition: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + bound;
    loop {
        if let Some(found) = condition() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(POLL).await;
    }
}
