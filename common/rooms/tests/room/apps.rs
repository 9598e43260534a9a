//! Apps: their participants and calls are counted together for all nodes.

use futures_util::future::join_all;
use redis::cmd;
use switchboard_core::domain::{AppId, AppLimits, RoomName};
use switchboard_rooms::*;

use super::testbed::*;

const FULL: AppEntry = AppEntry::MostParticipants;

fn limits(participants: Option<u32>, calls: Option<u32>) -> AppLimits {
    AppLimits { max_concurrent_participants: participants, max_concurrent_calls: calls, ..AppLimits::default() }
}

fn counted(participants: u32, nodes: u32) -> AppEntry {
    AppEntry::Counted { participants, nodes }
}

/// A node as the count knows it.
struct Node {
    rooms: Rooms,
    app: AppId,
    limits: AppLimits,
    participants: u32,
}

impl Node {
    async fn new(bed: &TestBed, name: &str, app: &str, limits: AppLimits) -> Self {
        Self { rooms: bed.guest(name).await, app: AppId::parse(app).unwrap(), limits, participants: 0 }
    }

    async fn enter(&mut self, name: &str) -> AppEntry {
        let room = self.app.room(&RoomName::parse(name).unwrap());
        let report = AppReport { participants: self.participants, rooms: &[room], limits: self.limits };
        let entry = self.rooms.enter_app(&self.app, report).await.unwrap();
        self.participants += u32::from(matches!(entry, AppEntry::Counted { .. }));
        entry
    }

    async fn report(&self, names: &[&str]) -> AppEntry {
        let rooms: Vec<_> = names.iter().map(|name| self.app.room(&RoomName::parse(name).unwrap())).collect();
        let report = AppReport { participants: self.participants, rooms: &rooms, limits: self.limits };
        self.rooms.report_app(&self.app, report).await.unwrap()
    }

    async fn ask(&self, name: &str) -> AppEntry {
        self.rooms.ask_app(&self.app.room(&RoomName::parse(name).unwrap()), self.limits).await.unwrap()
    }
}

pub(crate) async fn nodes_together_give_exactly_the_places_of_an_app_and_those_that_are_given_up(bed: TestBed) {
    let twenty = limits(Some(20), None);
    let mut nodes = Vec::new();
    for name in ["n1", "n2", "n3"] {
        nodes.push(Node::new(&bed, name, "noisy", twenty).await);
    }
    join_all(nodes.iter_mut().map(|node| async { while node.enter("r").await != FULL {} })).await;
    assert_eq!(nodes.iter().map(|node| node.participants).sum::<u32>(), 20);
    assert_eq!(nodes[0].ask("r").await, FULL);
    // Another app goes on.
    let mut other = Node::new(&bed, "n1", "other", twenty).await;
    assert_eq!((other.enter("r").await, other.ask("r").await), (counted(1, 1), counted(1, 1)));

    let left = std::mem::take(&mut nodes[0].participants);
    let [first, second, _] = &mut nodes[..] else { unreachable!() };
    assert_eq!(second.enter("r").await, FULL, "not reported yet");
    assert_eq!(first.report(&[]).await, counted(20 - left, 3));
    assert_eq!(first.report(&[]).await, counted(20 - left, 3), "a repetition changes nothing");
    for _ in 0..left {
        assert_ne!(second.enter("r").await, FULL);
    }
    assert_eq!(second.enter("r").await, FULL);
}

pub(crate) async fn a_call_counts_once_on_all_nodes_and_a_call_beyond_the_limit_is_refused(bed: TestBed) {
    let mut one = Node::new(&bed, "n1", "noisy", limits(None, Some(2))).await;
    let mut two = Node::new(&bed, "n2", "noisy", limits(None, Some(2))).await;
    assert_eq!(one.enter("a").await, counted(1, 1));
    assert_eq!(two.enter("a").await, counted(2, 2), "the same call");
    assert_eq!(two.enter("b").await, counted(3, 2));
    assert_eq!((one.enter("c").await, one.ask("c").await), (AppEntry::MostCalls, AppEntry::MostCalls));
    assert_eq!((one.enter("b").await, one.ask("a").await), (counted(4, 2), counted(4, 2)));
    // More rooms than one script takes.
    let many: Vec<String> = (0..250).map(|number| format!("room-{number}")).collect();
    let names: Vec<&str> = many.iter().map(String::as_str).collect();
    one.limits = limits(None, Some(252));
    assert_eq!(one.report(&names).await, counted(4, 2));
    assert_eq!(one.enter("d").await, AppEntry::MostCalls);
    assert_eq!(one.enter("room-249").await, counted(5, 2));
    assert_eq!(two.rooms.count_app(&two.app).await.unwrap(), AppCount { participants: 5, calls: 252 });
}

pub(crate) async fn a_node_and_a_call_that_are_reported_no_more_count_for_ten_seconds(mut bed: TestBed) {
    let mut dead = Node::new(&bed, "dead", "noisy", limits(Some(2), Some(1))).await;
    let mut node = Node::new(&bed, "n1", "noisy", limits(Some(2), Some(1))).await;
    assert_eq!(node.rooms.count_app(&node.app).await.unwrap(), AppCount::default());
    dead.enter("a").await;
    assert_eq!(dead.enter("a").await, counted(2, 1));
    assert_eq!(node.rooms.count_app(&node.app).await.unwrap(), AppCount { participants: 2, calls: 1 });
    assert_eq!(node.enter("a").await, FULL);
    let [_, nodes, rooms] = bed.keys().app(&node.app);
    // As if the last reports were from long ago.
    for (key, member) in [(nodes, "dead"), (rooms, "a")] {
        let mut age = cmd("ZADD");
        age.arg(key).arg("XX").arg(1).arg(member);
        bed.at_its_keys::<u64>(&age).await;
    }
    assert_eq!(dead.rooms.count_app(&dead.app).await.unwrap(), AppCount::default());
    assert_eq!(node.enter("b").await, counted(1, 1), "neither counts");
    // A node that was only paused counts again with its next report.
    assert_eq!(dead.report(&["a"]).await, counted(3, 2));
    assert_eq!(node.enter("b").await, FULL);
    for key in bed.all_keys().await.iter().filter(|key| key.contains(":app:")) {
        let mut ttl = cmd("PTTL");
        ttl.arg(key);
        assert!((1..=60_000).contains(&bed.at_its_keys::<i64>(&ttl).await), "{key} expires");
    }
}
