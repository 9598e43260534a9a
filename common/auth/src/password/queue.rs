//! Queue of password operations: a fixed number run at the same time, and the others wait in lanes.
//! Each client address has one lane, and the lanes take turns.
//!
//! | bound | outcome |
//! |---|---|
//! | an address has its share of the places | its next operation is refused |
//! | all places are taken | the longest lane loses its newest operation to a shorter one |
//!
//! So an address with many operations delays another address by one operation, and fills no place
//! that another address needs.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use switchboard_core::client_address::ClientNetwork;
use tokio::sync::oneshot;

/// Client that an operation is counted against. Operations without an address share one lane.
pub(super) type Client = Option<ClientNetwork>;

/// Fair queue. Clones share the places.
#[derive(Clone)]
pub(super) struct FairQueue(Arc<Mutex<State>>);

struct State {
    /// Operations that may start now.
    free: usize,
    waiting: usize,
    /// Operations that may wait.
    places: usize,
    /// Operations of one client that may wait.
    share: usize,
    /// Clients with waiting operations, in the order of their turns.
    turns: VecDeque<Client>,
    lanes: HashMap<Client, VecDeque<oneshot::Sender<Slot>>>,
}

/// The right to run one operation. The next operation starts when it is dropped.
pub(super) struct Slot(Option<FairQueue>);

/// The operation has no place in the queue.
#[derive(Debug)]
pub(super) struct QueueFull;

impl FairQueue {
    /// Creates a queue: `slots` operations run, `places` wait, `share` of them for one client.
    pub(super) fn new(slots: usize, places: usize, share: usize) -> Self {
        let (turns, lanes) = (VecDeque::new(), HashMap::new());
        Self(Arc::new(Mutex::new(State { free: slots, waiting: 0, places, share, turns, lanes })))
    }

    /// Waits for a slot.
    pub(super) async fn acquire(&self, client: Client) -> Result<Slot, QueueFull> {
        let turn = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Slot(Some(self.clone())));
            }
            state.wait(client)?
        };
        // An operation that lost its place has no sender any more.
        turn.await.map_err(|_| QueueFull)
    }

    /// Returns the number of operations that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, client: Client) -> Result<oneshot::Receiver<Slot>, QueueFull> {
        if self.length(client) >= self.share {
            self.drop_cancelled(client);
        }
        let own = self.length(client);
        if own >= self.share || (self.waiting >= self.places && !self.shorten_longest(own)) {
            return Err(QueueFull);
        }
        let (sender, receiver) = oneshot::channel();
        if own == 0 {
            self.turns.push_back(client);
        }
        self.lanes.entry(client).or_default().push_back(sender);
        self.waiting += 1;
        Ok(receiver)
    }

    fn length(&self, client: Client) -> usize {
        self.lanes.get(&client).map_or(0, VecDeque::len)
    }

    /// Removes a client's operations whose requests are gone.
    fn drop_cancelled(&mut self, client: Client) {
        if let Some(lane) = self.lanes.get_mut(&client) {
            let before = lane.len();
            lane.retain(|sender| !sender.is_closed());
            self.waiting -= before - lane.len();
            self.forget_if_empty(client);
        }
    }

    /// Refuses the newest operation of the longest lane, if that lane is longer than `own` would
    /// become. Returns whether a place is free.
    fn shorten_longest(&mut self, own: usize) -> bool {
        let longest = self.lanes.iter().max_by_key(|(_, lane)| lane.len());
        let Some(client) = longest.filter(|(_, lane)| lane.len() > own + 1).map(|(client, _)| *client) else {
            return false;
        };
        self.lanes.get_mut(&client).and_then(VecDeque::pop_back);
        self.waiting -= 1;
        self.forget_if_empty(client);
        true
    }

    fn forget_if_empty(&mut self, client: Client) {
        if self.length(client) == 0 {
            self.lanes.remove(&client);
            self.turns.retain(|other| *other != client);
        }
    }

    /// Takes the next operation: the oldest of the client whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<Slot>> {
        let client = self.turns.pop_front()?;
        let lane = self.lanes.get_mut(&client)?;
        let sender = lane.pop_front();
        self.waiting -= usize::from(sender.is_some());
        if lane.is_empty() {
            self.lanes.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        sender
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = queue.lock();
                let next = state.next();
                state.free += usize::from(next.is_none());
                next
            };
            let Some(next) = next else { return };
            match next.send(Self(Some(queue.clone()))) {
                Ok(()) => return,
                // The request is gone. Take the slot back, and give it to the next one.
                Err(mut slot) => slot.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::{poll, waits};
    use std::pin::pin;

    mod futures {
        use std::future::Future;
        use std::pin::Pin;
        use std::task::{Context, Poll, Waker};

        pub(super) fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
            future.poll(&mut Context::from_waker(Waker::noop()))
        }

        pub(super) fn waits<T>(poll: &Poll<T>) -> bool {
            poll.is_pending()
        }
    }

    fn client(n: u8) -> Client {
        Some(ClientNetwork::of([192, 0, 2, n].into()))
    }

    #[test]
    fn addresses_take_turns_however_many_operations_one_of_them_has() {
        let queue = FairQueue::new(1, 8, 4);
        let std::task::Poll::Ready(Ok(running)) = poll(pin!(queue.acquire(client(1)))) else { panic!("no slot") };
        let mut many: Vec<_> = (0..4).map(|_| Box::pin(queue.acquire(client(1)))).collect();
        assert!(many.iter_mut().all(|one| waits(&poll(one.as_mut()))));
        assert!(matches!(poll(pin!(queue.acquire(client(1)))), std::task::Poll::Ready(Err(QueueFull))), "its share");
        let mut other = Box::pin(queue.acquire(client(2)));
        assert!(waits(&poll(other.as_mut())));
        drop(running);
        let std::task::Poll::Ready(Ok(first)) = poll(many[0].as_mut()) else { panic!("the first one's turn") };
        assert!(waits(&poll(other.as_mut())));
        drop(first);
        assert!(waits(&poll(many[1].as_mut())), "not its turn");
        let std::task::Poll::Ready(Ok(second)) = poll(other.as_mut()) else { panic!("the other address' turn") };
        drop(second);
        assert!(poll(many[1].as_mut()).is_ready());
    }

    #[test]
    fn a_full_queue_takes_a_newcomer_in_place_of_the_longest_lanes_newest() {
        let queue = FairQueue::new(1, 4, 3);
        let running = poll(pin!(queue.acquire(client(1))));
        let mut many: Vec<_> = (0..3).map(|_| Box::pin(queue.acquire(client(1)))).collect();
        assert!(many.iter_mut().all(|one| waits(&poll(one.as_mut()))));
        let mut others: Vec<_> = (2..4).map(|n| Box::pin(queue.acquire(client(n)))).collect();
        assert!(others.iter_mut().all(|one| waits(&poll(one.as_mut()))));
        assert!(matches!(poll(many[2].as_mut()), std::task::Poll::Ready(Err(QueueFull))), "its newest lost its place");
        assert!(waits(&poll(many[1].as_mut())));
        drop(running);
    }

    #[test]
    fn a_cancelled_operation_keeps_no_slot_and_no_place() {
        let queue = FairQueue::new(1, 2, 2);
        let running = poll(pin!(queue.acquire(client(1))));
        let mut gone: Vec<_> = (0..2).map(|_| Box::pin(queue.acquire(client(1)))).collect();
        assert!(gone.iter_mut().all(|one| waits(&poll(one.as_mut()))));
        drop(gone);
        let mut next = Box::pin(queue.acquire(client(1)));
        assert!(waits(&poll(next.as_mut())), "the places of the cancelled ones are free");
        drop(running);
        let slot = poll(next.as_mut());
        assert!(slot.is_ready());
        drop(slot);
        // A slot that was handed over to a request that is gone by then.
        let mut waits_no_more = Box::pin(queue.acquire(client(1)));
        let held = poll(waits_no_more.as_mut());
        drop((held, waits_no_more));
        assert_eq!(queue.lock().free, 1);
    }
}
