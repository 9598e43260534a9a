//! Whether a trouble is this node's alone: some of the others are asked.
//!
//! A node that is cut off from Redis is to get no new clients, while others do better. When Redis is away for everybody the
//! others do no better: a load balancer without a single node would cut long-polling clients off, whose sessions would
//! otherwise outlive the trouble.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use switchboard_socketio::Peers;

/// How many are asked. More would make no difference, and a thousand nodes that ask a thousand would.
const MOST: usize = 8;
/// How often others are chosen: a node's name is its own start's, and a rollout makes all of them new.
const CHOOSE: Duration = Duration::from_secs(5);

/// Nodes, with their addresses.
type Located = Vec<(String, String)>;

/// What one node knows of some others.
#[derive(Debug)]
pub struct Neighbours {
    peers: Peers,
    some: Located,
    chosen: Option<Instant>,
    choosing: Option<JoinHandle<Located>>,
    asking: Option<JoinHandle<bool>>,
    /// What the last answer was.
    better: bool,
}

impl Neighbours {
    /// Knows nobody yet.
    #[must_use]
    pub fn new(peers: Peers) -> Self {
        Self { peers, some: Vec::new(), chosen: None, choosing: None, asking: None, better: false }
    }

    /// This node is well, and knows these others: now and then finds out where some of them are, since only Redis can tell. Never waits.
    pub async fn all_is_well<'n>(&mut self, others: impl Iterator<Item = &'n String>) {
        self.better = false;
        // What is answered now would be about a trouble that is over.
        self.asking.take().iter().for_each(JoinHandle::abort);
        self.take_chosen().await;
        if self.choosing.is_some() || self.chosen.is_some_and(|at| at.elapsed() < CHOOSE) {
            return;
        }
        let names = choice(others.cloned().collect());
        // None are known for a moment when Redis answers late, as it does just before it is gone: then those of before are needed.
        if names.is_empty() {
            return;
        }
        self.chosen = Some(Instant::now());
        let peers = self.peers.clone();
        self.choosing = Some(tokio::spawn(async move {
            let located = names.into_iter().map(async |name| Some((name.clone(), peers.address(&name).await?)));
            join_all(located).await.into_iter().flatten().collect()
        }));
    }

    /// This node is not well: whether one of the others was, when it was asked last. Asks again, and never waits for the answer.
    pub async fn do_better(&mut self) -> bool {
        // They may have been found just before Redis went.
        self.take_chosen().await;
        if let Some(better) = finished(&mut self.asking).await {
            self.better = better;
        }
        if self.asking.is_none() {
            let (peers, some) = (self.peers.clone(), self.some.clone());
            self.asking = Some(tokio::spawn(async move {
                let answers = some.iter().map(|(name, address)| peers.is_healthy(name, address));
                join_all(answers).await.contains(&true)
            }));
        }
        self.better
    }

    async fn take_chosen(&mut self) {
        // Nobody found is Redis gone meanwhile, more likely than all of them.
        if let Some(chosen) = finished(&mut self.choosing).await.filter(|chosen| !chosen.is_empty()) {
            self.some = chosen;
        }
    }
}

impl Drop for Neighbours {
    fn drop(&mut self) {
        self.asking.iter().for_each(JoinHandle::abort);
        self.choosing.iter().for_each(JoinHandle::abort);
    }
}

/// What a task came to, if it is over.
async fn finished<T>(task: &mut Option<JoinHandle<T>>) -> Option<T> {
    task.take_if(|task| task.is_finished())?.await.ok()
}

/// Some of them, from a random place on: each is asked by about as many.
fn choice(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    if names.len() > MOST {
        let from = rand::random_range(0..names.len());
        names.rotate_left(from);
        names.truncate(MOST);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_a_few_are_asked_and_everybody_is_by_somebody() {
        let names = || (0..20).map(|n| format!("n{n}")).collect::<Vec<_>>();
        let mut asked = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let some = choice(names());
            assert_eq!(some.len(), MOST);
            asked.extend(some);
        }
        assert_eq!(asked.len(), 20);
        assert_eq!(choice(vec!["b".into(), "a".into()]), ["a", "b"]);
    }
}
