//! Many clients: seated, playing, gone; and arrivals, each a task of its own.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;

use super::stage::Stage;
use super::target::Target;
use crate::client::behaviour::{Behaviour, Ended, play};
use crate::client::guest::Guest;
use crate::measure::pacer::Pacer;
use crate::measure::schedule::Schedule;

/// Clients that are seated at the same time.
const AT_ONCE: usize = 32;
/// Orders that wait for a client. Beyond that it has fallen so far behind that what it is told is given up, and counted.
const ORDERS: usize = 4096;

/// Seats guests: each is the number of its node and its room.
pub(crate) async fn seat(
    target: &Target,
    places: Vec<(usize, String)>,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Guest>> {
    let enter = |(node, room): (usize, String)| async move {
        let guest = Guest::enter(target.node(node), &room, "Load").await;
        bar.inc(1);
        guest
    };
    let guests = stream::iter(places).map(enter).buffered(AT_ONCE).try_collect();
    guests.await.context("not everybody could take a seat")
}

/// Seats pairs, each in a room of its own, its halves on different nodes.
pub(crate) async fn pairs(target: &Target, count: usize, bar: &ProgressBar) -> anyhow::Result<Vec<[Guest; 2]>> {
    let rooms = target.rooms(count, 2).await?;
    let places = rooms.into_iter().enumerate().flat_map(|(index, room)| [(index, room.clone()), (index + 1, room)]);
    let mut guests = seat(target, places.collect(), bar).await?.into_iter();
    Ok(std::iter::from_fn(|| Some([guests.next()?, guests.next()?])).collect())
}

/// Clients that play. They vanish when this is dropped.
#[derive(Debug)]
pub(crate) struct Crowd<O> {
    orders: Arc<Vec<Sender<O>>>,
    tasks: JoinSet<Ended>,
}

impl<O: Send + 'static> Crowd<O> {
    /// Has everybody play.
    pub(crate) fn play<B>(players: impl IntoIterator<Item = (Guest, B)>) -> Self
    where
        B: Behaviour<Order = O> + 'static,
    {
        let (mut orders, mut tasks) = (Vec::new(), JoinSet::new());
        for (mut guest, mut behaviour) in players {
            let (sender, mut receiver) = channel(ORDERS);
            orders.push(sender);
            tasks.spawn(async move { play(&mut guest, &mut behaviour, &mut receiver).await });
        }
        Self { orders: Arc::new(orders), tasks }
    }

    /// Who can be told to do something, in the order in which they began.
    pub(crate) fn orders(&self) -> Arc<Vec<Sender<O>>> {
        Arc::clone(&self.orders)
    }

    /// Has everybody say goodbye; how many sockets had been lost. Nobody else may hold the orders any more.
    pub(crate) async fn leave(mut self) -> u64 {
        drop(self.orders);
        let mut lost = 0;
        while let Some(ended) = self.tasks.join_next().await {
            lost += u64::from(!matches!(ended, Ok(Ended::Left)));
        }
        lost
    }
}

/// Begins a task for each arrival while the stage runs, and waits for them all. When as many as `most` are under way the next is not
/// begun, and counted as lost: servers that are so far behind are beyond their limit.
pub(crate) async fn arrivals<F>(
    stage: &mut Stage,
    schedule: Schedule,
    kind: &'static str,
    most: usize,
    begin: impl Fn(usize, u64) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut arrived) = channel(ORDERS);
    let (full, late) = (stage.meter.pen(0), stage.meter.pen(0));
    let pacer = Pacer::start(&stage.meter, schedule, move |number, meant| {
        if sender.try_send((number, meant)).is_err() {
            full.count(NOT_BEGUN, meant);
        }
    });
    let tasks = tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        while let Some((number, meant)) = arrived.recv().await {
            while tasks.try_join_next().is_some() {}
            if tasks.len() < most {
                tasks.spawn(begin(number, meant));
            } else {
                late.count(NOT_BEGUN, meant);
            }
        }
        tasks.join_all().await;
    });
    stage.run(kind).await;
    // Its end is the end of the arrivals, and theirs that of the task.
    drop(pacer);
    stage.finishing(tasks).await;
}

/// Arrivals that were not begun.
pub(crate) const NOT_BEGUN: &str = "not begun";
