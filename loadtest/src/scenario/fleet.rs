//! Many clients at the same time: seating them, running them, and starting a task for each arrival.

use std::future::Future;
use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::JoinSet;

use super::run::Run;
use super::target::Target;
use crate::client::behaviour::{Behaviour, ClientEnd, drive};
use crate::client::guest::Guest;
use crate::measure::pacer::Pacer;
use crate::measure::schedule::Schedule;

/// Clients that join concurrently.
const CONCURRENT_MAX: usize = 32;
/// Commands that wait for a client. A client that falls further behind loses commands, which are
/// counted.
const COMMAND_QUEUE: usize = 4096;

/// Seats guests. Each place is a node index and a room.
pub(crate) async fn seat(
    target: &Target,
    places: Vec<(usize, String)>,
    bar: &ProgressBar,
) -> anyhow::Result<Vec<Guest>> {
    let join = |(node, room): (usize, String)| async move {
        let guest = Guest::join_over(target.protocol, target.node(node), &room, "Load").await;
        bar.inc(1);
        guest
    };
    let guests = stream::iter(places).map(join).buffered(CONCURRENT_MAX).try_collect();
    guests.await.context("cannot seat all clients")
}

/// Seats pairs, each in its own room with its clients on different nodes.
pub(crate) async fn seat_pairs(target: &Target, count: usize, bar: &ProgressBar) -> anyhow::Result<Vec<[Guest; 2]>> {
    let rooms = target.rooms(count, 2).await?;
    let places = rooms.into_iter().enumerate().flat_map(|(index, room)| [(index, room.clone()), (index + 1, room)]);
    let mut guests = seat(target, places.collect(), bar).await?.into_iter();
    Ok(std::iter::from_fn(|| Some([guests.next()?, guests.next()?])).collect())
}

/// Running clients. They vanish when this value is dropped.
#[derive(Debug)]
pub(crate) struct Fleet<O> {
    commands: Arc<Vec<Sender<O>>>,
    tasks: JoinSet<ClientEnd>,
}

impl<O: Send + 'static> Fleet<O> {
    /// Starts a task for each client.
    pub(crate) fn start<B>(clients: impl IntoIterator<Item = (Guest, B)>) -> Self
    where
        B: Behaviour<Command = O> + 'static,
    {
        let (mut commands, mut tasks) = (Vec::new(), JoinSet::new());
        for (mut guest, mut behaviour) in clients {
            let (sender, mut receiver) = channel(COMMAND_QUEUE);
            commands.push(sender);
            tasks.spawn(async move { drive(&mut guest, &mut behaviour, &mut receiver).await });
        }
        Self { commands: Arc::new(commands), tasks }
    }

    /// Command queues of the clients, in order of start.
    pub(crate) fn command_senders(&self) -> Arc<Vec<Sender<O>>> {
        Arc::clone(&self.commands)
    }

    /// Makes all clients leave and returns the number of lost sockets. The caller must have dropped
    /// all other command queues.
    pub(crate) async fn leave(mut self) -> u64 {
        drop(self.commands);
        let mut lost = 0;
        while let Some(ended) = self.tasks.join_next().await {
            lost += u64::from(!matches!(ended, Ok(ClientEnd::Left)));
        }
        lost
    }
}

/// Starts a task for each arrival during the measurement and waits for all of them. With
/// `max_concurrent` tasks in flight, further arrivals are not started and count as lost, because
/// the servers are beyond their capacity.
pub(crate) async fn arrivals<F>(
    run: &mut Run,
    schedule: Schedule,
    kind: &'static str,
    max_concurrent: usize,
    start: impl Fn(usize, u64) -> F + Send + 'static,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, mut arrived) = channel(COMMAND_QUEUE);
    let (full, late) = (run.meter.handle(0), run.meter.handle(0));
    let pacer = Pacer::start(&run.meter, schedule, move |number, intended| {
        if sender.try_send((number, intended)).is_err() {
            full.count(NOT_STARTED, intended);
        }
    });
    let tasks = tokio::spawn(async move {
        let mut tasks = JoinSet::new();
        while let Some((number, intended)) = arrived.recv().await {
            while tasks.try_join_next().is_some() {}
            if tasks.len() < max_concurrent {
                tasks.spawn(start(number, intended));
            } else {
                late.count(NOT_STARTED, intended);
            }
        }
        tasks.join_all().await;
    });
    run.measure(kind).await;
    // Dropping the pacer ends the arrivals and then the task.
    drop(pacer);
    run.wait_task(tasks).await;
}

/// Count of arrivals that were not started.
pub(crate) const NOT_STARTED: &str = "not started";
