//! The recorder on a real Redis and a real MongoDB. The file has more than 400 lines, because its
//! tests share one service and the calls that they play.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

#[path = "support/rooms.rs"]
mod rooms;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::recorder::{RecorderOptions, run};
use api::webhooks::EndpointDirectory;
use devcluster::mongo::{Mongo, MongoOptions};
use devcluster::redis::{RedisCluster, RedisServer};
use mongodb::bson::{Document, doc};
use mongodb::{Client, Database};
use redis::cmd;
use switchboard_auth::AppVault;
use switchboard_core::domain::{
    AppId, CallId, CallStatus, MediaState, PublicUser, Role, RoomId, RoomName, SessionHandle, Timestamp,
};
use switchboard_records::{AppUsage, CallEvent, Records, RecordsTimeouts};
use switchboard_rooms::keys::Keys;
use switchboard_rooms::{Created, Ended, Fact, Join, Joined, LeaveOutcome, Partition, Proof, Rooms, Seat};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use rooms::{connect, connect_pod};
use support::{meta, until, user};

const PARTITIONS: u16 = 8;

async fn records(mongo: &Mongo) -> Records {
    let timeouts = RecordsTimeouts { select: Duration::from_millis(500), operation: Duration::from_secs(2) };
    let records = Records::connect(&mongo.uri("recorder"), timeouts).await.unwrap();
    // Create the indexes with default timeouts, because the first operations can be slow.
    until("the indexes to be made", async || records.ensure_indexes().await.is_ok()).await;
    records
}

fn without_webhooks(records: &Records) -> EndpointDirectory {
    EndpointDirectory::new(records.clone(), None, Vec::new())
}

/// Starts a recorder that flushes often, so that the test is fast.
fn record(
    rooms: Rooms,
    records: &Records,
    webhooks: EndpointDirectory,
    options: RecorderOptions,
) -> (JoinHandle<()>, CancellationToken) {
    let options = RecorderOptions { flush_interval: Duration::from_millis(20), ..options };
    let stop = CancellationToken::new();
    (tokio::spawn(run(rooms, records.clone(), webhooks, options, stop.clone())), stop)
}

/// Redis, MongoDB, and a node that seats participants.
struct Bed {
    redis: RedisServer,
    mongo: Mongo,
    rooms: Rooms,
    records: Records,
}

impl Bed {
    async fn start() -> Self {
        let redis = RedisServer::start().await.unwrap();
        let options = MongoOptions { test_commands: true, ..MongoOptions::default() };
        let mongo = Mongo::start_with(&options).await.unwrap();
        let rooms = connect(&redis, PARTITIONS).await;
        for number in 0..PARTITIONS {
            rooms.check_node(Partition(number), "r", true).await.unwrap();
        }
        let records = records(&mongo).await;
        Self { redis, mongo, rooms, records }
    }

    /// Starts a recorder with small batches and a short lease, so that the test is fast.
    async fn recorder(&self) -> (JoinHandle<()>, CancellationToken) {
        self.recorder_with(RecorderOptions { lease: Duration::from_secs(2), batch: 3, ..Default::default() }).await
    }

    /// Starts a recorder that writes all facts of a test in one flush, and renews no lease
    /// meanwhile.
    async fn recorder_of_large_flushes(&self) -> JoinHandle<()> {
        let lease = Duration::from_secs(3_600);
        self.recorder_with(RecorderOptions { lease, batch: 500, ..Default::default() }).await.0
    }

    async fn recorder_with(&self, options: RecorderOptions) -> (JoinHandle<()>, CancellationToken) {
        let rooms = connect_pod(&self.redis.url(), PARTITIONS).await;
        record(rooms, &self.records, without_webhooks(&self.records), options)
    }

    async fn database(&self) -> Database {
        Client::with_uri_str(self.mongo.uri("recorder")).await.unwrap().default_database().unwrap()
    }

    /// Makes this command of recorders fail on one collection, as it does while MongoDB has no
    /// primary; or ends that.
    async fn fail(&self, command: &str, collection: &str, fails: bool) {
        let data = doc! {
            "failCommands": [command], "namespace": format!("recorder.{collection}"), "appName": "switchboard",
            "errorCode": 262,
        };
        let mode = if fails { "alwaysOn" } else { "off" };
        let fail = doc! { "configureFailPoint": "failCommand", "mode": mode, "data": data };
        self.database().await.client().database("admin").run_command(fail).await.unwrap();
    }

    /// Returns the number of reads of outboxes. Nothing else in these tests reads a range.
    async fn outbox_reads(&self) -> u64 {
        let stats: String = self.redis.query(cmd("INFO").arg("commandstats")).await.unwrap();
        let calls = stats.lines().find_map(|line| line.strip_prefix("cmdstat_xrange:calls=")?.split(',').next());
        calls.map_or(0, |calls| calls.parse().unwrap())
    }

    /// Gives the lease of a partition to another owner, who does not record; or takes it back.
    async fn steal(&self, partition: Partition, stolen: bool) {
        let key = Keys::new("sb", PARTITIONS).lease(partition);
        let _: redis::Value = if stolen {
            self.redis.query(cmd("SET").arg(key).arg("another")).await.unwrap()
        } else {
            self.redis.query(cmd("DEL").arg(key)).await.unwrap()
        };
    }

    /// Runs whole calls, in each partition at least one, and leaves their facts to the recorder.
    async fn calls_in_all_partitions(&self) -> Vec<Call<'_>> {
        let mut calls = Vec::new();
        for number in 0..32 {
            let call = self.call(number).await;
            call.whole().await;
            calls.push(call);
        }
        for number in 0..PARTITIONS {
            assert!(self.rooms.outbox_len(Partition(number)).await.unwrap() > 0, "no call in partition {number}");
        }
        calls
    }

    async fn waiting(&self) -> u64 {
        let mut sum = 0;
        for number in 0..PARTITIONS {
            sum += self.rooms.outbox_len(Partition(number)).await.unwrap();
        }
        sum
    }

    async fn until_recorded(&self) {
        until("every fact to be recorded", async || self.waiting().await == 0).await;
    }

    /// Returns the owners of partitions, with the number of partitions of each.
    async fn owners(&self) -> BTreeMap<String, usize> {
        let keys = Keys::new("sb", PARTITIONS);
        let mut owners = BTreeMap::new();
        for number in 0..PARTITIONS {
            let owner: Option<String> = self.redis.query(cmd("GET").arg(keys.lease(Partition(number)))).await.unwrap();
            if let Some(owner) = owner {
                *owners.entry(owner).or_default() += 1;
            }
        }
        owners
    }

    /// Returns the recorded usage of an app, by day.
    async fn usage(&self, app: &AppId) -> Vec<(u64, AppUsage)> {
        let all = (Timestamp(0), Timestamp(4_000_000_000_000));
        let days = self.records.app_usage(app, all).await.unwrap();
        days.into_iter().map(|(day, usage)| (day.0.unsigned_abs(), usage)).collect()
    }

    /// Returns all facts that wait, in the order of their partitions.
    async fn facts(&self) -> Vec<Fact> {
        let mut facts = Vec::new();
        for number in 0..PARTITIONS {
            let entries = self.rooms.outbox(Partition(number), None, 10_000).await.unwrap();
            facts.extend(entries.into_iter().map(|entry| entry.fact.unwrap()));
        }
        facts
    }

    /// Creates a call of the app of accounts, as a socket does.
    async fn call(&self, number: u16) -> Call<'_> {
        self.call_of(&AppId::default(), number).await
    }

    /// Creates a call in its own room, as a socket does.
    async fn call_of(&self, app: &AppId, number: u16) -> Call<'_> {
        let meta = meta(number.into(), user(0));
        let room = app.room(&RoomName::parse(&format!("room-{number}")).unwrap());
        let details = serde_json::to_string(&meta).unwrap();
        assert!(matches!(self.rooms.create(&room, &meta, &details).await.unwrap(), Created::Done));
        Call { bed: self, room, id: meta.call_id, number }
    }
}

struct Call<'a> {
    bed: &'a Bed,
    room: RoomId,
    id: CallId,
    number: u16,
}

impl Call<'_> {
    async fn join(&self, person: u16, visit: u16) -> Arc<Seat> {
        let user = user(person.into());
        let session = u64::from(self.number) << 32 | u64::from(person) << 16 | u64::from(visit);
        let join = Join {
            room: self.room.clone(),
            meta_version: 0,
            grant: None,
            user: user.clone(),
            pid: format!("{session:032x}"),
            old_pid: None,
            handle: SessionHandle(session),
            role: if person == 0 { Role::Host } else { Role::Participant },
            waits: false,
            public: PublicUser::new(user, format!("Person {person}"), None),
            media: MediaState::default(),
            given: (person == 0).then_some(Role::Host),
            permissions: None,
            given_permissions: None,
            proof: Proof::default(),
        };
        match self.bed.rooms.join(join).await.unwrap() {
            Joined::Seated { seat, .. } => seat,
            other => panic!("{other:?}"),
        }
    }

    async fn leave(&self, seat: &Arc<Seat>) {
        assert_eq!(self.bed.rooms.leave(seat, "left").await.unwrap(), LeaveOutcome::Done);
    }

    /// Two users join, one of them twice; then the call ends while the other is in it.
    async fn whole(&self) {
        let host = self.join(0, 1).await;
        let once = self.join(1, 1).await;
        self.leave(&once).await;
        let again = self.join(1, 2).await;
        self.leave(&again).await;
        assert_eq!(self.bed.rooms.end(&self.room, &self.id, "host").await.unwrap(), Ended::Done);
        drop(host);
    }

    async fn events(&self) -> Vec<CallEvent> {
        self.bed.records.call_events(&self.id).await.unwrap()
    }

    /// Asserts that record and log contain exactly the actions of `whole`.
    async fn assert_whole(&self) {
        let events = self.events().await;
        let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
        assert_eq!(kinds, ["created", "joined", "joined", "left", "joined", "left", "left", "ended"], "{}", self.room);
        assert!(events.is_sorted_by_key(|event| event.at));
        let call = self.bed.records.call(&AppId::default(), &self.id).await.unwrap().unwrap();
        assert_eq!((call.status, call.peak, call.title), (CallStatus::Ended, 2, format!("Call {}", self.number)));
        assert_eq!((call.started_at, call.ended_at), (Some(events[1].at), Some(events[7].at)));
        let [host, guest] = &call.participants[..] else { panic!("{:?}", call.participants) };
        assert_eq!((host.joined_at, host.left_at, host.role), (Some(events[1].at), Some(events[6].at), Role::Host));
        assert_eq!((guest.joined_at, guest.left_at), (Some(events[2].at), Some(events[5].at)));
        assert!(!host.is_connected && !guest.is_connected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_call_is_recorded_once_and_in_order_although_one_of_two_recorders_dies() {
    let bed = Bed::start().await;
    let (first, _) = bed.recorder().await;
    let (second, stop) = bed.recorder().await;
    until("both to own partitions", async || bed.owners().await.len() == 2).await;
    let mut calls = Vec::new();
    for number in 0..40 {
        let call = bed.call(number).await;
        call.whole().await;
        calls.push(call);
        if number == 20 {
            // Drop the recorder at any point, also between a write and its acknowledgement. Its
            // leases stay until they expire.
            first.abort();
        }
    }
    bed.until_recorded().await;
    for call in &calls {
        call.assert_whole().await;
    }
    // The leases of the dropped recorder must expire first, because it has not released them.
    until("the second to own everything", async || bed.owners().await.into_values().collect::<Vec<_>>() == [8]).await;
    stop.cancel();
    second.await.unwrap();
    assert!(bed.owners().await.is_empty(), "a recorder that stops gives its partitions up");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorder_that_stops_at_any_moment_leaves_no_lease() {
    let bed = Bed::start().await;
    for round in 0..25 {
        let (recorder, stop) = bed.recorder().await;
        // Stop before its first round, while it acquires partitions, or while it records all of
        // them.
        tokio::time::sleep(Duration::from_millis(2 * round)).await;
        stop.cancel();
        recorder.await.unwrap();
        assert!(bed.owners().await.is_empty(), "in round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_wait_while_mongodb_is_unavailable_and_none_is_lost() {
    let mut bed = Bed::start().await;
    let (_recorder, _stop) = bed.recorder().await;
    bed.call(1).await.whole().await;
    bed.until_recorded().await;

    bed.mongo.process().kill().unwrap();
    bed.call(2).await.whole().await;
    bed.call(3).await.whole().await;
    assert_eq!(bed.waiting().await, 16, "calls continue, and their facts wait");

    bed.mongo.restart().await.unwrap();
    bed.until_recorded().await;
    for number in 1..=3 {
        let id = CallId::parse(&format!("{number:024x}")).unwrap();
        let room = RoomId::parse(&format!("room-{number}")).unwrap();
        Call { bed: &bed, room, id, number }.assert_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_fact_becomes_a_dead_fact_and_blocks_no_other() {
    let bed = Bed::start().await;
    let call = bed.call(1).await;
    let outbox = Keys::new("sb", PARTITIONS).outbox(bed.rooms.partition_of(&call.room));
    for fields in [["k", "joined"], ["nonsense", "x"]] {
        bed.redis.query::<String>(cmd("XADD").arg(&outbox).arg("*").arg(&fields[..])).await.unwrap();
    }
    call.whole().await;
    let (_recorder, _stop) = bed.recorder().await;
    bed.until_recorded().await;
    call.assert_whole().await;
    let dead = bed.records.dead_facts().await.unwrap();
    let contents: Vec<_> = dead.iter().map(|fact| fact.content.as_str()).collect();
    assert_eq!(contents, [r#"{"k": "joined"}"#, r#"{"nonsense": "x"}"#]);
}

/// Counts dead facts, of the test's thread alone.
#[derive(Clone, Default)]
struct DeadFacts(Arc<AtomicU64>);

impl metrics::Recorder for DeadFacts {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        if key.name() == "switchboard_dead_facts_total" {
            metrics::Counter::from_arc(self.0.clone())
        } else {
            metrics::Counter::noop()
        }
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[tokio::test]
async fn a_dead_fact_is_counted_once_although_its_flush_is_repeated() {
    let dead_facts = DeadFacts::default();
    let _recording = metrics::set_default_local_recorder(&dead_facts);
    let bed = Bed::start().await;
    let outbox = Keys::new("sb", PARTITIONS).outbox(Partition(0));
    bed.redis.query::<String>(cmd("XADD").arg(&outbox).arg("*").arg(&["nonsense", "x"])).await.unwrap();
    // Webhooks are queued after the dead facts are stored.
    let vault = AppVault::new("a-master-key-of-at-least-32-bytes".into());
    let directory = EndpointDirectory::new(bed.records.clone(), Some(vault), Vec::new());
    bed.fail("find", "apps", true).await;
    let rooms = connect_pod(&bed.redis.url(), PARTITIONS).await;
    let (_recorder, _stop) = record(rooms, &bed.records, directory, RecorderOptions::default());
    until("the dead fact to be stored", async || bed.records.dead_facts().await.unwrap().len() == 1).await;
    // A flush reads each outbox once, and begins when the one before it has ended. So three reads
    // of all outboxes are two repetitions at least.
    let read = bed.outbox_reads().await;
    until("two repetitions of the flush", async || bed.outbox_reads().await >= read + 3 * u64::from(PARTITIONS)).await;
    assert_eq!(bed.waiting().await, 1, "it waits");
    bed.fail("find", "apps", false).await;
    bed.until_recorded().await;
    assert_eq!(dead_facts.0.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorders_share_partitions_evenly_and_take_over_from_one_that_stops() {
    let bed = Bed::start().await;
    let shares = async || bed.owners().await.into_values().collect::<Vec<_>>();
    let (_first, first_stop) = bed.recorder().await;
    until("the first to own everything", async || shares().await == [8]).await;
    let (second, _second_stop) = bed.recorder().await;
    until("half of them to move to the second", async || shares().await == [4, 4]).await;
    second.abort();
    until("the first to take them back", async || shares().await == [8]).await;
    first_stop.cancel();
    until("all to be given up", async || shares().await.is_empty()).await;
}

/// The lease is long enough for a busy machine, and shorter than the time for which a request waits
/// for a server that does not answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_on_other_servers_are_acquired_and_renewed_while_one_server_does_not_answer() {
    const LEASE: Duration = Duration::from_secs(2);
    let mut cluster = RedisCluster::start(3).await.unwrap();
    for server in cluster.servers() {
        let partial = ["cluster-require-full-coverage", "no"];
        server.query::<redis::Value>(cmd("CONFIG").arg("SET").arg(&partial)).await.unwrap();
    }
    let (mongo, url) = (Mongo::start().await.unwrap(), cluster.url());
    let records = records(&mongo).await;
    let keys = Keys::new("sb", PARTITIONS);
    let server_of = |number: u16| usize::from(keys.slot(Partition(number))) * 3 / 16_384;
    let lost = server_of(0);
    // Returns the owner of each partition on the two other servers.
    let owners = async |cluster: &mut RedisCluster| {
        let mut owners: Vec<Option<String>> = Vec::new();
        for number in (0..PARTITIONS).filter(|number| server_of(*number) != lost) {
            let server = &cluster.servers()[server_of(number)];
            owners.push(server.query(cmd("GET").arg(keys.lease(Partition(number)))).await.unwrap());
        }
        assert!(!owners.is_empty());
        owners
    };
    let options = RecorderOptions { lease: LEASE, ..Default::default() };
    let pods = [connect_pod(&url, PARTITIONS).await, connect_pod(&url, PARTITIONS).await];
    let mut owner = None;
    for (number, pod) in pods.into_iter().enumerate() {
        let previous = owner.take();
        let (recorder, _stop) = record(pod, &records, without_webhooks(&records), options.clone());
        // The leases of the previous recorder expire first.
        let acquired = timeout(5 * LEASE, async {
            while owner.is_none() || owner == previous {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let owners = owners(&mut cluster).await;
                owner = owners[0].clone().filter(|_| owners.iter().all(|owner| *owner == owners[0]));
            }
        });
        assert!(acquired.await.is_ok(), "recorder {number} does not own everything");
        if number == 0 {
            cluster.servers()[lost].process().pause().unwrap();
        }
        let until = Instant::now() + 3 * LEASE;
        while Instant::now() < until {
            assert!(owners(&mut cluster).await.iter().all(|now| *now == owner), "a lease expired");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        recorder.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn facts_of_all_partitions_are_written_by_one_command_for_each_collection() {
    let bed = Bed::start().await;
    let calls = bed.calls_in_all_partitions().await;
    let database = bed.database().await;
    bed.fail("insert", "callevents", true).await;
    let _recorder = bed.recorder_of_large_flushes().await;
    until("the recorder to own everything", async || bed.owners().await.into_values().eq([8])).await;
    database.run_command(doc! { "profile": 2 }).await.unwrap();
    bed.fail("insert", "callevents", false).await;
    bed.until_recorded().await;
    for call in &calls {
        call.assert_whole().await;
    }
    let inserts = doc! { "op": "insert", "ns": "recorder.callevents" };
    let profile = database.collection::<Document>("system.profile");
    let inserts = profile.count_documents(inserts).await.unwrap();
    // A flush that has begun before the recorder owned everything has some of the facts.
    assert!((1..=2).contains(&inserts), "{inserts} commands");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_that_was_written_and_not_trimmed_is_repeated_by_the_next_owner_without_effect() {
    let bed = Bed::start().await;
    let calls = bed.calls_in_all_partitions().await;
    let facts = bed.waiting().await;
    bed.fail("update", "participants", true).await;
    let recorder = bed.recorder_of_large_flushes().await;
    until("the recorder to own everything", async || bed.owners().await.into_values().eq([8])).await;
    for number in 0..PARTITIONS {
        bed.steal(Partition(number), true).await;
    }
    bed.fail("update", "participants", false).await;
    for call in &calls {
        until("the flush to be written", async || {
            bed.records
                .call(&AppId::default(), &call.id)
                .await
                .unwrap()
                .is_some_and(|call| call.status == CallStatus::Ended)
        })
        .await;
    }
    recorder.abort();
    assert_eq!(bed.waiting().await, facts, "no fact left an outbox");
    for number in 0..PARTITIONS {
        bed.steal(Partition(number), false).await;
    }
    let (_next, _stop) = bed.recorder().await;
    bed.until_recorded().await;
    for call in &calls {
        call.assert_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_is_lost_in_the_middle_of_a_flush_keeps_its_facts_and_the_others_are_recorded() {
    let bed = Bed::start().await;
    let calls = bed.calls_in_all_partitions().await;
    let lost = bed.rooms.partition_of(&calls[0].room);
    let facts = bed.rooms.outbox_len(lost).await.unwrap();
    bed.fail("update", "participants", true).await;
    let recorder = bed.recorder_of_large_flushes().await;
    until("the recorder to own everything", async || bed.owners().await.into_values().eq([8])).await;
    bed.steal(lost, true).await;
    bed.fail("update", "participants", false).await;
    until("the others to be recorded", async || bed.waiting().await == facts).await;
    assert_eq!(bed.rooms.outbox_len(lost).await.unwrap(), facts);
    recorder.abort();
    bed.steal(lost, false).await;
    let (_next, _stop) = bed.recorder().await;
    bed.until_recorded().await;
    for call in &calls {
        call.assert_whole().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fact_for_which_mongodb_refuses_the_whole_command_holds_up_no_other() {
    let bed = Bed::start().await;
    let calls = bed.calls_in_all_partitions().await;
    // No document of MongoDB has so many bytes, and participants have no budget.
    let (name, user) = ("x".repeat(17 << 20), "guest-0123456789abcdef");
    let details = format!(r#"{{"user":{{"name":"{name}"}},"role":"guest"}}"#);
    let (room, call) = (calls[0].room.as_str(), calls[0].id.as_str());
    let outbox = Keys::new("sb", PARTITIONS).outbox(bed.rooms.partition_of(&calls[0].room));
    let fields = ["k", "joined", "c", call, "r", room, "p", user, "u", user, "j", "1-0", "n", "1", "d"];
    bed.redis.query::<String>(cmd("XADD").arg(&outbox).arg("*").arg(&fields[..]).arg(&details)).await.unwrap();
    let _recorder = bed.recorder_of_large_flushes().await;
    bed.until_recorded().await;
    for call in &calls {
        call.assert_whole().await;
    }
    let dead = bed.records.dead_facts().await.unwrap();
    assert_eq!(dead.len(), 1, "the large one alone");
    assert!(dead[0].content.contains("joined") && dead[0].content.len() <= 64 * 1024);
}

/// Returns the start of the day of a time in milliseconds.
const fn day(ms: u64) -> u64 {
    ms - ms % 86_400_000
}

/// Computes the usage of `app` by day from its facts, each of them once: a join is found again by
/// the id in the leave, and each day gets its part of the stay.
fn usage_of(app: &AppId, facts: &[Fact]) -> BTreeMap<u64, AppUsage> {
    let mut usage: BTreeMap<u64, AppUsage> = BTreeMap::new();
    for fact in facts.iter().filter(|fact| fact.room.app() == *app) {
        let today = usage.entry(day(fact.id.ms)).or_default();
        match fact.kind.as_str() {
            "joined" => {
                today.joins += 1;
                today.calls += u64::from(fact.details.contains(r#""first":true"#));
            }
            "chat" => today.recorded_messages += 1,
            "left" => {
                let (from, to) = (fact.about.as_ref().unwrap().join_id.ms, fact.id.ms);
                for start in (day(from)..=day(to)).step_by(86_400_000) {
                    let part = to.min(start + 86_400_000) - from.max(start);
                    usage.entry(start).or_default().participant_ms += part;
                }
            }
            _ => {}
        }
    }
    usage.retain(|_, usage| *usage != AppUsage::default());
    usage
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usage_of_each_app_is_what_its_clients_did_although_facts_are_written_again_by_restarted_recorders() {
    let bed = Bed::start().await;
    let apps = ["acme", "other"].map(|app| AppId::parse(app).unwrap());
    // A stay over midnight, before all other facts of its partition. Redis gives ids of its clock,
    // so the facts are put there.
    let night = bed.call_of(&apps[0], 90).await;
    let outbox = Keys::new("sb", PARTITIONS).outbox(bed.rooms.partition_of(&night.room));
    let _: i64 = bed.redis.query(cmd("DEL").arg(&outbox)).await.unwrap();
    let now: (u64, u64) = bed.redis.query(&cmd("TIME")).await.unwrap();
    let midnight = day(now.0 * 1000) - 2 * 86_400_000;
    let (room, call, guest) = (night.room.as_str(), night.id.as_str(), "guest-0123456789abcdef");
    let join = format!("{}-0", midnight - 1_500);
    for (at, kind, details) in [
        (midnight - 1_500, "joined", r#"{"user":{"name":"Ann"},"role":"guest","first":true}"#),
        (midnight + 86_400_250, "left", r#"{"reason":"left"}"#),
    ] {
        let fields = ["k", kind, "c", call, "r", room, "p", guest, "u", guest, "j", &join, "n", "1", "d", details];
        bed.redis.query::<String>(cmd("XADD").arg(&outbox).arg(format!("{at}-7")).arg(&fields[..])).await.unwrap();
    }
    for number in 0..24 {
        bed.call_of(&apps[usize::from(number % 2)], number).await.whole().await;
    }
    bed.call(91).await.whole().await;
    let facts = bed.facts().await;
    let expected = |app: &AppId| usage_of(app, &facts).into_iter().collect::<Vec<_>>();
    let night_usage = expected(&apps[0])[..3].iter().map(|(_, usage)| usage.participant_ms).collect::<Vec<_>>();
    assert_eq!(night_usage, [1_500, 86_400_000, 250]);
    let sum = |app: &AppId, of: fn(&AppUsage) -> u64| expected(app).iter().map(|(_, usage)| of(usage)).sum::<u64>();
    assert_eq!((sum(&apps[0], |usage| usage.joins), sum(&apps[1], |usage| usage.joins)), (1 + 12 * 3, 12 * 3));
    assert_eq!((sum(&apps[0], |usage| usage.calls), sum(&apps[1], |usage| usage.calls)), (1 + 12, 12));

    // The first recorder repeats its flush again and again, in part written, and dies.
    bed.fail("update", "participants", true).await;
    let first = bed.recorder_of_large_flushes().await;
    until("usage to be counted", async || !bed.usage(&apps[1]).await.is_empty()).await;
    until("the recorder to own everything", async || bed.owners().await.into_values().eq([8])).await;
    first.abort();
    bed.fail("update", "participants", false).await;
    for number in 0..PARTITIONS {
        bed.steal(Partition(number), false).await;
    }
    // The next ones write all facts once more, in other batches. One of them dies as well.
    let (second, _) = bed.recorder().await;
    until("some facts to be recorded", async || bed.waiting().await < facts.len() as u64).await;
    second.abort();
    let (_third, _stop) = bed.recorder().await;
    bed.until_recorded().await;
    for app in &apps {
        assert_eq!(bed.usage(app).await, expected(app), "{app}");
    }
    assert_eq!(bed.usage(&AppId::default()).await, [], "accounts are not billed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usage_of_hundreds_of_stays_is_exact_although_recorders_lose_their_leases_and_are_killed() {
    const CALLS: u16 = 34;
    const ROUNDS: u16 = 2;
    let bed = Bed::start().await;
    let apps = ["acme", "other"].map(|app| AppId::parse(app).unwrap());
    let options = RecorderOptions { lease: Duration::from_millis(600), batch: 20, ..Default::default() };
    let (mut facts, mut killed) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        for number in 0..CALLS {
            bed.call_of(&apps[usize::from(number % 2)], round * CALLS + number).await.whole().await;
        }
        facts.extend(bed.facts().await);
        let mut previous: Option<JoinHandle<()>> = None;
        let mut left = bed.waiting().await;
        while left > 0 {
            let (recorder, _stop) = bed.recorder_with(options.clone()).await;
            until("facts to be recorded", async || bed.waiting().await < left).await;
            // It goes on with the facts that it has read, and the next one records them as well.
            for number in 0..PARTITIONS {
                bed.steal(Partition(number), false).await;
            }
            if let Some(dying) = previous.replace(recorder) {
                dying.abort();
                killed += 1;
            }
            left = bed.waiting().await;
        }
        if let Some(last) = previous {
            last.abort();
        }
    }
    let stays = facts.iter().filter(|fact| fact.kind == "left").count();
    assert_eq!(stays, usize::from(3 * CALLS * ROUNDS));
    assert!(killed >= ROUNDS, "{killed} recorders were killed");
    for app in &apps {
        assert_eq!(bed.usage(app).await, usage_of(app, &facts).into_iter().collect::<Vec<_>>(), "{app}");
    }
    assert_eq!(bed.records.dead_facts().await.unwrap().len(), 0);
}
